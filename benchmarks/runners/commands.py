# SPDX-License-Identifier: Apache-2.0
"""Runners that are started as programs, and the host's own subprocess."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.runners.base import ENVIRONMENT, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def captured(command: list[str], *, pass_fds: tuple[int, ...] = ()) -> bytes:
    """Run a command, its output captured; raise if it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT | {"PATH": os.environ["PATH"]},
        pass_fds=pass_fds,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: status {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def children(pid: int) -> list[int]:
    """Return a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def held(command: list[str], depth: int) -> Iterator[int]:
    """Keep a command running; yields the pid of its descendant when that executes `hold`."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ENVIRONMENT
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            pids = [process.pid]
            for _ in range(depth):
                pids = [child for pid in pids for child in children(pid)]
            if pids and Path(f"/proc/{pids[0]}/comm").read_text() == "hold\n":
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start its program")
            time.sleep(0.001)
        yield pids[0]
    finally:
        process.kill()
        process.wait()


class Subprocess(Runner):
    """The floor for anything that is started from Python."""

    name = "subprocess"
    asked = "subprocess.run on the host: no isolation at all"

    def run(self, program: str) -> bytes:
        return captured([f"{self.site.root}/bin/{program}"])

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        yield self.run

    def hold(self) -> contextlib.AbstractContextManager[object]:
        return held([f"{self.site.root}/bin/hold"], 0)


class Unshare(Runner):
    """util-linux."""

    name = "unshare"
    program = "unshare"
    asked = (
        "--user --map-root-user --mount --pid --net --uts --ipc --cgroup --fork --root "
        "--mount-proc; has no pivot_root, /dev, seccomp, capabilities or cgroup limits"
    )

    def _command(self, program: str) -> list[str]:
        return [
            "/usr/bin/unshare",
            *("--user", "--map-root-user", "--mount", "--pid", "--net", "--uts", "--ipc"),
            *("--cgroup", "--fork", "--kill-child", f"--root={self.site.root}", "--mount-proc"),
            f"/bin/{program}",
        ]

    def run(self, program: str) -> bytes:
        return captured(self._command(program))

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        with held(self._command("hold"), 1) as pid:
            join = ["/usr/bin/nsenter", f"--target={pid}", "--all", "--root", "--wdns=/"]
            yield lambda program: captured([*join, f"/bin/{program}"])

    def hold(self) -> contextlib.AbstractContextManager[object]:
        return held(self._command("hold"), 1)


class Bubblewrap(Runner):
    """What flatpak uses."""

    name = "bubblewrap"
    program = "bwrap"
    asked = (
        "--unshare-all --ro-bind ROOT / --proc --dev --tmpfs /tmp --cap-drop ALL --seccomp "
        "--hostname --new-session --die-with-parent; maps one id, has no cgroup limits"
    )

    def _command(self, program: str, filter_fd: int) -> list[str]:
        return [
            "/usr/bin/bwrap",
            *("--unshare-all", "--uid", "1000", "--gid", "1000", "--ro-bind", self.site.root, "/"),
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
            *("--hostname", "sandbox", "--new-session", "--die-with-parent", "--chdir", "/"),
            *(("--seccomp", str(filter_fd)) if filter_fd >= 0 else ()),
            f"/bin/{program}",
        ]

    def run(self, program: str) -> bytes:
        fd = os.open(self.site.filter, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return captured(self._command(program, fd), pass_fds=(fd,))
        finally:
            os.close(fd)

    def hold(self) -> contextlib.AbstractContextManager[object]:
        return held(self._command("hold", -1), 2)
