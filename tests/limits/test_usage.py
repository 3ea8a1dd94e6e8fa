# SPDX-License-Identifier: Apache-2.0
"""What a command used is what it truly used, whoever waited for whom."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from _bombs import MIB, bomb, truth
from pycontain import Bind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _bombs import Once
    from pycontain import Result, Sandbox, Usage

memory = pytest.mark.requires("cgroup_memory")
pids = pytest.mark.requires("cgroup_pids")

HOWS = ("waited", "unwaited", "double", "ignored")


def used_s(usage: Usage) -> float:
    assert usage.user_s is not None
    assert usage.system_s is not None
    return usage.user_s + usage.system_s


def peak_of(result: Result) -> int:
    assert (result.reason, result.returncode) == (Reason.EXITED, 0), result.stderr
    peak = result.usage.memory_peak
    assert peak is not None
    assert result.usage.sources["memory_peak"].startswith("cgroup")
    return peak


@memory
@pytest.mark.requires("memory_peak")
@pytest.mark.parametrize(
    "words, touched",
    [
        (("tree", 1, 64 * MIB), 64 * MIB),
        (("tree", 8, 16 * MIB), 128 * MIB),
        (("early", 64 * MIB), 64 * MIB),
    ],
    ids=["one process", "a tree of eight at once", "a child that ended before"],
)
def test_peak_memory_is_what_is_touched(
    words: tuple[object, ...], touched: int, once: Once
) -> None:
    base = peak_of(once(*words[:-1], 0, memory=256 * MIB))
    peak = peak_of(once(*words, memory=256 * MIB))

    assert abs(peak - base - touched) <= 0.05 * touched


@memory
@pytest.mark.requires("memory_peak")
def test_peak_memory_is_neither_the_callers_nor_an_earlier_commands(
    box: Callable[..., Sandbox],
) -> None:
    ballast = bytearray(b"x") * (64 * MIB)
    with box(memory=256 * MIB) as sb:
        large = peak_of(sb.run(bomb("tree", 1, 64 * MIB), timeout=60))
        small = peak_of(sb.run(bomb("tree", 1, 0), timeout=60))
    del ballast

    assert small < 4 * MIB < 64 * MIB < large


def agrees(run: Callable[[int], Result]) -> Result:
    """Run a tree that burns longer and longer, until its time is as told, and return its result.

    Birth and death of the processes, which they cannot tell, weigh on a slow machine.
    """
    errors = []
    for each_ms in (60, 200, 800):
        done = run(each_ms)
        assert (done.reason, done.returncode) == (Reason.EXITED, 0)
        true_s = truth(done)["cpu_s"]
        assert true_s >= 8 * each_ms / 1000
        errors.append(used_s(done.usage) - true_s)
        if abs(errors[-1]) <= max(0.03 * true_s, 0.01):
            return done
    pytest.fail(f"wrong by {errors} s")


@memory
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("where", ["once", "living"])
def test_processor_time_is_that_of_the_whole_tree(
    where: str, how: str, once: Once, box: Callable[..., Sandbox]
) -> None:
    with box(memory=256 * MIB) as sb:

        def run(each_ms: int) -> Result:
            if where == "once":
                return once("cpu", how, 8, each_ms, memory=256 * MIB)
            return sb.run(bomb("cpu", how, 8, each_ms), text=True, timeout=120)

        done = agrees(run)
    assert done.usage.sources["user_s"].startswith("cgroup")
    assert done.usage.sources["system_s"].startswith("cgroup")


def test_processor_time_without_groups_says_what_it_leaves_out(once: Once) -> None:
    done = agrees(lambda each_ms: once("cpu", "waited", 8, each_ms))

    assert "waited for" in done.usage.sources["user_s"]


@pids
@pytest.mark.requires("pids_peak")
@pytest.mark.parametrize("kind", ["processes", "threads"])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_the_peak_of_processes_counts_threads_too(kind: str, count: int, once: Once) -> None:
    done = once(kind, count, pids=64)

    assert (done.reason, done.returncode) == (Reason.EXITED, 0)
    assert done.usage.pids_peak == count + 1
    assert done.usage.sources["pids_peak"].startswith("cgroup")


@pids
@pytest.mark.requires("pids_peak")
def test_the_peak_of_processes_never_exceeds_the_limit(once: Once) -> None:
    done = once("forks", 20, 1, pids=8)

    assert (done.reason, truth(done)["made"]) == (Reason.PIDS_LIMIT, 7)
    assert done.usage.pids_peak == 8


@memory
def test_bytes_of_the_disk_are_counted_or_not_told(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    on_disk = os.major(tmp_path.stat().st_dev) != 0
    with box(memory=64 * MIB, mounts=[Bind(tmp_path, "/out", read_only=False)]) as sb:
        write = sb.run(bomb("write", "/out/file", 8 * MIB), text=True, timeout=60)
        read = sb.run(bomb("read", "/out/file"), text=True, timeout=60)
    assert truth(write) == truth(read) == {"bytes": 8 * MIB}
    told = ((write.usage, "io_write"), (read.usage, "io_read"))
    for usage, name in told:
        value = getattr(usage, name)
        if value is None:
            assert name not in usage.sources
        elif on_disk:
            assert 8 * MIB <= value <= 16 * MIB
            assert usage.sources[name]


def test_nothing_is_told_without_a_source(once: Once) -> None:
    usage = once("end", 0).usage
    names = ("user_s", "system_s", "memory_peak", "pids_peak", "io_read", "io_write")

    assert [
        name for name in names if (getattr(usage, name) is None) == (name in usage.sources)
    ] == []
