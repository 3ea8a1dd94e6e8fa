#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs /run/vm/command, lets the host have its output and exit status, switches the machine off.
# The ports to the host: 1 the output, 2 what the command itself writes there, 3 the exit status.
if [ -e /run/vm/interactive ]; then
	setsid -c /run/vm/command <>/dev/ttyS0 >&0 2>&1
	echo $? >/run/vm/status
else
	{
		/run/vm/command
		echo $? >/run/vm/status
	} </dev/null 2>&1 | cat >/run/vm/port1
fi
cat /run/vm/status >/run/vm/port3
busybox poweroff -f
