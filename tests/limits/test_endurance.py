# SPDX-License-Identifier: Apache-2.0
"""Many runs in many threads: no verdict is wrong, and nothing grows.

PYCONTAIN_ENDURANCE is the number of runs; 10000 take some minutes.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _bombs import KIB, MIB, bomb, own_groups
from _box import settles
from pycontain import Reason, Sandbox, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 16
RUNS = int(os.environ.get("PYCONTAIN_ENDURANCE", "1200"))

Ending = tuple[Reason | str, int]

LIMITS: dict[str, Any] = {"memory": 32 * MIB, "pids": 32}
# Programs, what is different from LIMITS, and how they end.
CASES: tuple[tuple[tuple[object, ...], dict[str, Any], Ending], ...] = (
    (("end", 0), {}, (Reason.EXITED, 0)),
    (("end", 1), {}, (Reason.EXITED, 1)),
    (("processes", 5), {}, (Reason.EXITED, 0)),
    (("memory", "anonymous", 4 * MIB), {}, (Reason.EXITED, 0)),
    (("end", 137), {}, (Reason.EXITED, 137)),
    (("signal", 9), {}, (Reason.SIGNALED, -9)),
    (("memory", "anonymous", 16 * MIB), {"memory": 4 * MIB}, (Reason.OOM, -9)),
    (("signal", 15), {}, (Reason.SIGNALED, -15)),
    (("forks", 20, 5), {"pids": 8}, (Reason.PIDS_LIMIT, 5)),
    (("forks", 20, 0), {"pids": 8}, (Reason.EXITED, 0)),
    (("late", 60_000, 0), {"wall_limit": 0.02}, (Reason.WALL_LIMIT, -9)),
    (("output", MIB), {"output_limit": KIB}, (Reason.OUTPUT_LIMIT, -9)),
    (("fill", "/tmp"), {"disk": 256 * KIB}, (Reason.DISK_FULL, 3)),
    (("trace",), {"profile": "judge"}, (Reason.SECCOMP, -31)),
    (("stay", "daemons"), {"timeout": 0.02}, ("timeout", -9)),
    (("stay", "deaf"), {"timeout": 0.02}, ("timeout", -9)),
)


def ending(run: Callable[..., pycontain.Result], *args: Any, **options: Any) -> Ending:
    try:
        done = run(*args, **options)
    except TimeoutExpired:
        return "timeout", -9
    return done.reason, done.returncode


def once(number: int, options: dict[str, Any]) -> str:
    """Run one of the cases in a sandbox of its own; return what is wrong."""
    words, more, expected = CASES[number % len(CASES)]
    found = ending(pycontain.run, bomb(*words), **{**options, **LIMITS, "timeout": 120, **more})
    return "" if found == expected else f"{words} {more}: {found}"


def living(number: int, options: dict[str, Any]) -> str:
    """Run several in a living sandbox."""
    with Sandbox(**{**options, **LIMITS}) as sb:
        found = [
            ending(sb.run, bomb("end", number % 256), timeout=120),
            ending(sb.run, bomb("memory", "anonymous", 64 * MIB), timeout=120),
            ending(sb.run, bomb("stay", "daemons"), timeout=0.02),
            ending(sb.run, bomb("end", 0), timeout=120),
        ]
    expected = [
        (Reason.EXITED, number % 256),
        (Reason.OOM, -9),
        ("timeout", -9),
        (Reason.EXITED, 0),
    ]
    return "" if found == expected else f"living: {found}"


def counts() -> Counter[str]:
    groups = (folder for own in own_groups() for folder in own.glob("**/"))
    children = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return Counter(
        fds=len(os.listdir("/proc/self/fd")),
        groups=sum(1 for _ in groups),
        mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()),
        processes=sum(len(text.split()) for text in children),
        threads=threading.active_count(),
    )


@pytest.mark.slow
@pytest.mark.requires("cgroup_memory", "cgroup_pids")
def test_counts_are_flat_and_verdicts_right_over_many_runs(box_options: dict[str, Any]) -> None:
    def work(number: int) -> str:
        return (living if number % 20 == 0 else once)(number // 2, box_options)

    wrong: list[str] = []
    done = 0
    seen: list[Counter[str]] = []
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for share in (10, 50, 100):
            until = RUNS * share // 100
            wrong += filter(None, pool.map(work, range(done, until)))
            done = until
            settles(lambda: not seen or counts() <= seen[0])
            seen.append(counts())

    assert wrong == []
    assert seen[1] <= seen[0], seen
    assert seen[2] <= seen[0], seen
