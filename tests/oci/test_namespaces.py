# SPDX-License-Identifier: Apache-2.0
"""Namespaces: new, joined by path, the caller's own; ids, clocks, names, groups."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from _containers import living, namespace, without
from pycontain.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from _containers import Containers

pytestmark = pytest.mark.requires("root", "busybox")

FILES = {
    "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup",
    "user": "user", "time": "time",
}  # fmt: skip
FIRST = 100_000
RANGE = [{"containerID": 0, "hostID": FIRST, "size": 65536}]


def users(config: dict[str, Any]) -> None:
    """Give it a user namespace of its own."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = RANGE


def owned_bundle(containers: Containers, *args: str, edit: Any = users) -> Path:
    """Return a bundle whose root belongs to the root of the user namespace."""
    bundle = containers.bundle(*args, edit=edit)
    root = bundle / "rootfs"
    shutil.rmtree(root)
    shutil.copytree(containers.root, root, symlinks=True)
    for place, directories, files in os.walk(root):
        for name in (".", *directories, *files):
            os.chown(os.path.join(place, name), FIRST, FIRST, follow_symlinks=False)
    for above in (containers.home, *containers.home.parents):
        above.chmod(above.stat().st_mode | 0o111)
    return bundle


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"])
def test_a_new_one(containers: Containers, kind: str) -> None:
    def edit(config: dict[str, Any]) -> None:
        if kind == "time":
            config["linux"]["namespaces"].append({"type": "time"})

    path = f"/proc/self/ns/{FILES[kind]}"
    assert containers.sh(f"readlink {path}", edit).strip() != os.readlink(path)


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_the_caller_s_own(containers: Containers, kind: str) -> None:
    def edit(config: dict[str, Any]) -> None:
        without(config, kind)
        if kind == "uts":
            del config["hostname"]
        if kind in ("network", "pid"):  # new instances belong to those namespaces
            config["mounts"] = config["mounts"][1:4]
            config["mounts"].append(
                {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}
            )

    path = f"/proc/self/ns/{FILES[kind]}"
    assert containers.sh(f"readlink {path}", edit).strip() == os.readlink(path)


OPTIONS = {"network": "--net", "ipc": "--ipc", "uts": "--uts", "cgroup": "--cgroup"}


@pytest.mark.parametrize("kind", OPTIONS)
def test_joined_by_path(containers: Containers, kind: str) -> None:
    with living("unshare", OPTIONS[kind]) as pid:
        path = f"/proc/{pid}/ns/{FILES[kind]}"

        def edit(config: dict[str, Any]) -> None:
            namespace(config, kind)["path"] = path

        assert containers.sh(f"readlink /proc/self/ns/{FILES[kind]}", edit).strip() == os.readlink(
            path
        )


def test_a_pid_namespace_of_another_container(containers: Containers) -> None:
    first = containers.start("sleep", "1000")

    def edit(config: dict[str, Any]) -> None:
        namespace(config, "pid")["path"] = f"/proc/{first.pid}/ns/pid"

    assert "sleep 1000" in containers.sh("ps -o args", edit)
    assert first.status() == "running"


def test_several_of_another_container(containers: Containers) -> None:
    first = containers.start("sleep", "1000")

    def edit(config: dict[str, Any]) -> None:
        for kind in ("network", "ipc", "uts"):
            namespace(config, kind)["path"] = f"/proc/{first.pid}/ns/{FILES[kind]}"
        del config["hostname"]

    script = "for name in net ipc uts; do readlink /proc/self/ns/$name; done; hostname"
    expected = [os.readlink(f"/proc/{first.pid}/ns/{name}") for name in ("net", "ipc", "uts")]
    assert containers.sh(script, edit).split() == [*expected, "box"]


WRONG = {
    "no file": ("/no/where", "No such file"),
    "a file": ("/etc/passwd", "not a namespace of type network"),
    "another type": ("/proc/self/ns/ipc", "not a namespace of type network"),
    "a device": ("/dev/zero", "not a namespace of type network"),
}


