# SPDX-License-Identifier: Apache-2.0
"""Bundles and containers of the tests, each with a busybox root of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pycontain.oci import Container, parse_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Edit = Callable[[dict[str, Any]], object]

NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {
    "destination": "/dev",
    "type": "tmpfs",
    "source": "tmpfs",
    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
}
DEVPTS = {
    "destination": "/dev/pts",
    "type": "devpts",
    "source": "devpts",
    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
}
SHM = {
    "destination": "/dev/shm",
    "type": "tmpfs",
    "source": "shm",
    "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
}
SYS = {
    "destination": "/sys",
    "type": "sysfs",
    "source": "sysfs",
    "options": ["nosuid", "noexec", "nodev", "ro"],
}
ENV = ["PATH=/bin"]
_serial = itertools.count()


def configuration(*args: str) -> dict[str, Any]:
    """Return a configuration as `runc spec` writes it, with fewer words."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": list(args),
            "cwd": "/",
            "env": list(ENV),
            "user": {"uid": 0, "gid": 0},
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [dict(mount) for mount in (PROC, DEV, DEVPTS, SHM, SYS)],
        "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
    }


class Outcome(NamedTuple):
    """What came of a whole life."""

    status: int
    output: str


class Containers:
    """Makes bundles below a directory, and containers that end with the test."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home = home
        self.root = root
        self.state = home / "state"
        self.made: list[Container] = []
        self.warnings: list[str] = []

    def bundle(self, *args: str, edit: Edit | None = None) -> Path:
        """Return a new bundle; `edit` changes its configuration."""
        path = self.home / f"bundle{next(_serial)}"
        path.mkdir()
        shutil.copytree(self.root, path / "rootfs", symlinks=True, copy_function=os.link)
        self.write(path, *args, edit=edit)
        return path

    @staticmethod
    def write(path: Path, *args: str, edit: Edit | None = None) -> None:
        """Write another configuration to a bundle."""
        config = configuration(*args)
        if edit is not None:
            edit(config)
        (path / "config.json").write_text(json.dumps(config))

    def create(self, bundle: Path, **options: Any) -> Container:
        """Return a created container."""
        name = options.pop("name", None) or f"pycontain-test-{os.getpid()}-{next(_serial)}"
        options.setdefault("warn", self.warnings.append)
        made = Container.create(name, bundle, state_root=self.state, **options)
        self.made.append(made)
        return made

    def load(self, name: str) -> Container:
        """Return a container that there is."""
        return Container.load(name, state_root=self.state)

    def start(self, *args: str, edit: Edit | None = None, **options: Any) -> Container:
        """Return a running container."""
        made = self.create(self.bundle(*args, edit=edit), **options)
        made.start()
        return made

    def run(self, *args: str, edit: Edit | None = None, **options: Any) -> Outcome:
        """Run a container to its end and return what it wrote."""
        return self.run_bundle(self.bundle(*args, edit=edit), **options)

    def run_bundle(self, bundle: Path, **options: Any) -> Outcome:
        """The same of a bundle that there is."""
        with self.output() as (fd, text):
            made = self.create(bundle, stdout=fd, stderr=fd, **options)
            try:
                made.start()
                status = made.wait()
            finally:
                made.delete(force=True)
                self.made.remove(made)
        return Outcome(status, text())

    def sh(self, script: str, edit: Edit | None = None, **options: Any) -> str:
        """Run a script in a container of its own and return what it wrote."""
        outcome = self.run("sh", "-c", script, edit=edit, **options)
        assert outcome.status == 0, outcome
        return outcome.output

    def execute(self, container: Container, *args: str, **fields: Any) -> Outcome:
        """Run a process in a running container."""
        options = {
            name: fields.pop(name)
            for name in ("cgroup", "preserve_fds", "pid_file", "ignore_paused")
            if name in fields
        }
        process = parse_process({"args": list(args), "cwd": "/", "env": list(ENV), **fields})
        with self.output() as (fd, text):
            status = container.exec(process, stdout=fd, stderr=fd, **options).wait()
        assert status is not None
        return Outcome(status, text())

    @contextlib.contextmanager
    def output(self) -> Iterator[tuple[int, Callable[[], str]]]:
        """Give a file for output, and what reads it."""
        path = self.home / f"output{next(_serial)}"
        with path.open("wb") as file:
            yield file.fileno(), path.read_text

    def close(self) -> None:
        """End what the test has left."""
        for made in self.made:
            with contextlib.suppress(LookupError):
                made.delete(force=True)
        self.made.clear()


def namespace(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the entry of a namespace."""
    found: dict[str, Any] = next(
        row for row in config["linux"]["namespaces"] if row["type"] == kind
    )
    return found


def without(config: dict[str, Any], kind: str) -> None:
    """Leave out a namespace."""
    config["linux"]["namespaces"].remove(namespace(config, kind))


@contextlib.contextmanager
def living(*command: str) -> Iterator[int]:
    """Give the id of a process that says a word once it is there."""
    with subprocess.Popen(
        [*command, "sh", "-c", "echo there; exec sleep 1000"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


__all__ = ["Containers", "Outcome", "configuration", "living", "namespace", "without"]
