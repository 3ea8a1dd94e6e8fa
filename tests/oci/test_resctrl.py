# SPDX-License-Identifier: Apache-2.0
"""Groups of resctrl, in a directory that stands for its mount.

No machine of ours has a processor with RDT. So in a plain directory the files of a group come and
go with it, and the kernel's part is left out: it checks schemata and keeps what is not written.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain._oci import _resctrl
from pycontain.errors import ConfigError, ContainerError, UnsupportedError

if TYPE_CHECKING:
    from _containers import Containers, Edit
    from _oci_command import Runtime

pytestmark = pytest.mark.requires("busybox")

SCHEMATA = "    MB:0= 50;1=100\n    L3:0=00f;1=fff\n"
WHY = "mask f7 has non-consecutive 1-bits"
make_directory, remove_directory = os.mkdir, os.rmdir


def fill(group: Path) -> Path:
    """Give a group its files."""
    make_directory(group)
    (group / "tasks").touch()
    (group / "schemata").write_text(SCHEMATA)
    make_directory(group / "mon_groups")
    return group


def empty(group: Path) -> None:
    """Take them away."""
    for path in sorted(group.rglob("*"), reverse=True):
        if path.is_dir():
            remove_directory(path)
        else:
            path.unlink()


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what stands for the mount."""
    root = fill(tmp_path / "resctrl")
    features = root / "info/L3_MON/mon_features"
    features.parent.mkdir(parents=True)
    features.write_text("llc_occupancy\n")
    (root / "info/last_cmd_status").write_text("ok\n")

    def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        if Path(path).is_relative_to(root):
            fill(Path(path))
        else:
            make_directory(path, *arguments, **options)

    def rmdir(path: Any, **options: Any) -> None:
        if Path(path).is_relative_to(root):
            empty(Path(path))
            remove_directory(path)
        else:
            remove_directory(path, **options)

    monkeypatch.setattr(_resctrl, "find_mount", lambda: str(root))
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)
    return root


def groups(mount: Path) -> set[str]:
    """Return the groups that there are."""
    return {path.name for path in mount.iterdir() if (path / "tasks").exists()}


def tasks(group: Path) -> int:
    """Return who was moved to a group last."""
    return int((group / "tasks").read_text())


def end(group: Path) -> None:
    """Take a process from a group, as its end does."""
    (group / "tasks").write_text("")


