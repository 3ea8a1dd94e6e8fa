# SPDX-License-Identifier: Apache-2.0
"""Containers' groups of an ordinary user, with a delegated subtree and without any."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain import _cgroup
from pycontain._oci import _cgroups
from pycontain._oci._cgroups import _devices
from pycontain._oci._spec import CPU, Memory, Resources
from pycontain.errors import UnsupportedError

from .conftest import config, left, unique, value

if TYPE_CHECKING:
    from .conftest import Make, Start

MB = 1 << 20
LIMITED = Resources(memory=Memory(limit=64 * MB, swap=64 * MB), cpu=CPU(shares=2048), pids_limit=9)

DELEGATED = pytest.mark.requires("user", "cgroup_v2", "cgroup_memory", "cgroup_pids")
NOTHING = pytest.mark.requires("user", "no_cgroup")


@DELEGATED
def test_limits_in_a_delegated_subtree(make: Make, start: Start) -> None:
    name = unique()
    cgroup = make(LIMITED, path=f"{name}/inner")
    with start(cgroup) as process:
        assert cgroup.pids() == (process.pid,)
        assert value(cgroup, "memory", "", "memory.max") == str(64 * MB)
        assert value(cgroup, "cpu", "", "cpu.weight") == "174"
        assert value(cgroup, "pids", "", "pids.max") == "9"
        cgroup.freeze()
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    cgroup.remove()
    assert left(name) == []


@DELEGATED
def test_an_absolute_path_below_the_delegated_subtree(make: Make) -> None:
    inner = make()
    v2 = _cgroup.detect().v2
    assert v2 is not None
    parent = str(Path(make(path="").paths[""]).parent.parent).removeprefix(v2.mount)
    cgroup = make(LIMITED, path=f"{parent}/{unique()}")
    assert value(cgroup, "pids", "", "pids.max") == "9"
    assert inner.paths == {}  # it began at the root


@DELEGATED
def test_devices_are_left_to_the_kernel(make: Make) -> None:
    assert make(path=unique()).notes == (_devices.NOT_ENFORCED,)


@NOTHING
@pytest.mark.parametrize("path", ["", "relative", "/absolute", "/a/b"])
def test_no_groups_where_none_can_be_made(path: str) -> None:
    cgroup = _cgroups.create(config(path), "id", systemd=False)
    assert cgroup.paths == {}
    assert len(cgroup.notes) > 1
    cgroup.remove()


@NOTHING
@pytest.mark.parametrize("path", ["", "/absolute"])
def test_limits_without_groups_are_an_error(path: str) -> None:
    with pytest.raises(UnsupportedError, match=r"linux\.resources\.cpu\.shares: the cpu contr"):
        _cgroups.create(config(path, LIMITED), "id", systemd=False)
