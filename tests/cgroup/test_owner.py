# SPDX-License-Identifier: Apache-2.0
"""What a dead owner left is swept, and a living owner's groups are never touched."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycontain
from _owners import only
from pycontain._cgroup import (
    Host,
    Limits,
    Owner,
    SandboxTree,
    Sweep,
    _state,
    detect,
    owners,
    sweep,
)
from pycontain._cgroup._collected import Collected

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
    script: str, *arguments: str | Path, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run an owner; yield it and the words of its first line, once that has been printed."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", script, *arguments],
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


def swept(state: Path, directories: list[str]) -> Collected:
    """Sweep, and return what that found of these owners: others' tests may leave something."""
    return only(sweep(str(state)), *map(os.path.basename, directories))


def existing(directories: list[str]) -> list[str]:
    return [path for path in directories if os.path.exists(path)]


def test_a_killed_owner_is_swept(tmp_path: Path) -> None:
    with running(SETUP + SAY_AND_WAIT, tmp_path) as (process, (identity, *directories)):
        assert existing(directories) == directories != []
        process.kill()
        process.wait()
        assert [(o.identity, o.alive) for o in owners(str(tmp_path))] == [(identity, False)]
        assert sorted(swept(tmp_path, directories).directories) == sorted(directories)
    assert existing(directories) == []
    assert list(tmp_path.iterdir()) == []
    assert swept(tmp_path, directories) == Collected()


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
        found = swept(tmp_path, directories)
        assert sorted(found.directories) == sorted(directories)
        assert int(pid) in found.processes
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
        assert swept(tmp_path, directories) == Collected()
        assert existing(directories) == directories
        process.kill()
        process.wait()
        assert sorted(swept(tmp_path, directories).directories) == sorted(directories)


def test_a_forked_child_does_not_keep_its_dead_parents_groups(tmp_path: Path) -> None:
    script = (
        SETUP.replace("Owner(state)", "current_owner()")
        .replace("SandboxTree,", "SandboxTree, current_owner,")
        .replace(
            "owner =",
            "import pycontain._statedir as s; s.runtime_directory = lambda: state\nowner =",
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
        assert sorted(swept(tmp_path, directories).directories) == sorted(directories)


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
        "import os, sys; from pycontain._cgroup import sweep\n"
        "found, mine = sweep(sys.argv[1]).directories, f'-{os.getpid()}-'\n"
        "print(*(path for path in found if mine in path), flush=True)"
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
        assert swept(tmp_path, directories) == Collected()
        assert existing(directories) == directories
        process.kill()
        process.wait()
        assert sorted(swept(tmp_path, directories).directories) == sorted(directories)
    assert existing(directories) == []


@pytest.fixture
def base() -> str:
    host = detect()
    own = next(h.own for h in (host.v2, *host.v1) if h is not None and h.own is not None)
    assert own is not None
    return own


@pytest.mark.parametrize("field", ["boot", "form"])
def test_groups_of_strangers_are_left_alone(tmp_path: Path, base: str, field: str) -> None:
    boot = "00000000" if field == "boot" else _state.boot()
    nonce = "00000000" if field != "form" else "mine"
    path = f"{base}/pycontain-{boot}-{_state.pid_namespace()}-999999999-1-{nonce}"
    os.mkdir(path)
    try:
        assert path not in sweep(str(tmp_path)).directories
        assert os.path.isdir(path)
    finally:
        os.rmdir(path)


DEAD = f"pycontain-{_state.boot()}-{_state.pid_namespace()}-999999999-1-00000000"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a directory for state files."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    "line",
    [
        "{base}",
        "{base}/",
        "/sys/fs/cgroup",
        "/",
        "{victim}",
        "{victim}/../victim",
        "{victim}/../{name}/../victim",
        "{link}/{name}",
        "{folder}/{name}",
        "relative/{name}",
        "{name}",
        "",
        "\0/{name}",
        "\udcff\udcfe/{name}",
        "/" + "x/" * 5000 + "{name}",
    ],
)
def test_a_state_file_cannot_name_other_directories(
    state: Path, base: str, tmp_path: Path, line: str
) -> None:
    victim = Path(base, f"pycontain-victim-{os.getpid()}")
    folder = tmp_path / "folder"
    (folder / DEAD).mkdir(parents=True)
    (folder / DEAD / "cgroup.kill").write_text("untouched")
    (tmp_path / "link").symlink_to(base)
    names = {"base": base, "victim": victim, "link": tmp_path / "link", "folder": folder}
    text = line.format(name=DEAD, **names).replace("/victim", f"/{victim.name}")
    (state / DEAD).write_bytes(os.fsencode(f"{text}\n"))
    before = existing([base, str(victim.parent)])
    victim.mkdir()
    try:
        assert sweep(str(state), NOTHING) == Collected(files=(str(state / DEAD),))
        assert victim.is_dir()
        assert (folder / DEAD / "cgroup.kill").read_text() == "untouched"
        assert existing([base, str(victim.parent)]) == before
    finally:
        victim.rmdir()
    assert list(state.iterdir()) == []


def test_a_link_to_a_dead_owners_group_is_not_followed(state: Path, base: str) -> None:
    group, link = Path(base, DEAD), state / "elsewhere"
    group.mkdir()
    link.symlink_to(base)
    (state / DEAD).write_text(f"{link}/{DEAD}\n{base}/../{Path(base).name}/{DEAD}\n")
    try:
        sweep(str(state), NOTHING)
        assert group.is_dir()
    finally:
        group.rmdir()


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "writable", "huge", "other name"])
def test_other_files_in_the_state_directory_are_left_alone(state: Path, kind: str) -> None:
    path = state / DEAD
    if kind == "link":
        (state / "other").write_text("")
        path.symlink_to("other")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "writable":
        path.write_text("")
        path.chmod(0o666)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        for name in (DEAD.upper(), f"{DEAD}0", f".{DEAD}", f"{DEAD}.new.new", "\udcff", "a\nb"):
            (state / name).write_text(f"/sys/fs/cgroup/{DEAD}")
    before = sorted(state.iterdir())
    assert sweep(str(state), NOTHING) == Collected()
    assert sorted(state.iterdir()) == before != []


