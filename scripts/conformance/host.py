# SPDX-License-Identifier: Apache-2.0
"""What checks need of a host: names, each with why it is not there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def _v2() -> str:
    return "" if (GROUPS / "cgroup.controllers").exists() else "cgroup v1"


def _file(v1: str, v2: str, *least: int) -> str:
    """Look for a file that a group other than the first has; with v2 there may be none yet."""
    if not _v2():
        known = (GROUPS / "cgroup.controllers").read_text().split()
        absent = "" if v2.split(".", maxsplit=1)[0] in known else f"no controller for {v2}"
        return absent or _linux(*least)
    controller, name = v1.split("/")
    if any((GROUPS / controller).glob(f"**/{name}")):
        return ""
    return f"no {name}"


def _linux(*least: int) -> str:
    release = tuple(map(int, re.findall(r"\d+", Path("/proc/sys/kernel/osrelease").read_text())))
    return "" if release[: len(least)] >= least else f"before Linux {'.'.join(map(str, least))}"


def _submounts() -> str:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    below = [line for line in mounts if line.split()[4].startswith("/sys/fs/cgroup/")]
    return "" if below else "no mounts below /sys/fs/cgroup"


def _mounted(kind: str) -> str:
    return kind if f" - {kind} " in Path("/proc/self/mountinfo").read_text() else ""


def _disk() -> str:
    return "" if Path("/sys/dev/block/254:0").exists() else "no disk 254:0"


NEEDS: dict[str, Callable[[], str]] = {
    "v1": lambda: "" if _v2() else "cgroup v2",
    "v2": _v2,
    "swap_accounting": lambda: _file("memory/memory.memsw.limit_in_bytes", "memory.swap.max", 4, 5),
    "cpu_burst": lambda: _file("cpu/cpu.cfs_burst_us", "cpu.max.burst", 5, 14),
    "cpu_idle": lambda: _file("cpu/cpu.idle", "cpu.idle", 5, 15),
    "bfq": lambda: _file("blkio/blkio.bfq.weight", "") if _v2() else "no BFQ",
    "hugetlb": lambda: _file("hugetlb/hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", 5, 6),
    "disk_254": _disk,
    "submounts": _submounts,
    "mount_setattr": lambda: _linux(5, 12),
    "idmap": lambda: _linux(5, 12),
    "no_resctrl": lambda: _mounted("resctrl"),
    "no_selinux": lambda: "SELinux" if Path("/sys/fs/selinux/enforce").exists() else "",
    "no_apparmor": lambda: "AppArmor" if Path("/sys/kernel/security/apparmor").exists() else "",
}


@functools.cache
def lacks(need: str) -> str:
    """Return why the host lacks something, "" if it does not."""
    return NEEDS[need]()
