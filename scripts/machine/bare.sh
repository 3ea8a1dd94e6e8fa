#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the machine without an init system: pure cgroup v2, root in the root group.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
for name in kernel/security:securityfs fs/selinux:selinuxfs; do
	# What the kernel's security modules have.
	[ ! -d "/sys/${name%:*}" ] || mount -t "${name#*:}" "${name#*:}" "/sys/${name%:*}"
done
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr


echo pycontain-vm >/proc/sys/kernel/hostname
busybox ip link set lo up
/run/vm/job.sh
