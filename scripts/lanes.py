#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the suite once per lane and add up the outcomes.

    scripts/lanes.py [--kernel KERNEL] [--keep] [LANE...] [-- PYTEST ARGUMENTS]

A lane is the same suite under other circumstances: another user, another way to clone, another
kernel in a machine of its own (docs/testing.md). The last line is `N passed, N failed, N skipped`,
the sums of all lanes; the exit code is not 0 if anything failed, if a lane left a process behind
or if a test ran in no lane.
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import vm_lanes
from machine import kernels
from outcomes import Outcome, conclude, impossible, keep

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
# What came of the last whole run of each lane.
KEPT = REPOSITORY / "build/lanes"
UID = 54321
TIMEOUT_S = (60 if os.environ.get("PYCONTAIN_FAULTS_WHOLE") == "1" else 25) * 60
MACHINE_TIMEOUT_S = 22 * 60  # it may be emulated; vm_lanes gives up three minutes later
GRACE_S = 2
DEEPEST_GROUP = 16
PR_SET_CHILD_SUBREAPER = 36
IS_ROOT = os.geteuid() == 0

NOSYS = "clone3,openat2,open_tree,move_mount,fsopen,fsconfig,fsmount,fspick,mount_setattr"

# What each kind of caller lacks by nature: tests that require it are left to the other lanes.
LACKS = {
    "root": {
        *("user", "userns_root", "single_id", "no_cgroup"),
        *("systemd", "systemd_user", "systemd_outside", "faults", "analysis"),
        *("apparmor", "selinux"),  # tests load what would be the machine's
    },
    "user": {
        "root",
        "faults",
        "analysis",
        *("apparmor", "selinux"),
        "systemd",
        "systemd_user",
        "systemd_outside",
        "userns_root",
        "rootrange",
        *("idmap", "erofs"),
        *("cgroup", "cgroup_v2", "cgroup_cpu", "cgroup_memory", "cgroup_pids"),
        *("cgroup_tracking", "cgroup_exclusive"),
    },
}
LACKS["subids"] = LACKS["user"] - {"rootrange"} | {"single_id"}
LACKS["userns"] = LACKS["user"] - {"userns_root"} | {"user"}
LACKS["delegate"] = LACKS["root"] - {"user"} | {"root", "idmap", "erofs"}
LACKS["session"] = LACKS["delegate"]

# Small, emulated, alone, of any age, and with AppArmor.
MACHINE_LACKS = frozenset(
    {"erofs_utils", "memory_4g", "no_apparmor", "real_cpu", "route", "tmpfs_binds"}
)

# What another caller, clone or kernel can change; the rest runs as root and as an ordinary user.
CALLER = tuple(
    f"tests/{name}"
    for name in (
        *("adversarial", "cgroup", "cli", "core"),
        *("image/layers", "image/test_commit.py", "image/test_sandbox.py"),
        *("host/test_probe.py", "limits", "sandbox"),
    )
)
CLONE = ("tests/core", "tests/sandbox")
FALLBACKS = ("tests/adversarial", "tests/core", "tests/image/layers", "tests/sandbox")

