# SPDX-License-Identifier: Apache-2.0
"""One run of a scenario in a process of its own, and what it left behind.

The supervisor is PID 1 of a PID namespace: every other process in view is a victim's or what a
victim left, and orphans come to it.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import _leaks
import pycontain
from _features import cgroup_homes

from . import scenarios
from .scenarios import LostError, Options, Steps

HANG_S = 5.0
SURVIVE_S = 5.0  # on a busy machine; mostly it is a few milliseconds
RUN_DIRECTORY = "/run/pycontain"
HOMES = tuple(cgroup_homes())
Scenario = Callable[[Options], Steps]


class Verdict(NamedTuple):
    """What came of one run.

    Attributes:
        kind: "success", "error" (one of ours), "untyped", "ended" (the sandbox, by the failure of
            one command), "lost" (no recovery), "leak", "hang", "crash".
        text: The error, or what is wrong.
        facts: What a process inside said of itself.
        sites: Calls that the faults counted in the victim itself.
    """

    kind: str
    text: str = ""
    facts: str = ""
    sites: tuple[str, ...] = ()


class Faults:
    """What a run is to meet: armed before the swept part, disarmed after it. These are none."""

    def arm(self) -> None:
        """Begin."""

    def disarm(self) -> None:
        """End."""


def prepare() -> None:
    """Make the supervisor cheap to fork; what it looks up stays the same."""
    _leaks.cgroup_homes = lambda: iter(HOMES)  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()


def run(scenario: Scenario, options: Options, faults: Faults) -> Verdict:
    """Fork a victim that runs the scenario once."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_victim(scenario, options, faults, write)
    os.close(write)
    try:
        verdict = _listen(pid, read)
    finally:
        os.close(read)
    left = [*survivors(), *remains()]
    if left and verdict.kind in ("success", "error"):
        return verdict._replace(kind="leak", text=f"{verdict.text} left {left}")
    return verdict


def _listen(pid: int, fd: int) -> Verdict:
    """Wait for the victim's own verdict and for its end."""
    deadline = time.monotonic() + HANG_S + _leaks.SETTLE_S
    parts: list[bytes] = []
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (part := os.read(fd, 65536)):
            _, status = os.waitpid(pid, 0)
            if status:
                return Verdict("crash", f"wait status {status:#x}")
            return Verdict(*json.loads(b"".join(parts)))
        parts.append(part)
    os.kill(pid, signal.SIGABRT)  # faulthandler tells where it is
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd := os.pidfd_open(pid), signal.SIGCONT)
        select.select([pidfd], [], [], 1)
        os.close(pidfd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return Verdict("hang", "it does not end")


def _be_victim(scenario: Scenario, options: Options, faults: Faults, fd: int) -> NoReturn:
    code = 1
    try:
        faulthandler.enable()
        before = _leaks.take()
        verdict = _swept(scenario(options), faults)
        if verdict.kind == "error":
            verdict = _recover(verdict, options)
        atexit._run_exitfuncs()
        if verdict.kind in ("success", "error") and (left := _left(before)):
            verdict = verdict._replace(kind="leak", text=f"{verdict.text} {left}")
        os.write(fd, json.dumps(verdict).encode())
        code = 0
    except BaseException as error:  # noqa: BLE001 - a crash to the supervisor
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def _left(before: _leaks.Snapshot) -> list[str]:
    """Return what is left, but for two things that are none of the library's leaks.

    A mount that vanished is the doing of another program, which removed the mount point; the file
    of leased ids is kept, and named so when its directory was uncovered (squeezes.RunDirectory).
    """
    return [
        line
        for line in _leaks.settle(before)
        if not line.startswith("mounts: -") and not line.endswith(" -> /ids")
    ]


def _swept(steps: Steps, faults: Faults) -> Verdict:
    next(steps)
    started = time.monotonic()
    scenarios.calm = faults.disarm
    faults.arm()
    try:
        verdict = Verdict("success", facts=next(steps))
    except pycontain.PycontainError as error:
        verdict = Verdict("error", f"{type(error).__name__}: {error}")
    except LostError as error:
        kind = "ended" if str(error) == "it has ended" else "lost"
        verdict = Verdict(kind, f"the sandbox after {error.__context__!r}: {error}")
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is none of ours
        verdict = Verdict("untyped", repr(error))
    faults.disarm()
    if (took := time.monotonic() - started) > HANG_S:
        verdict = Verdict("hang", f"{took:.1f} s: {verdict.text}")
    try:
        steps.close()
    except BaseException as error:  # noqa: BLE001
        verdict = Verdict("lost", f"after {verdict.text}, at the end: {error!r}")
    return verdict._replace(sites=tuple(getattr(faults, "sites", ())))


def _recover(verdict: Verdict, options: Options) -> Verdict:
    """What failed once works the next time."""
    try:
        code = pycontain.run(["true"], **options).returncode
    except BaseException as error:  # noqa: BLE001
        return verdict._replace(kind="lost", text=f"{verdict.text}; the next: {error!r}")
    return verdict if code == 0 else verdict._replace(kind="lost", text=f"the next: {code}")


def run_killed(
    scenario: Scenario, options: Options, faults: Faults, moment: Callable[[], bool]
) -> list[str]:
    """Kill a victim that runs the scenario again and again; return what outlives it and a sweep.

    Args:
        moment: Asked again and again for whether it is time.
    """
    pid = os.fork()
    if pid == 0:
        _run_for_ever(scenario, options, faults)
    deadline = time.monotonic() + HANG_S
    while not moment() and time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.0002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    faults.disarm()
    left = survivors()
    if remains():
        _sweep_in_child()
    return [*left, *remains()]


def _run_for_ever(scenario: Scenario, options: Options, faults: Faults) -> NoReturn:
    try:
        while True:
            steps = scenario(options)
            next(steps)
            faults.arm()
            next(steps)
            steps.close()
    finally:
        os._exit(1)


def _sweep_in_child() -> None:
    """As the next program does when it first makes a group."""
    pid = os.fork()
    if pid == 0:
        try:
            from pycontain._cgroup import sweep  # noqa: PLC0415

            sweep()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def survivors() -> list[str]:
    """Reap what comes to us until nobody is left; kill and name what stays too long."""
    deadline = time.monotonic() + SURVIVE_S
    named: list[str] = []
    while pids := _others():
        if time.monotonic() > deadline:
            named += [_name_and_kill(pid) for pid in pids]
            deadline += 60
        time.sleep(0.0005)
    return named


def _others() -> list[int]:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _name_and_kill(pid: int) -> str:
    name = f"process {pid}"
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as file:
            name += " " + " ".join(file.read().split()[1:4])
        os.kill(pid, signal.SIGKILL)
    return name


def remains() -> list[str]:
    """Return the control groups and state files of owners in our PID namespace but ourselves."""
    mark = f"-{os.stat('/proc/self/ns/pid').st_ino}-"
    own = f"{mark}{os.getpid()}-"
    found: list[str] = []
    for _, home in HOMES:
        for place in (home, *home.parents):
            if not (place / "cgroup.procs").exists():
                break
            found += [f"{place}/{name}" for name in os.listdir(place) if _is(name, mark, own)]
    with contextlib.suppress(FileNotFoundError, PermissionError):  # none yet, or not ours
        names = os.listdir(RUN_DIRECTORY)
        found += [f"{RUN_DIRECTORY}/{name}" for name in names if _is(name, mark, own)]
    return sorted(set(found))


def _is(name: str, mark: str, own: str) -> bool:
    return mark in name and own not in name
