# SPDX-License-Identifier: Apache-2.0
"""Cases that are programs which write much, each measured in a new directory, and often.

Nothing is removed before the end: an ext4 without a journal does not use inodes again that were
freed lately, and looks for others for a long time. Before each run the disk has written what others
left to it, and memory for files is at hand: what a virtual machine has given back to its host comes
again at some ten microseconds a page, which is more than all that is measured here.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Samples

KEPT = Path(__file__).resolve().parents[1] / "build/bench"
TURNS = 5  # of pulls each takes some 2 GB
AT_HAND = 768  # MB
# Small, since what a process had before its exec counts as its own.
LAUNCHER = """
import json, os, sys, time
largest, start = 0, time.perf_counter()
for command in json.loads(sys.argv[1]):
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(1)
    largest = max(largest, usage.ru_maxrss)
print(time.perf_counter() - start, largest)
"""
PROLOGUE = "import io, os, sys, time\nfrom pathlib import Path\n"
EPILOGUE = "print(time.perf_counter() - start)\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a case is given: the image's name, a file, and a new directory."""

    name: str
    file: Path
    folder: Path


Case = Callable[[Place], list[list[str]]]


def program(source: str, *arguments: str) -> Case:
    """Return a case that is a program of ours, which says itself how long it took."""
    text = PROLOGUE + source + EPILOGUE
    start = [sys.executable, "-c", text]
    return lambda place: [[*start, place.name, str(place.file), str(place.folder), *arguments]]


def _environment() -> dict[str, str]:
    """Let our programs find compiled modules, as those of an installed package do."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(KEPT / "bytecode")}


def _settle(folder: Path) -> None:
    os.sync()
    file, megabyte = folder / "at-hand", bytes(1 << 20)
    with file.open("xb", buffering=0) as out:
        for _ in range(AT_HAND):
            out.write(megabyte)
    file.unlink()


def _once(commands: list[list[str]]) -> tuple[float, float]:
    """Return how many seconds it took, and the largest set of one process in MB."""
    start = [sys.executable, "-S", "-c", LAUNCHER, json.dumps(commands)]
    done = subprocess.run(start, capture_output=True, env=_environment(), text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    *told, last = done.stdout.splitlines()
    seconds, rss = last.split()
    ours = "-c" in commands[-1]
    return float(told[-1] if ours else seconds), int(rss) / 1024


def interleave(cases: dict[str, Case], name: str, file: Path, work: Path) -> dict[str, Samples]:
    """Let the cases take turns, in an order drawn anew each time."""
    results = {case: Samples() for case in cases}
    order = random.Random(3)
    for turn in range(TURNS):
        for case in order.sample(list(cases), len(cases)):
            samples = results[case]
            if samples.failure:
                continue
            folder = work / f"{turn}{list(cases).index(case)}"  # podman wants short paths
            folder.mkdir(parents=True)
            _settle(work)
            try:
                seconds, rss = _once(cases[case](Place(name=name, file=file, folder=folder)))
            except (OSError, RuntimeError) as error:
                samples.failure = str(error)
                continue
            samples.seconds.append(seconds)
            samples.extra["rss_mb"] = max(rss, samples.extra.get("rss_mb", 0.0))
    for samples in results.values():
        samples.extra["turns"] = list(samples.seconds)
    return results
