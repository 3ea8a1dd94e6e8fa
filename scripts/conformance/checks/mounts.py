# SPDX-License-Identifier: Apache-2.0
"""The root and its mounts: config.md#root, config.md#mounts, config-linux.md."""

from __future__ import annotations

import functools
import re
from typing import Any

from conformance.box import Box, mount
from conformance.check import Check

_check = functools.partial(Check, area="mounts")


def _bind(destination: str, *options: str, source: str = "BOX/shared") -> dict[str, Any]:
    return mount(destination, "bind", source, *options)


def _tmpfs(*options: str) -> dict[str, Any]:
    return {"mounts+": mount("/here", "tmpfs", "tmpfs", *options)}


def _escapes(box: Box) -> None:
    (box.root / "link").symlink_to(box.shared)
    box.change({"mounts+": mount("/link/inside", "tmpfs")})
    done = box.run("echo ran")
    assert not list(box.shared.iterdir()), "it was made outside"
    assert done.returncode or done.stdout == "ran\n", done.stdout


def _ordered(box: Box) -> None:
    box.change({"mounts+": mount("/outer", "tmpfs", "tmpfs", "size=64k")})
    box.change({"mounts+": mount("/outer/inner", "tmpfs", "tmpfs", "ro")})
    assert box.prints("has /outer/inner ro; touch /outer/made && echo made") == "ok\nmade"


