# SPDX-License-Identifier: Apache-2.0
"""Whatever a program does to stay, it is gone, with groups and without them."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _bombs import MIB, bomb
from _box import LIST, listed, processes, started
from pycontain import PIPE, AsyncSandbox, PycontainError, Reason, Sandbox, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain._popen import Popen

GROUPS = [
    pytest.param(
        {"memory": 256 * MIB, "pids": 512},
        marks=pytest.mark.requires("cgroup_memory", "cgroup_pids"),
        id="groups",
    ),
    pytest.param({}, id="no groups"),
]
# Where no group bounds their number, they bound it themselves (RLIMIT_NPROC).
MANY = ("fork-bomb", "thread-bomb", "sessions")
STUBBORN = (
    *MANY,
    *("daemons", "stop-itself", "stop-group", "deaf", "closed", "holder", "flood-init"),
    "vfork-stopped",
)
BOUND_S = 1.0

groups = pytest.mark.parametrize("groups", GROUPS)
stubborn = pytest.mark.parametrize("kind", STUBBORN)
few = pytest.mark.parametrize("kind", ["fork-bomb", "daemons", "vfork-stopped"])


def stay(kind: str, groups: dict[str, Any]) -> list[str]:
    return bomb("stay", kind, *([300] if kind in MANY and not groups else []))


def out_of_time(run: Callable[[float], Any]) -> None:
    """Run what never ends until it was killed after it had said "ready"."""
    for seconds in (0.15, 1.0, 10.0):
        with pytest.raises(TimeoutExpired) as caught:
            run(seconds)
        if (caught.value.stdout or b"").startswith(b"ready\n"):
            assert caught.value.usage is not None
            return
    pytest.fail("never ready")


@groups
@stubborn
def test_a_timeout_leaves_nothing_of_the_command(
    kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    with box(**groups) as sb, started(sb) as bystander:
        out_of_time(lambda seconds: sb.run(stay(kind, groups), timeout=seconds))
        assert processes(sb) == ["sleep"]
        assert bystander.poll() is None
        assert sb.run(["echo", "well"]).stdout == b"well\n"


@groups
@stubborn
def test_a_timeout_leaves_nothing_of_a_sandbox_for_one_command(
    kind: str, groups: dict[str, Any], box_options: dict[str, Any]
) -> None:
    # Whether anything is left, the leak guard sees.
    args = stay(kind, groups)
    out_of_time(lambda seconds: pycontain.run(args, **box_options, **groups, timeout=seconds))


@groups
@stubborn
def test_kill_all_leaves_nothing_of_the_command(
    kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    with box(**groups) as sb, started(sb) as bystander:
        with started(sb, *stay(kind, groups)) as process:
            process.kill_all()
            assert (process.returncode, process.reason) == (-signal.SIGKILL, Reason.KILLED)
        assert processes(sb) == ["sleep"]
        assert bystander.poll() is None


@groups
@stubborn
def test_closing_leaves_nothing(
    kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    with box(**groups) as sb:
        process = sb.popen(stay(kind, groups), stdout=PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    # Each of them held our pipe: its end is theirs.
    while process.stdout.read(1 << 16):
        continue
    process.stdout.close()
    assert process.wait(timeout=10) == -signal.SIGKILL
    assert process.reason == Reason.KILLED


def in_threads(action: Callable[[], Any], count: int) -> None:
    threads = [threading.Thread(target=action) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)


def twice(action: Callable[[], Any]) -> None:
    action()
    action()


WAYS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "twice": twice,
    "another thread": lambda action: in_threads(action, 1),
    "threads at once": lambda action: in_threads(action, 4),
}


@groups
@few
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_may_come_again_and_from_anywhere(
    way: str, kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    with box(**groups) as sb:
        with started(sb, *stay(kind, groups)) as process:
            WAYS[way](process.kill_all)
            assert (process.returncode, process.reason) == (-signal.SIGKILL, Reason.KILLED)
        assert processes(sb) == []
        with started(sb, *stay(kind, groups)) as process:
            WAYS[way](sb.close)
            assert process.wait(timeout=10) == -signal.SIGKILL


@groups
@few
def test_a_kill_while_another_thread_waits_ends_its_wait(
    kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    ends: list[int] = []
    with box(**groups) as sb, started(sb, *stay(kind, groups)) as process:
        waiting = threading.Thread(target=lambda: ends.append(process.wait()))
        waiting.start()
        process.kill_all()
        waiting.join(timeout=30)
    assert ends == [-signal.SIGKILL]


@groups
def test_a_kill_during_the_start_leaves_nothing(
    groups: dict[str, Any], box: Callable[..., Sandbox], box_options: dict[str, Any]
) -> None:
    args = stay("daemons", groups)
    with box(**groups) as sb:
        for turn in range(30):
            with pytest.raises(TimeoutExpired):
                sb.run(args, timeout=(turn + 1) * 1e-4)
            with pytest.raises(TimeoutExpired):
                pycontain.run(args, **box_options, **groups, timeout=(turn + 1) * 2e-4)
        assert processes(sb) == []
        assert sb.run(["echo", "well"]).stdout == b"well\n"


@groups
def test_closing_during_a_start_ends_it(
    groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    for turn in range(20):
        sandbox = box(**groups).start()
        found: list[Any] = []

        def start(sandbox: Sandbox = sandbox, found: list[Any] = found) -> None:
            try:
                found.append(sandbox.popen(stay("daemons", groups)))
            except (PycontainError, OSError) as error:
                found.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        time.sleep(turn * 1e-4)
        sandbox.close()
        thread.join(timeout=30)
        assert len(found) == 1
        if not isinstance(found[0], Exception):
            assert found[0].wait(timeout=10) == -signal.SIGKILL


@groups
@few
@pytest.mark.parametrize("how", ["timeout", "kill_all", "cancelled", "closed"])
def test_an_event_loop_kills_as_well(
    how: str, kind: str, groups: dict[str, Any], box_options: dict[str, Any]
) -> None:
    args = stay(kind, groups)

    async def main() -> None:
        async with AsyncSandbox(**box_options, **groups) as sandbox:
            process = await sandbox.popen(args, stdout=PIPE)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            if how == "kill_all":
                await asyncio.gather(process.kill_all(), process.kill_all())
            elif how == "closed":
                await sandbox.close()
            else:
                await process.kill_all()
                task = asyncio.create_task(sandbox.run(args, timeout=0.2))
                if how == "cancelled":
                    await asyncio.sleep(0.1)
                    task.cancel()
                with pytest.raises((TimeoutExpired, asyncio.CancelledError)):
                    await task
            assert await process.wait() == -signal.SIGKILL
            if how != "closed":
                left = await sandbox.run(["sh", "-c", LIST], text=True)
                assert listed(left.stdout) == []

    asyncio.run(main())


def seconds_to_kill(process: Popen) -> float:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.3)  # for as many as it is let
    since = time.monotonic()
    process.kill_all()
    process.stdout.close()
    return time.monotonic() - since


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(
            {"memory": 1024 * MIB, "pids": 4000},
            marks=pytest.mark.requires("cgroup_memory", "cgroup_pids", "memory_4g"),
            id="groups",
        ),
        pytest.param({}, id="no groups"),
    ],
)
@pytest.mark.parametrize("kind", ["fork-bomb", "thread-bomb"])
def test_thousands_of_processes_are_gone_within_a_second(
    kind: str, groups: dict[str, Any], box: Callable[..., Sandbox]
) -> None:
    with box(**groups) as sb:
        took = []
        for _ in range(3):  # the machine may be busy with something else
            took.append(seconds_to_kill(sb.popen(bomb("stay", kind), stdout=PIPE)))
            assert processes(sb) == []
            if took[-1] <= BOUND_S:
                return
    pytest.fail(f"took {took} s")
