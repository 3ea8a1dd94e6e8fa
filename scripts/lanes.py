#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the suite once per lane and add up the outcomes.

    scripts/lanes.py [LANE...] [-- PYTEST ARGUMENTS]

A lane is the same suite under other circumstances: another user, another way to clone, an older
kernel. The last line is `N passed, N failed, N skipped`, the sums of all lanes; the exit code is
not 0 if anything failed, if a lane left a process behind or if a test ran in no lane.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
UID = 54321
TIMEOUT_S = 15 * 60
GRACE_S = 2
PR_SET_CHILD_SUBREAPER = 36
MUST_WORK = os.environ.get("PYCONTAIN_MUST_WORK") == "1"
IS_ROOT = os.geteuid() == 0

NOSYS = "clone3,openat2,open_tree,move_mount,fsopen,fsconfig,fsmount,fspick,mount_setattr"

# What each kind of caller lacks by nature: tests that require it are left to the other lanes.
LACKS = {
    "root": {"user", "userns_root", "single_id"},
    "user": {
        "root",
        "userns_root",
        "rootrange",
        "idmap",
        *(f"cgroup{suffix}" for suffix in ("", "_v2", "_cpu", "_memory", "_pids", "_tracking")),
    },
}
LACKS["subids"] = LACKS["user"] - {"rootrange"} | {"single_id"}
LACKS["userns"] = LACKS["user"] - {"userns_root"} | {"user"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One way to run the suite."""

    summary: str
    caller: str
    env: dict[str, str] = field(default_factory=dict)
    nosys: str = ""
    lacks: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ("tests",)

    @property
    def absent(self) -> set[str]:
        """Features whose tests are left to other lanes."""
        return LACKS[self.effective_caller] | self.lacks

    @property
    def effective_caller(self) -> str:
        """Only root can choose; for anybody else, root's lanes without a need of root run too."""
        return self.caller if IS_ROOT or self.caller == "userns" else "user"

    @property
    def possible(self) -> bool:
        """Tell whether this caller can run the lane."""
        return IS_ROOT or self.caller in {"user", "userns"} or bool(self.env or self.nosys)


LANES = {
    "root": Lane(summary="root, ids and cgroups at will", caller="root"),
    "user": Lane(summary=f"an ordinary user (uid {UID}) with one id", caller="user"),
    "subids": Lane(summary="an ordinary user with newuidmap and 64 Ki ids", caller="subids"),
    "userns": Lane(summary="root of a user namespace with one id (unshare -r)", caller="userns"),
    "fork": Lane(
        summary="root, cloning without shared memory",
        caller="root",
        env={"PYCONTAIN_CLONE": "fork"},
    ),
    "nosys": Lane(
        summary="an ordinary user, no clone3, openat2 and new mount API",
        caller="user",
        nosys=NOSYS,
        lacks=frozenset({"clone3", "openat2", "mount_api", "idmap"}),
    ),
}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one lane."""

    counts: Counter[str]
    ran: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    seconds: float = 0.0
    note: str = ""

    def fail(self, note: str) -> None:
        """Count a failure of the lane itself."""
        self.counts["failed"] += 1
        self.note = "; ".join(filter(None, (self.note, note)))


def build_nosys(folder: Path) -> Path:
    """Compile the wrapper that hides system calls."""
    program = folder / "nosys"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    source = REPOSITORY / "tests/tools/nosys.c"
    subprocess.run([*compiler, "-O2", str(source), "-o", str(program)], check=True)
    return program


def command_of(lane: Lane, folder: Path, pytest_arguments: list[str]) -> list[str]:
    """Return the command line: the wrappers of the lane around pytest."""
    prefix: list[str] = []
    caller = lane.effective_caller
    if IS_ROOT:
        prefix += ["unshare", "--mount", "--propagation", "private", "--"]
        prefix += [sys.executable, str(HERE / "enter_lane.py")]
        if caller != "root":
            prefix.append(f"--uid={UID}")
            needed = {REPOSITORY, folder, Path(sys.prefix), Path(sys.base_prefix)}
            prefix += [f"--need={path}" for path in sorted(needed)]
        if caller == "subids":
            prefix.append("--subids")
        prefix.append("--")
    if caller == "userns":
        prefix += ["unshare", "--map-root-user", "--"]
    if lane.nosys:
        prefix += [str(build_nosys(folder)), lane.nosys]
    arguments = ["-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    paths = [] if any(not word.startswith("-") for word in pytest_arguments) else lane.paths
    return [*prefix, sys.executable, "-m", "pytest", *arguments, *pytest_arguments, *paths]


def environment_of(lane: Lane, folder: Path) -> dict[str, str]:
    """Return the environment of the lane's pytest."""
    return {
        **os.environ,
        **lane.env,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYCONTAIN_ABSENT": ",".join(sorted(lane.absent)),
        "PYCONTAIN_LANE_REPORT": str(folder / "report.json"),
        "PYCONTAIN_LANE_RUNNER": str(os.getpid()),
    }


def wait_for(pid: int) -> int | None:
    """Wait for `pid`, reaping what was orphaned meanwhile; None if it took too long."""

    def too_long(_signal: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TIMEOUT_S)
    try:
        while True:
            reaped, status = os.waitpid(-1, 0)
            if reaped == pid:
                return os.waitstatus_to_exitcode(status)
    except TimeoutError:
        return None
    finally:
        signal.alarm(0)


def children() -> list[str]:
    """Return our children, after reaping the dead ones: here, orphans of a lane."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def kill_children() -> list[str]:
    """Kill what a lane left and did not end by itself; return its pids and names."""
    names: list[str] = []
    patience = time.monotonic() + GRACE_S
    while children() and time.monotonic() < patience:
        time.sleep(0.01)
    while pids := children():
        for pid in pids:
            try:
                names.append(f"{pid} {Path('/proc', pid, 'comm').read_text().strip()}")
                os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue
        time.sleep(0.01)
    return names


def cgroups_of(pid: int) -> list[str]:
    """Return the groups that an ended process should have removed."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/pycontain-*-{pid}-*")]


