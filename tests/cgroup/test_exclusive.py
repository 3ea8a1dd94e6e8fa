# SPDX-License-Identifier: Apache-2.0
"""Processors for one alone: what is written for v2, and what a refusal of the kernel becomes.

The files are made up: no kernel says which of its refusals an order of writes avoids. What holds on
this machine is in tests/sandbox/test_processors.py.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pycontain._cgroup import _files
from pycontain._cgroup._exclusive import Exclusive
from pycontain.errors import UnsupportedError

FILES = ("cpuset.cpus", "cpuset.cpus.exclusive", "cpuset.cpus.partition")


def group(directory: Path, *files: str) -> Path:
    """Make a directory that looks like a v2 group."""
    directory.mkdir(parents=True)
    for name in files or FILES:
        (directory / name).write_text("")
    return directory


def values(directory: Path) -> list[str]:
    return [(directory / name).read_text().strip() for name in FILES]


@pytest.fixture(autouse=True)
def whole_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write replace the value, as it does in the kernel's files."""

    def write(path: str, text: str) -> None:
        with Path(path).open("r+") as file:
            file.truncate()
            file.write(text)

    monkeypatch.setattr(_files, "write", write)


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    return group(tmp_path / "base/pycontain-0a0a0a0a-1-2-3-0b0b0b0b")


def test_an_owner_has_what_its_sandboxes_hold_together(owner: Path) -> None:
    first, second = group(owner / "s1"), group(owner / "s2")
    exclusive = Exclusive()
    assert exclusive.claim(str(first), frozenset({4})).in_force
    assert exclusive.claim(str(second), frozenset({2, 3})).in_force
    assert values(first) == ["4", "4", "root"]
    assert values(second) == ["2,3", "2,3", "root"]
    assert values(owner)[1] == "2,3,4"
    exclusive.release(str(first))
    exclusive.release(str(first))
    exclusive.release(str(owner / "s7"))
    assert values(owner)[1] == "2,3"


def test_a_change_gives_back_what_is_no_longer_held(owner: Path) -> None:
    only = group(owner / "s1")
    exclusive = Exclusive()
    exclusive.claim(str(only), frozenset({1, 2}))
    exclusive.claim(str(only), frozenset({2, 3}))
    assert (values(only)[0], values(owner)[1]) == ("2,3", "2,3")


def test_what_another_sandbox_holds_cannot_be_had_by_a_change(owner: Path) -> None:
    first, second = group(owner / "s1"), group(owner / "s2")
    exclusive = Exclusive()
    exclusive.claim(str(first), frozenset({1}))
    exclusive.claim(str(second), frozenset({2}))
    with pytest.raises(UnsupportedError, match="CPU 2 is held by the sandbox s2 of this process"):
        exclusive.claim(str(first), frozenset({1, 2}))
    assert (values(first)[0], values(second)[0], values(owner)[1]) == ("1", "2", "1,2")


def test_a_group_of_somebody_else_is_named(owner: Path) -> None:
    group(owner.parent / "machine", "cpuset.cpus.exclusive").joinpath(
        "cpuset.cpus.exclusive"
    ).write_text("0-3\n")
    only = group(owner / "s1", "cpuset.cpus")  # the next write is refused
    with pytest.raises(UnsupportedError, match=r"CPU 3 is held by the group .*/machine") as caught:
        Exclusive().claim(str(only), frozenset({3, 9}))
    assert caught.value.errno == errno.EBUSY
    assert values(owner)[1] == ""


def test_a_kernel_without_the_file_is_named(tmp_path: Path) -> None:
    only = group(tmp_path / "base/owner/s1", "cpuset.cpus")
    with pytest.raises(UnsupportedError, match=r"Linux 6\.7"):
        Exclusive().claim(str(only), frozenset({1}))