# What differs in a machine is the kernel and the control groups, and it is slow.
GROUPS = (
    "tests/cgroup/test_limits.py",
    "tests/cgroup/test_place.py",
    "tests/cgroup/test_tree.py",
    "tests/oci/cgroups/test_rootless.py",
    "tests/sandbox/test_enforcement.py",
    "tests/sandbox/test_limits.py",
    "tests/sandbox/test_living_limits.py",
)
KERNEL_FACING = (
    "tests/adversarial/test_c_identity.py",
    "tests/adversarial/test_catalogue.py",
    "tests/adversarial/test_e_proc.py",
    "tests/cgroup",
    "tests/core/test_old_kernels.py",
    "tests/host/test_primitives.py",
    "tests/host/test_probe.py",
    "tests/limits/test_memory.py",
    "tests/limits/test_usage.py",
    *(
        f"tests/oci/cgroups/test_{name}.py"
        for name in ("devices", "life", "oracles", "resources", "stats")
    ),
    "tests/oci/test_exec.py",
    "tests/oci/test_labels.py",
    "tests/oci/test_lifecycle.py",
    "tests/sandbox/test_enforcement.py",
    "tests/sandbox/test_isolation.py",
    "tests/sandbox/test_limits.py",
    "tests/sandbox/test_living_limits.py",
)
SYSTEMD = (
    "tests/cgroup/test_systemd_live.py",
    "tests/oci/cgroups/test_systemd_live.py",
    "tests/sandbox/test_limits.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One way to run the suite."""

    summary: str
    caller: str
    env: dict[str, str] = field(default_factory=dict)
    nosys: str = ""
    lacks: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ("tests",)
    machine: str = ""

    @property
    def absent(self) -> set[str]:
        """Features whose tests are left to other lanes."""
        return (LACKS[self.effective_caller] | self.lacks) - self.has

    @property
    def effective_caller(self) -> str:
        """Only root can choose; for anybody else, root's lanes without a need of root run too."""
        return self.caller if IS_ROOT or self.caller == "userns" else "user"

    @property
    def elsewhere(self) -> bool:
        """Tell whether the lane needs a machine that has to be started first."""
        return bool(self.machine) and vm_lanes.REPORT not in os.environ

    @property
    def possible(self) -> bool:
        """Tell whether this caller can run the lane."""
        return IS_ROOT or self.caller in {"user", "userns"} or bool(self.env or self.nosys)


LANES = {
    "root": Lane(summary="root, ids and cgroups at will", caller="root"),
    "user": Lane(summary=f"an ordinary user (uid {UID}) with one id", caller="user"),
    "subids": Lane(
        summary="an ordinary user with newuidmap and 64 Ki ids", caller="subids", paths=CALLER
    ),
    "userns": Lane(
        summary="root of a user namespace with one id (unshare -r)", caller="userns", paths=CALLER
    ),
    "fork": Lane(
        summary="root, cloning without shared memory",
        caller="root",
        env={"PYCONTAIN_CLONE": "fork"},
        lacks=frozenset({"cgroup_exclusive"}),  # that lane root may want at the same time
        paths=CLONE,
    ),
    "nosys": Lane(
        summary="an ordinary user, no clone3, openat2 and new mount API",
        caller="user",
        nosys=NOSYS,
        lacks=frozenset({"clone3", "openat2", "mount_api", "idmap"}),
        paths=FALLBACKS,
    ),
    "faults": Lane(
        summary="root, a build in which system calls fail",
        caller="root",
        env={"PYCONTAIN_LANE": "faults"},
        has=frozenset({"faults"}),
        paths=("tests/faults",),
    ),
    "analyze": Lane(
        summary="an ordinary user, compilers and analysers at work on the C sources",
        caller="user",
        env={"PYCONTAIN_LANE": "analyze"},
        has=frozenset({"analysis"}),
        paths=("tests/analysis",),
    ),
    "vm-root": Lane(
        summary="root, cgroup v2 alone",
        caller="root",
        has=frozenset({"apparmor"}),
        machine="bare",
        lacks=MACHINE_LACKS,
        paths=KERNEL_FACING,
    ),
    "vm-user": Lane(
        summary="an ordinary user in a delegated subtree of cgroup v2",
        caller="delegate",
        machine="bare",
        lacks=MACHINE_LACKS,
        paths=GROUPS,
    ),
    "vm-selinux": Lane(
        summary="root, SELinux",
        caller="root",
        has=frozenset({"selinux", "no_apparmor"}),
        machine="selinux",
        lacks=MACHINE_LACKS | {"no_selinux"},
        paths=("tests/oci/test_labels.py",),
    ),
    "vm-systemd": Lane(
        summary="root in a service of systemd",
        caller="root",
        has=frozenset({"systemd", "systemd_outside"}),
        machine="systemd",
        lacks=MACHINE_LACKS,
        paths=SYSTEMD,
    ),
    "vm-session": Lane(
        summary="an ordinary user in a service of the user's own systemd",
        caller="session",
        has=frozenset({"systemd_user"}),
        machine="systemd",
        lacks=MACHINE_LACKS,
        paths=SYSTEMD,
    ),
}


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
    if caller == "session":
        prefix += session_command(environment_of(lane, folder))
    elif IS_ROOT:
        prefix += ["unshare", "--mount", "--propagation", "private", "--"]
        prefix += [sys.executable, str(HERE / "enter_lane.py")]
        if caller != "root":
            prefix.append(f"--uid={UID}")
            needed = {REPOSITORY, folder, Path(sys.prefix), Path(sys.base_prefix)}
            prefix += [f"--need={path}" for path in sorted(needed)]
        if caller in {"subids", "delegate"}:
            prefix.append(f"--{caller}")
        prefix.append("--")
    if caller == "userns":
        prefix += ["unshare", "--map-root-user", "--"]
    if lane.nosys:
        prefix += [str(build_nosys(folder)), lane.nosys]
    arguments = ["-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    if lane.machine:
        arguments += ["-m", "not slow"]
    paths = [] if any(not word.startswith("-") for word in pytest_arguments) else lane.paths
    return [*prefix, sys.executable, "-m", "pytest", *arguments, *pytest_arguments, *paths]


def session_command(env: dict[str, str]) -> list[str]:
    """Return the wrapper that starts a command as a service of the ordinary user's manager."""
    return [
        *("systemd-run", "--user", f"--machine={UID}@.host", "--pipe", "--wait", "--collect"),
        *("--quiet", f"--working-directory={REPOSITORY}"),
        *(f"--setenv={name}={value}" for name, value in env.items() if name != "HOME"),
    ]


def environment_of(lane: Lane, folder: Path) -> dict[str, str]:
    """Return the environment of the lane's pytest."""
    return {
        **os.environ,
        **lane.env,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYCONTAIN_ABSENT": ",".join(sorted(lane.absent)),
        "PYCONTAIN_LANE_REPORT": str(folder / "report.json"),
        "PYCONTAIN_LANE_RUNNER": str(os.getpid()),
    }


def wait_for(pid: int, timeout_s: int) -> int | None:
    """Wait for `pid`, reaping what was orphaned meanwhile; None if it took too long."""

    def too_long(_signal: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(timeout_s)
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
    pattern = f"pycontain-*-{pid}-*"
    found, waiting = [], [("/sys/fs/cgroup", 0)]
    while waiting:
        top, depth = waiting.pop()
        try:  # somebody else's group goes meanwhile
            names = [entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        found += [os.path.join(top, name) for name in names if fnmatch.fnmatch(name, pattern)]
        if depth < DEEPEST_GROUP:  # what containers make may be deeper than anybody can follow
            waiting += [(os.path.join(top, name), depth + 1) for name in names]
    return found


def read_report(path: Path) -> Outcome:
    """Return the outcome that tests/conftest.py wrote."""
    try:
        return Outcome.from_json(path.read_text())
    except (OSError, ValueError):
        outcome = Outcome()
        outcome.fail("pytest wrote no report")
        return outcome


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
        timeout_s = MACHINE_TIMEOUT_S if lane.machine else TIMEOUT_S
        code = wait_for(process.pid, timeout_s)
        # The child is reaped already: Popen must neither wait for nor warn about it.
        process.returncode = -1 if code is None else code
        survivors = kill_children()
        outcome = read_report(folder / "report.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code is None:
        outcome.fail(f"killed after {timeout_s} s")
    elif survivors:
        outcome.fail(f"left processes: {', '.join(survivors)}")
    elif groups := cgroups_of(process.pid):
        outcome.fail(f"left cgroups: {', '.join(groups)}")
    elif code not in (0, 5) and not outcome.counts["failed"]:
        outcome.fail(f"pytest ended with {code}")
    outcome.seconds = time.monotonic() - started
    return outcome


class Abreast:
    """A lane in a process of its own, with its output kept until it is over."""

    def __init__(self, name: str, pytest_arguments: list[str], folder: Path) -> None:
        self.name = name
        self._report = folder / f"{name}.json"
        self._output = folder / f"{name}.log"
        self._started = time.monotonic()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, __file__, name, "--", *pytest_arguments],
                env={**os.environ, vm_lanes.REPORT: str(self._report)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def over(self) -> bool:
        """Tell whether it has ended."""
        return self._process.poll() is not None

    def finish(self) -> Outcome:
        """Show what it said; return what came of it."""
        print(self._output.read_text(errors="replace"), flush=True)
        outcome = read_report(self._report)
        outcome.seconds = time.monotonic() - self._started
        return outcome


def run_abreast(names: list[str], arguments: list[str]) -> dict[str, Outcome]:
    """Run as many lanes at once as there are processors: most of a test's time is waiting."""
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="pycontain-lanes-") as folder:
        waiting, running = deque(names), list[Abreast]()
        while waiting or running:
            if waiting and len(running) < (os.cpu_count() or 1):
                running.append(Abreast(waiting.popleft(), arguments, Path(folder)))
            for lane in [lane for lane in running if lane.over()]:
                running.remove(lane)
                outcomes[lane.name] = lane.finish()
            time.sleep(0.1)
    return {name: outcomes[name] for name in names}


def run_lanes(names: list[str], arguments: list[str], kernel: str) -> dict[str, Outcome]:
    """Run the lanes of this host, and then those that need machines."""
    outcomes = {name: impossible("needs root") for name in names if not LANES[name].possible}
    here = [name for name in names if LANES[name].possible and not LANES[name].elsewhere]
    if len(here) == 1:
        outcomes[here[0]] = run_lane(here[0], LANES[here[0]], arguments)
    else:
        outcomes |= run_abreast(here, arguments)
    if elsewhere := {name: LANES[name].machine for name in names if LANES[name].elsewhere}:
        outcomes |= vm_lanes.run(elsewhere, kernel, arguments)
    return outcomes


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", default=kernels.DEFAULT, help="of the machines")
    parser.add_argument(
        "--keep", action="store_true", help=f"in {KEPT}, although not all tests are run"
    )
    parser.add_argument("lanes", nargs="*", metavar="LANE", help=", ".join(LANES))
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    names = options.lanes or list(LANES)
    if unknown := [name for name in names if name not in LANES]:
        parser.error(f"unknown lane {unknown[0]}: choose from {', '.join(LANES)}")
    arguments = words[split + 1 :]

    # A shell's background job ignores these, and so would what the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Orphans of a test come to us, so that none survives unseen.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    outcomes = run_lanes(names, arguments, options.kernel)
    for outcome in outcomes.values():
        outcome.arguments = arguments
    if report := os.environ.get(vm_lanes.REPORT):
        Path(report).write_text("".join(outcome.to_json() for outcome in outcomes.values()))
        return 0
    if options.keep or not arguments:
        keep(outcomes, KEPT)
    return conclude(outcomes, whole=not options.lanes and not arguments)


if __name__ == "__main__":
    sys.exit(main())
