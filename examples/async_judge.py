#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An online judge in one event loop: submissions run at once, each test in a fresh sandbox."""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from pycontain import Reason, run_async

TESTS = {"2 3\n": "5\n", "10 -4\n": "6\n", "1000000 1\n": "1000001\n"}
SUBMISSIONS = {
    "ada": "a, b = map(int, input().split())\nprint(a + b)",
    "bob": "a, b = map(int, input().split())\nprint(a + abs(b))",
    "cleo": "while True: pass",
    "dan": "import os, time\nfor _ in range(3): os.fork()\ntime.sleep(1000)",
    "eve": "print(open('/home/secret').read())",
    "finn": "while True: print('spam')",
    "gwen": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
}
LIMITS: dict[str, Any] = {"profile": "judge", "wall_limit": 2, "output_limit": "64K"}
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one submission."""

    word: str
    passed: int
    seconds: float


async def judge(source: str, slots: asyncio.Semaphore) -> Verdict:
    """Run a submission on each test until it fails one."""
    seconds = 0.0
    for passed, (given, expected) in enumerate(TESTS.items()):
        async with slots:
            result = await run_async(
                [sys.executable, "-Ic", source], input=given, text=True, **LIMITS
            )
        seconds = max(seconds, result.usage.wall_s)
        if result.reason != Reason.EXITED:
            return Verdict(str(result.reason), passed, seconds)
        if result.returncode:
            return Verdict("runtime_error", passed, seconds)
        if result.stdout != expected:
            return Verdict("wrong_answer", passed, seconds)
    return Verdict("accepted", len(TESTS), seconds)


async def main() -> None:
    """Judge all submissions and print the table."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(judge(source, slots)) for name, source in SUBMISSIONS.items()
        }
    print(f"{'name':6} {'verdict':14} {'tests':>5} {'slowest':>8}")
    for name, task in tasks.items():
        verdict = task.result()
        passed = f"{verdict.passed}/{len(TESTS)}"
        print(f"{name:6} {verdict.word:14} {passed:>5} {verdict.seconds:7.2f}s")


if __name__ == "__main__":
    asyncio.run(main())
