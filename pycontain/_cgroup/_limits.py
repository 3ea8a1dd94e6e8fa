# SPDX-License-Identifier: Apache-2.0
"""The limits of a sandbox as checked values, and what the machine has at most."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
from dataclasses import dataclass

from pycontain.config import IoLimit
from pycontain.errors import ConfigError

from . import _files
from ._cpus import format_cpuset, parse_cpuset

PAGE = os.sysconf("SC_PAGE_SIZE")
_SMALLEST_CPUS = 0.01  # the kernel refuses a quota below 1 ms of a 100 ms period (sched-bwc.rst)


def _require_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, not {value}")


def whole_disk(device: str) -> str:
    """Return `major:minor` of the disk that a device or path of an `IoLimit` means.

    Limits apply to whole disks (cgroup-v2.rst, "io.max"), so a partition stands for its disk.

    Raises:
        ConfigError: No such path, or one that no block device stores, such as on a tmpfs.
    """
    number = device
    if os.path.isabs(device):
        try:
            found = os.stat(device)
        except OSError as error:
            raise ConfigError(f"io device {device!r}: {error.strerror}") from None
        is_device = stat.S_ISBLK(found.st_mode)
        where = found.st_rdev if is_device else found.st_dev
        number = f"{os.major(where)}:{os.minor(where)}"
    entry = os.path.realpath(f"/sys/dev/block/{number}")
    if not os.path.exists(entry):
        raise ConfigError(
            f"io device {device!r} is absent, or no block device stores it: /sys/dev/block lists "
            "the block devices"
        )
    if os.path.exists(f"{entry}/partition"):
        return _files.read(f"{os.path.dirname(entry)}/dev").strip()
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandbox as a whole may use; None means unlimited.

    Attributes:
        memory: Bytes, page cache and tmpfs included.
        swap: Bytes of swap on top of `memory`; in force only together with it.
        cpus: Processors' worth of time, 1.5 being one and a half.
        pids: Processes and threads at once.
        cpuset: The CPUs to run on, such as `0-2,5`.
        cpuset_exclusive: No other group is to have these CPUs.
        io: Bounds per block device.

    Raises:
        ConfigError: A value that no machine could enforce.
    """

    memory: int | None = None
    swap: int = 0
    cpus: float | None = None
    pids: int | None = None
    cpuset: str | None = None
    cpuset_exclusive: bool = False
    io: tuple[IoLimit, ...] = ()

    def __post_init__(self) -> None:
        if self.memory is not None:
            _require_whole("memory", self.memory, PAGE)
        _require_whole("swap", self.swap, 0)
        if self.pids is not None:
            _require_whole("pids", self.pids, 1)
        if self.cpuset is not None:
            parse_cpuset(self.cpuset)
        cpus = self.cpus
        if cpus is not None:
            if isinstance(cpus, bool) or not isinstance(cpus, (int, float)):
                raise ConfigError(f"cpus must be a number, not {cpus!r}")
            if not math.isfinite(cpus) or cpus < _SMALLEST_CPUS:
                raise ConfigError(f"cpus must be at least {_SMALLEST_CPUS}, not {cpus}")

    @property
    def controllers(self) -> frozenset[str]:
        """The controllers (by their v2 names) that these limits need."""
        wanted = {
            "memory": self.memory is not None,
            "cpu": self.cpus is not None,
            "pids": self.pids is not None,
            "cpuset": self.cpuset is not None,
            "io": bool(self.io),
        }
        return frozenset(name for name, needed in wanted.items() if needed)

    def on_machine(self) -> Limits:
        """Return these limits with each disk by its number, if the machine has what they name.

        More than the machine has would silently limit nothing.

        Raises:
            ConfigError: More memory, CPUs or processes than there are; an absent CPU or device.
        """
        if self.memory is not None and self.memory > (total := _total_memory()):
            raise ConfigError(
                f"memory={self.memory} is more than this machine has ({total} bytes, MemTotal in "
                "/proc/meminfo): ask for less, or leave memory unset"
            )
        if self.cpus is not None and self.cpus > (count := os.cpu_count() or 1):
            raise ConfigError(
                f"cpus={self.cpus} is more than this machine has ({count} online): ask for less, "
                "or leave cpus unset"
            )
        if self.pids is not None and self.pids > (most := _pid_max()):
            raise ConfigError(
                f"pids={self.pids} is more than the kernel can number ({most}, "
                "/proc/sys/kernel/pid_max): ask for less, or leave pids unset"
            )
        if self.cpuset is not None:
            self._check_cpuset()
        disks = (dataclasses.replace(b, device=whole_disk(os.fspath(b.device))) for b in self.io)
        return dataclasses.replace(self, io=tuple(disks))

    def _check_cpuset(self) -> None:
        online = _files.read_optional("/sys/devices/system/cpu/online")
        if online is None:
            return
        absent = parse_cpuset(self.cpuset or "") - parse_cpuset(online)
        if absent:
            raise ConfigError(
                f"cpuset={self.cpuset!r} names CPUs that are not online: {format_cpuset(absent)} "
                f"(/sys/devices/system/cpu/online: {online.strip()})"
            )


def _total_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * PAGE


def _pid_max() -> int:
    return _files.number(_files.read_optional("/proc/sys/kernel/pid_max")) or 1 << 22
