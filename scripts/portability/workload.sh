# SPDX-License-Identifier: Apache-2.0
# What an image does with its own tools; nothing that it prints is the kernel's.
set -eu
id -u
pwd
echo "$PATH $HOME"
head -n 1 /etc/os-release 2>/dev/null || echo none
seq 1 20000 | sort -r | sha256sum
i=0
while [ $i -lt 20 ]; do
	/bin/true
	i=$((i + 1))
done
echo $i
mkdir -p /tmp/a/b /root/made
ln -s b /tmp/a/link
echo data >/tmp/a/link/file
mv /tmp/a /tmp/c
cat /tmp/c/b/file
find /tmp | sort
printf 'one two\nthree four\n' | tee /tmp/text | sed 's/o/0/g' | wc -c
grep -c four /tmp/text
stat -c '%a %s %F' /tmp/text
cp /bin/true /root/made/true
/root/made/true && echo copied
rm -r /tmp/c /root/made
(exit 7) || echo $?
sh -c 'kill -TERM $$' || echo $?
