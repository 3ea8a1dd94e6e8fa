# SPDX-License-Identifier: Apache-2.0
"""What a dead owner left is swept, and a living owner's groups are never touched."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycontain
from pycontain._cgroup import (
    Host,
    Limits,
    Owner,
    SandboxTree,
    _state,
    detect,
    owners,
    sweep,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("cgroup")
REPOSITORY = Path(next(iter(pycontain.__path__))).parent
NOTHING = Host(v2=None, v1=())

SETUP = """
import os, sys
from pycontain._cgroup import Limits, Owner, SandboxTree, detect, sweep
state, *rest = sys.argv[1:]
owner = Owner(state)
tree = SandboxTree.create(Limits(pids=50), owner=owner)
group = tree.command_group()
"""
SAY_AND_WAIT = """
print(owner.identity, *owner._directories.values(), flush=True)
sys.stdin.read()
"""


@contextmanager
def running(
    script: str, *arguments: str | Path
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run an owner; yield it and the words of its first line, once that has been printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


def existing(directories: list[str]) -> list[str]:
    return [path for path in directories if os.path.exists(path)]


def test_a_killed_owner_is_swept(tmp_path: Path) -> None:
    with running(SETUP + SAY_AND_WAIT, tmp_path) as (process, (identity, *directories)):
        assert existing(directories) == directories != []
        process.kill()
        process.wait()
        assert [(o.identity, o.alive) for o in owners(str(tmp_path))] == [(identity, False)]
        assert sorted(sweep(str(tmp_path))) == sorted(directories)
    assert existing(directories) == []
    assert list(tmp_path.iterdir()) == []
    assert sweep(str(tmp_path)) == ()


SPREAD = """
from subprocess import Popen, PIPE
fds = [*group.tasks_fds]
if "core" in group.dirs:
    fds.append(os.open(group.dirs["core"].path + "/cgroup.procs", os.O_WRONLY))
inside = Popen([rest[0], ",".join(map(str, fds)), "spread", "10"], pass_fds=fds, stdout=PIPE)
inside.stdout.readline()
"""


def test_processes_that_outlive_their_owner_are_killed(tmp_path: Path, payload: Path) -> None:
    script = SETUP + SPREAD + SAY_AND_WAIT.replace("*owner", "inside.pid, *owner")
    with running(script, tmp_path, payload) as (process, (_, pid, *directories)):
        pidfd = os.pidfd_open(int(pid))
        process.kill()
        process.wait()
        assert sorted(sweep(str(tmp_path))) == sorted(directories)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    [(_, events)] = poller.poll(10_000)
    assert events & select.POLLIN  # it has ended; reaped, too, with POLLHUP
    os.close(pidfd)


@pytest.mark.parametrize(
    "doing",
    [
        pytest.param("", id="plain"),
        pytest.param("os.closerange(3, 1000)", id="all descriptors closed"),
        pytest.param("os.chdir('/')", id="elsewhere"),
    ],
)
def test_a_living_owner_is_left_alone(tmp_path: Path, doing: str) -> None:
    script = f"{SETUP}\n{doing}\n{SAY_AND_WAIT}"
    with running(script, tmp_path) as (process, (identity, *directories)):
        assert [(o.identity, o.pid, o.alive) for o in owners(str(tmp_path))] == [
            (identity, process.pid, True)
        ]
        assert sweep(str(tmp_path)) == ()
        assert existing(directories) == directories
        process.kill()
        process.wait()
        assert sorted(sweep(str(tmp_path))) == sorted(directories)


def test_a_forked_child_does_not_keep_its_dead_parents_groups(tmp_path: Path) -> None:
    script = (
        SETUP.replace("Owner(state)", "current_owner()")
        .replace("SandboxTree,", "SandboxTree, current_owner,")
        .replace(
            "owner =",
            "import pycontain._cgroup._state as s; s.runtime_directory = lambda: state\nowner =",
        )
        + """
its, ours = os.pipe()
if os.fork() == 0:
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    os.write(ours, b"forked")
    sys.stdin.read()
    os._exit(0)
os.read(its, 6)
"""
        + SAY_AND_WAIT
    )
    with running(script, tmp_path) as (process, (_, *directories)):
        process.kill()
        process.wait()
        assert sorted(sweep(str(tmp_path))) == sorted(directories)


def test_a_forked_child_touches_nothing_of_its_parent(tmp_path: Path) -> None:
    script = SETUP + (
        """
pid = os.fork()
if pid == 0:
    print(tree.kill(), group.kill(), group.remove(0), tree.remove(0), flush=True)
    owner.close()
    os._exit(0)
