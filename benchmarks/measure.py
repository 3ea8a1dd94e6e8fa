# SPDX-License-Identifier: Apache-2.0
"""Measure runners side by side: short turns in random order, many times over.

The noise of a shared machine is larger than what is measured, but it changes slowly: runners that
take turns every few milliseconds see the same machine, so ratios within one run hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.runners import FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.site import Site

TURN_S = 0.06
RUNS_MAX = 16
ANSWER_S = 60.0
NAMESPACES = ("mnt", "pid", "net", "uts", "ipc", "user", "cgroup")


class RunnerFailedError(Exception):
    """A runner answered with an error, died, or did not answer in time."""


@dataclass(slots=True)
class Samples:
    """What one runner took in one workload; times in seconds."""

    seconds: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None


class Worker:
    """A runner in its own process, or the floor, which is one."""

    def __init__(self, runner: str, site: Site, heap_mb: int = 0) -> None:
        self.runner = runner
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        command = [sys.executable, "-m", "benchmarks.worker", runner, str(heap_mb)]
        if runner == FLOOR:
            command = site.floor_command(heap_mb)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
        )
        if runner != FLOOR:
            self._write(site.to_json())

    @property
    def pid(self) -> int:
        """The process that holds the sandboxes, or their starters."""
        return self._process.pid

    def _write(self, line: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def ask(self, *command: object, timeout: float = ANSWER_S) -> dict[str, Any]:
        """Send a command and return its answer; raise RunnerFailedError if there is none."""
        self._write(" ".join(map(str, command)))
        assert self._process.stdout
        # Answers are single lines and asked for one by one, so nothing waits in the buffer.
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self.kill()
            raise RunnerFailedError(f"{command[0]}: no answer in {timeout:.0f} s: deadlock?")
        line = self._process.stdout.readline()
        if not line:
            raise RunnerFailedError(f"{command[0]}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RunnerFailedError(f"{command[0]}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {status}: {lines[-1] if lines else 'no message'}"

    def kill(self) -> None:
        """End the process and what it left in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it clean up; kill it if it does not."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def workers(names: Mapping[str, int], runners: Mapping[str, str], site: Site) -> Iterator[Any]:
    """Start a worker for each name, with its heap; yields them by name."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name, heap_mb in names.items():
            worker = Worker(runners[name], site, heap_mb)
            stack.callback(worker.close)
            started[name] = worker
        yield started


def interleave(
    workers: Mapping[str, Worker], command: str, turns: int, gap_ms: int = 0
) -> dict[str, Samples]:
    """Let each worker take `turns` turns at `command`, in an order drawn anew each time.

    A turn without a gap begins with a run that is not counted, and has as many as fit in TURN_S.
    """
    results = {name: Samples() for name in workers}
    order = random.Random(1)
    for _ in range(turns):
        names = [name for name in workers if not results[name].failure]
        order.shuffle(names)
        for name in names:
            samples = results[name]
            typical = statistics.median(samples.seconds[-20:] or [TURN_S])
            count = 1 if gap_ms else max(1, min(RUNS_MAX, int(TURN_S / typical)))
            arguments = (count, gap_ms) if gap_ms else (count + 1,)
            try:
                answer = workers[name].ask(command, *arguments)
            except RunnerFailedError as error:
                samples.failure = str(error)
            else:
                seconds = answer["seconds"][0 if gap_ms else 1 :]
                samples.seconds += seconds
                # Each turn's runners saw the same machine: ratios are taken within turns.
                samples.extra.setdefault("turns", []).append(statistics.median(seconds))
    return results


def isolation(output: str) -> dict[str, Any]:
    """Read the probe's output: what is really in force inside, compared with this process."""
    lines = [line.split(None, 1) for line in output.splitlines()]
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}
    inside = dict(re.findall(r"^ns ((\w+):\[\d+\])$", output, re.MULTILINE))
    status = dict(re.findall(r"^/proc/self/status (\w+):\s*(\S+)", output, re.MULTILINE))
    maps = [line[1].split() for line in lines if line[0] == "/proc/self/uid_map"]
    user = re.search(r"uid (\d+)", output)
    return {
        "namespaces": sorted(kind for link, kind in inside.items() if own.get(kind, link) != link),
        "uid_inside": int(user[1]) if user else None,
        "uid_outside": _outside(int(user[1]), maps) if user else None,
        "capabilities": status.get("CapEff", "unknown").lstrip("0") or "none",
        "no_new_privs": status.get("NoNewPrivs") == "1",
        "seccomp_filters": int(status.get("Seccomp_filters", 0)),
        "own_root": "root home" not in output,
        "root_writable": "/etc/written writable" in output,
    }


def _outside(uid: int, maps: list[list[str]]) -> int | None:
    for inside, outside, count in (map(int, fields) for fields in maps):
        if inside <= uid < inside + count:
            return outside + uid - inside
    return None


class Recorded:
    """A clock that replays measured times, so that pytest-benchmark states them as its own."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Return the time; this is the timer."""
        return self._now

    def advance(self, seconds: list[float]) -> None:
        """Let the next recorded run pass; this is the function under test."""
        self._now += seconds.pop()


CLOCK = Recorded()
