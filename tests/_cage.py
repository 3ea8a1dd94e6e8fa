# SPDX-License-Identifier: Apache-2.0
"""A place for daemons and all they leave: mount, network and PID namespaces that end together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _features import cgroup_homes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# PID 1 reaps what is orphaned, and ends with its standard input: with us, however we end.
_INIT = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
"""
_PATIENCE_S = 30.0


class Cage:
    """Where programs run as root of this machine, with a /run and a `folder` of their own.

    Both are in memory. `cgroup` is a name in every hierarchy for the control groups made inside.
    """

    def __init__(self, pid: int, folder: Path, cgroup: str) -> None:
        self._pid = pid
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.folder = folder
        self.cgroup = cgroup

    def command(self, *args: str | Path) -> list[str]:
        """Return the command line that runs a program inside."""
        target = ("--target", str(self._pid), "--mount", "--net", "--pid")
        return ["nsenter", *target, "--", *map(str, args)]

    def run(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside; both streams are captured."""
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
        if "input" not in more:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(self.command(*args), check=False, **{**options, **more})

    def output(self, *args: str | Path, **more: Any) -> str:
        """Run a program inside that has to succeed; return what it printed."""
        done = self.run(*args, **more)
        assert done.returncode == 0, f"{done.args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def path(self, path: str | Path) -> Path:
        """Return where a path inside is seen from outside."""
        return Path(f"/proc/{self._pid}/root{path}")

    def start(self, *args: str | Path, ready: Callable[[], bool]) -> None:
        """Run a daemon inside until the cage ends; return when it is ready."""
        log = self.path(self.folder / f"{Path(args[0]).name}.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*args), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._daemons.append(process)
        deadline = time.monotonic() + _PATIENCE_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{args[0]} is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def wait(self) -> None:
        """Reap the daemons, once the cage has ended."""
        for process in self._daemons:
            process.wait()

    def processes(self) -> list[str]:
        """Return what runs inside, but for PID 1 and those that look."""
        listing = self.output("ps", "-e", "-o", "pid=,comm=").splitlines()
        return sorted(line.strip() for line in listing[1:] if not line.endswith(" ps"))

    def mounts(self) -> list[str]:
        """Return the mount points inside."""
        lines = self.path("/proc/1/mountinfo").read_text().splitlines()
        return sorted(line.split()[4] for line in lines)

    def cgroups(self) -> list[Path]:
        """Return the control groups made inside, the innermost first."""
        found = []
        for _, home in cgroup_homes():
            top = _mount_point(home) / self.cgroup
            found += [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        return found


def _mount_point(home: Path) -> Path:
    return next(path for path in (home, *home.parents) if path.is_mount())


@contextlib.contextmanager
def cage(folder: Path) -> Iterator[Cage]:
    """Make a cage; at the end of the block everything in it is killed and gone."""
    unshare = ("unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork")
    with subprocess.Popen(
        [*unshare, "--kill-child", "--mount-proc", sys.executable, "-I", "-S", "-c", _INIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        made = Cage(int(children), folder, f"oci-{folder.name}-{os.getpid()}")
        try:
            for place in ("/run", folder):
                made.output("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
            made.output("ip", "link", "set", "lo", "up")
            yield made
        finally:
            process.stdin.close()
            process.wait()
            made.wait()
            for group in made.cgroups():
                group.rmdir()
