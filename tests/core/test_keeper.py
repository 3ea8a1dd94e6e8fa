# SPDX-License-Identifier: Apache-2.0
"""A keeper clones PID 1 in the caller's place, and nobody can tell the difference."""

from __future__ import annotations

import concurrent.futures
import errno
import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontain
from _box import settles, started
from _features import cgroup_homes
from pycontain import Sandbox, SpawnError, _native
from pycontain._configure import Configured
from pycontain._keeper import Keeper
from pycontain._runtime import Footing, Runtime

MODES = ["vm", "fork"]


@pytest.fixture(params=MODES)
def keeper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    """Return a keeper that clones all that is spawned meanwhile."""
    monkeypatch.setenv("PYCONTAIN_CLONE", request.param)
    keeper = Keeper()

    def spawn(*, keeper_fd: int, **more: Any) -> _native.Pid1:
        assert keeper_fd == -1
        return real(keeper_fd=keeper.fileno(), **more)

    real = _native.spawn
    monkeypatch.setattr(_native, "spawn", spawn)
    yield keeper
    keeper.close()


def pid_of(sandbox: Sandbox) -> int:
    assert sandbox._runtime is not None
    return sandbox._runtime.pid


def descriptors(keeper: Keeper) -> list[str]:
    return sorted(os.listdir(f"/proc/{keeper.pid}/fd"))


def test_sandboxes_and_their_verdicts_are_the_same(
    keeper: Keeper, box_options: dict[str, Any]
) -> None:
    done = pycontain.run(["sh", "-c", "echo out; exit 3"], **box_options)
    assert (done.returncode, done.stdout) == (3, b"out\n")
    with Sandbox(**box_options) as sb:
        assert sb.run(["echo", "again"]).stdout == b"again\n"
        assert sb.run(["sh", "-c", "kill -9 $$"]).returncode == -9


@pytest.mark.parametrize("cpu", sorted(os.sched_getaffinity(0)))
def test_it_runs_on_the_processors_that_were_asked_for(
    keeper: Keeper, box: Callable[..., Sandbox], cpu: int
) -> None:
    with box(cpuset=str(cpu)) as sb, started(sb):
        assert os.sched_getaffinity(pid_of(sb)) == {cpu}


@pytest.mark.parametrize("cpus", [{4000}, {9000}])
def test_processors_that_it_cannot_give_are_an_error(keeper: Keeper, cpus: set[int]) -> None:
    plan = Configured().plan
    with pytest.raises(SpawnError) as caught:
        Runtime.start(plan, Footing(plan.identity.lease(binds=False), None, cpus))
    assert (caught.value.step, caught.value.errno) == ("AFFINITY", errno.EINVAL)


def test_pid_1_is_our_own_child(keeper: Keeper, box: Callable[..., Sandbox]) -> None:
    with box(memory="max", pids="max") as sb, started(sb):
        stat = Path(f"/proc/{pid_of(sb)}/stat").read_text()
        assert int(stat.rpartition(")")[2].split()[1]) == os.getpid()


def test_many_threads_share_one(keeper: Keeper, box_options: dict[str, Any]) -> None:
    def work(number: int) -> bytes:
        return bytes(pycontain.run(["echo", str(number)], **box_options).stdout)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(64))) == [f"{number}\n".encode() for number in range(64)]


def test_it_holds_nothing_of_what_it_has_cloned(
    keeper: Keeper, box_options: dict[str, Any]
) -> None:
    # The kernel lets the parent go on before the exec has closed what it closes.
    assert settles(lambda: descriptors(keeper) == ["0", "1", "2", "3"])
    for _ in range(3):
        pycontain.run(["true"], **box_options)
    assert descriptors(keeper) == ["0", "1", "2", "3"]


@pytest.mark.requires("root", "cgroup_v2")
def test_what_it_clones_is_born_where_it_lives(keeper: Keeper, box: Callable[..., Sandbox]) -> None:
    home = next(home for names, home in cgroup_homes() if "v2" in names)
    group = home / f"pycontain-keeper-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(keeper.pid))
        with box(memory="max", pids="max") as sb, started(sb):
            assert str(pid_of(sb)) in (group / "cgroup.procs").read_text().split()
        keeper.close()
    finally:
        assert settles(functools.partial(removed, group))


def removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.requires("clone3")
def test_a_clone_that_the_kernel_refuses_is_reported(keeper: Keeper) -> None:
    no_group = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        with pytest.raises(_native.NativeError) as caught:
            _native.spawn(
                namespaces=0,
                flags=0,
                userns_fd=-1,
                cgroup_fd=no_group,
                tasks_fds=(),
                trees=_native.Trees(()),
                setup=b"\0" * 16,
                command=None,
                command_fds=(),
                keeper_fd=-1,
            )
    finally:
        os.close(no_group)
    assert (caught.value.failure.step, caught.value.failure.errno) == ("CLONE", errno.EBADF)


def test_a_sandbox_goes_on_without_its_keeper(keeper: Keeper, box: Callable[..., Sandbox]) -> None:
    with box() as sb:
        keeper.close()
        assert sb.run(["echo", "still"]).stdout == b"still\n"


def test_a_keeper_that_is_gone_is_an_error_with_a_remedy(
    keeper: Keeper, box_options: dict[str, Any]
) -> None:
    os.kill(keeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT | 0x40000000)
    with pytest.raises(SpawnError, match=r"KEEPER failed.*systemd scope"):
        pycontain.run(["true"], **box_options)


def test_it_ends_with_the_last_copy_of_its_socket() -> None:
    keeper = Keeper()
    pidfd = os.pidfd_open(keeper.pid)
    keeper.forget()
    info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | 0x40000000)
    os.close(pidfd)
    assert info is not None
    assert (info.si_pid, info.si_status) == (keeper.pid, 0)


def test_closing_twice_is_fine() -> None:
    keeper = Keeper()
    keeper.close()
    keeper.close()
