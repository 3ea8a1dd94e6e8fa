# SPDX-License-Identifier: Apache-2.0
"""Owners of groups that end with their test, and processes inside groups."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import _features
from pycontain import _cgroup
from pycontain._cgroup import CommandGroup, Host, Limits, Owner, SandboxTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class MakeTree(Protocol):
    def __call__(
        self, limits: Limits | None = None, *, single: bool = False, counters: tuple[str, ...] = ()
    ) -> SandboxTree: ...


class Start(Protocol):
    def __call__(
        self, group: CommandGroup, mode: str, number: float = 0, *, extra_fd: int | None = None
    ) -> AbstractContextManager[subprocess.Popen[str]]: ...


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled payload.c."""
    if reason := _features.missing("gcc"):
        pytest.skip(reason)
    program = tmp_path_factory.mktemp("payload") / "payload"
    source = Path(__file__).with_name("payload.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program


def without_v2() -> Host:
    """Return this machine as it would be if v2 were not mounted."""
    return Host(v2=None, v1=_cgroup.detect().v1)


def views() -> list[str]:
    """Return the hosts that this machine can be: as it is, and with v1 alone."""
    return ["as it is"] + (["v1 alone"] if _cgroup.detect().v1_of("freezer") else [])


@pytest.fixture(params=views())
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Owner]:
    """Return an owner that is gone with the test."""
    owner = Owner(str(tmp_path), without_v2() if request.param == "v1 alone" else None)
    yield owner
    owner.close()
    assert list(tmp_path.glob("pycontain-*")) == []


@pytest.fixture
def make_tree(owner: Owner) -> Iterator[MakeTree]:
    """Return a maker of sandboxes' groups, all of which are killed and removed after the test."""
    trees: list[SandboxTree] = []

    def make(
        limits: Limits | None = None, *, single: bool = False, counters: tuple[str, ...] = ()
    ) -> SandboxTree:
        tree = SandboxTree.create(limits, single=single, counters=counters, owner=owner)
        trees.append(tree)
        return tree

    yield make
    for tree in trees:
        tree.kill()
        assert tree.remove()


@pytest.fixture
def start(payload: Path) -> Start:
    """Return a starter of payload.c in a group; at the end of the block it is killed."""

    @contextmanager
    def started(
        group: CommandGroup, mode: str, number: float = 0, *, extra_fd: int | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        with open_files(group) as fds:
            process = subprocess.Popen(
                [payload, ",".join(map(str, fds)), mode, str(number), str(extra_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=fds if extra_fd is None else (*fds, extra_fd),
                text=True,
                start_new_session=True,
            )
        group.started()
        with process:
            try:
                yield process
            finally:
                group.kill()
                process.kill()

    return started


@contextmanager
def open_files(group: CommandGroup) -> Iterator[tuple[int, ...]]:
    """Yield the group's `tasks` descriptors, and one of its cgroup.procs on v2."""
    core = group.dirs.get("core")
    if core is None:
        yield group.tasks_fds
        return
    with Path(core.path, "cgroup.procs").open("w") as procs:
        yield (*group.tasks_fds, procs.fileno())


def wait_ready(process: subprocess.Popen[str]) -> None:
    """Return once the process has joined its groups and done what it does first."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
