# SPDX-License-Identifier: Apache-2.0
"""The `linux.resources` object of a configuration, which is also what `update` reads."""

from __future__ import annotations

from ._fields import INT64, UINT32, UINT64, shown
from ._parse_process import read_list
from ._spec import CPU, BlockIO, DeviceRule, Memory, Resources, ThrottleDevice, WeightDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._fields import Fields

_UNITS = ("KB", "MB", "GB", "TB")
_MAJOR = (1 << 12) - 1  # linux/kdev_t.h
_MINOR = (1 << 20) - 1


def read_resources(resources: Fields) -> Resources:
    """Return what control groups are to bound. Raises ConfigError."""
    network = resources.inside("network")
    return Resources(
        devices=tuple(_rule(row) for row in resources.objects("devices")),
        memory=_memory(resources.inside("memory")),
        cpu=_cpu(resources.inside("cpu")),
        pids_limit=resources.inside("pids").integer("limit", -1, INT64),
        block_io=_block_io(resources.inside("blockIO")),
        hugepage_limits=tuple(_hugepages(row) for row in resources.objects("hugepageLimits")),
        network_class_id=network.integer("classID", 0, UINT32),
        network_priorities=tuple(
            (row.needed("name"), row.number("priority", 0, UINT32))
            for row in network.objects("priorities")
        ),
        rdma={
            name: (row.integer("hcaHandles", 0, UINT32), row.integer("hcaObjects", 0, UINT32))
            for name, row in resources.members("rdma")
        },
        unified=_unified(resources),
    )


def _rule(row: Fields) -> DeviceRule:
    access = row.text("access", "rwm")
    if not access or not set(access) <= set("rwm"):
        raise row.wrong("access", f"{shown(access)} is not made of r, w and m")
    return DeviceRule(
        allow=row.flag("allow"),
        type=row.choice("type", ("a", "c", "b"), "a"),
        major=_any_number(row, "major", _MAJOR),
        minor=_any_number(row, "minor", _MINOR),
        access="".join(letter for letter in "rwm" if letter in access),
    )


def _any_number(row: Fields, name: str, high: int) -> int | None:
    """Return a device number, None for any: absent, or the -1 of runc."""
    value = row.integer(name, -1, high)
    return None if value == -1 else value


def _memory(row: Fields) -> Memory:
    found = Memory(
        limit=row.integer("limit", -1, INT64),
        reservation=row.integer("reservation", -1, INT64),
        swap=row.integer("swap", -1, INT64),
        kernel=row.integer("kernel", -1, INT64),
        kernel_tcp=row.integer("kernelTCP", -1, INT64),
        swappiness=_swappiness(row),
        disable_oom_killer=row.optional_flag("disableOOMKiller"),
        use_hierarchy=row.optional_flag("useHierarchy"),
        check_before_update=row.optional_flag("checkBeforeUpdate"),
    )
    if found.swap and found.limit and 0 < found.swap < found.limit:
        raise row.wrong("swap", f"memory with swap, {found.swap}, is less than limit")
    return found


def _swappiness(row: Fields) -> int | None:
    """Return the tendency to swap; docker sends (uint64)-1 for none."""
    value = row.integer("swappiness", -1, UINT64)
    if value is None or value in {-1, UINT64, INT64}:
        return None
    return row.number("swappiness", 0, 100)


def _cpu(row: Fields) -> CPU:
    return CPU(
        shares=row.integer("shares", 0, UINT64),
        quota=row.integer("quota", -1, INT64),
        burst=row.integer("burst", 0, UINT64),
        period=row.integer("period", 0, UINT64),
        realtime_runtime=row.integer("realtimeRuntime", -1, INT64),
        realtime_period=row.integer("realtimePeriod", 0, UINT64),
        cpus=read_list(row, "cpus"),
        mems=read_list(row, "mems"),
        idle=row.integer("idle", 0, 1),
    )


def _block_io(row: Fields) -> BlockIO:
    return BlockIO(
        weight=_weight(row, "weight"),
        leaf_weight=_weight(row, "leafWeight"),
        weight_device=tuple(
            WeightDevice(
                major=device.number("major", 0, _MAJOR),
                minor=device.number("minor", 0, _MINOR),
                weight=_weight(device, "weight"),
                leaf_weight=_weight(device, "leafWeight"),
            )
            for device in row.objects("weightDevice")
        ),
        throttle_read_bps_device=_throttles(row, "throttleReadBpsDevice"),
        throttle_write_bps_device=_throttles(row, "throttleWriteBpsDevice"),
        throttle_read_iops_device=_throttles(row, "throttleReadIOPSDevice"),
        throttle_write_iops_device=_throttles(row, "throttleWriteIOPSDevice"),
    )


def _weight(row: Fields, name: str) -> int | None:
    """Return a weight; clients that do not want one send 0."""
    value = row.integer(name, 0, 1000)
    return row.number(name, 10, 1000) if value else None


def _throttles(row: Fields, name: str) -> tuple[ThrottleDevice, ...]:
    return tuple(
        ThrottleDevice(
            major=device.number("major", 0, _MAJOR),
            minor=device.number("minor", 0, _MINOR),
            rate=device.number("rate", 0, UINT64),
        )
        for device in row.objects(name)
    )


def _hugepages(row: Fields) -> tuple[str, int]:
    size = row.needed("pageSize")
    if not (size[:-2].isascii() and size[:-2].isdecimal() and size[-2:] in _UNITS):
        raise row.wrong("pageSize", f"{shown(size)} is no size such as 2MB")
    return size, row.number("limit", 0, UINT64)


def _unified(resources: Fields) -> dict[str, str]:
    found = resources.text_map("unified")
    for name in found:
        if "/" in name or not 0 < name.find(".") < len(name) - 1:
            raise resources.wrong("unified", f"{shown(name)} is no file such as memory.high")
    return found
