# SPDX-License-Identifier: Apache-2.0
"""Limits that cannot be right are refused by name before anything is made."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pycontain._cgroup import Limits, parse_cpuset
from pycontain._cgroup._cpus import format_cpuset
from pycontain.config import IoLimit
from pycontain.errors import ConfigError


@pytest.mark.parametrize("value", [0, -1, 1, 4095, "12Q", "64M", 1.5, True])
def test_bad_memory_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="memory"):
        Limits(memory=value)


@pytest.mark.parametrize("value", [0, -1, 0.001, "1", True, float("nan"), float("inf")])
def test_bad_cpus_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="cpus"):
        Limits(cpus=value)


@pytest.mark.parametrize("value", [0, -5, "64", 1.0, True])
def test_bad_pids_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="pids"):
        Limits(pids=value)


@pytest.mark.parametrize("value", [-1, "0", None])
def test_bad_swap_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="swap"):
        Limits(memory=1 << 20, swap=value)


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "1-", "-1", "3-1", "0,,1", "1;2", "99999999999", "٣", "0\n,", 5000 * "9"],
    ids=lambda text: ascii(text)[:20],
)
def test_bad_cpusets_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cpuset"):
        Limits(cpuset=text)


@pytest.mark.parametrize(
    "text, cpus", [("0", {0}), ("0-2,5", {0, 1, 2, 5}), (" 1 , 0\n", {0, 1}), ("3,3", {3})]
)
def test_cpusets_are_read_as_the_kernel_does(text: str, cpus: set[int]) -> None:
    assert parse_cpuset(text) == cpus
    assert parse_cpuset(format_cpuset(cpus)) == cpus


@pytest.mark.parametrize(
    "options",
    [
        {"device": ""},
        {"device": 8},
        {"device": "8:0", "read_bytes": "12Q"},
        {"device": "8:0", "read_bytes": 0},
        {"device": "8:0", "write_ops": "5"},
    ],
)
def test_bad_io_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="IoLimit"):
        IoLimit(**options)


MORE_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + 4096
MORE_CPUS = (os.cpu_count() or 1) + 1


@pytest.mark.parametrize(
    "limits, names",
    [
        (Limits(memory=MORE_MEMORY), ("memory", "/proc/meminfo")),
        (Limits(cpus=MORE_CPUS), ("cpus", "online")),
        (Limits(pids=1 << 30), ("pids", "/proc/sys/kernel/pid_max")),
        (Limits(cpuset="0,4000-4001"), ("cpuset", "4000,4001", "online")),
        (Limits(io=(IoLimit(device="4095:7", read_bytes=1),)), ("4095:7", "/sys/dev/block")),
        (Limits(io=(IoLimit(device="/nowhere"),)), ("io device", "/nowhere", "No such file")),
        (Limits(io=(IoLimit(device="/proc"),)), ("io device", "/proc", "/sys/dev/block")),
    ],
)
def test_more_than_the_machine_is_refused(limits: Limits, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        limits.on_machine()
    assert [name for name in names if name not in str(caught.value)] == []


def test_what_the_machine_has_is_accepted() -> None:
    Limits(memory=MORE_MEMORY - 4096, cpus=MORE_CPUS - 1, pids=100, cpuset="0").on_machine()


@pytest.mark.parametrize(
    "limits, controllers",
    [
        (Limits(), set()),
        (Limits(swap=5), set()),
        (Limits(memory=1 << 20, pids=3), {"memory", "pids"}),
        (Limits(cpus=1, cpuset="0", io=(IoLimit(device="8:0"),)), {"cpu", "cpuset", "io"}),
    ],
)
def test_only_the_controllers_of_given_limits_are_needed(
    limits: Limits, controllers: set[str]
) -> None:
    assert limits.controllers == controllers
