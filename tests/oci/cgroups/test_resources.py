# SPDX-License-Identifier: Apache-2.0
"""Resources of a configuration in the kernel's files, at creation and by update."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain import _cgroup
from pycontain._cgroup._dir import Dir
from pycontain._oci._cgroups import _cpu, _io, _others, _write
from pycontain._oci._spec import CPU, BlockIO, Memory, Resources, ThrottleDevice, WeightDevice
from pycontain.errors import ConfigError, UnsupportedError

from .conftest import left, unique, value

if TYPE_CHECKING:
    from pycontain._oci._cgroups import Cgroup

    from .conftest import Make, Start

MB = 1 << 20

pytestmark = pytest.mark.requires("root", "cgroup_memory", "cgroup_pids")


@pytest.fixture(scope="module")
def disk() -> tuple[int, int]:
    """Return the major and minor number of a disk."""
    entry = next(e for e in sorted(Path("/sys/block").iterdir()) if not e.name.startswith("zram"))
    major, _, minor = (entry / "dev").read_text().strip().partition(":")
    return int(major), int(minor)


SWAP = Memory(limit=64 * MB, swap=96 * MB)

# Resources, then controller, file and text of v1, and file and text of v2.
FILES = {
    "limit": (
        Resources(memory=Memory(limit=64 * MB)),
        ("memory", "memory.limit_in_bytes", str(64 * MB), "memory.max", str(64 * MB)),
    ),
    "unlimited": (
        Resources(memory=Memory(limit=-1)),
        ("memory", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max"),
    ),
    "swap": (
        Resources(memory=SWAP),
        (
            *("memory", "memory.memsw.limit_in_bytes", str(96 * MB)),
            *("memory.swap.max", str(32 * MB)),
        ),
    ),
    "no swap": (
        Resources(memory=Memory(limit=64 * MB, swap=64 * MB)),
        ("memory", "memory.memsw.limit_in_bytes", str(64 * MB), "memory.swap.max", "0"),
    ),
    "unlimited swap": (
        Resources(memory=Memory(limit=64 * MB, swap=-1)),
        (
            *("memory", "memory.memsw.limit_in_bytes", "9223372036854771712"),
            *("memory.swap.max", "max"),
        ),
    ),
    "reservation": (
        Resources(memory=Memory(limit=64 * MB, reservation=32 * MB)),
        ("memory", "memory.soft_limit_in_bytes", str(32 * MB), "memory.low", str(32 * MB)),
    ),
    "shares": (
        Resources(cpu=CPU(shares=2048)),
        ("cpu", "cpu.shares", "2048", "cpu.weight", "174"),
    ),
    "quota": (
        Resources(cpu=CPU(quota=50_000)),
        ("cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    ),
    "quota and period": (
        Resources(cpu=CPU(quota=50_000, period=200_000)),
        ("cpu", "cpu.cfs_period_us", "200000", "cpu.max", "50000 200000"),
    ),
    "period": (
        Resources(cpu=CPU(period=200_000)),
        ("cpu", "cpu.cfs_period_us", "200000", "cpu.max", "max 200000"),
    ),
    "no quota": (
        Resources(cpu=CPU(quota=-1)),
        ("cpu", "cpu.cfs_quota_us", "-1", "cpu.max", "max 100000"),
    ),
    "burst": (
        Resources(cpu=CPU(quota=50_000, burst=10_000)),
        ("cpu", "cpu.cfs_burst_us", "10000", "cpu.max.burst", "10000"),
    ),
    "idle": (Resources(cpu=CPU(idle=1)), ("cpu", "cpu.idle", "1", "cpu.idle", "1")),
    "cpus": (Resources(cpu=CPU(cpus="0")), ("cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0")),
    "mems": (Resources(cpu=CPU(mems="0")), ("cpuset", "cpuset.mems", "0", "cpuset.mems", "0")),
    "pids": (Resources(pids_limit=17), ("pids", "pids.max", "17", "pids.max", "17")),
    "any pids": (Resources(pids_limit=-1), ("pids", "pids.max", "max", "pids.max", "max")),
    "0 pids": (Resources(pids_limit=0), ("pids", "pids.max", "max", "pids.max", "max")),
    "huge pages": (
        Resources(hugepage_limits=(("2MB", 4 * MB),)),
        (
            *("hugetlb", "hugetlb.2MB.limit_in_bytes", str(4 * MB)),
            *("hugetlb.2MB.max", str(4 * MB)),
        ),
    ),
}


def check(cgroup: Cgroup, expected: tuple[str, ...]) -> None:
    controller, v1, text1, v2, text2 = expected
    directory = cgroup.dir(controller)
    assert directory is not None
    assert value(cgroup, controller, v1, v2) == (text2 if directory.is_v2 else text1)


@pytest.mark.parametrize("name", FILES)
def test_files(make: Make, name: str) -> None:
    resources, expected = FILES[name]
    check(make(resources), expected)


@pytest.mark.parametrize("name", FILES)
def test_files_by_update(make: Make, name: str) -> None:
    resources, expected = FILES[name]
    cgroup = make()
    cgroup.update(resources)
    check(cgroup, expected)


V1_ONLY = {
    "kernelTCP": (
        Resources(memory=Memory(kernel_tcp=MB)),
        ("memory", "memory.kmem.tcp.limit_in_bytes", str(MB)),
    ),
    "swappiness": (
        Resources(memory=Memory(swappiness=20)),
        ("memory", "memory.swappiness", "20"),
    ),
    "disableOOMKiller": (
        Resources(memory=Memory(disable_oom_killer=True)),
        ("memory", "memory.oom_control", "oom_kill_disable 1"),
    ),
    "realtimeRuntime": (
        Resources(cpu=CPU(realtime_period=500_000, realtime_runtime=0)),
        ("cpu", "cpu.rt_period_us", "500000"),
    ),
}


@pytest.mark.parametrize("name", V1_ONLY)
def test_what_only_v1_has(make: Make, name: str) -> None:
    resources, (controller, file, text) = V1_ONLY[name]
    if _cgroup.detect().v1_of(controller) is None:
        with pytest.raises(UnsupportedError, match=r"linux\.resources\..*cgroup v2"):
            make(resources)
    else:
        assert value(make(resources), controller, file, "").splitlines()[0] == text


def test_updates_change_what_is_given_and_nothing_else(make: Make) -> None:
    cgroup = make(Resources(memory=SWAP, cpu=CPU(quota=50_000, period=200_000), pids_limit=9))
    cgroup.update(Resources(cpu=CPU(quota=80_000)))
    assert value(cgroup, "cpu", "cpu.cfs_period_us", "cpu.max").split()[-1] == "200000"
    cgroup.update(Resources(cpu=CPU(period=100_000)))
    assert value(cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "80000"
    assert value(cgroup, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MB)
    assert value(cgroup, "pids", "pids.max", "pids.max") == "9"


@pytest.mark.parametrize("limit", [16 * MB, 256 * MB])
def test_memory_and_swap_move_together(make: Make, limit: int) -> None:
    """On v1 neither may cross the other on the way."""
    cgroup = make(Resources(memory=SWAP))
    cgroup.update(Resources(memory=Memory(limit=limit, swap=limit + MB)))
    assert value(cgroup, "memory", "memory.limit_in_bytes", "memory.max") == str(limit)
    cgroup.update(Resources(memory=Memory(limit=-1)))
    unlimited = value(cgroup, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
    assert unlimited in ("9223372036854771712", "max")


@pytest.mark.parametrize("quota", [20_000, 400_000])
def test_quota_period_and_burst_move_together(make: Make, quota: int) -> None:
    cgroup = make(Resources(cpu=CPU(quota=100_000, period=100_000, burst=50_000)))
    cgroup.update(Resources(cpu=CPU(quota=quota, period=quota * 2, burst=quota // 2)))
    assert value(cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == str(quota)
    assert value(cgroup, "cpu", "cpu.cfs_burst_us", "cpu.max.burst") == str(quota // 2)


def test_idle_and_shares_move_together(make: Make) -> None:
    cgroup = make(Resources(cpu=CPU(shares=2048, idle=1)))
    cgroup.update(Resources(cpu=CPU(shares=512, idle=0)))
    assert value(cgroup, "cpu", "cpu.shares", "cpu.weight") in ("512", "59")


def test_swap_alone_needs_a_limit(make: Make) -> None:
    cgroup = make()
    wanted = Resources(memory=Memory(swap=64 * MB))
    if cgroup.paths.get("memory"):  # v1's own file takes it only above the limit
        with pytest.raises(UnsupportedError, match=r"memory\.swap"):
            make(wanted)
        return
    with pytest.raises(ConfigError, match="unable to set swap limit without memory limit"):
        make(wanted)
    cgroup.update(Resources(memory=Memory(limit=32 * MB)))
    cgroup.update(wanted)
    assert value(cgroup, "memory", "", "memory.swap.max") == str(32 * MB)


def test_swap_below_memory(make: Make) -> None:
    with pytest.raises((ConfigError, UnsupportedError), match=r"resources\.memory\.swap"):
        make(Resources(memory=Memory(limit=64 * MB, swap=32 * MB)))


def test_usage_is_checked_before_the_update(make: Make, start: Start) -> None:
    cgroup = make(Resources(memory=SWAP))
    with start(cgroup, "b = bytearray(b'x') * (32 << 20); print('full', flush=True); input()") as p:
        assert p.stdout is not None
        p.stdout.readline()
        small = Memory(limit=8 * MB, swap=8 * MB, check_before_update=True)
        with pytest.raises(ConfigError, match=r"memory\.limit: 8388608 is not more than"):
            cgroup.update(Resources(memory=small))
        assert value(cgroup, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MB)
        cgroup.update(Resources(memory=small.replace(limit=48 * MB, swap=48 * MB)))
        assert p.poll() is None


def test_limits_hold(make: Make, start: Start) -> None:
    cgroup = make(Resources(memory=Memory(limit=16 * MB, swap=16 * MB)))
    with start(cgroup, "bytearray(b'x') * (64 << 20)") as process:
        assert process.wait() == -9
    assert cgroup.events()["oom_kill"] >= 1


# Block devices


def test_throttles(make: Make, disk: tuple[int, int]) -> None:
    name, rate = ":".join(map(str, disk)), ThrottleDevice(major=disk[0], minor=disk[1], rate=MB)
    slow, free = rate.replace(rate=50), rate.replace(rate=0)
    cgroup = make(
        Resources(
            block_io=BlockIO(throttle_read_bps_device=(rate,), throttle_write_iops_device=(slow,))
        )
    )
    limits = value(cgroup, "io", "blkio.throttle.read_bps_device", "io.max")
    assert limits in (f"{name} {MB}", f"{name} rbps={MB} wbps=max riops=max wiops=50")
    limits = value(cgroup, "io", "blkio.throttle.write_iops_device", "io.max")
    assert limits in (f"{name} 50", f"{name} rbps={MB} wbps=max riops=max wiops=50")
    cgroup.update(Resources(block_io=BlockIO(throttle_read_bps_device=(free,))))
    limits = value(cgroup, "io", "blkio.throttle.read_bps_device", "io.max")
    assert limits in ("", f"{name} rbps=max wbps=max riops=max wiops=50")


def fake(tmp_path: Path, version: int, *files: str) -> Dir:
    """Return a directory that has the files of a scheduler that this machine does not use."""
    for file in files:
        (tmp_path / file).touch()
    return Dir(version, str(tmp_path))


WEIGHTS = {
    "CFQ": (1, "blkio.weight", "blkio.weight_device", "500", "8:0 300"),
    "BFQ on v1": (1, "blkio.bfq.weight", "blkio.bfq.weight_device", "500", "8:0 300"),
    "BFQ on v2": (2, "io.bfq.weight", "io.bfq.weight", "default 500", "8:0 300"),
    "iocost": (2, "io.weight", "io.weight", "default 4950", "8:0 2930"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(tmp_path: Path, name: str) -> None:
    version, file, device_file, text, device_text = WEIGHTS[name]
    group = fake(tmp_path, version, file, device_file)
    _io.apply(Resources(block_io=BlockIO(weight=500)), group)
    assert (tmp_path / file).read_text() == text
    (tmp_path / device_file).write_text("")
    row = WeightDevice(major=8, minor=0, weight=300)
    _io.apply(Resources(block_io=BlockIO(weight_device=(row,))), group)
    assert (tmp_path / device_file).read_text() == device_text


def test_weights_of_leaves(tmp_path: Path) -> None:
    wanted = Resources(block_io=BlockIO(leaf_weight=40))
    _io.apply(wanted, fake(tmp_path, 1, "blkio.leaf_weight"))
    assert (tmp_path / "blkio.leaf_weight").read_text() == "40"
    with pytest.raises(UnsupportedError, match=r"blockIO\.leafWeight: cgroup v2 has no such"):
        _io.apply(wanted, fake(tmp_path, 2))


@pytest.mark.parametrize("blkio, expected", [(10, 1), (500, 4950), (1000, 10000)])
def test_weight_conversion(blkio: int, expected: int) -> None:
    assert _io.weight(blkio) == expected


@pytest.mark.parametrize(
    "shares, expected",
    [
        (1, 1),
        (2, 1),
        (3, 2),
        (100, 17),
        (1024, 100),
        (2048, 174),
        (262_143, 10_000),
        (1 << 18, 10_000),
    ],
)
def test_shares_conversion(shares: int, expected: int) -> None:
    assert _cpu.weight(shares) == expected


# The small controllers, of which this kernel may have none


SMALL = {
    "network.classID": (
        Resources(network_class_id=0x100001),
        (_others.apply_net_cls, "net_cls.classid", "1048577"),
    ),
    "network.priorities": (
        Resources(network_priorities=(("lo", 5),)),
        (_others.apply_net_prio, "net_prio.ifpriomap", "lo 5"),
    ),
    "rdma": (
        Resources(rdma={"mlx5_1": (3, 10_000)}),
        (_others.apply_rdma, "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_controllers(tmp_path: Path, name: str) -> None:
    resources, (apply, file, text) = SMALL[name]
    apply(resources, fake(tmp_path, 1, file))
    assert (tmp_path / file).read_text() == text


@pytest.mark.parametrize(
    "name, controller", [("network.classID", "net_cls"), ("network.priorities", "net_prio")]
)
def test_a_controller_that_is_absent_is_named(make: Make, name: str, controller: str) -> None:
    if _cgroup.detect().v1_of(controller):
        return
    path = f"/{unique()}"
    expected = rf"linux\.resources\.{name}: the {controller} controller is not available"
    with pytest.raises(UnsupportedError, match=expected):
        make(SMALL[name][0], path)
    assert left(path[1:]) == []


def test_huge_pages_of_a_size_that_the_machine_has_not(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"hugepageLimits\[3MB\]"):
        make(Resources(hugepage_limits=(("3MB", MB),)))


# Unified


@pytest.mark.parametrize("key", ["memory", ".max", "../memory.max", "a/memory.max", "cgroup.procs"])
def test_unified_keys_that_are_none(make: Make, key: str) -> None:
    with pytest.raises(ConfigError, match="unified"):
        make(Resources(unified={key: "1"}))


def test_unified(make: Make) -> None:
    cgroup = make(Resources(unified={"hugetlb.2MB.max": str(6 * MB), "cgroup.max.depth": "7"}))
    assert value(cgroup, "", "", "hugetlb.2MB.max") == str(6 * MB)
    assert value(cgroup, "", "", "cgroup.max.depth") == "7"


def test_unified_of_a_controller_of_v1(make: Make) -> None:
    wanted = Resources(memory=SWAP, unified={"memory.high": str(48 * MB)})
    if _cgroup.detect().v1_of("memory"):
        with pytest.raises(UnsupportedError, match=r"unified\['memory.high'\].*no such file"):
            make(wanted)
    else:
        assert value(make(wanted), "memory", "", "memory.high") == str(48 * MB)


# Errors


@pytest.mark.parametrize(
    "resources, field",
    [
        (Resources(cpu=CPU(cpus="4095")), "cpu.cpus"),
        (Resources(cpu=CPU(cpus="x")), "cpu.cpus"),
        (Resources(cpu=CPU(quota=1)), "cpu.quota"),
        (Resources(pids_limit=1 << 40), "pids.limit"),
        (Resources(cpu=CPU(idle=2)), "cpu.idle"),
    ],
)
def test_errors_name_the_field(make: Make, resources: Resources, field: str) -> None:
    path = f"/{unique()}"
    with pytest.raises((UnsupportedError, ConfigError), match=rf"linux\.resources\.{field}"):
        make(resources, path)
    assert left(path[1:]) == []


def test_a_file_that_the_kernel_has_not(tmp_path: Path) -> None:
    setting = _write.Setting("cpu.idle", "1", "cpu.idle")
    with pytest.raises(UnsupportedError, match="this kernel has no such file"):
        _write.put(Dir(2, str(tmp_path)), setting)
