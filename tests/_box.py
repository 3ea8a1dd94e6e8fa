# SPDX-License-Identifier: Apache-2.0
"""Sandboxes of the tests: a busybox root with the probe program in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shlex
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import _features
import pycontain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pycontain._popen import Popen

SOURCE = Path(__file__).parent / "tools/probe.c"
PROBE = "/probe/probe"
# Says "ready" and stays; the shell is replaced, so one process is the whole command.
STAY = ("sh", "-c", "echo ready; exec sleep 1000")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_GET_SECUREBITS, PR_GET_NO_NEW_PRIVS = 2, 3, 27, 39
PR_GET_CHILD_SUBREAPER = 37


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """Make what the library keeps open for the life of the process, so that it is no leak."""
    pycontain.run(["true"], memory="256M", accept_missing=("memory",))


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that holds the compiled probe.c."""
    if reason := _features.missing("gcc"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("probe")
    folder.chmod(0o755)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-O2", "-static", "-pthread", str(SOURCE), "-o", str(folder / "probe")]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def box_options(rootfs: Path, probe: Path) -> dict[str, Any]:
    """Return the options of a sandbox with a busybox root and the probe."""
    return {"rootfs": rootfs, "mounts": (pycontain.Bind(probe, "/probe"),)}


@pytest.fixture
def box(box_options: dict[str, Any]) -> Callable[..., pycontain.Sandbox]:
    """Return a maker of sandboxes; mounts are added to the probe's."""

    def make(**more: Any) -> pycontain.Sandbox:
        mounts = (*box_options["mounts"], *more.pop("mounts", ()))
        return pycontain.Sandbox(**{**box_options, "mounts": mounts, **more})

    return make


@pytest.fixture
def sb(box: Callable[..., pycontain.Sandbox]) -> Iterator[pycontain.Sandbox]:
    """Return a living sandbox with a busybox root."""
    with box() as sandbox:
        yield sandbox


@contextlib.contextmanager
def started(
    sandbox: pycontain.Sandbox, *args: str, line: str = "ready", **more: Any
) -> Iterator[Popen]:
    """Start a command, wait for its first line, and kill all of it at the end."""
    process = sandbox.popen(args or STAY, stdout=pycontain.PIPE, text=True, **more)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == line
        if not args:  # it is known by its name
            name = Path(f"/proc/{process.pid}/comm")
            assert settles(lambda: name.read_text() == "sleep\n")
        yield process
    finally:
        process.kill_all()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


def settles(condition: Callable[[], bool]) -> bool:
    """Wait for what is about to be true."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


LIST = """
for t in /proc/[0-9]*/task/*; do echo $(grep -E '^(Name|State|Tgid|VmSize)' $t/status); done
"""
NOT_LISTED = ("sh", "grep", "pycontain-init", "memfd:pycontain")


def processes(sandbox: pycontain.Sandbox) -> list[str]:
    """Return the name of each thread inside that lives, but for PID 1 and those that look."""
    return listed(sandbox.run(["sh", "-c", LIST], text=True, check=True).stdout)


def listed(listing: str) -> list[str]:
    """Return the names in what LIST prints."""
    rows = [line.split() for line in listing.splitlines()]
    # Who has no memory left will never run again, though its exit may not be over.
    living = [words for words in rows if "VmSize:" in words and words[3] not in "ZX"]
    return [words[1] for words in living if words[1] not in NOT_LISTED]


def host_state() -> dict[str, Any]:
    """Return everything of this process that a sandbox may not change."""
    status = dict(
        line.split(":", 1) for line in Path("/proc/thread-self/status").read_text().splitlines()
    )
    kept = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp",
            "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")  # fmt: skip
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    prctls = (PR_GET_DUMPABLE, PR_GET_SECUREBITS, PR_GET_NO_NEW_PRIVS)
    return {
        **{name: status[name].strip() for name in kept if name in status},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "handlers": handlers,
        "rlimits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "prctl": [LIBC.prctl(number, 0, 0, 0, 0) for number in prctls],
        "pdeathsig": _get_by_pointer(PR_GET_PDEATHSIG),
        "subreaper": _get_by_pointer(PR_GET_CHILD_SUBREAPER),
        "children": sorted(Path("/proc/thread-self/children").read_text().split()),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text(),
        "namespaces": {
            path.name: os.readlink(path) for path in sorted(Path("/proc/self/ns").iterdir())
        },
        "root": os.readlink("/proc/self/root"),
        "personality": LIBC.personality(0xFFFFFFFF),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": os.sched_getaffinity(0),
        "session": (os.getsid(0), os.getpgid(0)),
    }


def _get_by_pointer(number: int) -> int:
    value = ctypes.c_int()
    LIBC.prctl(number, ctypes.byref(value), 0, 0, 0)
    return value.value


def python(code: str, *args: object, prefix: tuple[str, ...] = (), **more: Any) -> str:
    """Run code in a fresh interpreter and return what it prints; its failure is ours."""
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def private_mounts() -> tuple[str, ...]:
    """Return the command line before a program that mounts without the host seeing it."""
    user = () if not _features.missing("root") else ("--user", "--map-root-user")
    return ("unshare", *user, "--mount", "--propagation", "private", "--")