os.waitpid(pid, 0)
"""
        + SAY_AND_WAIT
    )
    with running(script, tmp_path) as (process, words):
        assert words == ["False"] * 4
        assert process.stdout is not None
        _, *directories = process.stdout.readline().split()
        assert existing(directories) == directories
        process.kill()
        process.wait()
        sweep(str(tmp_path))


def test_an_owner_that_became_another_program_is_swept_by_that(tmp_path: Path) -> None:
    after = (
        "import sys; from pycontain._cgroup import sweep; print(*sweep(sys.argv[1]), flush=True)"
    )
    script = SETUP + (
        "print(*owner._directories.values(), flush=True)\n"
        f"os.execv(sys.executable, [sys.executable, '-c', {after!r}, state])"
    )
    with running(script, tmp_path) as (process, directories):
        assert process.stdout is not None
        assert sorted(process.stdout.readline().split()) == sorted(directories) != []
    assert list(tmp_path.iterdir()) == []


def test_a_normal_end_leaves_nothing(tmp_path: Path) -> None:
    script = SETUP + (
        "print(*owner._directories.values(), flush=True)\n"
        "group.remove(); tree.remove(); owner.close(); owner.close()"
    )
    with running(script, tmp_path) as (process, directories):
        assert process.wait() == 0
        assert existing(directories) == []
    assert list(tmp_path.iterdir()) == []


def test_sandboxes_that_were_not_closed_are_removed_at_exit(tmp_path: Path) -> None:
    script = (
        SETUP + "group.started(); print(*owner._directories.values(), flush=True); owner.close()"
    )
    with running(script, tmp_path) as (process, directories):
        assert process.wait() == 0
        assert existing(directories) == []
    assert list(tmp_path.iterdir()) == []


def test_groups_without_a_state_file_are_removed_when_their_owner_is_gone(tmp_path: Path) -> None:
    with running(SETUP + SAY_AND_WAIT, tmp_path) as (process, (identity, *directories)):
        (tmp_path / identity).unlink()
        assert sweep(str(tmp_path)) == ()
        assert existing(directories) == directories
        process.kill()
        process.wait()
        assert sorted(sweep(str(tmp_path))) == sorted(directories)
    assert existing(directories) == []


@pytest.fixture
def base() -> str:
    host = detect()
    own = next(h.own for h in (host.v2, *host.v1) if h is not None and h.own is not None)
    assert own is not None
    return own


@pytest.mark.parametrize("field", ["boot", "namespace", "form"])
def test_groups_of_strangers_are_left_alone(tmp_path: Path, base: str, field: str) -> None:
    boot = "00000000" if field == "boot" else _state.boot()
    namespace = 1 if field == "namespace" else _state.pid_namespace()
    nonce = "00000000" if field != "form" else "mine"
    path = f"{base}/pycontain-{boot}-{namespace}-999999999-1-{nonce}"
    os.mkdir(path)
    try:
        assert path not in sweep(str(tmp_path))
        assert os.path.isdir(path)
    finally:
        os.rmdir(path)


def test_a_state_file_cannot_name_other_directories(tmp_path: Path) -> None:
    identity = f"pycontain-{_state.boot()}-{_state.pid_namespace()}-999999999-1-00000000"
    victim = tmp_path / "victim"
    victim.mkdir()
    state = tmp_path / "state"
    state.mkdir()
    (state / identity).write_text(f"{victim}\nrelative/{identity}\n{tmp_path}/victim")
    assert sweep(str(state), NOTHING) == ()
    assert victim.is_dir()
    assert list(state.iterdir()) == []


def test_other_files_in_the_state_directory_are_left_alone(tmp_path: Path) -> None:
    identity = f"pycontain-{_state.boot()}-{_state.pid_namespace()}-999999999-1-00000000"
    (tmp_path / "other").write_text("")
    (tmp_path / identity).symlink_to(tmp_path / "other")
    assert sweep(str(tmp_path), NOTHING) == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["other", identity])


def test_two_owners_in_one_process_do_not_meet(tmp_path: Path) -> None:
    first, second = Owner(str(tmp_path)), Owner(str(tmp_path))
    trees = [SandboxTree.create(Limits(pids=9), owner=owner) for owner in (first, second)]
    assert sweep(str(tmp_path)) == ()
    assert {record.alive for record in owners(str(tmp_path))} == {True}
    for tree, owner in zip(trees, (first, second), strict=True):
        assert tree.remove()
        owner.close()


def test_the_current_owner_is_one_for_all_threads_and_gone_at_exit() -> None:
    script = """
import threading
from pycontain._cgroup import SandboxTree, current_owner
found = []
threads = [threading.Thread(target=lambda: found.append(current_owner())) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
tree = SandboxTree.create()
tree.remove()
print(len(set(map(id, found))), found[0]._state_path, *found[0]._directories.values(), flush=True)
"""
    with running(script) as (process, (count, *paths)):
        assert count == "1"
        assert process.wait() == 0
        assert existing(paths) == []
        assert len(paths) > 1
