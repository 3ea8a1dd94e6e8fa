# SPDX-License-Identifier: Apache-2.0
"""Which file of which controller enforces a limit, on v1 and on v2.

Sources: cgroup-v2.rst; cgroup-v1/memory.rst, pids.rst, cpusets.rst, blkio-controller.rst;
scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pycontain.config import IoLimit
from pycontain.enforcement import Control
from pycontain.errors import ConfigError, UnsupportedError

from . import _files
from ._cpus import format_cpuset, parse_cpuset
from ._limits import Limits
from ._remedy import remedy

if TYPE_CHECKING:
    from ._dir import Dir

_PERIOD_US = 100_000
_IO_KEYS = {
    "read_bytes": ("rbps", "read_bps_device"),
    "write_bytes": ("wbps", "write_bps_device"),
    "read_ops": ("riops", "read_iops_device"),
    "write_ops": ("wiops", "write_iops_device"),
}


def apply(controller: str, limits: Limits, group: Dir) -> dict[str, Control]:
    """Write the limits of one controller (v2 name) into a group, and tell what is then in force.

    A limit that is None is written as "no limit" where the group may have had one.

    Raises:
        ConfigError: A cpuset beyond what the parent group has.
        UnsupportedError: The kernel refused a value; names the controller, the file, the remedy.
    """
    writer = _WRITERS.get(controller)
    try:
        return writer(limits, group) if writer else {}
    except OSError as error:
        raise refused(controller, group.version, error) from error


def refused(controllers: str, version: int, error: OSError) -> UnsupportedError:
    """Turn a refusal of the kernel into an error that names controller, file and remedy."""
    name = controllers or "tracking"
    text = f"cgroup v{version} {name}: {error.strerror}: {remedy(error.errno)}"
    return UnsupportedError(error.errno, text, error.filename)


def _by(group: Dir, file: str, limit: object) -> Control:
    if limit is None:
        return Control(in_force=False, why="no limit was asked for")
    return Control(in_force=True, by=f"cgroup v{group.version} {file}")


def _write_memory(limits: Limits, group: Dir) -> dict[str, Control]:
    if group.is_v2:
        _files.write(f"{group.path}/memory.max", _or_max(limits.memory))
        file, swap = "memory.max", "memory.swap.max"
        value = None if limits.memory is None else limits.swap
        accounted = _files.write_optional(f"{group.path}/{swap}", _or_max(value))
    else:
        accounted = _write_v1_memory(limits, group.path)
        file, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
    controls = {"memory": _by(group, file, limits.memory)}
    if limits.memory is None and not group.is_v2:
        return controls
    if not accounted:
        return controls | {"swap": _without_accounting(f"{group.path}/{swap}")}
    return controls | {"swap": _by(group, swap, limits.memory)}


def _or_max(value: int | None) -> str:
    return "max" if value is None else str(value)


def bound_memory(group: Dir, most: int | None) -> None:
    """Limit the memory of one command's group, below a group with limits. Raises OSError."""
    if group.is_v2:
        _files.write_optional(f"{group.path}/memory.max", _or_max(most))
    else:
        _files.write_optional(
            f"{group.path}/memory.limit_in_bytes", "-1" if most is None else str(most)
        )


def _write_v1_memory(limits: Limits, path: str) -> bool:
    """Write the limits without and with swap; False if the kernel does not account swap.

    The first may never be above the second, so a rise begins with the second.
    """
    memory, both = f"{path}/memory.limit_in_bytes", f"{path}/memory.memsw.limit_in_bytes"
    alone = with_swap = "-1"
    if limits.memory is not None:
        alone, with_swap = str(limits.memory), str(limits.memory + limits.swap)
    try:
        _files.write(memory, alone)
    except OSError as error:
        if error.errno != errno.EINVAL or not _files.write_optional(both, with_swap):
            raise
        _files.write(memory, alone)
        return True
    return _files.write_optional(both, with_swap)


