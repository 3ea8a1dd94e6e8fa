# SPDX-License-Identifier: Apache-2.0
"""A spawn in steps: the clone goes on while its messages are made; of a failure nothing is left.

That no descriptor, process or group is left is seen by the fixture of tests/conftest.py.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from _features import cgroup_homes
from pycontain import _native
from pycontain._keeper import Keeper
from pycontain._native import SPAWN_EARLY, NativeError, Spawning, Tree, Trees
from pycontain._nsbind import lib

MODES = {"vm": 0, "fork": _native.SPAWN_FORK, "clone2": _native.SPAWN_CLONE2}
KEEP = _native._Message("nsb_clone").finish(lib.NSB_REQUEST_KEEP)
MESSAGES: dict[str, Any] = {"trees": Trees(()), "setup": KEEP, "command": None, "command_fds": ()}
NO_GROUP_FAILS = ("CLONE", errno.EBADF)
Begin = Callable[..., Spawning]


@pytest.fixture(params=["by ourselves", "by a keeper"])
def keeper_fd(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return the socket of who is to clone; -1: we."""
    if request.param == "by ourselves":
        yield -1
        return
    keeper = Keeper()
    yield keeper.fileno()
    keeper.close()


@pytest.fixture(params=[SPAWN_EARLY, 0], ids=["early", "late"])
def begin(request: pytest.FixtureRequest, keeper_fd: int) -> Begin:
    """Return what begins a spawn without namespaces, early or not."""

    def begin(flags: int = 0, cgroup_fd: int = -1) -> Spawning:
        return Spawning(
            namespaces=0,
            flags=flags | request.param,
            userns_fd=-1,
            cgroup_fd=cgroup_fd,
            keeper_fd=keeper_fd,
        )

    return begin


@pytest.fixture
def no_group() -> Iterator[int]:
    """Return a directory that is no control group."""
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    yield fd
    os.close(fd)


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("flags", MODES.values(), ids=MODES)
def test_it_ends_with_our_own_child(begin: Begin, flags: int) -> None:
    spawning = begin(flags)
    spawning.queue(**MESSAGES)
    pid1 = spawning.end()
    stat = Path(f"/proc/{pid1.pid}/stat").read_text()
    assert int(stat.rpartition(")")[2].split()[1]) == os.getpid()
    pid = pid1.pid
    del pid1
    assert not is_alive(pid)


@pytest.mark.parametrize("flags", MODES.values(), ids=MODES)
def test_without_its_messages_it_is_killed(begin: Begin, flags: int) -> None:
    spawning = begin(flags)
    spawning.close()
    spawning.close()
    with pytest.raises(NativeError):
        spawning.end()


def test_forgotten_it_is_killed(begin: Begin) -> None:
    begin()


def test_closing_it_at_last_harms_nothing(begin: Begin) -> None:
    spawning = begin()
    spawning.queue(**MESSAGES)
    pid1 = spawning.end()
    spawning.close()
    assert is_alive(pid1.pid)


def test_messages_that_cannot_be_made_are_an_error_of_theirs(begin: Begin) -> None:
    spawning = begin()
    trees = Trees([Tree("/no/where", _native.Idmap.NONE, False)])
    with pytest.raises(NativeError) as caught:
        spawning.queue(**{**MESSAGES, "trees": trees})
    assert caught.value.failure[0] == "OPEN_TREE"
    spawning.close()


@pytest.mark.requires("clone3")
def test_a_clone_that_the_kernel_refuses_is_an_error_of_the_end(
    begin: Begin, no_group: int
) -> None:
    spawning = begin(cgroup_fd=no_group)
    spawning.queue(**MESSAGES)
    with pytest.raises(NativeError) as caught:
        spawning.end()
    assert caught.value.failure[:2] == NO_GROUP_FAILS


@pytest.mark.requires("clone3")
def test_a_refused_clone_without_its_messages_is_over(begin: Begin, no_group: int) -> None:
    begin(cgroup_fd=no_group).close()


def test_a_keeper_need_not_answer_at_once() -> None:
    keeper = Keeper()
    os.kill(keeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, keeper.pid, os.WSTOPPED | os.WNOWAIT | 0x40000000)
    how: dict[str, Any] = {"namespaces": 0, "userns_fd": -1, "cgroup_fd": -1}
    spawning = Spawning(flags=SPAWN_EARLY, keeper_fd=keeper.fileno(), **how)
    spawning.queue(**MESSAGES)
    os.kill(keeper.pid, signal.SIGCONT)
    pid1 = spawning.end()
    assert is_alive(pid1.pid)
    keeper.close()


@pytest.mark.requires("root", "cgroup_v2", "clone3")
def test_it_begins_without_waiting_for_the_clone() -> None:
    # What is born in a frozen group does not get as far as its exec.
    home = next(home for names, home in cgroup_homes() if "v2" in names)
    group = home / f"pycontain-spawning-test-{os.getpid()}"
    group.mkdir()
    fd = os.open(group, os.O_PATH | os.O_CLOEXEC)
    try:
        (group / "cgroup.freeze").write_text("1")
        spawning = Spawning(namespaces=0, flags=SPAWN_EARLY, userns_fd=-1, cgroup_fd=fd)
        spawning.queue(**MESSAGES)
        (group / "cgroup.freeze").write_text("0")
        pid1 = spawning.end()
        assert (group / "cgroup.procs").read_text() == f"{pid1.pid}\n"
        del pid1
    finally:
        os.close(fd)
        group.rmdir()


SCRIPT = """
    import os, resource, sys
    from pycontain import _native
    uid, limit = map(int, sys.argv[1:])
    _native._program.fds()
    if uid:
        os.setresuid(uid, uid, uid)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    how = {"namespaces": 0, "userns_fd": -1, "cgroup_fd": -1}
    keep = _native._Message("nsb_clone").finish(_native.lib.NSB_REQUEST_KEEP)
    spawning = _native.Spawning(flags=_native.SPAWN_EARLY, **how)
    spawning.queue(trees=_native.Trees(()), setup=keep, command=None, command_fds=())
    try:
        pid1 = spawning.end()
        print(os.path.exists(f"/proc/{pid1.pid}"))
    except _native.NativeError as error:
        print(*error.failure[:2])
"""


def run_script(uid: int = 0, limit: int = 0, **env: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(uid), str(limit)]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    "processes, outcome", [(1, f"CLONE {errno.EAGAIN}"), (2, "True"), (3, "True")]
)
def test_the_thread_takes_no_process_that_it_needs(processes: int, outcome: str) -> None:
    assert run_script(60000 + os.getpid() % 4000, processes) == outcome


NO_THREADS = """
#include <errno.h>
#include <unistd.h>
int pthread_create(void *thread, void *attributes, void *function, void *argument)
{
	return write(1, "asked ", 6) == 6 ? EAGAIN : 0;
}
"""


@pytest.mark.requires("gcc")
def test_where_no_thread_can_be_had_it_is_cloned_all_the_same(tmp_path: Path) -> None:
    source, library = tmp_path / "threads.c", tmp_path / "threads.so"
    source.write_text(NO_THREADS)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-w", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    assert run_script(LD_PRELOAD=str(library)) == "asked True"
