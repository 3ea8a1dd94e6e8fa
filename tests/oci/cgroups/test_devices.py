# SPDX-License-Identifier: Apache-2.0
"""Device rules in force: what a process may use, by v1's files and by a program of v2."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain import _cgroup
from pycontain._oci import _cgroups
from pycontain._oci._cgroups import _devices
from pycontain._oci._spec import Resources
from pycontain.errors import ConfigError

from .conftest import ALLOW_ALL, DENY_ALL, config, rule, unique

if TYPE_CHECKING:
    from pycontain._oci._spec import DeviceRule

    from .conftest import Make, Start


USE = """
import json, os
told = {}
for name, (node, flags) in json.loads(os.environ["USES"]).items():
    try:
        os.close(os.open(node, flags))
        told[name] = ""
    except OSError as error:
        told[name] = error.strerror
print(json.dumps(told), flush=True)
"""
DENIED = "Operation not permitted"


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """Return a directory with device nodes, of devices that everyone has."""
    for name, minor in (("null", 3), ("zero", 5), ("kmsg", 11)):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    return tmp_path


def versions() -> list[str]:
    """Return the versions that can decide on this machine."""
    return ["v1", "v2"] if _cgroup.detect().v1_of("devices") else ["v2"]


@pytest.fixture(params=versions())
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the one or the other version decide."""
    if request.param == "v2":
        apply = _devices.apply
        monkeypatch.setattr(_devices, "apply", lambda rules, v1, v2: apply(rules, None, v2))
    return str(request.param)


def use(
    make: Make, start: Start, monkeypatch: pytest.MonkeyPatch, nodes: Path, *rules: DeviceRule
) -> dict[str, str]:
    """Return what a process in a container with these rules may not do, and why."""
    uses = {
        "null": (str(nodes / "null"), os.O_RDWR),
        "read zero": (str(nodes / "zero"), os.O_RDONLY),
        "write zero": (str(nodes / "zero"), os.O_WRONLY),
        "kmsg": (str(nodes / "kmsg"), os.O_RDONLY),
    }
    monkeypatch.setenv("USES", json.dumps(uses))
    with start(make(Resources(devices=rules)), USE) as process:
        assert process.stdout is not None
        told: dict[str, str] = json.loads(process.stdout.readline())
    return told


ROOT = pytest.mark.requires("root", "cgroup_v2")


@ROOT
@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    "rules, denied",
    [
        ((), {"kmsg"}),
        ((DENY_ALL,), {"kmsg"}),
        ((ALLOW_ALL,), set()),
        ((DENY_ALL, rule(True, "c", 1, 11, "r")), set()),
        ((ALLOW_ALL, rule(False, "c", 1, 11)), {"kmsg"}),
        ((rule(True, "c", 1, None, "w"),), {"kmsg"}),
    ],
)
def test_devices(
    make: Make,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    nodes: Path,
    rules: tuple[DeviceRule, ...],
    denied: set[str],
) -> None:
    told = use(make, start, monkeypatch, nodes, *rules)
    assert {name for name, why in told.items() if why} == denied
    assert {why for why in told.values() if why} <= {DENIED}


@ROOT
@pytest.mark.parametrize(
    "rules, v1_says",
    [
        (
            (rule(True, "c", 1, None), rule(False, "c", 1, 11)),
            r"devices\[1\]: .* wider rule c 1:\*",
        ),
        ((ALLOW_ALL, rule(False, "a", None, None, "r")), r"devices: .* \(c 1:3\) from the wider"),
    ],
)
def test_only_v2_takes_a_part_out_of_a_wider_rule(
    make: Make,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    nodes: Path,
    version: str,
    rules: tuple[DeviceRule, ...],
    v1_says: str,
) -> None:
    if version == "v1":
        with pytest.raises(ConfigError, match=v1_says):
            make(Resources(devices=rules))
    else:
        told = use(make, start, monkeypatch, nodes, *rules)
        assert {name for name, why in told.items() if why} == {"kmsg"}


@pytest.mark.requires("root", "cgroup")
def test_without_device_rules_nothing_is_bounded(
    start: Start, monkeypatch: pytest.MonkeyPatch, nodes: Path
) -> None:
    monkeypatch.setenv("USES", json.dumps({"kmsg": (str(nodes / "kmsg"), os.O_RDONLY)}))
    cgroup = _cgroups.create(config(f"/{unique()}"), "id", systemd=False, device_rules=False)
    with start(cgroup, USE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"kmsg": ""}
        process.wait()
    cgroup.remove()
