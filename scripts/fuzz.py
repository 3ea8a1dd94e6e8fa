#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzz everything that tests/_fuzz has, for FUZZ_SECONDS (600) in all.

    PYTHONPATH=tests scripts/fuzz.py [TARGET...]

Each target has its share and one processor; the C targets also have what earlier runs found worth
keeping, in build/fuzz/corpus. The last line adds up, and build/fuzz.json has a row for each
target: target, executions, seconds, crashes, and what it covers of the C code's edges. An input
that crashes stays in build/fuzz/crashes; `build/fuzz/TARGET FILE` does it again, with FUZZ_TRACE=1
showing each system call.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import hypothesis

from _fuzz import build
from _fuzz.properties import PROPERTIES
from _fuzz.seeds import seeds_of

BUILD = Path(__file__).resolve().parents[1] / "build"
FOLDER = BUILD / "fuzz"
BATCH = 200
LONGEST_INPUT = 8192
# Of the time, where it is not 1.
SHARES = {"setup": 6, "requests": 6, "paths": 2}


class Row(NamedTuple):
    """What came of one target."""

    target: str
    executions: int
    seconds: float
    crashes: int
    coverage: str


def fuzz_c(target: str, seconds: float) -> Row:
    """Run a C target."""
    program = build.build(target, FOLDER)
    corpus, seeds = FOLDER / "corpus" / target, FOLDER / "seeds" / target
    crashes = FOLDER / "crashes"
    for folder in (corpus, seeds, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(target)):
        (seeds / str(number)).write_bytes(seed)
    known = set(crashes.iterdir())
    command = [
        *(str(program), f"-max_total_time={max(1, round(seconds))}", "-print_final_stats=1"),
        *(f"-artifact_prefix={crashes}/{target}-", f"-max_len={LONGEST_INPUT}", "-timeout=10"),
        *(str(corpus), str(seeds)),
    ]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    spent = time.monotonic() - started
    new = set(crashes.iterdir()) - known
    if done.returncode:
        print(done.stderr[-6000:], flush=True)
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    counters = re.search(r"\((\d+) inline 8-bit counters\)", done.stderr)
    covered = re.findall(r" cov: (\d+)", done.stderr)
    return Row(
        target=target,
        executions=int(executed[1]) if executed else 0,
        seconds=spent,
        crashes=max(len(new), 1 if done.returncode else 0),
        coverage=f"{covered[-1]} of {counters[1]}" if covered and counters else "",
    )


def fuzz_python(target: str, seconds: float) -> Row:
    """Check a property, until it fails or the time is over."""
    given, check = PROPERTIES[target]
    executions = batch = crashes = 0
    started = time.monotonic()

    def counted(case: object) -> None:
        nonlocal executions
        executions += 1
        check(case)

    while not crashes and time.monotonic() - started < seconds:
        test = hypothesis.given(given)(counted)
        test = hypothesis.settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )(hypothesis.seed(time.time_ns())(test))
        try:
            test()
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc()
            crashes = 1
        batch += 1
    return Row(target, executions, time.monotonic() - started, crashes, "")


def main() -> int:
    """Run the command line."""
    names = sys.argv[1:] or [*build.TARGETS, *PROPERTIES]
    one = float(os.environ.get("FUZZ_SECONDS", "600")) / sum(SHARES.get(name, 1) for name in names)
    rows = []
    for name in names:
        share = one * SHARES.get(name, 1)
        row = fuzz_c(name, share) if name in build.TARGETS else fuzz_python(name, share)
        rows.append(row)
        print(
            f"{row.target:20} {row.executions:10} executions in {row.seconds:5.0f} s, "
            f"{row.crashes} crashes  {row.coverage}",
            flush=True,
        )
    BUILD.mkdir(exist_ok=True)
    summary = json.dumps([row._asdict() for row in rows], indent=1)
    (BUILD / "fuzz.json").write_text(f"{summary}\n")
    crashes = sum(row.crashes for row in rows)
    print(f"{sum(row.executions for row in rows)} executions, {crashes} crashes")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
