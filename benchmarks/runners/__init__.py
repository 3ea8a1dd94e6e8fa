# SPDX-License-Identifier: Apache-2.0
"""How each competitor is asked for the same isolation; one class each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.runners.commands import Bubblewrap, Subprocess, Unshare
from benchmarks.runners.libraries import BenchExec, Ctypes, Pycontain, RunExec, Sandlock
from benchmarks.runners.oci import (
    Crun,
    PodmanCrun,
    PodmanPycontain,
    PodmanRunc,
    PycontainRuntime,
    Runc,
)

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
        PycontainRuntime,
        PodmanPycontain,
        PodmanCrun,
        PodmanRunc,
        Sandlock,
        BenchExec,
        RunExec,
    )
}
PODMAN = (PodmanPycontain.name, PodmanCrun.name, PodmanRunc.name)
"""Engines, which are slower than what they start by an order of magnitude."""
NAMES = (FLOOR, *(name for name in RUNNERS if name not in PODMAN))
