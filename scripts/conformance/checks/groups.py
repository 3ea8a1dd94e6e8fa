# SPDX-License-Identifier: Apache-2.0
"""Control groups, by the files of version 1 or 2: config-linux.md#control-groups."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from conformance.box import Box, becomes
from conformance.check import Check, Seen

_check = functools.partial(Check, area="cgroups")
_MIB = 1 << 20


def _limit(
    name: str, resources: dict[str, Any], v1: str, v2: str, sees: Seen, **more: Any
) -> Check:
    """A file of the controller is read from inside."""
    change = {f"linux.resources.{place}": value for place, value in resources.items()}
    return _check(name=name, change=change, run=f"group '{v1}' {v2}", sees=sees, **more)


def _either(*values: str) -> re.Pattern[str]:
    return re.compile("|".join(values))


def _devices(name: str, rules: list[dict[str, Any]], run: str, sees: str) -> Check:
    change = {"linux.resources.devices": rules}
    return _check(name=f"devices: {name}", change=change, run=run, sees=sees)


_DENY = {"allow": False, "access": "rwm"}
_MADE = "mknod /tmp/d c 1 3 && echo made; echo x 2>/dev/null >/tmp/d && echo written"
_LOOP = (
    "mknod /tmp/d b 7 99 2>/dev/null && echo made; "
    "head -c 1 /tmp/d 2>&1 | grep -c 'not permitted'; true"
)


def _path(box: Box) -> None:
    box.change({"linux.cgroupsPath": f"{box.cgroup}/a/b"})
    lines = box.prints("cut -d: -f2,3 /proc/self/cgroup").splitlines()
    assert any(line.endswith(f"{box.cgroup}/a/b") for line in lines), lines


def _relative(box: Box) -> None:
    box.change({"linux.cgroupsPath": f"{box.id}-relative"})
    lines = box.prints("cut -d: -f2,3 /proc/self/cgroup").splitlines()
    assert any(line.endswith(f"{box.id}-relative") for line in lines), lines


def _missing(box: Box) -> None:
    box.change({"linux.cgroupsPath": None})
    lines = box.prints("cut -d: -f2,3 /proc/self/cgroup").splitlines()
    assert any(box.id in line for line in lines), lines


def _dots(box: Box) -> None:
    box.change({"linux.cgroupsPath": f"/{box.id}/../../../../../tmp/{box.id}"})
    box.run("true")
    assert not Path("/tmp", box.id).exists(), "it was made outside of the hierarchy"


def _gone(box: Box) -> None:
    box.create("mkdir /groups/x 2>/dev/null; sleep 1000")
    box.start()
    assert box.groups(), "no control group"
    box.output("kill", box.id, "KILL")
    assert becomes(lambda: box.status == "stopped")
    box.output("delete", box.id)
    assert not box.groups(), "they are still there"


def _update(box: Box) -> None:
    box.change({"linux.resources.memory": {"limit": 64 * _MIB, "swap": 64 * _MIB}})
    box.create("sleep 1000")
    box.start()
    words = ("--memory", str(32 * _MIB), "--memory-swap", str(32 * _MIB), "--pids-limit", "77")
    box.output("update", *words, box.id)
    script = (
        ". /etc/profile; group memory/memory.limit_in_bytes memory.max; "
        "group pids/pids.max pids.max"
    )
    assert box.output("exec", box.id, "sh", "-c", script).split() == [str(32 * _MIB), "77"]


def _update_document(box: Box) -> None:
    box.change({"linux.resources.pids": {"limit": 10}})
    box.create("sleep 1000")
    box.start()
    box.output("update", "--resources", "-", box.id, input='{"pids": {"limit": 33}}')
    script = ". /etc/profile; group pids/pids.max pids.max"
    assert box.output("exec", box.id, "sh", "-c", script).strip() == "33"


CHECKS = (
    _check(name="an absolute cgroupsPath", life=_path),
    _check(name="a relative cgroupsPath", life=_relative),
    _check(name="no cgroupsPath", life=_missing),
    _check(name="a cgroupsPath that would leave the hierarchy", life=_dots),
    _check(name="the groups are gone after delete", life=_gone),
    _limit(
        "memory.limit",
        {"memory": {"limit": 64 * _MIB}},
        "memory/memory.limit_in_bytes",
        "memory.max",
        str(64 * _MIB),
    ),
    _limit(
        "memory.reservation",
        {"memory": {"reservation": 32 * _MIB}},
        "memory/memory.soft_limit_in_bytes",
        "memory.low",
        str(32 * _MIB),
    ),
    _limit(
        "memory.swap",
        {"memory": {"limit": 64 * _MIB, "swap": 96 * _MIB}},
        "memory/memory.memsw.limit_in_bytes",
        "memory.swap.max",
        _either(str(96 * _MIB), str(32 * _MIB)),
        needs=("swap_accounting",),
    ),
    _limit(
        "memory.swappiness",
        {"memory": {"swappiness": 7}},
        "memory/memory.swappiness",
        "",
        "7",
        needs=("v1",),
    ),
    _limit(
        "memory.disableOOMKiller",
        {"memory": {"limit": 64 * _MIB, "disableOOMKiller": True}},
        "memory/memory.oom_control",
        "",
        re.compile("(?s)oom_kill_disable 1.*"),
        needs=("v1",),
    ),
    _limit("pids.limit", {"pids": {"limit": 42}}, "pids/pids.max", "pids.max", "42"),
    _limit("pids.limit of -1", {"pids": {"limit": -1}}, "pids/pids.max", "pids.max", "max"),
    _limit(
        "cpu.shares",
        {"cpu": {"shares": 512}},
        "cpu/cpu.shares",
        "cpu.weight",
        _either("512", "20", "59"),
    ),
    _limit(
        "cpu.quota and cpu.period",
        {"cpu": {"quota": 25000, "period": 50000}},
        "cpu/cpu.cfs_quota_us",
        "cpu.max",
        _either("25000", "25000 50000"),
    ),
    _limit(
        "cpu.quota without a period",
        {"cpu": {"quota": 30000}},
        "cpu/cpu.cfs_quota_us",
        "cpu.max",
        _either("30000", "30000 100000"),
    ),
    _limit(
        "cpu.burst",
        {"cpu": {"quota": 25000, "period": 50000, "burst": 10000}},
        "cpu/cpu.cfs_burst_us",
        "cpu.max.burst",
        "10000",
        needs=("cpu_burst",),
    ),
    _limit("cpu.idle", {"cpu": {"idle": 1}}, "cpu/cpu.idle", "cpu.idle", "1", needs=("cpu_idle",)),
    _limit("cpu.cpus", {"cpu": {"cpus": "0"}}, "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
    _limit("cpu.mems", {"cpu": {"mems": "0"}}, "cpuset/cpuset.mems", "cpuset.mems", "0"),
    _limit(
        "blockIO.weight",
        {"blockIO": {"weight": 300}},
        "blkio/blkio.bfq.weight",
        "io.bfq.weight",
        re.compile("(default )?300"),
        needs=("bfq",),
    ),
    _limit(
        "blockIO.throttleReadBpsDevice",
        {"blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1048576}]}},
        "blkio/blkio.throttle.read_bps_device",
        "io.max",
        re.compile("254:0 (1048576|rbps=1048576 .*)"),
        needs=("disk_254",),
    ),
    _limit(
        "blockIO.throttleWriteIOPSDevice",
        {"blockIO": {"throttleWriteIOPSDevice": [{"major": 254, "minor": 0, "rate": 100}]}},
        "blkio/blkio.throttle.write_iops_device",
        "io.max",
        re.compile("254:0 (100|.*wiops=100)"),
        needs=("disk_254",),
    ),
    _limit(
        "hugepageLimits",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * _MIB}]},
        "hugetlb/hugetlb.2MB.limit_in_bytes",
        "hugetlb.2MB.max",
        str(4 * _MIB),
        needs=("hugetlb",),
    ),
    _limit(
        "unified",
        {"unified": {"memory.high": str(48 * _MIB)}},
        "",
        "memory.high",
        str(48 * _MIB),
        needs=("v2",),
    ),
    _check(
        name="a bad name in unified is refused",
        change={"linux.resources.unified": {"../memory.max": "1"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="a bad list of processors is refused",
        change={"linux.resources.cpu": {"cpus": "0-nope"}},
        run="echo RAN",
        refused=True,
    ),
    _devices(
        "the ones that every container has may be used",
        [_DENY],
        "echo x >/dev/null && head -c 2 /dev/zero | wc -c",
        "2",
    ),
    _devices("all denied: others can be made, not used", [_DENY], _LOOP, "made\n1"),
    _devices(
        "one allowed",
        [_DENY, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
        _MADE,
        "made\nwritten",
    ),
    _devices(
        "all of a kind", [_DENY, {"allow": True, "type": "b", "access": "rwm"}], _LOOP, "made\n0"
    ),
    _devices(
        "the later rule counts",
        [
            {"allow": True, "access": "rwm"},
            {"allow": False, "type": "b", "major": 7, "access": "rw"},
        ],
        _LOOP,
        "made\n1",
    ),
    _check(
        name="intelRdt without resctrl is refused",
        change={"linux.intelRdt": {"l3CacheSchema": "L3:0=f"}},
        run="echo RAN",
        refused=True,
        needs=("no_resctrl",),
    ),
    _check(name="update by options", life=_update),
    _check(name="update by a document", life=_update_document),
    _check(
        name="too much memory is death",
        change={"linux.resources.memory": {"limit": 16 * _MIB, "swap": 16 * _MIB}},
        run="sh -c 'x=$(head -c 100000000 /dev/zero | tr \"\\\\0\" a)' 2>/dev/null; echo status $?",
        sees=re.compile("status (137|1|2)"),
    ),
    _check(
        name="too many processes are refused",
        change={"linux.resources.pids": {"limit": 8}},
        run="(for i in $(seq 20); do sleep 1 & done) 2>&1 | grep -c fork",
        sees="1",
    ),
)
