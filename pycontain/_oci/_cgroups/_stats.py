# SPDX-License-Identifier: Apache-2.0
"""What a container has used, in the form of runc's `events --stats`.

Times are in nanoseconds, sizes in bytes. As there, much of what is 0 is left out. Sources:
cgroup-v1/cpuacct.rst, memory.rst, blkio-controller.rst, hugetlb.rst, cpusets.rst; cgroup-v2.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pycontain._cgroup import _files
from pycontain._cgroup._cpus import parse_cpuset
from pycontain._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain._cgroup._dir import Dir

Find = Callable[[str], "Dir | None"]

UNLIMITED_V2 = (1 << 64) - 1
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPUSET_FLAGS = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
    *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)


class _Group(NamedTuple):
    """The files of a controller; those that are absent are empty."""

    directory: Dir | None

    @property
    def is_v2(self) -> bool:
        return self.directory is not None and self.directory.is_v2

    def text(self, file: str) -> str:
        if self.directory is None:
            return ""
        try:
            return _files.read_optional(f"{self.directory.path}/{file}") or ""
        except OSError:  # some files answer EINVAL or EOPNOTSUPP where something is switched off
            return ""

    def number(self, file: str) -> int:
        return _files.number(self.text(file)) or 0

    def limit(self, file: str) -> int:
        text = self.text(file).strip()
        return UNLIMITED_V2 if text == "max" else int(text or 0)

    def table(self, file: str) -> dict[str, int]:
        return _files.flat(self.text(file))


def stats(find: Find) -> dict[str, Any]:
    """Return all that is known.

    Args:
        find: Returns the group with a controller ("": the v2 group).
    """
    core = _Group(find(""))
    return {
        "cpu": _cpu(find, core),
        "cpuset": _cpuset(_Group(find("cpuset"))),
        "memory": _with_pressure(_memory(_Group(find("memory"))), core, "memory"),
        "pids": _pids(_Group(find("pids"))),
        "blkio": _with_pressure(_blkio(_Group(find("io"))), core, "io"),
        "hugetlb": _hugetlb(_Group(find("hugetlb"))),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _some(**values: Any) -> dict[str, Any]:
    """Return those that are not 0, nor empty."""
    return {name: value for name, value in values.items() if value}


def _with_pressure(found: dict[str, Any], core: _Group, resource: str) -> dict[str, Any]:
    """Add what v2 says of waiting for a resource (psi.rst); the total is in microseconds."""
    lines = core.text(f"{resource}.pressure").splitlines()
    pressure = {}
    for kind, *words in (line.split() for line in lines):
        pairs = dict(word.split("=", 1) for word in words)
        pressure[kind] = {name: float(pairs[name]) for name in ("avg10", "avg60", "avg300")}
        pressure[kind]["total"] = int(pairs["total"])
    return found | ({"psi": pressure} if pressure else {})


def _cpu(find: Find, core: _Group) -> dict[str, Any]:
    accounting, group = _Group(find("cpuacct")), _Group(find("cpu"))
    throttle = group.table("cpu.stat")
    if group.is_v2 or accounting.directory is None:
        table = core.table("cpu.stat")  # there with or without the controller
        usage = {
            **_some(total=table.get("usage_usec", 0) * 1000),
            "kernel": table.get("system_usec", 0) * 1000,
            "user": table.get("user_usec", 0) * 1000,
        }
    else:
        usage = _usage_v1(accounting)
    throttled = throttle.get("throttled_time", 0) or throttle.get("throttled_usec", 0) * 1000
    throttling = _some(
        periods=throttle.get("nr_periods", 0),
        throttledPeriods=throttle.get("nr_throttled", 0),
        throttledTime=throttled,
    )
    return _with_pressure({"usage": usage, "throttling": throttling}, core, "cpu")


def _usage_v1(accounting: _Group) -> dict[str, Any]:
    table = accounting.table("cpuacct.stat")
    rows = [line.split() for line in accounting.text("cpuacct.usage_all").splitlines()[1:]]
    return {
        **_some(
            total=accounting.number("cpuacct.usage"),
            percpu=[int(word) for word in accounting.text("cpuacct.usage_percpu").split()],
            percpu_kernel=[int(row[2]) for row in rows],
            percpu_user=[int(row[1]) for row in rows],
        ),
        "kernel": table.get("system", 0) * _TICK_NS,
        "user": table.get("user", 0) * _TICK_NS,
    }


def _cpuset(group: _Group) -> dict[str, Any]:
    suffix = ".effective" if group.is_v2 else ""
    texts = {name: group.text(f"cpuset.{name}{suffix}").strip() for name in ("cpus", "mems")}
    lists = {name: sorted(parse_cpuset(text)) for name, text in texts.items() if text}
    flags = {name: group.text(f"cpuset.{name}").strip() for name in _CPUSET_FLAGS}
    return {**lists, **{name: int(text or 0) for name, text in flags.items()}}


def _memory(group: _Group) -> dict[str, Any]:
    raw = group.table("memory.stat")
    if group.is_v2:
        entries, cache = _entries_v2(group), raw.get("file", 0)
    else:
        kinds = {"usage": "", "swap": "memsw.", "kernel": "kmem.", "kernelTCP": "kmem.tcp."}
        entries = {name: _entry_v1(group, kind) for name, kind in kinds.items()}
        cache = raw.get("cache", 0)
    return {**_some(cache=cache), **entries, **_some(raw=raw)}


def _entry_v1(group: _Group, kind: str) -> dict[str, int]:
    prefix = f"memory.{kind}"
    return {
        "limit": group.limit(f"{prefix}limit_in_bytes"),
        **_some(
            usage=group.number(f"{prefix}usage_in_bytes"),
            max=group.number(f"{prefix}max_usage_in_bytes"),
        ),
        "failcnt": group.number(f"{prefix}failcnt"),
    }


def _entries_v2(group: _Group) -> dict[str, dict[str, int]]:
    """Return memory, and as on v1 memory and swap together, which v2 has apart."""
    limit, usage = group.limit("memory.max"), group.number("memory.current")
    swap_limit = group.limit("memory.swap.max")
    both = limit + swap_limit if UNLIMITED_V2 not in (limit, swap_limit) else UNLIMITED_V2
    failures = group.table("memory.events").get("max", 0)
    none = {"limit": 0, "failcnt": 0}
    return {
        "usage": {
            "limit": limit,
            **_some(usage=usage, max=group.number("memory.peak")),
            "failcnt": failures,
        },
        "swap": {
            "limit": both,
            **_some(usage=usage + group.number("memory.swap.current")),
            "failcnt": group.table("memory.swap.events").get("max", 0),
        },
        "kernel": none,
        "kernelTCP": none,
    }


def _pids(group: _Group) -> dict[str, int]:
    return _some(current=group.number("pids.current"), limit=group.number("pids.max"))


# Of v1: what is called how; BFQ's own counters come before those of the throttle, which count twice
# what goes through several devices.
_BLKIO_V1 = {
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
    "ioQueueRecursive": "io_queued_recursive",
    "ioServiceTimeRecursive": "io_service_time_recursive",
    "ioWaitTimeRecursive": "io_wait_time_recursive",
    "ioMergedRecursive": "io_merged_recursive",
    "ioTimeRecursive": "time_recursive",
    "sectorsRecursive": "sectors_recursive",
}
_BLKIO_V2 = {
    "ioServiceBytesRecursive": {"rbytes": "Read", "wbytes": "Write", "dbytes": "Discard"},
    "ioServicedRecursive": {"rios": "Read", "wios": "Write", "dios": "Discard"},
}


def _blkio(group: _Group) -> dict[str, Any]:
    if group.is_v2:
        return _blkio_v2(group.text("io.stat"))
    for scheduler in ("blkio.bfq", "blkio.throttle"):
        tables = {n: _rows_v1(group.text(f"{scheduler}.{f}")) for n, f in _BLKIO_V1.items()}
        if any(tables.values()):
            return _some(**tables)
    return {}


def _rows_v1(text: str) -> list[dict[str, Any]]:
    """Parse lines of `MAJOR:MINOR OPERATION VALUE`, or without an operation; not the last sum."""
    rows = []
    for device, *words in (line.split() for line in text.splitlines()):
        if ":" in device and words:
            operation = words[0] if len(words) > 1 else ""
            rows.append(_entry(device, operation, int(words[-1])))
    return rows


def _blkio_v2(text: str) -> dict[str, Any]:
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in _BLKIO_V2}
    for device, *words in (line.split() for line in text.splitlines()):
        values = dict(word.split("=", 1) for word in words if "=" in word)
        for name, keys in _BLKIO_V2.items():
            for key, operation in keys.items():
                if values.get(key, "").isdecimal():
                    tables[name].append(_entry(device, operation, int(values[key])))
    return _some(**tables)


def _entry(device: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return _some(major=int(major), minor=int(minor), op=operation, value=value)


def _hugetlb(group: _Group) -> dict[str, Any]:
    """Return each size of page, by its name in the files."""
    if group.directory is None:
        return {}
    use = ".current" if group.is_v2 else ".usage_in_bytes"
    found = {}
    for file in sorted(os.listdir(group.directory.path)):
        size = file.removeprefix("hugetlb.").removesuffix(use)
        if file != f"hugetlb.{size}{use}" or "." in size:
            continue
        if group.is_v2:
            highest, failures = 0, group.table(f"hugetlb.{size}.events").get("max", 0)
        else:
            highest = group.number(f"hugetlb.{size}.max_usage_in_bytes")
            failures = group.number(f"hugetlb.{size}.failcnt")
        usage = group.number(f"hugetlb.{size}{use}")
        found[size] = {**_some(usage=usage, max=highest), "failcnt": failures}
    return found
