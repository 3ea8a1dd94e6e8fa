# SPDX-License-Identifier: Apache-2.0
"""The same resources, given to runc, crun and us, are the same texts in the kernel's files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain import _cgroup
from pycontain._oci._cgroups import Cgroup
from pycontain._oci._spec import CPU, DeviceRule, Memory, Resources

from .conftest import left, unique

if TYPE_CHECKING:
    from .conftest import Make

MB = 1 << 20

ORACLES = [pytest.param("runc", marks=pytest.mark.requires("runc"))]
if not _cgroup.detect().v1:  # crun does not run where some controllers are v1's and some v2's
    ORACLES.append(pytest.param("crun", marks=pytest.mark.requires("crun")))
pytestmark = pytest.mark.requires("root", "cgroup_memory", "busybox", "first_pid_namespace")

# What a configuration sets; the other files count, or are the kernel's own business.
SET = re.compile(
    r"(memory|cpu|cpuset|pids|hugetlb|io|blkio|devices)\."
    r"(.*(limit_in_bytes|swappiness|max|max\.burst|low|high|weight|shares|_us|idle|cpus|mems"
    r"|_device|list))"
)
OURS_ALONE = {
    "c 5:1 rwm",  # console
    "c 10:200 rwm",  # net/tun, which runc allowed before 1.2, and crun does
}


def texts(paths: dict[str, str]) -> dict[str, Any]:
    """Return the contents of the files of groups that a configuration sets."""
    found: dict[str, Any] = {}
    for path in set(paths.values()):
        for file in sorted(os.listdir(path)):
            if SET.fullmatch(file) and os.access(f"{path}/{file}", os.R_OK):
                found[file] = read(f"{path}/{file}")
    if rows := found.get("devices.list"):
        found["devices.list"] = set(rows.splitlines()) - OURS_ALONE
    return found


def read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        return error.strerror or ""


class Oracle:
    """A container of another runtime's, made and not started."""

    def __init__(self, runtime: str, folder: Path, path: str, resources: dict[str, Any]) -> None:
        self.command = [runtime, "--root", str(folder / "state")]
        self.id = unique()
        bundle = folder / "bundle"
        (bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy2(shutil.which("busybox") or "", bundle / "rootfs/bin/sleep")
        subprocess.run([runtime, "spec"], cwd=bundle, check=True)
        wanted = json.loads((bundle / "config.json").read_text())
        wanted["process"] |= {"terminal": False, "args": ["/bin/sleep", "1000"]}
        wanted["process"].pop("rlimits", None)
        wanted["linux"] |= {"cgroupsPath": path, "resources": resources}
        (bundle / "config.json").write_text(json.dumps(wanted))
        self.output = folder / "output"
        self.run("create", "--bundle", str(bundle), self.id)

    def run(self, *words: str) -> None:
        # Its first process keeps the descriptors, so a pipe would not end.
        with self.output.open("a") as output:
            subprocess.run(
                [*self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )


@pytest.fixture(params=ORACLES)
def oracle(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# As config.json has them, and as we do.
CASES: dict[str, tuple[dict[str, Any], Resources]] = {
    "nothing": ({}, Resources()),
    "memory": (
        {"memory": {"limit": 64 * MB, "reservation": 32 * MB, "swap": 96 * MB}},
        Resources(memory=Memory(limit=64 * MB, reservation=32 * MB, swap=96 * MB)),
    ),
    "memory without swap": (
        {"memory": {"limit": 64 * MB, "swap": 64 * MB}},
        Resources(memory=Memory(limit=64 * MB, swap=64 * MB)),
    ),
    "unlimited": (
        {"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}},
        Resources(memory=Memory(limit=-1, swap=-1), cpu=CPU(quota=-1), pids_limit=-1),
    ),
    "cpu": (
        {"cpu": {"quota": 50_000, "period": 200_000, "cpus": "0", "mems": "0"}},
        Resources(cpu=CPU(quota=50_000, period=200_000, cpus="0", mems="0")),
    ),
    "quota alone": ({"cpu": {"quota": 30_000}}, Resources(cpu=CPU(quota=30_000))),
    "pids": ({"pids": {"limit": 17}}, Resources(pids_limit=17)),
    "devices": (
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": True, "type": "b", "major": 7, "access": "r"},
            ]
        },
        Resources(
            devices=(
                DeviceRule(allow=False),
                DeviceRule(allow=True, type="c", major=10, minor=229, access="rw"),
                DeviceRule(allow=True, type="b", major=7, access="r"),
            )
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_files(make: Make, tmp_path: Path, oracle: str, case: str) -> None:
    theirs, ours = CASES[case]
    name = unique()
    other = Oracle(oracle, tmp_path, f"/{name}", theirs)
    try:
        mine = make(ours)
        paths = {key: path.replace(Path(path).name, name) for key, path in mine.paths.items()}
        there = {key: path for key, path in paths.items() if os.path.isdir(path)}
        assert {"memory", ""} & set(there), other.output.read_text()
        found, expected = texts(mine.paths), texts(there)
        assert {file: text for file, text in found.items() if file in expected} == expected
    finally:
        other.run("delete", "--force", other.id)
    assert left(name) == []


@pytest.mark.requires("runc")
def test_the_same_usage(tmp_path: Path) -> None:
    theirs, _ = CASES["memory"]
    name = unique()
    other = Oracle("runc", tmp_path, f"/{name}", {**theirs, "pids": {"limit": 9}})
    try:
        record = json.loads((tmp_path / "state" / other.id / "state.json").read_text())
        paths = record["cgroup_paths"]
        other.output.write_text("")
        other.run("events", "--stats", other.id)
        expected = json.loads(other.output.read_text())["data"]
        found = Cgroup(paths).stats()
    finally:
        other.run("delete", "--force", other.id)
    assert shape(found) >= shape(expected)
    assert {path for path in shape(found) - shape(expected) if "psi" not in path} <= NEWER
    assert found["pids"] == expected["pids"]
    for kind in ("usage", "swap"):
        assert found["memory"][kind]["limit"] == expected["memory"][kind]["limit"]


# What this release of runc does not tell: huge pages where only they are v2's, and the highest use
# and the processors of v2.
NEWER = {
    *("hugetlb/1GB", "hugetlb/1GB/failcnt", "hugetlb/2MB", "hugetlb/2MB/failcnt"),
    *("memory/usage/max", "cpuset/cpus", "cpuset/mems"),
}


def shape(value: object, path: str = "") -> set[str]:
    """Return the paths of all names in a JSON value."""
    if not isinstance(value, dict):
        return set()
    found = {f"{path}{name}" for name in value}
    return found.union(*(shape(inner, f"{path}{name}/") for name, inner in value.items()))
