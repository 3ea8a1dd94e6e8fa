# SPDX-License-Identifier: Apache-2.0
"""Containers in scopes of a real systemd: the system's for root, a user's own for the user."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain._cgroup._remove import until
from pycontain._oci import _cgroups
from pycontain._oci._spec import CPU, Memory, Resources
from pycontain.errors import UnsupportedError

from .conftest import config, unique, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain._oci._cgroups import Cgroup

    from .conftest import Start

MB = 1 << 20
SECONDS = 60.0

CALLERS = [
    pytest.param("--system", marks=pytest.mark.requires("systemd")),
    pytest.param("--user", marks=pytest.mark.requires("systemd_user")),
]


@pytest.fixture(params=CALLERS)
def manager(request: pytest.FixtureRequest) -> str:
    """Return the option of systemctl for our manager."""
    return str(request.param)


@pytest.fixture
def name(manager: str) -> Iterator[str]:
    """Return a name for a container whose scope is gone in the end."""
    name = unique()
    yield name
    assert until(lambda: state(manager, name) == "inactive", time.monotonic() + SECONDS)
    assert [at for at, names, _ in os.walk("/sys/fs/cgroup") if f"test-{name}.scope" in names] == []


def systemctl(manager: str, *words: str) -> str:
    command = ["systemctl", manager, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def state(manager: str, name: str) -> str:
    return systemctl(manager, "is-active", f"test-{name}.scope")


def show(manager: str, name: str, key: str) -> str:
    return systemctl(manager, "show", "--value", f"--property={key}", f"test-{name}.scope")


def create(name: str, resources: Resources | None = None, slice_: str = "") -> Cgroup:
    return _cgroups.create(config(f"{slice_}:test:{name}", resources), name, systemd=True)


LIMITS = Resources(
    memory=Memory(limit=64 * MB, swap=64 * MB),
    cpu=CPU(shares=2048, quota=50_000, period=200_000),
    pids_limit=1,
)


def test_a_scope(start: Start, manager: str, name: str) -> None:
    cgroup = create(name, LIMITS)
    assert value(cgroup, "pids", "pids.max", "pids.max") == "2"  # one is ours, until `close`
    with start(cgroup) as process:
        cgroup.close()
        assert state(manager, name) == "active"
        assert name in show(manager, name, "Description")
        assert cgroup.pids() == (process.pid,)
        assert Path(f"/proc/{process.pid}/cgroup").read_text().strip().endswith(f"{name}.scope")
        check_limits(cgroup)
        systemctl(manager, "daemon-reload")
        check_limits(cgroup)
        again = _cgroups.load(cgroup.to_json())
        again.kill(signal.SIGKILL)
        process.wait()
        again.remove()


def check_limits(cgroup: Cgroup) -> None:
    assert value(cgroup, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MB)
    assert value(cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert value(cgroup, "cpu", "cpu.shares", "cpu.weight") in ("2048", "174")
    assert value(cgroup, "pids", "pids.max", "pids.max") == "1"


def test_systemd_is_told_of_updates(start: Start, manager: str, name: str) -> None:
    cgroup = create(name, LIMITS)
    with start(cgroup):
        cgroup.close()
        cgroup.update(Resources(memory=Memory(limit=32 * MB, swap=32 * MB), pids_limit=-1))
        assert show(manager, name, "MemoryMax") == str(32 * MB)
        assert show(manager, name, "TasksMax") == "infinity"
        cgroup.kill(signal.SIGKILL)
    cgroup.remove()


def test_a_slice_of_its_own(start: Start, manager: str, name: str) -> None:
    cgroup = create(name, slice_="test-inner.slice")
    assert cgroup.paths[""].endswith(f"/test.slice/test-inner.slice/test-{name}.scope")
    with start(cgroup):
        cgroup.close()
        cgroup.kill(signal.SIGKILL)
    cgroup.remove()
    systemctl(manager, "stop", "test.slice")


def test_properties_in_annotations(manager: str, name: str) -> None:
    annotations = {"org.systemd.property.TimeoutStopSec": "7"}
    wanted = config(f":test:{name}").replace(annotations=annotations)
    cgroup = _cgroups.create(wanted, name, systemd=True)
    assert show(manager, name, "TimeoutStopUSec") == "7s"
    cgroup.remove()


@pytest.mark.usefixtures("manager")
def test_a_name_that_is_taken(name: str) -> None:
    cgroup = create(name)
    with pytest.raises(UnsupportedError, match=r"--systemd-cgroup: .*choose another name"):
        create(name)
    cgroup.remove()


@pytest.mark.usefixtures("manager")
def test_a_failure_leaves_no_scope(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"linux\.resources\.pids\.limit"):
        create(name, Resources(pids_limit=1 << 40))


@pytest.mark.usefixtures("manager")
def test_without_a_process_it_ends_by_itself(name: str) -> None:
    create(name).close()
