# SPDX-License-Identifier: Apache-2.0
"""One runner in a process of its own: `python -m benchmarks.worker RUNNER HEAP_MB`.

The protocol is that of floor.c: the site as a line of JSON, then commands as lines, each answered
by a line of JSON. What runs prints into a file, so that no program writes into the protocol.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import mmap
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from benchmarks.runners import RUNNERS
from benchmarks.runners.base import NotOfferedError
from benchmarks.runners.images import IMAGE_RUNNERS
from benchmarks.runners.oci import OciRuntime
from benchmarks.site import MEMORY, PIDS, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.runners.base import Runner

MADV_NOHUGEPAGE = 15


def touched(megabytes: int) -> mmap.mmap | None:
    """Return memory that is resident, in small pages as a heap grown piece by piece has them."""
    if not megabytes:
        return None
    memory = mmap.mmap(-1, megabytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(MADV_NOHUGEPAGE)
    block = b"x" * (1 << 20)
    for _ in range(megabytes):
        memory.write(block)
    return memory


def timed(run: Callable[[str], bytes], program: str = "true") -> float:
    """Return how long one correct run takes, in seconds."""
    start = time.perf_counter()
    output = run(program)
    seconds = time.perf_counter() - start
    if output != b"ok\n":
        raise RuntimeError(f"output {output!r}")
    return seconds


def in_threads(run: Callable[[str], bytes], number: int, count: int) -> dict[str, Any]:
    """Return how long `count` runs in each of `number` threads took, each and all together."""
    barrier = threading.Barrier(number + 1)
    seconds: list[float] = []
    failures: list[str] = []

    def work() -> None:
        barrier.wait()
        try:
            seconds.extend([timed(run) for _ in range(count)])
        except Exception as error:  # noqa: BLE001  reported below, whatever it is
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    if failures:
        raise RuntimeError(f"{len(failures)} of {number} threads failed: {failures[0]}")
    return {"seconds": seconds, "wall": wall}


class Worker:
    """Carries out commands; each method's result becomes JSON."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._living = contextlib.ExitStack()
        self._held = contextlib.ExitStack()
        self._in_living: Callable[[str], bytes] | None = None
        self._limits: dict[tuple[int, int], Callable[[str], bytes]] = {}

    def probe(self) -> dict[str, Any]:
        """Let the probe print what it sees."""
        return {"output": self._runner.run("probe").decode()}

    def oneshot(self, count: int, gap_ms: int = 0, program: str = "true") -> dict[str, Any]:
        """Run in fresh sandboxes, each after a gap."""
        seconds = []
        for _ in range(count):
            if gap_ms:
                time.sleep(gap_ms / 1000)
            seconds.append(timed(self._runner.run, program))
        return {"seconds": seconds}

    def oneshot_bare(self, count: int) -> dict[str, Any]:
        """Run the least that can run in fresh sandboxes."""
        return self.oneshot(count, program="bare")

    def living(self, count: int, program: str = "true") -> dict[str, Any]:
        """Run in one sandbox, which is made by the first call."""
        if self._in_living is None:
            self._in_living = self._living.enter_context(self._runner.living())
        run = self._in_living
        return {"seconds": [timed(run, program) for _ in range(count)]}

    def living_bare(self, count: int) -> dict[str, Any]:
        """Run the least that can run in one sandbox."""
        return self.living(count, program="bare")

    def create(self, count: int, gap_ms: int) -> dict[str, Any]:
        """Create containers of an OCI runtime, which then live and are deleted."""
        return self._step("create", count, gap_ms)

    def start(self, count: int, gap_ms: int) -> dict[str, Any]:
        """Start what was created."""
        return self._step("start", count, gap_ms)

    def state(self, count: int, gap_ms: int) -> dict[str, Any]:
        """Ask for the state of what was started."""
        return self._step("state", count, gap_ms)

    def delete(self, count: int, gap_ms: int) -> dict[str, Any]:
        """Delete what has ended."""
        return self._step("delete", count, gap_ms)

    def _step(self, step: str, count: int, gap_ms: int) -> dict[str, Any]:
        if not isinstance(self._runner, OciRuntime):
            raise NotOfferedError(f"{self._runner.name} is no OCI runtime")
        seconds = []
        for _ in range(count):
            time.sleep(gap_ms / 1000)
            seconds.append(self._runner.step(step))
        return {"seconds": seconds}

    def threads(self, number: int, count: int) -> dict[str, Any]:
        """Run `count` times in each of `number` threads at once."""
        return in_threads(self._runner.run, number, count)

    def limits(self, limited: int, living: int, number: int, count: int) -> dict[str, Any]:
        """Do so with or without limits, in fresh sandboxes or in one that is made once."""
        run = self._limits.get((limited, living))
        if run is None:
            asked = {"memory": MEMORY, "pids": 4 * PIDS} if limited else {}
            runner = self._runner.limited_to(asked)
            run = self._living.enter_context(runner.living()) if living else runner.run
            self._limits[limited, living] = run
        return in_threads(run, number, count)

    def hold(self, count: int) -> dict[str, Any]:
        """Make sandboxes that live until `release`."""
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            self._held.enter_context(self._runner.hold())
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def release(self) -> dict[str, Any]:
        """End them."""
        self._held.close()
        return {"seconds": []}

    def close(self) -> None:
        """End everything."""
        self._held.close()
        self._living.close()


def main() -> None:
    """Serve commands until the end of the input."""
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    site = Site.from_json(sys.stdin.readline())
    output = f"{site.work}/output-{os.getpid()}"
    os.dup2(os.open(output, os.O_RDWR | os.O_CREAT | os.O_APPEND), 1)
    worker = Worker((RUNNERS | IMAGE_RUNNERS)[sys.argv[1]](site))
    ballast = touched(int(sys.argv[2]))
    gc.collect()
    gc.freeze()
    try:
        for line in sys.stdin:
            name, *numbers = line.split()
            try:
                answer = getattr(worker, name)(*map(int, numbers))
            except Exception as error:  # noqa: BLE001  the other side decides what it means
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        worker.close()
        del ballast


if __name__ == "__main__":
    main()