@pytest.mark.parametrize("path, message", WRONG.values(), ids=WRONG)
def test_a_path_that_is_no_such_namespace(containers: Containers, path: str, message: str) -> None:
    def edit(config: dict[str, Any]) -> None:
        namespace(config, "network")["path"] = path

    with pytest.raises(ConfigError, match=rf"linux.namespaces\[1\].path: {path}: {message}"):
        containers.create(containers.bundle("true", edit=edit))


def test_one_s_own_by_path(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        namespace(config, "ipc")["path"] = "/proc/self/ns/ipc"

    assert containers.sh("readlink /proc/self/ns/ipc", edit).strip() == os.readlink(
        "/proc/self/ns/ipc"
    )


def test_names(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["hostname"], config["domainname"] = "inside", "example"

    script = "hostname; cat /proc/sys/kernel/domainname"
    assert containers.sh(script, edit).split() == ["inside", "example"]


def test_the_loopback_interface_is_up(containers: Containers) -> None:
    assert "LOOPBACK,UP" in containers.sh("ip link show lo").replace(" ", "")


def test_clocks(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {
            "boottime": {"secs": 10_000_000, "nanosecs": 5},
            "monotonic": {"secs": 20_000_000},
        }

    output = containers.sh("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets", edit).split()
    assert int(output[0]) > 10_000_000
    assert output[1:] == ["monotonic", "20000000", "0", "boottime", "10000000", "5"]


def test_a_group_namespace_hides_the_path(containers: Containers) -> None:
    lines = containers.sh("cat /proc/self/cgroup").split()
    assert lines
    assert {line.rpartition(":")[2] for line in lines} == {"/"}


def test_ids_of_a_user_namespace(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()

    def edit(config: dict[str, Any]) -> None:
        users(config)
        config["mounts"].append({
            "destination": "/m", "type": "bind", "source": str(tmp_path / "volume"),
            "options": ["rbind"],
        })  # fmt: skip

    script = """
        id -u; cat /proc/self/uid_map /proc/self/gid_map
        stat -c %t:%T /dev/null; stat -c %u /m; touch /x
    """
    bundle = owned_bundle(containers, "sh", "-c", script, edit=edit)
    (bundle / "rootfs/m").mkdir()
    os.chown(bundle / "rootfs/m", FIRST, FIRST)
    outcome = containers.run_bundle(bundle)
    row = ["0", str(FIRST), "65536"]
    assert outcome.output.split() == ["0", *row, *row, "1:3", "65534"]
    assert (bundle / "rootfs/x").stat().st_uid == FIRST


def test_several_mappings(containers: Containers) -> None:
    rows = [
        {"containerID": 0, "hostID": FIRST, "size": 10},
        {"containerID": 1000, "hostID": FIRST + 50, "size": 5},
    ]

    def edit(config: dict[str, Any]) -> None:
        users(config)
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = rows
        config["process"]["user"] = {"uid": 1004, "gid": 1003}

    outcome = containers.run_bundle(
        owned_bundle(containers, "sh", "-c", "id -u; id -g; cat /proc/self/uid_map", edit=edit)
    )
    assert outcome.output.split() == ["1004", "1003", "0", "100000", "10", "1000", "100050", "5"]


def test_another_process_in_a_user_namespace(containers: Containers) -> None:
    container = containers.create(owned_bundle(containers, "sleep", "1000"))
    container.start()
    outcome = containers.execute(
        container, "sh", "-c", "id -u; cat /proc/self/uid_map; ps | grep -c sleep",
        user={"uid": 7, "gid": 8},
    )  # fmt: skip
    assert outcome.output.split()[:4] == ["7", "0", str(FIRST), "65536"]


def test_no_namespace_but_the_mounts(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [{"type": "mount"}]
        config["mounts"] = config["mounts"][1:4]
        del config["hostname"]

    assert containers.sh("echo alive", edit) == "alive\n"
