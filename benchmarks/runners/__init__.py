# SPDX-License-Identifier: Apache-2.0
"""How each competitor is asked for the same isolation; one class each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.runners.commands import Bubblewrap, Subprocess, Unshare
from benchmarks.runners.libraries import BenchExec, Ctypes, Pycontain, RunExec, Sandlock
from benchmarks.runners.oci import Crun, Runc

if TYPE_CHECKING:
    from benchmarks.runners.base import Runner

FLOOR = "floor_c"
"""Not a class: a program that speaks the worker's protocol itself."""

RUNNERS: dict[str, type[Runner]] = {
    runner.name: runner
    for runner in (
        Pycontain,
        Subprocess,
        Ctypes,
        Unshare,
        Bubblewrap,
        Crun,
        Runc,
        Sandlock,
        BenchExec,
        RunExec,
    )
}
NAMES = (FLOOR, *RUNNERS)
