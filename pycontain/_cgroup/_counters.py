# SPDX-License-Identifier: Apache-2.0
"""What the kernel counted for a group: usage, events, current values, each with its source."""

from __future__ import annotations

import errno

from pycontain._record import NamedTuple

from . import _files
from ._dir import Dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Reading(NamedTuple):
    """A counter's value and the file that it was read from."""

    value: float
    source: str


if TYPE_CHECKING:
    Dirs = Mapping[str, Dir]
    """By controller (v2 names); `core` is the v2 group, which always counts CPU time."""


def _number(name: str, directory: Dir, file: str) -> dict[str, Reading]:
    """Return a file's one number under `name`; nothing where the kernel does not keep it."""
    value = _files.number(_read(directory, file))
    return {} if value is None else {name: Reading(value, f"cgroup v{directory.version} {file}")}


def _read(directory: Dir, file: str) -> str | None:
    """Read a counter; a kernel that does not have it, or a group that is gone, gives None."""
    try:
        return _files.read_value(f"{directory.path}/{file}")
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def usage(dirs: Dirs) -> dict[str, Reading]:
    """Return what a group has used; a counter that the kernel does not keep is left out.

    Keys: memory_peak (bytes), user_s and system_s (seconds of all processes), pids_peak, io_read
    and io_write (bytes from and to block devices).
    """
    found = _cpu(dirs)
    if memory := dirs.get("memory"):
        file = "memory.peak" if memory.is_v2 else "memory.max_usage_in_bytes"
        found |= _number("memory_peak", memory, file)
    if pids := dirs.get("pids"):
        found |= _number("pids_peak", pids, "pids.peak")
    if io := dirs.get("io"):
        found |= _io(io)
    return found


def cpu_s(dirs: Dirs) -> float | None:
    """Return the seconds of processor time that a group has used, None if nothing counts them."""
    readings = _cpu(dirs)
    return sum(reading.value for reading in readings.values()) if readings else None


def _cpu(dirs: Dirs) -> dict[str, Reading]:
    if core := dirs.get("core"):
        table = _files.flat(_read(core, "cpu.stat"))
        keys = {"user_s": "user_usec", "system_s": "system_usec"}
        return {
            name: Reading(table[key] / 1e6, f"cgroup v2 cpu.stat {key}")
            for name, key in keys.items()
            if key in table
        }
    if cpuacct := dirs.get("cpuacct"):
        return _v1_cpu(cpuacct)
    return {}


def _v1_cpu(directory: Dir) -> dict[str, Reading]:
    """Divide the exact sum in the proportion of the coarser counters, as v2's cpu.stat does."""
    total = _files.number(_read(directory, "cpuacct.usage"))
    if total is None:
        return {}
    table = _files.flat(_read(directory, "cpuacct.stat"))
    user, system = table.get("user", 0), table.get("system", 0)
    user_s = total / 1e9 * (user / (user + system) if user + system else 1.0)
    source = "cgroup v1 cpuacct.usage, divided as cpuacct.stat"
    return {"user_s": Reading(user_s, source), "system_s": Reading(total / 1e9 - user_s, source)}


def _io(directory: Dir) -> dict[str, Reading]:
    """Add up the devices. Without a line for any, v1 may not be counting, so nothing is said."""
    file = "io.stat" if directory.is_v2 else "blkio.throttle.io_service_bytes_recursive"
    text = _read(directory, file)
    if text is None:
        return {}
    sums = {"io_read": 0, "io_write": 0}
    if not directory.is_v2 and ":" not in text:
        return {}
    for name, amount in _io_amounts(text, v2=directory.is_v2):
        sums[name] += amount
    source = f"cgroup v{directory.version} {file}"
    return {name: Reading(value, source) for name, value in sums.items()}


def _io_amounts(text: str, *, v2: bool) -> Iterator[tuple[str, int]]:
    names = {"rbytes": "io_read", "wbytes": "io_write", "Read": "io_read", "Write": "io_write"}
    for line in text.splitlines():
        device, *words = line.split()
        if v2:
            pairs = [word.partition("=")[::2] for word in words]
        else:
            pairs = [(words[0], words[1])] if len(words) == 2 else []  # not the closing "Total N"
        for key, value in pairs:
            if key in names and value.isdecimal() and ":" in device:
                yield names[key], int(value)


def events(dirs: Dirs) -> dict[str, int]:
    """Return how often the kernel stopped a group at a limit; unknown ones are left out.

    Keys: oom_kill (processes of this group killed for memory), oom_group_kill (v2: times the group
    was killed as a whole), memory_max (times at its own memory limit), pids_max (forks refused: by
    this group's limit on v2 since Linux 6.11; before that, and on v1, to this group's processes).
    """
    found: dict[str, int] = {}
    if memory := dirs.get("memory"):
        if memory.is_v2:
            table = _files.flat(_read(memory, "memory.events"))
            keys = {"oom_kill": "oom_kill", "oom_group_kill": "oom_group_kill", "memory_max": "max"}
        else:
            table = _files.flat(_read(memory, "memory.oom_control"))
            table |= {"failcnt": _files.number(_read(memory, "memory.failcnt")) or 0}
            keys = {"oom_kill": "oom_kill", "memory_max": "failcnt"}
        found |= {name: table[key] for name, key in keys.items() if key in table}
    if pids := dirs.get("pids"):
        table = _files.flat(_read(pids, "pids.events"))
        found |= {"pids_max": table["max"]} if "max" in table else {}
    return found


def stats(dirs: Dirs) -> dict[str, Reading]:
    """Return `usage`, and the memory and pids in use."""
    found: dict[str, Reading] = {}
    if memory := dirs.get("memory"):
        file = "memory.current" if memory.is_v2 else "memory.usage_in_bytes"
        found |= _number("memory", memory, file)
    if pids := dirs.get("pids"):
        found |= _number("pids", pids, "pids.current")
    return found | usage(dirs)  # last: a peak is never below what was in use before


def pressure(dirs: Dirs) -> dict[str, Reading]:
    """Return the percentage of the last 10 s in which processes waited for something.

    Keys: `cpu_some`, `memory_some`, `io_some`: some waited; `_full`: all did (psi.rst).
    """
    found: dict[str, Reading] = {}
    if core := dirs.get("core"):
        for resource in ("cpu", "memory", "io"):
            found |= _pressure(core, resource)
    return found


def _pressure(directory: Dir, resource: str) -> dict[str, Reading]:
    file = f"{resource}.pressure"
    try:
        text = _read(directory, file)
    except OSError:  # psi=0 on the kernel's command line
        return {}
    found = {}
    for line in (text or "").splitlines():
        kind, first, *_ = line.split()
        name, _, value = first.partition("=")
        if name == "avg10":
            found[f"{resource}_{kind}"] = Reading(float(value), f"cgroup v2 {file} {kind} avg10")
    return found