def test_nothing_is_done_once_the_time_is_over(tmp_path: Path) -> None:
    with running(SETUP + SAY_AND_WAIT, tmp_path) as (process, (identity, *directories)):
        process.kill()
        process.wait()
        brief = Sweep(seconds=0)
        brief.run([str(tmp_path)])
        assert brief.result() == Collected()
        assert existing(directories) == directories
        assert swept(tmp_path, directories).files == (str(tmp_path / identity),)
    assert existing(directories) == []


@pytest.mark.parametrize("view", ["detect()", "Host(v2=None, v1=detect().v1)"])
def test_a_dead_owners_frozen_processes_are_ended(tmp_path: Path, payload: Path, view: str) -> None:
    if "v1" in view and detect().v1_of("freezer") is None:
        view = "detect()"  # a machine without v1 has this one way to be
    script = (
        SETUP.replace("Owner(state)", f"Owner(state, {view})").replace(
            "import Limits", "import Host, Limits"
        )
        + SPREAD
        + "assert tree.freeze()\n"
        + SAY_AND_WAIT.replace("*owner", "inside.pid, *owner")
    )
    with running(script, tmp_path, payload) as (process, (_, pid, *directories)):
        process.kill()
        process.wait()
        found = swept(tmp_path, directories)
        assert int(pid) in found.processes
        assert sorted(found.directories) == sorted(directories)
    assert existing(directories) == []


def test_what_holds_a_group_without_a_state_file_is_told(tmp_path: Path, payload: Path) -> None:
    script = SETUP + SPREAD + SAY_AND_WAIT.replace("*owner", "inside.pid, *owner")
    with running(script, tmp_path, payload) as (process, (identity, pid, *directories)):
        (tmp_path / identity).rename(tmp_path / "hidden")
        process.kill()
        process.wait()
        found = swept(tmp_path, directories)
        assert found.processes == ()
        remaining = {left.path: left for left in found.remaining}
        assert remaining
        assert set(remaining) | set(found.directories) >= set(directories)
        assert all(f"{pid} (payload, state " in left.why for left in remaining.values())
        assert all("end these processes" in left.remedy for left in remaining.values())
        (tmp_path / "hidden").rename(tmp_path / identity)
        assert swept(tmp_path, directories).remaining == ()
    assert existing(directories) == []


@pytest.mark.requires("root", "first_pid_namespace")
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("doing", ["", "os.closerange(3, 1000)"], ids=["locked", "unlocked"])
def test_owners_of_other_pid_namespaces_live_as_long_as_these(
    tmp_path: Path, payload: Path, doing: str, listed: bool
) -> None:
    script = SETUP + SPREAD + doing + SAY_AND_WAIT
    prefix = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with running(script, tmp_path, payload, prefix=prefix) as (process, (identity, *directories)):
        [record] = owners(str(tmp_path))
        assert (record.pid, record.alive, record.is_lock_only) == (1, True, False)
        if not listed:
            (tmp_path / identity).unlink()
        found = swept(tmp_path, directories)
        assert found == Collected()
        assert existing(directories) == directories
        assert process.poll() is None
        inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(inner), signal.SIGKILL)
        process.wait()  # for the end of the whole namespace
        found = swept(tmp_path, directories)
        assert sorted(found.directories) == sorted(directories)
        assert found.files == ((str(tmp_path / identity),) if listed else ())
    assert existing(directories) == []


def test_two_owners_in_one_process_do_not_meet(tmp_path: Path) -> None:
    first, second = Owner(str(tmp_path)), Owner(str(tmp_path))
    trees = [SandboxTree.create(Limits(pids=9), owner=owner) for owner in (first, second)]
    directories = [*first._directories.values(), *second._directories.values()]
    assert swept(tmp_path, directories) == Collected()
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
