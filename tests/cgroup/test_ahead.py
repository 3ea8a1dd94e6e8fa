# SPDX-License-Identifier: Apache-2.0
"""Groups made ahead of time are new, of the right kind, for one each, and never many."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain._cgroup import Limits, Owner, SandboxTree, sweep
from pycontain._cgroup._ahead import Ahead
from pycontain._cgroup._tree import ROOMY

from .conftest import wait_ready

if TYPE_CHECKING:
    from .conftest import Start

MB = 1 << 20
groups = pytest.mark.requires("cgroup_memory", "cgroup_pids")


class Thing:
    """Something that can be made and removed."""

    def __init__(self) -> None:
        self.removed = 0

    def remove(self) -> None:
        self.removed += 1


def ahead_of(*kinds: object, most: int = 4) -> Ahead[Thing]:
    """Return a stock in which these kinds have come again and again."""
    ahead: Ahead[Thing] = Ahead(most)
    for kind in kinds:
        assert ahead.take(kind) is None
        assert ahead.take(kind) is None
    return ahead


@pytest.mark.parametrize("times, made", [(0, False), (1, False), (2, True), (3, True)])
def test_only_what_is_asked_for_again_is_made_ahead(times: int, made: bool) -> None:
    ahead: Ahead[Thing] = Ahead(4)
    for _ in range(times):
        assert ahead.take("a") is None
    ahead.add("a", Thing)
    assert (ahead.take("a") is not None) is made


def test_one_is_given_once_and_to_its_kind() -> None:
    ahead, thing = ahead_of("a", "b"), Thing()
    ahead.add("a", lambda: thing)
    assert ahead.take("b") is None
    assert ahead.take("a") is thing
    assert ahead.take("a") is None
    assert thing.removed == 0


def test_there_are_never_more_than_a_few_and_the_oldest_of_another_kind_gives_way() -> None:
    ahead, things = ahead_of("a", "b", most=2), [Thing() for _ in range(4)]
    for kind, thing in zip("aabb", things, strict=True):
        ahead.add(kind, functools.partial(next, iter([thing])))
    assert [thing.removed for thing in things] == [1, 1, 0, 0]
    ahead.add("b", Thing)
    assert [ahead.take("b"), ahead.take("b"), ahead.take("b")] == [things[2], things[3], None]


def test_what_cannot_be_made_takes_no_room() -> None:
    ahead = ahead_of("a", most=1)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            ahead.add("a", refuse)
    thing = Thing()
    ahead.add("a", lambda: thing)
    assert ahead.take("a") is thing


def refuse() -> Thing:
    raise OSError("refused")


def test_what_is_cleared_is_removed() -> None:
    ahead, thing = ahead_of("a"), Thing()
    ahead.add("a", lambda: thing)
    ahead.clear()
    assert (thing.removed, ahead.take("a")) == (1, None)


def test_many_kinds_are_forgotten_in_turn() -> None:
    ahead = ahead_of("a")
    for kind in range(1000):
        ahead.take(kind)
    ahead.add("a", Thing)
    assert ahead.take("a") is None


def test_threads_never_get_the_same() -> None:
    ahead = ahead_of(*range(3), most=4)
    made: list[Thing] = []
    given: list[Thing] = []
    most = 0

    def make() -> Thing:
        made.append(Thing())
        return made[-1]

    def work(number: int) -> None:
        nonlocal most
        for turn in range(300):
            kind = (number + turn) % 3
            ahead.add(kind, make)
            most = max(most, len(ahead._ready))
            if thing := ahead.take(kind):
                given.append(thing)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    ahead.clear()
    assert most <= 4
    assert given
    assert len({id(thing) for thing in given}) == len(given)
    assert sorted(thing.removed for thing in given) == [0] * len(given)
    assert sum(thing.removed for thing in made) == len(made) - len(given)


def repeated(owner: Owner, limits: Limits, **options: Any) -> SandboxTree:
    """Return groups that were made ahead of time; others of their kind are gone."""
    for _ in range(2):
        tree = SandboxTree.create(limits, owner=owner, **options)
        tree.make_another()
        assert tree.remove()
    assert len(owner.ahead._ready) == 1
    tree = SandboxTree.create(limits, owner=owner, **options)
    assert len(owner.ahead._ready) == 0
    return tree


def limit(tree: SandboxTree) -> int:
    """Return the megabytes that a command may use."""
    group = tree.command_group()
    memory = group.dirs["memory"]
    file = "memory.max" if memory.is_v2 else "memory.limit_in_bytes"
    most = int(Path(memory.path, file).read_text()) // MB
    group.remove()
    return most


@groups
@pytest.mark.parametrize("single", [False, True])
def test_the_limits_are_those_that_were_asked_for(owner: Owner, single: bool) -> None:
    first = repeated(owner, Limits(memory=64 * MB, pids=9), single=single)
    first.make_another()
    other = SandboxTree.create(Limits(memory=32 * MB, pids=9), owner=owner, single=single)
    again = SandboxTree.create(Limits(memory=64 * MB, pids=9), owner=owner, single=single)
    assert [limit(tree) for tree in (first, other, again)] == [64, 32, 64]
    assert first.enforcement == again.enforcement
    assert len({tree.dirs["pids"].path for tree in (first, other, again)}) == 3
    for tree in (first, other, again):
        assert tree.remove()


@groups
def test_groups_that_somebody_removed_are_made_again(owner: Owner) -> None:
    tree = repeated(owner, Limits(memory=64 * MB))
    tree.make_another()
    assert tree.remove()
    [(_, ready)] = owner.ahead._ready
    for path in ready.made:
        os.rmdir(path)
    again = SandboxTree.create(Limits(memory=64 * MB), owner=owner)
    assert limit(again) == 64
    assert again.remove()


@groups
def test_what_may_change_is_not_made_ahead(owner: Owner) -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    for _ in range(3):
        tree = SandboxTree.create(Limits(cpuset=cpu, pids=9), owner=owner)
        tree.make_another()
        assert tree.remove()
    assert owner.ahead._ready == []


@groups
@pytest.mark.parametrize(
    "memory, made", [(None, True), (ROOMY, True), (ROOMY - 4096, False)], ids=["no", "at", "below"]
)
def test_a_commands_group_is_made_from_the_second_on_unless_memory_is_scarce(
    owner: Owner, memory: int | None, made: bool
) -> None:
    tree = SandboxTree.create(Limits(memory=memory, pids=9), owner=owner)
    names = []
    for turn in range(4):
        group = tree.command_group()
        names.append(os.path.basename(group.dirs["pids"].path))
        tree.between()
        assert len(tree._ahead._ready) == (made and turn > 0)
        tree.retire(group)
    assert names == [f"c{n}" for n in (1, 2, 3, 4)]
    assert tree.remove()


@groups
def test_a_commands_group_that_somebody_removed_is_made_again(owner: Owner) -> None:
    tree = SandboxTree.create(Limits(pids=9), owner=owner)
    for _ in range(2):
        tree.command_group().remove()
    tree.between()
    [(_, ready)] = tree._ahead._ready
    for path in ready.made:
        os.rmdir(path)
    group = tree.command_group()
    assert all(os.path.isdir(directory.path) for directory in group.dirs.values())
    assert group.remove()
    assert tree.remove()


@groups
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    "mode, number, event", [("touch", 64 * MB, "oom_kill"), ("forks", 50, "pids_max")]
)
def test_groups_made_while_their_like_was_used_have_counted_nothing(
    owner: Owner, start: Start, single: bool, mode: str, number: int, event: str
) -> None:
    limits = Limits(memory=16 * MB, pids=6)
    tree = repeated(owner, limits, single=single)
    group = tree.command_group()
    tree.make_another()
    with start(group, mode, number) as process:
        process.communicate()
    assert group.events()[event] >= 1
    group.remove()
    assert tree.kill()
    assert tree.remove()
    tree = SandboxTree.create(limits, owner=owner, single=single)
    group = tree.command_group()
    assert set(group.events().values()) == {0}
    assert {name: reading.value for name, reading in group.usage().items()} == dict.fromkeys(
        group.usage(), 0
    )
    with start(group, "sleep") as process:
        wait_ready(process)
        process.communicate()
    assert group.usage()["memory_peak"].value < 4 * MB
    assert set(group.events().values()) == {0}
    group.remove()
    assert tree.remove()


SCRIPT = """
import os, signal, sys
import pycontain
from pycontain._cgroup import current_owner
def run():
    assert pycontain.run(["true"], memory="64M", pids=16).returncode == 0
    return current_owner()
for _ in range(3):
    owner = run()
[(_, ready)] = owner.ahead._ready
print(*ready.made, flush=True)
"""
FORK = """
child = os.fork()
if child == 0:
    mine = run()
    assert mine.identity != owner.identity and not mine.ahead._ready
    mine.close()
    assert all(map(os.path.isdir, ready.made))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert run() is owner
"""


@groups
@pytest.mark.parametrize(
    "end, status",
    [("", 0), (FORK, 0), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
    ids=["ends", "forks", "is killed"],
)
def test_nothing_remains_of_a_process(end: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + end], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, "")
    made = done.stdout.split()
    assert made
    if status:
        assert any(map(os.path.isdir, made))
        sweep()
    assert [path for path in made if os.path.exists(path)] == []