def rdt(**fields: Any) -> Edit:
    """Return a change of a configuration."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["intelRdt"] = fields

    return edit


@pytest.mark.requires("root", "cgroup")
class TestContainers:
    """Containers with groups."""

    def test_a_group_of_its_own(self, mount: Path, containers: Containers) -> None:
        container = containers.start("sleep", "1000", edit=rdt(l3CacheSchema="L3:0=f"))
        group = mount / container.id
        assert (tasks(group), (group / "schemata").read_text()) == (container.pid, "L3:0=f\n")
        container.delete(force=True)
        assert groups(mount) == set()

    def test_a_group_that_others_are_in_stays(self, mount: Path, containers: Containers) -> None:
        edit = rdt(closID="shared", memBwSchema="MB:0=50")
        first, second = (containers.start("sleep", "1000", edit=edit) for _ in range(2))
        assert tasks(mount / "shared") == second.pid
        first.delete(force=True)
        assert groups(mount) == {"shared"}

    def test_a_group_that_was_there_stays(self, mount: Path, containers: Containers) -> None:
        group = fill(mount / "shared")
        edit = rdt(closID="shared", l3CacheSchema="L3:1=fff", schemata=["MB:0=50"])
        container = containers.start("sleep", "1000", edit=edit)
        assert tasks(group) == container.pid
        assert (group / "schemata").read_text() == SCHEMATA
        end(group)
        container.delete(force=True)
        assert groups(mount) == {"shared"}

    def test_the_group_of_all_others(self, mount: Path, containers: Containers) -> None:
        container = containers.start("sleep", "1000", edit=rdt(closID="/"))
        assert tasks(mount) == container.pid

    def test_counters_of_its_own(self, mount: Path, containers: Containers) -> None:
        group = fill(mount / "shared")
        edit = rdt(closID="shared", enableMonitoring=True, enableCMT=True)
        container = containers.start("sleep", "1000", edit=edit)
        inner = group / "mon_groups" / container.id
        assert (tasks(group), tasks(inner)) == (container.pid, container.pid)
        container.delete(force=True)
        assert not inner.exists()

    def test_who_joins_the_container_joins_the_group(
        self, mount: Path, containers: Containers
    ) -> None:
        container = containers.start("sleep", "1000", edit=rdt())
        containers.execute(container, "true")
        assert tasks(mount / container.id) not in {0, container.pid}

    @pytest.mark.parametrize(
        "fields, error, message",
        [
            ({"closID": "nope"}, ConfigError, "closID: there is no .*/nope, and no schemata"),
            ({"closID": "shared", "schemata": ["L3:0=ff"]}, ConfigError, "other schemata than"),
            ({"closID": "shared", "schemata": ["L2:0=f"]}, ConfigError, "other schemata than"),
            ({"enableMBM": True}, UnsupportedError, "enableMBM: .*/L3_MON has no such event"),
            ({"closID": "counted", "enableMonitoring": True}, ContainerError, "is there already"),
        ],
    )
    def test_what_cannot_be_done(
        self,
        mount: Path,
        containers: Containers,
        fields: dict[str, Any],
        error: type[Exception],
        message: str,
    ) -> None:
        fill(mount / "shared")
        name = f"pycontain-test-{os.getpid()}-rdt"
        fill(fill(mount / "counted") / "mon_groups" / name)
        bundle = containers.bundle("true", edit=rdt(**fields))
        with pytest.raises(error, match=rf"linux.intelRdt.*{message}"):
            containers.create(bundle, name=name)
        assert groups(mount) == {"shared", "counted"}
        assert os.listdir(containers.state) == []

    def test_why_the_kernel_refuses(self, mount: Path, containers: Containers) -> None:
        (mount / "info/last_cmd_status").write_text(f"{WHY}\n")
        (mount / "tasks").unlink()  # any error does
        with pytest.raises(ContainerError, match=rf"^linux.intelRdt: .*/tasks: \d+: .*\({WHY}\)$"):
            containers.create(containers.bundle("true", edit=rdt(closID="/")))
        assert os.listdir(containers.state) == []

    def test_a_killed_creation_leaves_what_delete_removes(
        self, mount: Path, containers: Containers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = f"pycontain-test-{os.getpid()}-killed"
        bundle = containers.bundle("true", edit=rdt())
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(
                _resctrl.Groups,
                "write_schemata",
                lambda *_: os.kill(os.getpid(), signal.SIGKILL),
            )
            try:
                containers.create(bundle, name=name)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert groups(mount) == {name}
        containers.load(name).delete(force=True)
        assert groups(mount) == set()

    def test_an_update(self, mount: Path, containers: Containers) -> None:
        container = containers.start("sleep", "1000", edit=rdt())
        container.update_rdt({"memBwSchema": "MB:0=20"})
        assert (mount / container.id / "schemata").read_text() == "MB:0=20\n"

    def test_an_update_of_what_is_others(self, mount: Path, containers: Containers) -> None:
        fill(mount / "shared")
        container = containers.start("sleep", "1000", edit=rdt(closID="shared"))
        with pytest.raises(ContainerError, match="shared was not made for this container"):
            container.update_rdt({"memBwSchema": "MB:0=20"})

    def test_an_update_of_a_container_without(self, runtime: Runtime) -> None:
        runtime.create("x", "sleep", "1000")
        done = runtime.call("update", "--l3-cache-schema", "L3:0=f", "x")
        assert (done.returncode, done.stderr) == (
            1,
            "pycontain-runtime: linux.intelRdt: the container was made without it\n",
        )


@pytest.mark.parametrize(
    "fields, lines",
    [
        ({}, []),
        ({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=5"}, ["L3:0=f", "MB:0=5"]),
        ({"l3CacheSchema": "MB:0=9\nL3:0=f", "memBwSchema": "MB:0=5"}, ["L3:0=f", "MB:0=5"]),
        ({"l3CacheSchema": "MB:0=9\nL3:0=f"}, ["MB:0=9", "L3:0=f"]),
        ({"schemata": ["L2:0=f"], "memBwSchema": "MB:0=5"}, ["MB:0=5", "L2:0=f"]),
    ],
)
@pytest.mark.usefixtures("mount")
def test_the_lines_of_schemata(
    fields: dict[str, Any], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(_resctrl.Groups, "write_schemata", lambda _, some: written.extend(some))
    _resctrl.prepare(fields, "x", lambda _: None)
    assert written == lines


@pytest.mark.requires("no_resctrl")
def test_without_resctrl(containers: Containers) -> None:
    with pytest.raises(UnsupportedError, match=r"linux.intelRdt: .*: mount -t resctrl"):
        containers.create(containers.bundle("true", edit=rdt()))
    assert os.listdir(containers.state) == []
