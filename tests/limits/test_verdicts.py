# SPDX-License-Identifier: Apache-2.0
"""Every verdict goes to the program that earns it, and to none that only looks like it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pycontain
from _bombs import KIB, MIB, bomb, truth
from pycontain import Reason, Result, Sandbox, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable

    from _bombs import Once

KILLED = -signal.SIGKILL
TURNS = 50
MEMORY: dict[str, Any] = {"memory": 16 * MIB}
PIDS: dict[str, Any] = {"pids": 8}
BOTH = {**MEMORY, **PIDS}


class Case(NamedTuple):
    """A program, the options of its sandbox, and how it ends."""

    words: tuple[object, ...]
    options: dict[str, Any]
    reason: Reason
    returncode: int


EARNED: dict[str, Case] = {
    "exited": Case(("end", 0), BOTH, Reason.EXITED, 0),
    "exited badly": Case(("end", 3), BOTH, Reason.EXITED, 3),
    "signaled": Case(("signal", 15), BOTH, Reason.SIGNALED, -15),
    "wall limit": Case(("late", 60_000, 0), {"wall_limit": 0.2}, Reason.WALL_LIMIT, KILLED),
    "oom": Case(("memory", "anonymous", 64 * MIB), MEMORY, Reason.OOM, KILLED),
    "pids limit": Case(("forks", 20, 5), PIDS, Reason.PIDS_LIMIT, 5),
    "output limit": Case(("output", MIB), {"output_limit": 1000}, Reason.OUTPUT_LIMIT, KILLED),
    "disk full of bytes": Case(("fill", "/tmp"), {"disk": "1M"}, Reason.DISK_FULL, 3),
    "disk full of files": Case(("entries", "/tmp", "files"), {"inodes": 300}, Reason.DISK_FULL, 3),
    "cpu limit": Case(("cpu", "waited", 8, 2000), {"cpu_limit": 0.2}, Reason.CPU_LIMIT, KILLED),
    "cpu limit of a tree that nobody waits for": Case(
        ("cpu", "double", 8, 2000), {"cpu_limit": 0.2}, Reason.CPU_LIMIT, KILLED
    ),
    "seccomp": Case(("trace",), {"profile": "judge"}, Reason.SECCOMP, -signal.SIGSYS),
}

LOOK_ALIKES: dict[str, Case] = {
    # of a memory limit
    "exit 137": Case(("end", 137), BOTH, Reason.EXITED, 137),
    "its own SIGKILL": Case(("signal", 9), BOTH, Reason.SIGNALED, KILLED),
    "memory below the limit": Case(("memory", "anonymous", 8 * MIB), BOTH, Reason.EXITED, 0),
    "memory refused by something else": Case(("memory", "locked", 8 * MIB), BOTH, Reason.EXITED, 3),
    "a segmentation fault": Case(("signal", 11), BOTH, Reason.SIGNALED, -11),
    # of a limit of time
    "exit 124": Case(("end", 124), {**BOTH, "wall_limit": 60}, Reason.EXITED, 124),
    "its own SIGALRM": Case(("signal", 14), {"wall_limit": 60}, Reason.SIGNALED, -14),
    "its own SIGXCPU": Case(("signal", 24), {"wall_limit": 60}, Reason.SIGNALED, -24),
    "time that was slept": Case(("late", 300, 0), {"cpu_limit": 0.2}, Reason.EXITED, 0),
    "less time than allowed": Case(("cpu", "waited", 8, 20), {"cpu_limit": 2}, Reason.EXITED, 0),
    "its own SIGXCPU long before": Case(("signal", 24), {"cpu_limit": 5}, Reason.SIGNALED, -24),
    "its own SIGKILL long before": Case(("signal", 9), {"cpu_limit": 5}, Reason.SIGNALED, KILLED),
    "exit 152": Case(("end", 152), {"cpu_limit": 5}, Reason.EXITED, 152),
    # of a limit of processes
    "a refused fork that was caught": Case(("forks", 20, 0), PIDS, Reason.EXITED, 0),
    "as many as allowed": Case(("forks", 7, 5), PIDS, Reason.EXITED, 5),
    # of a limit of output
    "output up to the limit": Case(("output", 1000), {"output_limit": 1000}, Reason.EXITED, 0),
    "its own SIGXFSZ": Case(("signal", 25), {"output_limit": 1000}, Reason.SIGNALED, -25),
    # of a disk
    "exit 28": Case(("end", 28), {"disk": "1M"}, Reason.EXITED, 28),
    "a disk that is nearly full": Case(
        ("memory", "file", 512 * KIB), {"disk": "1M"}, Reason.EXITED, 0
    ),
    "its own abort": Case(("signal", 6), {"disk": "1M"}, Reason.SIGNALED, -6),
    # of a filter
    "a refused system call": Case(
        ("memory", "locked", 8 * MIB), {"profile": "judge"}, Reason.EXITED, 3
    ),
    "its own SIGSYS": Case(("signal", 31), {}, Reason.SIGNALED, -31),
    "exit 159": Case(("end", 159), {"profile": "judge"}, Reason.EXITED, 159),
}


def case(name: str, found: Case) -> Any:
    needed = {"memory": "cgroup_memory", "pids": "cgroup_pids", "cpu_limit": "cgroup_tracking"}
    features = [needed[option] for option in found.options if option in needed]
    return pytest.param(found, id=name, marks=pytest.mark.requires(*features) if features else ())


def ending(result: Result) -> tuple[Reason, int]:
    return result.reason, result.returncode


CASES = [case(name, found) for name, found in {**EARNED, **LOOK_ALIKES}.items()]


@pytest.mark.parametrize("found", CASES)
def test_the_verdict_of_a_sandbox_for_one_command(found: Case, once: Once) -> None:
    assert ending(once(*found.words, **found.options)) == (found.reason, found.returncode)


@pytest.mark.parametrize("found", CASES)
def test_the_verdict_in_a_living_sandbox_is_that_of_each_command_alone(
    found: Case, box: Callable[..., Sandbox]
) -> None:
    with box(**found.options) as sb:
        first = sb.run(bomb(*found.words), timeout=60)
        sb.run(["sh", "-c", "rm -rf /tmp/*"], check=True)
        well = sb.run(bomb("end", 0), timeout=60)
        badly = sb.run(bomb("end", 3), timeout=60)
        again = sb.run(bomb(*found.words), timeout=60)

    assert ending(first) == ending(again) == (found.reason, found.returncode)
    assert ending(well) == (Reason.EXITED, 0)
    assert ending(badly) == (Reason.EXITED, 3)


def test_a_timeout_of_the_caller_is_killed(box: Callable[..., Sandbox]) -> None:
    with box() as sb:
        process = sb.popen(bomb("late", 60_000, 0))
        with pytest.raises(TimeoutExpired):
            process.wait(timeout=0.1)
        process.kill_all()
        assert (process.reason, process.returncode) == (Reason.KILLED, KILLED)


def test_every_reason_has_its_program() -> None:
    assert {found.reason for found in EARNED.values()} | {Reason.KILLED} == set(Reason)


def test_its_own_limit_of_processor_time_is_not_ours(once: Once) -> None:
    assert ending(once("xcpu", 1, wall_limit=60)) == (Reason.SIGNALED, -signal.SIGXCPU)


@pytest.mark.requires("cgroup_tracking")
@pytest.mark.parametrize("how", ["waited", "unwaited", "double", "ignored"])
def test_the_limit_of_processor_time_is_soon_exact(how: str, once: Once) -> None:
    done = once("cpu", how, 8, 2000, cpu_limit=0.3)

    assert ending(done) == (Reason.CPU_LIMIT, KILLED)
    assert done.usage.user_s is not None
    assert done.usage.system_s is not None
    assert 0.3 <= done.usage.user_s + done.usage.system_s < 2  # of 16


@pytest.mark.parametrize(
    "script, reason, code",
    [
        ("dd if=/dev/zero of=/tmp/a bs=64k; exit 0", Reason.EXITED, 0),
        ("dd if=/dev/zero of=/tmp/a bs=64k", Reason.DISK_FULL, 1),
        ("dd if=/dev/zero of=/tmp/a bs=64k || kill -ABRT $$", Reason.DISK_FULL, -6),
        ("dd if=/dev/zero of=/tmp/a bs=64k || kill -TERM $$", Reason.SIGNALED, -15),
        ("dd if=/dev/zero of=/tmp/a bs=64k count=4; exit 1", Reason.EXITED, 1),
        ("echo a > /missing/a", Reason.EXITED, 1),
        ("echo a > /dev/full", Reason.EXITED, 1),
    ],
)
def test_a_full_disk_is_the_verdict_of_who_failed_on_it(
    script: str, reason: Reason, code: int, box_options: dict[str, Any]
) -> None:
    done = pycontain.run(["sh", "-c", script], **box_options, disk="1M", timeout=60)

    assert ending(done) == (reason, code)


@pytest.mark.requires("cgroup_memory")
@pytest.mark.parametrize("status", [0, 1, 137])
@pytest.mark.parametrize("where", ["once", "living"])
def test_an_oom_kill_of_a_grandchild_is_oom_only_if_the_command_failed(
    where: str, status: int, once: Once, box: Callable[..., Sandbox]
) -> None:
    words = ("orphan", status, 64 * MIB)
    with box(**MEMORY) as sb:
        as_a_whole = sb.enforcement["oom_group"].in_force
        done = sb.run(bomb(*words), text=True, timeout=60)
    if where == "once":
        done = once(*words, **MEMORY)

    if as_a_whole:
        assert ending(done) == (Reason.OOM, KILLED)
    else:
        assert truth(done) == {"child": KILLED}
        assert ending(done) == (Reason.OOM if status else Reason.EXITED, status)


@pytest.mark.requires("cgroup_memory")
def test_another_commands_oom_is_not_ours(box: Callable[..., Sandbox]) -> None:
    with box(**MEMORY) as sb:
        quiet = sb.popen(bomb("late", 300, 0))
        loud = sb.run(bomb("memory", "anonymous", 64 * MIB), timeout=60)
        assert ending(loud) == (Reason.OOM, KILLED)
        assert (quiet.wait(timeout=60), quiet.reason) == (0, Reason.EXITED)


def usual_s(run: Callable[[], Any]) -> float:
    """Return how long something takes, here and now."""
    since = time.monotonic()
    for _ in range(5):
        run()
    return (time.monotonic() - since) / 5


def idle_ms(turn: int, limit_s: float) -> int:
    """Return milliseconds that grow from nothing to far beyond the limit."""
    return round(2000 * limit_s * turn / TURNS)


@pytest.mark.parametrize("where", ["once", "living"])
@pytest.mark.parametrize(
    "size, limits, own",
    [
        pytest.param(0, {}, (Reason.EXITED, 0), id="end"),
        pytest.param(
            64 * MIB,
            {"memory": 4 * MIB},
            (Reason.OOM, KILLED),
            id="oom",
            marks=pytest.mark.requires("cgroup_memory"),
        ),
    ],
)
def test_around_the_wall_limit_one_verdict_speaks_and_agrees_with_the_end(
    size: int,
    limits: dict[str, Any],
    own: tuple[Reason, int],
    where: str,
    once: Once,
    box: Callable[..., Sandbox],
) -> None:
    limit_s = 0.01 + usual_s(lambda: once("late", 0, size, **limits))
    limited = {**limits, "wall_limit": limit_s}
    seen = set()
    with box(**limited) as sb:
        for turn in range(TURNS):
            words = ("late", idle_ms(turn, limit_s), size)
            done = once(*words, **limited) if where == "once" else sb.run(bomb(*words), timeout=60)
            seen.add(ending(done))
            if done.reason == Reason.WALL_LIMIT:
                assert done.usage.wall_s >= limit_s
    assert seen == {own, (Reason.WALL_LIMIT, KILLED)}


@pytest.mark.requires("cgroup_memory")
def test_of_a_timeout_and_an_oom_at_the_same_time_one_speaks(once: Once) -> None:
    limit_s = 0.01 + usual_s(lambda: once("late", 0, 64 * MIB, memory=4 * MIB))
    seen = set()
    for turn in range(TURNS):
        words = ("late", idle_ms(turn, limit_s), 64 * MIB)
        try:
            seen.add(ending(once(*words, memory=4 * MIB, timeout=limit_s)))
        except TimeoutExpired:
            seen.add((Reason.KILLED, KILLED))
    assert seen == {(Reason.OOM, KILLED), (Reason.KILLED, KILLED)}


@pytest.mark.parametrize("size", [1, 1 * KIB, 64 * KIB, MIB])
@pytest.mark.parametrize("where", ["once", "living"])
def test_one_byte_more_than_the_output_limit_is_too_much(
    where: str, size: int, once: Once, box: Callable[..., Sandbox]
) -> None:
    with box(output_limit=size) as sb:
        for _ in range(10):
            if where == "once":
                exact = once("output", size, output_limit=size, text=False)
                more = once("output", size + 1, output_limit=size, text=False)
            else:
                exact = sb.run(bomb("output", size), timeout=60)
                more = sb.run(bomb("output", size + 1), timeout=60)
            assert (*ending(exact), len(exact.stdout)) == (Reason.EXITED, 0, size)
            assert (more.reason, len(more.stdout)) == (Reason.OUTPUT_LIMIT, size)
            assert more.returncode in (0, KILLED)  # it may end before it is killed


@pytest.mark.requires("cgroup_tracking")
def test_a_process_that_nobody_waits_for_ends_at_the_limit_all_the_same(
    box: Callable[..., Sandbox],
) -> None:
    with box(cpu_limit=1) as sb:
        process = sb.popen(bomb("xcpu", 60), stdout=pycontain.PIPE)
        assert process.stdout is not None
        with process.stdout as stream:
            assert stream.read() == b""  # until it ends; only then it is looked at
        assert process.wait(timeout=60) in (-signal.SIGXCPU, -signal.SIGKILL)
        assert process.reason == Reason.CPU_LIMIT
