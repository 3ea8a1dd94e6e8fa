# SPDX-License-Identifier: Apache-2.0
"""A container's scope of systemd's: started, told what is in force, stopped.

systemd writes a unit's limits again when it likes to (`systemctl daemon-reload`), so what is in the
files of the scope is said to it as properties.

Sources: org.freedesktop.systemd1(5), systemd.resource-control(5), CGROUP_DELEGATION.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping

from pycontain._cgroup import _files, _systemd
from pycontain._cgroup._cpus import parse_cpuset
from pycontain._cgroup._hierarchy import discover
from pycontain._keeper import Keeper
from pycontain.errors import UnsupportedError

from . import _annotations, _path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import Config

    from ._annotations import Property

_INFINITY = (1 << 64) - 1
_NO_V1_LIMIT = 1 << 62  # PAGE_COUNTER_MAX in bytes, whatever the size of a page
_SECOND_US = 1_000_000


class Scope:
    """A scope that is a container's.

    A scope ends with its last process, so there is a keeper in it until the container's first
    process is.

    Args:
        unit: Its name.
        keeper: Where it was just started.
    """

    def __init__(self, unit: str, keeper: Keeper | None = None) -> None:
        self.unit = unit
        self._keeper = keeper
        self._pids: tuple[str, int] | None = None

    @property
    def keeper_pid(self) -> int:
        """The keeper's process id; 0 without one."""
        return self._keeper.pid if self._keeper else 0

    def tell(self, find: Callable[[str], Dir | None]) -> None:
        """Tell systemd the limits in the scope's files. Raises UnsupportedError."""
        properties = [one for controller in _LIMITS for one in _read(controller, find(controller))]
        if properties:
            _call("set_properties", self.unit, properties)

    def make_room(self, group: Dir, limit: int) -> None:
        """Let the keeper not count at a limit of processes. Raises OSError."""
        if self._keeper is not None and limit > 0:
            self._pids = f"{group.path}/pids.max", limit
            _files.write(self._pids[0], str(limit + 1))

    def release(self) -> None:
        """End the keeper."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._pids is not None:
            path, limit = self._pids
            self._pids = None
            with contextlib.suppress(FileNotFoundError):
                _files.write(path, str(limit))

    def stop(self) -> None:
        """Let systemd stop it; that it has ended by itself, or that systemd is gone, is fine."""
        self.release()
        _systemd.call("stop_unit", self.unit)


def start(config: Config, container_id: str) -> tuple[Scope, _path.Path]:
    """Let systemd make the scope that a cgroupsPath names, and return it with its group's path.

    Raises:
        ConfigError: The cgroupsPath is no unit's, or an annotation no property of one.
        UnsupportedError: There is no systemd, or it refused.
    """
    user = os.geteuid() != 0
    unit = _path.parse_unit(config.linux.cgroups_path, container_id, user=user)
    asked = _annotations.properties(config.annotations)
    if not _systemd.booted():
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            "--systemd-cgroup: systemd does not run this machine (no /run/systemd/system): leave "
            f"the option out, and give {_path.FIELD} as a path",
        )
    try:
        keeper = Keeper()
    except OSError as error:
        text = f"the process that is to hold a systemd scope cannot be started: {error}"
        raise UnsupportedError(error.errno, text) from error
    scope = Scope(unit.name, keeper)
    try:
        properties = _properties(unit, keeper.pid, container_id)
        _call("start_unit", unit.name, [*asked, *properties])
        return scope, _group_of(keeper.pid, unit)
    except BaseException:
        scope.release()
        raise


def _call(name: str, unit: str, properties: list[Property]) -> None:
    if refused := _systemd.call(name, unit, properties):
        text = f"--systemd-cgroup: {refused.why} ({refused.file}): {refused.remedy}"
        raise UnsupportedError(errno.EOPNOTSUPP, text)


def _properties(unit: _path.Unit, keeper: int, container_id: str) -> list[Property]:
    return [
        ("Description", ("s", f"pycontain: container {container_id}")),
        ("Slice", ("s", unit.slice)),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),  # nothing of it stays, however it ends
        ("DefaultDependencies", ("b", False)),
        ("TasksMax", ("t", _INFINITY)),
        ("PIDs", ("au", [keeper])),
    ]


def _group_of(pid: int, unit: _path.Unit) -> _path.Path:
    """Return the group that systemd put a process into, by the kernel's word."""
    host = discover(_files.read("/proc/self/mountinfo"), _files.read(f"/proc/{pid}/cgroup"))
    for hierarchy in (*host.named, *filter(None, [host.v2])):
        own = (hierarchy.own or "").removeprefix(hierarchy.mount)
        if os.path.basename(own) == unit.name:
            return _path.Path(tuple(own.strip("/").split("/")), absolute=True)
    raise UnsupportedError(
        errno.EOPNOTSUPP, f"--systemd-cgroup: systemd left process {pid} outside of {unit.name}"
    )


def _read(controller: str, group: Dir | None) -> list[Property]:
    if group is None:
        return []
    found = []
    for name, file, convert in _LIMITS[controller][group.version]:
        text = (_files.read_optional(f"{group.path}/{file}") or "").strip()
        if text:
            found.append((name, convert(text)))
    return found


def _limit(text: str) -> tuple[str, object]:
    value = _files.number(text)
    return ("t", _INFINITY if value is None or value >= _NO_V1_LIMIT else value)


def _quota(text: str) -> tuple[str, object]:
    """Turn v2's quota and period into processor time in each second, in microseconds."""
    quota, period = text.split()
    return ("t", _INFINITY if quota == "max" else int(quota) * _SECOND_US // int(period))


def _period(text: str) -> tuple[str, object]:
    return ("t", int(text.split()[1]))


def _mask(text: str) -> tuple[str, object]:
    """Turn a list of CPUs or nodes into bits, the lowest first."""
    bits = sum(1 << number for number in parse_cpuset(text))
    return ("ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


_Row = tuple[str, str, Callable[[str], tuple[str, object]]]
# By controller and version: the property, the file, and how the one becomes the other.
_LIMITS: Mapping[str, Mapping[int, tuple[_Row, ...]]] = {
    "memory": {
        1: (("MemoryLimit", "memory.limit_in_bytes", _limit),),
        2: (
            ("MemoryMax", "memory.max", _limit),
            ("MemoryHigh", "memory.high", _limit),
            ("MemoryLow", "memory.low", _limit),
            ("MemorySwapMax", "memory.swap.max", _limit),
        ),
    },
    "cpu": {
        1: (("CPUShares", "cpu.shares", _limit),),
        2: (
            ("CPUWeight", "cpu.weight", _limit),
            ("CPUQuotaPeriodUSec", "cpu.max", _period),
            ("CPUQuotaPerSecUSec", "cpu.max", _quota),
        ),
    },
    "pids": {
        1: (("TasksMax", "pids.max", _limit),),
        2: (("TasksMax", "pids.max", _limit),),
    },
    "cpuset": {
        1: (),
        2: (
            ("AllowedCPUs", "cpuset.cpus", _mask),
            ("AllowedMemoryNodes", "cpuset.mems", _mask),
        ),
    },
}