CHECKS = (
    _check(name="a root to write to", run="touch /made && echo made", sees="made"),
    _check(
        name="a read-only root, with mounts that are not",
        change={"root.readonly": True},
        run="touch /made 2>/dev/null || echo refused; touch /dev/shm/made && echo made",
        sees="refused\nmade",
    ),
    _check(
        name="a root by a relative path", change={"root.path": "rootfs"}, run="echo ran", sees="ran"
    ),
    _check(
        name="a root that is missing is refused",
        change={"root.path": "nope"},
        run="echo RAN",
        refused=True,
    ),
    _check(name="proc", run="echo $$; ls /proc/1/cmdline", sees="1\n/proc/1/cmdline"),
    _check(
        name="sysfs",
        change={"mounts+": mount("/sys", "sysfs", "sysfs", "nosuid", "ro")},
        run="has /sys ro nosuid; ls /sys/class/net",
        sees="ok\nlo",
    ),
    _check(
        name="mqueue",
        change={"mounts+": mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec")},
        run="has /dev/mqueue nosuid noexec",
        sees="ok",
    ),
    _check(
        name="devpts",
        run="ls /dev/pts /dev/ptmx; readlink /dev/ptmx",
        sees=re.compile(r"(?s).*ptmx.*pts/ptmx|/dev/ptmx\n.*"),
    ),
    _check(
        name="tmpfs with mode, size and owner",
        change=_tmpfs("mode=1751", "size=128k", "uid=5", "gid=6"),
        run="stat -c '%a %u %g' /here; df -k /here | tail -n 1 | tr -s ' ' | cut -d' ' -f2",
        sees="1751 5 6\n128",
    ),
    *(
        _check(name=f"option {option}", change=_tmpfs(option), run=f"has /here {option}", sees="ok")
        for option in (
            "ro",
            "nosuid",
            "nodev",
            "noexec",
            "noatime",
            "nodiratime",
            "relatime",
            "nosymfollow",
        )
    ),
    _check(
        name="options that undo others: suid, dev, exec, rw",
        change=_tmpfs("nosuid", "nodev", "noexec", "ro", "suid", "dev", "exec", "rw"),
        run="options /here | tr , '\\n' | grep -E '^(no(suid|dev|exec)|ro)$'; true",
        sees="",
    ),
    _check(
        name="tmpfs that begins with a copy (tmpcopyup)",
        change={"mounts+": mount("/etc", "tmpfs", "tmpfs", "tmpcopyup")},
        run="grep -c . /etc/passwd; touch /etc/made && grep ' /etc ' /proc/self/mountinfo | wc -l",
        sees="2\n1",
    ),
    _check(
        name="bind of a directory",
        change={"mounts+": _bind("/mnt", "bind")},
        run="touch /mnt/made && ls /host",
        sees="made",
    ),
    _check(
        name="bind, read-only",
        change={"mounts+": _bind("/mnt", "bind", "ro")},
        run="touch /mnt/made 2>/dev/null || echo refused",
        sees="refused",
    ),
    _check(
        name="bind by its options alone, without a type",
        change={"mounts+": {"destination": "/mnt", "source": "BOX/shared", "options": ["bind"]}},
        run="touch /mnt/made && ls /host",
        sees="made",
    ),
    _check(
        name="bind of a file, whose target is made",
        change={"mounts+": _bind("/made/file", "bind", source="BOX/config.json")},
        run="grep -c ociVersion /made/file",
        sees="1",
    ),
    _check(
        name="bind of a source that is missing is refused",
        change={"mounts+": _bind("/mnt", "bind", source="BOX/nope")},
        run="echo RAN",
        refused=True,
    ),
    *(
        _check(
            name=f"bind with {option}",
            change={"mounts+": _bind("/mnt", "bind", option)},
            run=f"has /mnt {option}",
            sees="ok",
        )
        for option in ("nosuid", "nodev", "noexec")
    ),
    *(
        _check(
            name=f"recursive {option}",
            change={"mounts+": _bind("/mnt", "rbind", option, source="/sys/fs/cgroup")},
            run="for m in $(awk '$5 ~ \"^/mnt\" { print $5 }' /proc/self/mountinfo); "
            f"do has $m {option[1:]}; done | sort -u",
            sees="ok",
            needs=("submounts", "mount_setattr"),
        )
        for option in ("rro", "rnosuid", "rnodev", "rnoexec", "rnoatime")
    ),
    *(
        _check(
            name=f"propagation {option}",
            change={"mounts+": mount("/here", "tmpfs", "tmpfs", option)},
            run="grep ' /here ' /proc/self/mountinfo | cut -d- -f1 | cut -d' ' -f7",
            sees=re.compile(pattern),
        )
        for option, pattern in (
            ("private", ""),
            ("shared", r"shared:\d+"),
            ("unbindable", "unbindable"),
        )
    ),
    *(
        _check(
            name=f"rootfsPropagation {word}",
            change={"linux.rootfsPropagation": word},
            run="awk '$5 == \"/\" {print $7}' /proc/self/mountinfo",
            sees=re.compile(pattern),
        )
        for word, pattern in (
            ("private", "-"),
            ("shared", r"shared:\d+"),
            ("unbindable", "unbindable"),
            ("slave", r"master:\d+|-"),
        )
    ),
    _check(
        name="a destination below a link that would leave the root",
        life=_escapes,
    ),
    _check(
        name="a destination that is missing is made",
        change={"mounts+": mount("/a/b/c", "tmpfs")},
        run="stat -f -c %T /a/b/c 2>/dev/null || has /a/b/c rw",
        sees=re.compile("tmpfs|ok"),
    ),
    _check(
        name="mounts in their order, one in the other",
        life=_ordered,
    ),
    _check(
        name="an idmapped bind with mappings of its own",
        change={
            "mounts+": _bind("/mnt", "bind")
            | {
                "uidMappings": [{"containerID": 0, "hostID": 4000, "size": 1000}],
                "gidMappings": [{"containerID": 0, "hostID": 5000, "size": 1000}],
            }
        },
        run="touch /host/file; stat -c '%u %g' /mnt/file",
        sees="4000 5000",
        needs=("idmap",),
    ),
    _check(
        name="cgroup: the container's own groups",
        change={"mounts+": mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "ro")},
        run="file=$(find /sys/fs/cgroup/ -name cgroup.procs | head -n 1); cat $file | wc -l; "
        "mkdir ${file%/*}/made 2>/dev/null || echo refused",
        sees=re.compile(r"[1-9]\nrefused"),
    ),
    _check(
        name="cgroup with a cgroup namespace",
        change={
            "linux.namespaces+": {"type": "cgroup"},
            "mounts+": mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro"),
        },
        run="cut -d: -f3 /proc/self/cgroup | sort -u; "
        "grep -l -x 1 $(find /sys/fs/cgroup/ -name cgroup.procs) | head -n 1 | wc -l",
        sees="/\n1",
    ),
    _check(
        name="an unknown type is refused",
        change={"mounts+": mount("/here", "nopefs")},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="maskedPaths: a file and a directory",
        change={"linux.maskedPaths": ["/proc/kcore", "/srv", "/proc/nope"]},
        run="head -c 1 /proc/kcore | wc -c; ls /srv/file 2>/dev/null || echo hidden",
        sees="0\nhidden",
    ),
    _check(
        name="readonlyPaths",
        change={"linux.readonlyPaths": ["/proc/sys", "/etc", "/proc/nope"]},
        run="touch /etc/made 2>/dev/null || echo refused; has /proc/sys ro",
        sees="refused\nok",
    ),
    _check(
        name="the devices that every container has",
        run="for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; "
        "echo x >/dev/null; head -c 3 /dev/zero | wc -c; readlink /dev/fd; readlink /dev/stdin",
        sees="3\n/proc/self/fd\n/proc/self/fd/0",
    ),
    _check(
        name="devices: mode and owner",
        change={
            "linux.devices+": {
                "path": "/dev/mine",
                "type": "c",
                "major": 1,
                "minor": 3,
                "fileMode": 0o640,
                "uid": 5,
                "gid": 6,
            }
        },
        run="stat -c '%F %a %u %g %t %T' /dev/mine",
        sees="character special file 640 5 6 1 3",
    ),
    _check(
        name="devices: a FIFO",
        change={"linux.devices+": {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}},
        run="stat -c '%F %a' /dev/pipe",
        sees="fifo 600",
    ),
    _check(
        name="devices outside /dev",
        change={"linux.devices+": {"path": "/made/null", "type": "c", "major": 1, "minor": 3}},
        run="stat -c '%t %T' /made/null",
        sees="1 3",
    ),
)