def _without_accounting(file: str) -> Control:
    if len((_files.read_optional("/proc/swaps") or "").splitlines()) <= 1:
        return Control(in_force=True, by="no swap on this machine (/proc/swaps)")
    return Control(
        in_force=False,
        why=f"this kernel does not account swap to groups ({file} is absent)",
        remedy="boot with swapaccount=1, or switch swap off (swapoff -a)",
    )


def _write_cpu(limits: Limits, group: Dir) -> dict[str, Control]:
    quota = None if limits.cpus is None else round(limits.cpus * _PERIOD_US)
    if group.is_v2:
        _files.write(f"{group.path}/cpu.max", f"{_or_max(quota)} {_PERIOD_US}")
        return {"cpus": _by(group, "cpu.max", quota)}
    _files.write(f"{group.path}/cpu.cfs_period_us", str(_PERIOD_US))
    _files.write(f"{group.path}/cpu.cfs_quota_us", str(-1 if quota is None else quota))
    return {"cpus": _by(group, "cpu.cfs_quota_us", quota)}


def _write_pids(limits: Limits, group: Dir) -> dict[str, Control]:
    _files.write(f"{group.path}/pids.max", _or_max(limits.pids))
    return {"pids": _by(group, "pids.max", limits.pids)}


def _write_cpuset(limits: Limits, group: Dir) -> dict[str, Control]:
    """Write the CPUs, which the parent must have: v1 says EACCES there, v2 nothing at all."""
    parent = os.path.dirname(group.path)
    above = f"{parent}/cpuset.cpus.effective" if group.is_v2 else f"{parent}/cpuset.cpus"
    allowed = _files.read(above).strip()
    if limits.cpuset is not None:
        absent = parse_cpuset(limits.cpuset) - parse_cpuset(allowed)
        if absent:
            raise ConfigError(
                f"cpuset={limits.cpuset!r}: the cpuset controller does not give this process the "
                f"CPUs {format_cpuset(absent)} ({above}: {allowed}): choose among those"
            )
    unlimited = "\n" if group.is_v2 else allowed  # an empty v2 cpuset means the parent's
    _files.write(f"{group.path}/cpuset.cpus", limits.cpuset or unlimited)
    return {"cpuset": _by(group, "cpuset.cpus", limits.cpuset)}


def _write_io(limits: Limits, group: Dir) -> dict[str, Control]:
    named = {str(limit.device) for limit in limits.io}
    lifted = [IoLimit(device=device) for device in _io_devices(group) - named]
    for limit in (*lifted, *limits.io):
        for file, line in _io_lines(limit, group):
            _files.write(f"{group.path}/{file}", line)
    file = "io.max" if group.is_v2 else "blkio.throttle.*_device"
    return {"io": _by(group, file, limits.io or None)}


def _io_files(group: Dir) -> list[str]:
    if group.is_v2:
        return ["io.max"]
    return [f"blkio.throttle.{v1}" for _, v1 in _IO_KEYS.values()]


def _io_devices(group: Dir) -> set[str]:
    """Return the devices that a group has limits for."""
    texts = [_files.read(f"{group.path}/{file}") for file in _io_files(group)]
    return {line.split()[0] for text in texts for line in text.splitlines() if line.strip()}


def _io_lines(limit: IoLimit, group: Dir) -> list[tuple[str, str]]:
    """Return what to write into which file; v1 lifts a limit with 0, v2 with max."""
    values = [getattr(limit, name) for name in _IO_KEYS]
    if group.is_v2:
        keys = [v2 for v2, _ in _IO_KEYS.values()]
        pairs = [f"{key}={_or_max(value)}" for key, value in zip(keys, values, strict=True)]
        return [("io.max", f"{limit.device} {' '.join(pairs)}")]
    files = _io_files(group)
    return [
        (file, f"{limit.device} {value or 0}") for file, value in zip(files, values, strict=True)
    ]


_WRITERS = {
    "memory": _write_memory,
    "cpu": _write_cpu,
    "pids": _write_pids,
    "cpuset": _write_cpuset,
    "io": _write_io,
}
