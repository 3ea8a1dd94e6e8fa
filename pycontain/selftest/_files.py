# SPDX-License-Identifier: Apache-2.0
"""Attacks on the tree of files: mounts, procfs, devices, control groups."""

from __future__ import annotations

import errno
import stat
import struct
from typing import Final

from ._attack import HERE, KEEPS, Attack, Outside, attack, call, opened
from ._programs import Result, Zeros

_APART: Final = Outside.APART
_O_WRONLY: Final = 1
_MS_BIND, _MS_REMOUNT_BIND, _MS_REC_SHARED = 0x1000, 0x1020, 0x104000
_RDONLY_CLEARED: Final = struct.pack("4Q", 0, 1, 0, 0)

MOUNTS: Final = (
    attack("A7", "umount /proc", call("umount2", "/proc", 2), outside=_APART),
    attack("A7", "umount /dev", call("umount2", "/dev", 2), outside=_APART),
    attack("A7", "a second procfs", call("mount", "p", "/tmp", "proc", 0, 0), outside=_APART),
    attack("A7", "a sysfs", call("mount", "s", "/tmp", "sysfs", 0, 0), outside=_APART),
    attack("A8", "umount /", call("umount2", "/", 2), outside=_APART),
    attack("A8", "pivot_root", call("pivot_root", ".", "."), outside=_APART),
    attack("A8", "chroot", call("chroot", "."), granted=KEEPS, outside=_APART),
    attack("A8", "mount a tmpfs", call("mount", "t", "/tmp", "tmpfs", 0, 0), outside=_APART),
    attack("A8", "bind /", call("mount", "/", "/tmp", "", _MS_BIND, 0), outside=_APART),
    attack(
        "A9",
        "remount / writable",
        call("mount", "", "/", "", _MS_REMOUNT_BIND, 0),
        outside=_APART,
    ),
    attack(
        "A9",
        "mount_setattr / writable",
        call("mount_setattr", HERE, "/", 0, _RDONLY_CLEARED, 32),
        outside=_APART,
    ),
    attack("A10", "share mounts", call("mount", "", "/", "", _MS_REC_SHARED, 0), outside=_APART),
)


def _cannot_be_written(number: str, *paths: str) -> tuple[Attack, ...]:
    absent = (errno.EROFS, errno.ENOENT)
    return tuple(
        attack(number, f"open {path} for writing", opened(path, _O_WRONLY), also=absent)
        for path in paths
    )


def _is_blank(number: str, *paths: str) -> tuple[Attack, ...]:
    return tuple(
        attack(
            number,
            f"read {path}",
            opened(path),
            call("read", Result(0), Zeros(512), 512),
            also=(errno.ENOENT, errno.ENODEV, errno.EIO),
            blank=True,
            # What it is about: a second procfs needs the first one whole (mount_namespaces(7)).
            granted=("nested", *DOCKER_SHOWS.get(path, ())),
        )
        for path in paths
    )


# Docker's list of masked paths is shorter than ours.
DOCKER_SHOWS: Final = {
    f"/proc/{name}": ("compat",)
    for name in ("cmdline", "config.gz", "kallsyms", "key-users", "locks", "modules")
}

PROC: Final = (
    *_cannot_be_written(
        "E1",
        "/proc/sysrq-trigger",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/kernel/yama/ptrace_scope",
        "/proc/sys/fs/protected_symlinks",
        "/proc/irq/default_smp_affinity",
    ),
    *_is_blank(
        "E2",
        "/proc/kcore",
        "/proc/keys",
        "/proc/key-users",
        "/proc/interrupts",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/latency_stats",
        "/proc/kallsyms",
        "/proc/modules",
        "/proc/locks",
        "/proc/cmdline",
        "/proc/config.gz",
        "/proc/kpageflags",
        "/proc/pagetypeinfo",
        "/proc/slabinfo",
        "/proc/vmallocinfo",
        "/sys/firmware/dmi/tables/DMI",
        "/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj",
        "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
        "/sys/kernel/vmcoreinfo",
        "/proc/1/environ",
    ),
    *_cannot_be_written(
        "E5",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/fs/binfmt_misc/register",
        "/sys/kernel/uevent_helper",
    ),
    *_cannot_be_written(
        "E6",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/pids.max",
        "/sys/fs/cgroup/unified/cgroup.procs",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/notify_on_release",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/pids/tasks",
    ),
    attack("E6", "mount cgroup2", call("mount", "c", "/tmp", "cgroup2", 0, 0), outside=_APART),
    attack(
        "E6", "mount a hierarchy", call("mount", "c", "/tmp", "cgroup", 0, "pids"), outside=_APART
    ),
    attack(
        "E9",
        "a lower oom_score_adj",
        opened("/proc/self/oom_score_adj", _O_WRONLY),
        call("write", Result(0), "-900", 4),
    ),
)

NODES: Final = (
    attack(
        "E4",
        "make a block device",
        call("mknodat", HERE, "node-b", stat.S_IFBLK | 0o600, 0x800),
        call("unlinkat", HERE, "node-b", 0),
    ),
    attack(
        "E4",
        "make a character device",
        call("mknodat", HERE, "node-c", stat.S_IFCHR | 0o600, 0x101),
        call("unlinkat", HERE, "node-c", 0),
    ),
    attack(
        "E4",
        "open /dev/mem",
        opened("/dev/mem"),
        also=(errno.ENOENT,),
    ),
    attack("E4", "open /dev/kmsg", opened("/dev/kmsg"), also=(errno.ENOENT,)),
    attack("E4", "open /dev/fuse", opened("/dev/fuse", 2), also=(errno.ENOENT,)),
    attack("E4", "open /dev/net/tun", opened("/dev/net/tun", 2), also=(errno.ENOENT,)),
)

ALL: Final[tuple[Attack, ...]] = (*MOUNTS, *PROC, *NODES)