def read_report(path: Path) -> Outcome:
    """Return the outcome that tests/conftest.py wrote."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        outcome = Outcome(counts=Counter())
        outcome.fail("pytest wrote no report")
        return outcome
    return Outcome(
        counts=Counter(report["counts"]), ran=set(report["ran"]), dropped=set(report["dropped"])
    )


def run_lane(name: str, lane: Lane, pytest_arguments: list[str]) -> Outcome:
    """Run one lane to its end."""
    print(f"\n=== lane {name}: {lane.summary}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"pycontain-{name}-"))
    if IS_ROOT and lane.effective_caller != "root":
        os.chown(folder, UID, UID)
    started = time.monotonic()
    try:
        command = command_of(lane, folder, pytest_arguments)
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment_of(lane, folder), stdin=subprocess.DEVNULL
        )
        code = wait_for(process.pid)
        # The child is reaped already: Popen must neither wait for nor warn about it.
        process.returncode = -1 if code is None else code
        survivors = kill_children()
        outcome = read_report(folder / "report.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code is None:
        outcome.fail(f"killed after {TIMEOUT_S} s")
    elif survivors:
        outcome.fail(f"left processes: {', '.join(survivors)}")
    elif groups := cgroups_of(process.pid):
        outcome.fail(f"left cgroups: {', '.join(groups)}")
    elif code not in (0, 5) and not outcome.counts["failed"]:
        outcome.fail(f"pytest ended with {code}")
    outcome.seconds = time.monotonic() - started
    return outcome


def conclude(outcomes: dict[str, Outcome], *, whole: bool) -> int:
    """Print the table and the closing line; return the exit code."""
    total: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    print("\n=== lanes")
    for name, outcome in outcomes.items():
        total += Counter(outcome.counts)
        row = ", ".join(f"{outcome.counts[key]} {key}" for key in ("passed", "failed", "skipped"))
        left = f", {len(outcome.dropped)} for other lanes" if outcome.dropped else ""
        note = f"  [{outcome.note}]" if outcome.note else ""
        print(f"{name:8} {row}{left} in {outcome.seconds:.0f} s{note}")
    if whole:
        ran = set().union(*(outcome.ran for outcome in outcomes.values()))
        nowhere = set().union(*(outcome.dropped for outcome in outcomes.values())) - ran
        for test in sorted(nowhere):
            print(f"ran in no lane: {test}")
        total["failed" if MUST_WORK else "skipped"] += len(nowhere)
    print(", ".join(f"{total[key]} {key}" for key in ("passed", "failed", "skipped")), flush=True)
    return 1 if total["failed"] or not total["passed"] else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lanes", nargs="*", metavar="LANE", help=", ".join(LANES))
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    names = parser.parse_args(words[:split]).lanes or list(LANES)
    if unknown := [name for name in names if name not in LANES]:
        parser.error(f"unknown lane {unknown[0]}: choose from {', '.join(LANES)}")
    arguments = words[split + 1 :]

    # Orphans of a test come to us, so that none survives unseen.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    outcomes = {}
    for name in names:
        if LANES[name].possible:
            outcomes[name] = run_lane(name, LANES[name], arguments)
        else:
            outcomes[name] = Outcome(counts=Counter(skipped=1), note="needs root")
    if MUST_WORK:
        for outcome in outcomes.values():
            if outcome.note == "needs root":
                outcome.fail("and PYCONTAIN_MUST_WORK=1")
    return conclude(outcomes, whole=set(names) == set(LANES) and not arguments)


if __name__ == "__main__":
    sys.exit(main())
