#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# The first program of a machine, in its initial RAM disk: mounts the disks, starts the real init.
# Disks: vda the root, vdb the kernel's modules, vdc scratch, from vdd on the trees that /vm/trees
# lists, one absolute path a line. /vm/init is the command line of the real init.
set -e
PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done

mkdir -p /lower /scratch /root
mount -t erofs -o ro /dev/vda /lower
mount -t ext4 /dev/vdc /scratch
mkdir -p /scratch/upper /scratch/work /scratch/tmp
chmod 1777 /scratch/tmp
mount -t overlay -o lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work root /root
mount --bind /scratch/tmp /root/tmp

letters=defghijk
while read -r tree; do
	disk=/dev/vd${letters%"${letters#?}"}
	letters=${letters#?}
	mkdir -p "/root$tree"
	# Everybody has to get there: /root, say, is closed to others.
	parent=${tree%/*}
	while [ -n "$parent" ]; do
		chmod a+rx "/root$parent" 2>/dev/null || true # what is read only is open already
		parent=${parent%/*}
	done
	mount -t erofs -o ro "$disk" "/root$tree"
done </vm/trees

mount -t tmpfs -o mode=755 run /root/run
cp -a /vm /root/run/vm
modules=/root/run/vm/modules/$(uname -r)
mkdir -p "$modules"
mount -t erofs -o ro /dev/vdb "$modules"
# Not a mount below /usr: in a user namespace, /usr could not be bound without it.
rmdir /root/usr/lib/modules 2>/dev/null || true
ln -s /run/vm/modules /root/usr/lib/modules
for port in /dev/vport*; do ln -s "$port" "/root/run/vm/port${port##*p}"; done
mount --move /dev /root/dev
read -r init </vm/init
# This directory is how programs tell that systemd is running, sd_booted(3).
case $init in
*systemd*)
	mkdir -p /root/run/systemd/system
	cp /vm/*.service /root/run/systemd/system/
	;;
esac
# Words of a command line.
# shellcheck disable=SC2086
exec switch_root /root $init
