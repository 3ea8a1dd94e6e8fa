# SPDX-License-Identifier: Apache-2.0
"""What a test may not leave behind: a snapshot of this process and its surroundings."""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from _features import cgroup_homes

SETTLE_S = 2.0
# Lines of /proc/self/status: identity, signals, capabilities and what cannot be undone.
STATUS = frozenset(
    (
        *("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp"),
        *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    )
)
# Kept by the library for the life of the process: user namespaces per mapping, PID 1's program,
# and the locks that say that the owner of its control groups lives and which ids are its own.
# Layers of images, which go with what refers to them, are told apart in _fds().
KEPT = re.compile(
    r"user:\[\d+\]|/memfd:pycontain|/\S+/pycontain(-\d+)?/(pycontain-[-0-9a-f]+|ids)$"
)
KEPT_MAX = 80  # two or three namespaces for each of _ranges.KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is compared; a Counter because two mounts may look alike."""

    fds: Counter[str]
    processes: Counter[str]
    mounts: Counter[str]
    cgroups: Counter[str]
    threads: Counter[str]
    status: Counter[str]


def take() -> Snapshot:
    """Return the present state, without what the library keeps for the next sandbox."""
    owners = sys.modules.get("pycontain._cgroup._owner")
    if owners is not None and owners._current is not None:
        owners._current.ahead.clear()
    layers = sys.modules.get("pycontain._erofs")
    if layers is not None and layers._mounts:
        sys.modules["pycontain._configure"].let_go()
    return Snapshot(
        fds=Counter(_fds()),
        processes=Counter(_processes()),
        mounts=Counter(_mounts()),
        cgroups=Counter(_cgroups()),
        threads=Counter(thread.name for thread in threading.enumerate()),
        status=Counter(_status()),
    )


def _fds() -> list[str]:
    found, kept = [], 0
    layers = sys.modules.get("pycontain._erofs")
    shown = set() if layers is None else {f"{each.fd}" for each in layers.mounted()}
    for name in set(os.listdir("/proc/self/fd")) - shown:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own descriptor
        if KEPT.match(target) and kept < KEPT_MAX:
            kept += 1
        else:
            found.append(f"{name} -> {target}")
    return found


def _processes() -> list[str]:
    """Return our children, and the orphans that the runner of the lanes adopted."""
    runner = os.environ.get("PYCONTAIN_LANE_RUNNER")
    parents = ["self", runner] if runner else ["self"]
    found = []
    for parent in parents:
        for path in Path("/proc", parent, "task").glob("*/children"):
            try:
                pids = path.read_text().split()
            except OSError:
                continue  # that thread has ended
            found += [_describe(pid) for pid in pids]
    return found


def _describe(pid: str) -> str:
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except OSError:
        return f"{pid} gone"
    comm, _, rest = stat.partition("(")[2].rpartition(")")
    return f"{pid} {comm} started {rest.split()[19]}"


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [" ".join(line.split()[2:5]) for line in lines]


def _cgroups() -> list[str]:
    """Return what is in the group that the library keeps for this process, in each hierarchy."""
    found = []
    for _, home in cgroup_homes():
        for place in (home, *home.parents):
            if not (place / "cgroup.procs").exists():
                break
            for kept in place.glob(f"pycontain-*-{os.getpid()}-*"):
                found += [str(path) for path in kept.glob("**/") if path != kept]
    return found


def _status() -> list[str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    kept = [line for line in lines if line.partition(":")[0] in STATUS]
    env = [f"env {k}={v}" for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"]
    return [*kept, f"cwd {os.getcwd()}", *env]


def differences(before: Snapshot, after: Snapshot, excused: frozenset[str]) -> list[str]:
    """Return one line for each thing that appeared or vanished, but for the excused kinds."""
    found = []
    for field in fields(Snapshot):
        if field.name in excused:
            continue
        old, new = getattr(before, field.name), getattr(after, field.name)
        found += [f"{field.name}: + {item}" for item in new - old]
        if field.name in {"fds", "mounts", "status"}:
            found += [f"{field.name}: - {item}" for item in old - new]
    return found


def settle(before: Snapshot, excused: frozenset[str] = frozenset()) -> list[str]:
    """Wait until nothing differs, at most SETTLE_S, and return what still does.

    What is dead may take the kernel a while to take down, so one look finds false leaks.
    """
    deadline = time.monotonic() + SETTLE_S
    pause = 0.001
    while left := differences(before, take(), excused):
        if time.monotonic() > deadline:
            return left
        gc.collect()
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return []
