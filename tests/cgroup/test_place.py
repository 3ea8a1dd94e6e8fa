# SPDX-License-Identifier: Apache-2.0
"""Where groups are made, and what is said where they cannot be.

The trees are plain directories with the files of a hierarchy, for hosts that this one is not.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontain._cgroup import Hierarchy, Host, detect, find
from pycontain.errors import ConfigError

ALL = "cpuset cpu io memory pids"
MEMORY = frozenset({"memory"})


def group(
    path: Path, *, available: str = ALL, enabled: str = "", procs: str = "", kind: str = "domain"
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(available + "\n")
    (path / "cgroup.subtree_control").write_text(enabled + "\n")
    (path / "cgroup.procs").write_text(procs)
    if kind:
        (path / "cgroup.type").write_text(kind + "\n")
    return path


def host_v2(mount: Path, own: Path, *, read_only: bool = False) -> Host:
    hierarchy = Hierarchy(
        version=2,
        controllers=frozenset(),
        mount=str(mount),
        own=str(own),
        read_only=read_only,
        options=frozenset({"rw"}),
    )
    return Host(v2=hierarchy, v1=())


def test_the_root_of_the_hierarchy_serves_its_processes(tmp_path: Path) -> None:
    group(tmp_path, procs="1\n2\n", kind="")
    places = find(host_v2(tmp_path, tmp_path), MEMORY)
    assert (places.v2, places.v2_controllers, places.missing) == (str(tmp_path), MEMORY, {})


def test_a_busy_group_gives_way_to_its_parent(tmp_path: Path) -> None:
    parent = group(tmp_path / "parent", enabled="memory")
    own = group(parent / "own", procs="77\n")
    group(tmp_path, kind="")
    assert find(host_v2(tmp_path, own), MEMORY).v2 == str(parent)


def test_tracking_alone_needs_no_other_group_than_ours(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    own = group(tmp_path / "own", procs="77\n")
    assert find(host_v2(tmp_path, own), frozenset()).v2 == str(own)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"available": "cpu pids"}, ("cgroup.controllers", "not handed down", "+memory")),
        ({"procs": "1\n"}, ("cgroup.procs", "holds processes", "child group")),
    ],
)
def test_what_is_missing_has_a_file_and_a_remedy(
    tmp_path: Path, options: dict[str, str], words: tuple[str, ...]
) -> None:
    group(tmp_path, **options)
    places = find(host_v2(tmp_path, tmp_path), MEMORY)
    assert places.v2 == str(tmp_path)
    assert places.v2_controllers == frozenset()
    text = str(places.missing["memory"])
    assert [word for word in ("memory", *words) if word not in text] == []


def test_threaded_groups_are_passed_over(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    own = group(tmp_path / "own", kind="threaded")
    assert find(host_v2(tmp_path, own), MEMORY).v2 == str(tmp_path)


def test_a_read_only_mount_gives_no_place_and_says_so(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    places = find(host_v2(tmp_path, tmp_path, read_only=True), MEMORY)
    assert places.v2 is None
    assert "read-only" in places.missing["memory"].why
    assert "Delegate=yes" in places.missing["tracking"].remedy


def test_no_hierarchy_at_all_is_said_for_each_controller() -> None:
    places = find(Host(v2=None, v1=()), frozenset({"memory", "io"}))
    assert places.v2 is None
    assert {name: m.file for name, m in places.missing.items()} == {
        "memory": "/proc/self/mountinfo",
        "io": "/proc/self/mountinfo",
    }
    assert "blkio" in places.missing["io"].why


def test_v1_hierarchies_are_shared_by_their_controllers(tmp_path: Path) -> None:
    v1 = Hierarchy(
        version=1,
        controllers=frozenset({"cpu", "cpuacct"}),
        mount=str(tmp_path),
        own=str(tmp_path),
        read_only=False,
        options=frozenset({"rw"}),
    )
    wanted = frozenset({"cpu", "cpuacct"})
    assert find(Host(v2=None, v1=(v1,)), wanted).v1 == {str(tmp_path): wanted}


@pytest.mark.requires("user")
def test_a_user_without_delegation_is_told_how_to_get_one(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    tmp_path.chmod(0o555)
    assert find(host_v2(tmp_path, tmp_path), MEMORY).v2 is None
    tmp_path.chmod(0o755)


@pytest.fixture
def real_group() -> str:
    host = detect()
    for hierarchy in (host.v2, *host.v1):
        if hierarchy is not None and hierarchy.own is not None:
            return hierarchy.own
    pytest.skip("no cgroup hierarchy")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda tmp, own: "relative/group", ("absolute",)),
        (lambda tmp, own: f"{own}/../x", ("absolute", "..")),
        (lambda tmp, own: f"{own}/no-such-group", ("No such file", "make the group first")),
        (lambda tmp, own: str(tmp), ("not a cgroup directory",)),
        (lambda tmp, own: f"{own}/cgroup.procs", ("not a cgroup directory",)),
        (lambda tmp, own: link(tmp / "link", own), ("symbolic link",)),
        (lambda tmp, own: link(tmp / "link", os.path.dirname(own)) + "/" + os.path.basename(own),
         ("symbolic link",)),
    ],
)  # fmt: skip
def test_what_is_no_group_is_refused_as_a_place(
    make: object, words: tuple[str, ...], tmp_path: Path, real_group: str
) -> None:
    assert callable(make)
    path = make(tmp_path, real_group)
    with pytest.raises(ConfigError) as caught:
        find(detect(), frozenset(), (path,))
    assert [word for word in (repr(path), *words) if word not in str(caught.value)] == []


def link(path: Path, target: str) -> str:
    path.symlink_to(target)
    return str(path)


def test_a_threaded_group_is_refused_as_a_place(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    own = group(tmp_path / "own", kind="domain threaded")
    with pytest.raises(ConfigError, match=r"domain threaded.*cgroup\.type.*choose"):
        find(host_v2(tmp_path, tmp_path), MEMORY, (str(own),))


def test_two_places_in_one_hierarchy_are_refused(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    paths = [str(group(tmp_path / name)) for name in ("a", "b")]
    with pytest.raises(ConfigError, match="same hierarchy"):
        find(host_v2(tmp_path, tmp_path), MEMORY, paths)


def test_a_place_that_was_given_is_taken(tmp_path: Path) -> None:
    group(tmp_path, kind="")
    given = str(group(tmp_path / "given"))
    assert find(host_v2(tmp_path, tmp_path), MEMORY, (given,)).v2 == given


@pytest.mark.requires("user")
def test_a_group_of_another_user_is_refused() -> None:
    host = detect()
    hierarchy = host.v2 or host.v1[0]
    with pytest.raises(ConfigError, match=r"not ours: .*cgroup\.procs is not writable"):
        find(host, frozenset(), (hierarchy.mount,))
