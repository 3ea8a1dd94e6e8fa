# SPDX-License-Identifier: Apache-2.0
"""Engines that start containers through a runtime, each in a cage: podman, docker, containerd."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _cage import Cage

IMAGE = "busybox:1"
#: A command that stays.
STAY = ("sh", "-c", "echo ready; exec sleep 1000")
_NO_NETWORK = ("--network=none",)
_PATIENCE_S = 20.0
_OURS = Path(sys.executable).with_name("pycontain-runtime")
# Ours, and the one beside which it is tried.
OURS, CONTROL = "pycontain-runtime", "runc"


def runtime(name: str) -> Path:
    """Return the path of a runtime's command."""
    return _OURS if name == OURS else Path(shutil.which(name) or name)


class Engine:
    """What engines share: commands, in a cage, with one runtime."""

    program: ClassVar[str]
    #: Directories in which a runtime keeps its containers.
    states: tuple[str, ...]

    def __init__(self, cage: Cage, runtime: str, base: tuple[str | Path, ...]) -> None:
        self.cage = cage
        self.runtime = runtime
        self._base = base

    def cli(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run one of the engine's commands."""
        return self.cage.run(*self._base, *args, **more)

    def output(self, *args: str | Path, **more: Any) -> str:
        """Run one of the engine's commands that has to succeed; return what it printed."""
        return self.cage.output(*self._base, *args, **more).strip()

    @classmethod
    def prepare(cls, cage: Cage, archive: Path) -> None:
        """Start what has to run; get the image, whose file system is in the archive."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove all containers."""
        raise NotImplementedError

    def owns(self, group: Path) -> bool:
        """Tell whether a control group is a container's."""
        return group.name != self.cage.cgroup

    @contextlib.contextmanager
    def terminal(self, *args: str | Path) -> Iterator[Terminal]:
        """Run one of the engine's commands on a terminal of 30 rows and 100 columns."""
        with Terminal(self.cage.command(*self._base, *args)) as made:
            yield made

    def left(self) -> list[str]:
        """Return what is inside: processes, mounts, control groups, containers of the runtime."""
        groups = [str(path) for path in self.cage.cgroups() if self.owns(path)]
        found = [entry for state in self.states for entry in self.cage.path(state).glob("*")]
        # Ours keeps a few compiled filters for the next container.
        kept = [str(entry) for entry in found if not entry.name.startswith(".kept.filter.")]
        # Podman mounts its storage on itself, and not always again.
        mounts = [path for path in self.cage.mounts() if not path.endswith("/root/overlay")]
        networks = [str(path) for path in self.cage.path("/run/netns").glob("*")]
        return [*self.cage.processes(), *mounts, *groups, *kept, *networks]


class Terminal:
    """A program on a terminal, seen from the other side."""

    def __init__(self, command: list[str]) -> None:
        self.seen = ""
        self.master, slave = pty.openpty()
        self.resize(30, 100)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def until(self, text: str) -> None:
        """Wait until a text appears; it is an error if it does not."""
        assert self.shows(text), self.seen

    def shows(self, text: str, patience_s: float = _PATIENCE_S) -> bool:
        """Wait until a text appears; carriage returns do not count. What was before it is gone."""
        deadline = time.monotonic() + patience_s
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                return False
            try:
                self.seen += os.read(self.master, 4096).decode().replace("\r", "")
            except OSError:  # nobody has the other side any more
                return False
        self.seen = self.seen.partition(text)[2]
        return True


def settles(condition: Callable[[], bool]) -> bool:
    """Wait for what is about to be true."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class DockerLike(Engine):
    """What podman and docker share: a command line."""

    #: Makes `rm` remove what runs.
    at_once: ClassVar[tuple[str, ...]] = ("--force",)

    def options(self) -> tuple[str, ...]:
        """Return what every container is made with."""
        raise NotImplementedError

    def words(self, *options: str) -> tuple[str, ...]:
        """Return what stands between `run` and the container's command."""
        network = () if any(word.startswith("--network") for word in options) else _NO_NETWORK
        return (*self.options(), *network, *options, IMAGE)

    def run(
        self, *command: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own."""
        return self.cli("run", "--rm", *self.words(*options), *command, **more)

    def prints(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in a container of its own that has to succeed; return what it printed."""
        return self.output("run", "--rm", *self.words(*options), *command)

    def start(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """Start a container that stays; return its id."""
        return self.output("run", "--detach", *self.words(*options), *command)

    def says(self, container: str, text: str) -> bool:
        """Tell whether a container has printed the text, or does so soon."""
        return settles(lambda: text in self.logs(container))

    def logs(self, container: str) -> str:
        """Return what a container has printed, on either stream."""
        done = self.cli("logs", container)
        return f"{done.stdout}{done.stderr}"

    def inspect(self, container: str, what: str) -> str:
        """Return a field of what the engine knows about a container."""
        return self.output("inspect", "--format", f"{{{{{what}}}}}", container)

    def clear(self) -> None:
        """Remove all containers."""
        if ids := self.output("ps", "--all", "--quiet").split():
            self.output("rm", *self.at_once, *ids)


class Podman(DockerLike):
    """No daemon: each command does its part, and conmon watches each container."""

    program = "podman"
    at_once = ("--force", "--time", "0")
    states = ("/run/pycontain-runtime", "/run/runc")
    #: Its own defaults raise hard limits, for which root may lack CAP_SYS_RESOURCE.
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")

    def __init__(self, cage: Cage, runtime_name: str) -> None:
        places = [f"--{name}={cage.folder / name}" for name in ("root", "runroot", "tmpdir")]
        own = ("--cgroup-manager=cgroupfs", "--events-backend=file", "--storage-driver=overlay")
        chosen = f"--runtime={runtime(runtime_name)}"
        super().__init__(cage, runtime_name, ("podman", *places, *own, chosen))

    @classmethod
    def prepare(cls, cage: Cage, archive: Path) -> None:
        podman = cls(cage, CONTROL)
        podman.output("import", "--change", 'CMD ["sh"]', archive, IMAGE)
        podman.prints("true", options=("--network=bridge",))  # what the first one makes stays

    def owns(self, group: Path) -> bool:
        return group.name.startswith("libpod-")  # others are pods' and conmon's

    def options(self) -> tuple[str, ...]:
        return ("--cgroup-parent", f"/{self.cage.cgroup}", *self.limits)


class Docker(DockerLike):
    """A daemon that has a containerd of its own."""

    program = "dockerd"
    states = ("/run/docker/runtime-runc/moby",)

    def __init__(self, cage: Cage, runtime_name: str) -> None:
        super().__init__(cage, runtime_name, ("docker", "--host", "unix:///run/docker.sock"))

    @classmethod
    def prepare(cls, cage: Cage, archive: Path) -> None:
        words = [
            *("--data-root", str(cage.folder / "docker"), "--exec-root", "/run/docker"),
            *("--host", "unix:///run/docker.sock", "--pidfile", "/run/docker.pid"),
            *("--storage-driver", "overlay2", "--bridge", "none", "--iptables=false"),
            *("--ip6tables=false", "--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--cgroup-parent", f"/{cage.cgroup}", "--add-runtime", f"{OURS}={runtime(OURS)}"),
        ]
        docker, socket = cls(cage, CONTROL), cage.path("/run/docker.sock")
        cage.start(
            "dockerd", *words, ready=lambda: socket.exists() and not docker.cli("info").returncode
        )
        docker.output("import", "--change", 'CMD ["sh"]', archive, IMAGE)
        docker.prints("true", options=("--network=host",))  # what the first one makes stays

    def options(self) -> tuple[str, ...]:
        return ("--runtime", self.runtime)


class Containerd(Engine):
    """A daemon whose shim, one for each container, calls the runtime."""

    program = "containerd"

    def __init__(self, cage: Cage, runtime_name: str) -> None:
        socket = cage.folder / "containerd.sock"
        super().__init__(cage, runtime_name, ("ctr", "-a", socket, "-n", cage.cgroup))
        self.states = (f"/run/containerd/runc/{cage.cgroup}",)
        self.root = cage.folder / "root"
        self._serial = itertools.count()

    @classmethod
    def prepare(cls, cage: Cage, archive: Path) -> None:
        config = cage.path(cage.folder / "config.toml")
        config.write_text(
            "version = 2\n"
            f'root = "{cage.folder}/data"\n'
            f'state = "{cage.folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{cage.folder}/containerd.sock"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{cage.folder}/opt"\n'
        )
        ctr = cls(cage, CONTROL)
        cage.output("mkdir", ctr.root)
        cage.output("tar", "-C", ctr.root, "-xf", archive)
        cage.start(
            *("containerd", "--config", cage.folder / "config.toml"),
            ready=lambda: not ctr.cli("version").returncode,
        )

    def words(self, *options: str) -> tuple[str | Path, ...]:
        """Return what stands between `run` and the container's name."""
        chosen = ("--runc-binary", runtime(self.runtime), "--env", "PATH=/bin")
        return ("--rootfs", *chosen, *options, self.root)

    def run(
        self, *command: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own."""
        return self.cli("run", "--rm", *self.words(*options), self.name(), *command, **more)

    def name(self) -> str:
        """Return a name for a container."""
        return f"{self.runtime}-{next(self._serial)}"

    def start(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """Start a container that stays; return its name."""
        name = self.name()
        self.output("run", "--detach", *self.words(*options), name, *command)
        return name

    def status(self, container: str) -> str:
        """Return what a container's process does, as `ctr tasks ls` says it."""
        rows = [line.split() for line in self.output("tasks", "ls").splitlines()]
        return next((row[2] for row in rows if row[0] == container), "")

    def clear(self) -> None:
        for name in self.output("containers", "ls", "--quiet").split():
            self.cli("tasks", "rm", "--force", name)
            self.output("containers", "rm", name)
