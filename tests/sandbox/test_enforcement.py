# SPDX-License-Identifier: Apache-2.0
"""`enforcement` is what a program inside finds, in every mode: neither less nor more.

Each lane is another way to call. The program tries what a control forbids, and each row of the
table below says by what it is known; the selftest looks at the same for users (L6).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pycontain import Reason, Sandbox
from pycontain._capabilities import mask
from pycontain.profile import get, names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pycontain import Result

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
ONE = max(os.sched_getaffinity(0))
PROCESSES = 24
MEMORY = DISK = 64 << 20
# Says what it sees; with "exhaust", asks for more processes and memory than there should be.
PROGRAM = f"""
import ctypes, json, os, sys, time
libc = ctypes.CDLL(None)
def works(action):  # in a child: to try it may be deadly
    child = os.fork()
    if child == 0:
        try:
            os._exit(action() or 0)
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
root, disk = os.stat("/"), os.statvfs("/")
print(json.dumps(dict(
    status={{name: value.strip() for name, value in status.items()}},
    namespaces={{name: os.readlink(f"/proc/self/ns/{{name}}") for name in {NAMESPACES}}},
    root=[root.st_dev, root.st_ino],
    read_only=bool(disk.f_flag & os.ST_RDONLY),
    disk=disk.f_blocks * disk.f_frsize,
    nests=works(lambda: libc.unshare(0x10000000)),
    reopens=works(lambda: os.close(os.open("/proc/self/fd/0", os.O_WRONLY))),
    processors=sorted(os.sched_getaffinity(0)),
    moves=works(lambda: os.sched_setaffinity(0, range(1024))),
)), flush=True)
if sys.argv[1:] == ["exhaust"]:
    forks = 0
    try:
        for _ in range(2 * {PROCESSES}):
            if os.fork() == 0:
                time.sleep(1000)
            forks += 1
    except OSError:
        pass
    print(forks, flush=True)
    bytearray(b"x") * (2 * {MEMORY})
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What the program saw in a sandbox and outside, and what came of it."""

    options: dict[str, Any]
    result: Result
    forks: int
    inside: dict[str, Any]
    outside: dict[str, Any]

    def status(self, name: str, base: int = 16) -> tuple[int, int]:
        """Return a row of /proc/self/status as a number, inside and outside."""
        rows = (self.inside["status"], self.outside["status"])
        inside, outside = (int(row[name], base) for row in rows)
        return inside, outside


def new(name: str) -> Callable[[Look], bool]:
    """Return a look at whether a namespace is another one than outside."""
    return lambda look: look.inside["namespaces"][name] != look.outside["namespaces"][name]


def own_root(look: Look) -> bool:
    """Tell whether the root is another one, and no more of it can be written than was given."""
    bounded = look.inside["read_only"] or look.inside["disk"] <= DISK
    wanted = look.inside["read_only"] == look.options.get("read_only", False)
    return bool(look.inside["root"] != look.outside["root"] and bounded and wanted)


def few_capabilities(look: Look) -> bool:
    """Tell whether there are no more capabilities, nor to be had, than the profile keeps."""
    kept = mask(get(look.options.get("profile", "default")).capabilities)
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return not any(look.status(name)[0] & ~kept for name in sets)


def one_more_filter(look: Look) -> bool:
    inside, outside = look.status("Seccomp_filters")
    return inside > outside


def no_new_privileges(look: Look) -> bool | None:
    inside, outside = look.status("NoNewPrivs")
    return None if outside else bool(inside)  # what the caller has, its children have


# Whether a control is in force, by its name; None: it cannot be told here.
SEEN: dict[str, Callable[[Look], bool | None]] = {
    **{f"namespace {name}": new(name) for name in NAMESPACES},
    "root": own_root,
    "capabilities": few_capabilities,
    "seccomp": one_more_filter,
    "no_new_privileges": no_new_privileges,
    "no nested user namespaces": lambda look: not look.inside["nests"],
    "landlock": lambda look: not look.inside["reopens"],
    "memory": lambda look: look.result.reason == Reason.OOM,
    "pids": lambda look: look.forks < PROCESSES,
    "cpuset": lambda look: look.inside["processors"] == [ONE] and not look.inside["moves"],
    "audit": lambda look: bool(look.result.denials),
}
# What does not show inside, and the tests that see it by what it does.
ELSEWHERE = {
    "cpus": "tests/limits/test_usage.py",
    "cpu_limit": "tests/limits/test_verdicts.py",
    "io": "tests/sandbox/test_limits.py",
    "swap": "tests/limits/test_memory.py",
    "oom_group": "tests/limits/test_verdicts.py",
    "tracking": "tests/limits/test_kill.py",
    "kill": "tests/limits/test_kill.py",
    "freeze": "tests/sandbox/test_living_limits.py",
    "idmap": "tests/core/test_old_kernels.py",  # of a mount
}
MODES: dict[str, dict[str, Any]] = {
    **{name: {"profile": name} for name in names()},
    "unlimited": {"memory": "max", "pids": "max"},
    "one processor": {"cpuset": str(ONE)},
    "the host's network": {"network": "host"},
    "few namespaces": {"namespaces": ("user", "mnt", "pid")},
    "read-only": {"read_only": True},
    "audited": {"audit": True},
}


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that whoever holds it for reading may open again for writing."""
    path = tmp_path_factory.mktemp("handed-in") / "file"
    path.touch()
    path.chmod(0o666)
    return path


@pytest.fixture(scope="module")
def outside(handed_in: Path) -> dict[str, Any]:
    """Return what the program sees outside."""
    with handed_in.open() as stdin:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stdin=stdin, capture_output=True, check=True
        )
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["nests"] and seen["reopens"] and seen["moves"]  # noqa: PT018
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_to_be_in_force_is_what_a_program_sees(
    mode: str, handed_in: Path, outside: dict[str, Any]
) -> None:
    options = {"memory": MEMORY, "pids": PROCESSES, "disk": DISK, **MODES[mode]}
    with Sandbox(accept_missing=("memory", "pids"), **options) as sb, handed_in.open() as stdin:
        result = sb.run([sys.executable, "-c", PROGRAM, "exhaust"], stdin=stdin, text=True)
        controls = sb.enforcement
    seen, forks = result.stdout.splitlines()
    look = Look(options, result, int(forks), json.loads(seen), outside)

    found = {name: told(look) for name, told in SEEN.items() if name in controls}
    told = {name: there for name, there in found.items() if there is not None}
    assert told == {name: controls[name].in_force for name in told}


@pytest.mark.parametrize("mode", MODES)
def test_no_control_is_claimed_that_no_test_looks_for(mode: str) -> None:
    rows = {re.sub("^idmap /.*", "idmap", row) for row in Sandbox(**MODES[mode]).enforcement}
    assert rows - SEEN.keys() - ELSEWHERE.keys() == set()
