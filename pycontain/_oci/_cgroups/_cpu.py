# SPDX-License-Identifier: Apache-2.0
"""Processor time: scheduler/sched-bwc.rst, sched-rt-group.rst; cgroup-v2.rst, "CPU"."""

from __future__ import annotations

from pycontain._cgroup import _files
from pycontain.errors import ConfigError

from ._write import Setting, put_all, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import CPU, Resources

_LEAST_SHARES, _MOST_SHARES = 2, 1 << 18
_MOST_WEIGHT = 10_000


def asked(resources: Resources) -> str:
    """Return the first field that needs the controller, "" if none does.

    As in runc, 0 is none, but for `burst` and `idle`.
    """
    cpu = resources.cpu
    values = {
        "shares": cpu.shares,
        "quota": cpu.quota,
        "period": cpu.period,
        "burst": cpu.burst is not None,
        "idle": cpu.idle is not None,
        "realtimePeriod": cpu.realtime_period,
        "realtimeRuntime": cpu.realtime_runtime,
    }
    return next((f"cpu.{name}" for name, value in values.items() if value), "")


def weight(shares: int) -> int:
    """Convert v1's shares (2 to 262144) to v2's weight (1 to 10000).

    On a curve through the ends and through both defaults, 1024 and 100, as runc does since 1.3.2
    and crun since 1.23; the straight line of before made a container with the default shares weigh
    less than half of what is beside it.
    """
    if shares <= _LEAST_SHARES:
        return 1
    if shares >= _MOST_SHARES:
        return _MOST_WEIGHT
    import math  # noqa: PLC0415 - few ask for this

    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def apply(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError, ConfigError."""
    cpu = resources.cpu
    put_all(group, _settings_v2(cpu, group) if group.is_v2 else _settings_v1(cpu, group))


def _settings_v1(cpu: CPU, group: Dir) -> list[Setting]:
    values = (
        ("cpu.shares", cpu.shares, "shares"),
        ("cpu.cfs_period_us", cpu.period, "period"),
        ("cpu.cfs_quota_us", cpu.quota, "quota"),
        ("cpu.rt_period_us", cpu.realtime_period, "realtimePeriod"),
        ("cpu.rt_runtime_us", cpu.realtime_runtime, "realtimeRuntime"),
    )
    found = [Setting(file, str(value), f"cpu.{field}") for file, value, field in values if value]
    return [*found, *_burst_and_idle(cpu, group, "cpu.cfs_burst_us")]


def _settings_v2(cpu: CPU, group: Dir) -> list[Setting]:
    if cpu.realtime_period or cpu.realtime_runtime:
        field = "realtimePeriod" if cpu.realtime_period else "realtimeRuntime"
        raise unsupported(f"cpu.{field}", "cgroup v2 has no such limit", "leave it out")
    found = []
    if cpu.shares:
        found.append(Setting("cpu.weight", str(weight(cpu.shares)), "cpu.shares"))
    if cpu.quota or cpu.period:
        quota, period = _files.read(f"{group.path}/cpu.max").split()
        if cpu.quota:
            quota = "max" if cpu.quota < 0 else str(cpu.quota)
        field = "quota" if cpu.quota else "period"
        found.append(Setting("cpu.max", f"{quota} {cpu.period or period}", f"cpu.{field}"))
    return [*found, *_burst_and_idle(cpu, group, "cpu.max.burst")]


def _burst_and_idle(cpu: CPU, group: Dir, burst: str) -> list[Setting]:
    """Return what may be 0; that is no news for a kernel that does not have it (before 5.14, 5.15).

    Raises:
        ConfigError: `idle` is neither 0 nor 1.
    """
    if cpu.idle not in (None, 0, 1):
        raise ConfigError(f"linux.resources.cpu.idle: {cpu.idle} is neither 0 nor 1")
    found = []
    for file, value, field in ((burst, cpu.burst, "burst"), ("cpu.idle", cpu.idle, "idle")):
        there = _files.read_optional(f"{group.path}/{file}") is not None
        if value or (value == 0 and there):
            found.append(Setting(file, str(value), f"cpu.{field}"))
    return found
