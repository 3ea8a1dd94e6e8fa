# SPDX-License-Identifier: Apache-2.0
"""The command `pycontain-runtime`, with a state directory and bundles of the tests' own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import _oci_configs
from pycontain._oci._default_spec import default_config, rootless_config

PROGRAM = Path(sys.executable).with_name("pycontain-runtime")
# What engines give it.
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
KINDS = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
IMPORTING = """
import sys
sys.path += {path!r}
from pycontain._oci_cli import run
status = run(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""


class Runtime:
    """A runtime with its state directory; `call` is `subprocess.run` of one of its commands."""

    def __init__(self, folder: Path, rootfs: Path) -> None:
        self.folder = folder
        self.root = folder / "state"
        self._rootfs = rootfs
        self._names = 0

    def command(self, *words: str | os.PathLike[str]) -> list[str]:
        return [str(PROGRAM), "--root", str(self.root), *map(str, words)]

    def call(
        self, *words: str | os.PathLike[str], **options: Any
    ) -> subprocess.CompletedProcess[str]:
        options = {"stdin": subprocess.DEVNULL, "timeout": 60, **options}
        if not options.keys() & {"input", "stdout", "capture_output"}:
            options["capture_output"] = True
        if "input" in options:
            del options["stdin"]
            options["capture_output"] = True
        return subprocess.run(self.command(*words), env=ENV, text=True, check=False, **options)

    def ok(self, *words: str | os.PathLike[str], **options: Any) -> str:
        done = self.call(*words, **options)
        assert (done.returncode, done.stderr or "") == (0, "")
        return done.stdout or ""

    def bundle(self, *args: str, **places: Any) -> Path:
        """Make a bundle that runs a command; `places` are values in its config.json."""
        self._names += 1
        path = self.folder / f"bundle{self._names}"
        path.mkdir(mode=0o755)
        ids = os.geteuid(), os.getegid()
        config = rootless_config(*ids) if ids[0] else default_config()
        config["root"] = {"path": str(self._rootfs), "readonly": True}
        # By the id alone, the groups of two state directories would be the same.
        config["linux"]["cgroupsPath"] = f"/pycontain-cli-{os.getpid()}-{self._names}"
        config["process"] |= {"args": list(args), "terminal": False}
        for place, value in places.items():
            config = _oci_configs.with_value(config, place.replace("__", "/"), value)
        path.joinpath("config.json").write_text(json.dumps(config))
        return path

    def plain_bundle(self, **places: Any) -> Path:
        """Make a bundle as engines do, for a user namespace of its own and with a limit."""
        ids = [{"containerID": 0, "hostID": 0, "size": 65536}]
        plain = {
            "process__env": ["PATH=/bin", "HOME=/"],
            "linux__uidMappings": ids,
            "linux__gidMappings": ids,
            "linux__namespaces": [{"type": kind} for kind in KINDS],
            "linux__resources": {"pids": {"limit": 64}},
        }
        return self.bundle("true", **(plain | places))

    def imported(self, *words: str | Path) -> set[str]:
        """Return the modules that a command has imported at its end, nothing being kept."""
        python = (sys.executable, "-I", "-S", "-c", IMPORTING.format(path=sys.path))
        modules = self.folder / "modules"
        with modules.open("w") as file:  # no pipe: a container would hold it
            subprocess.run(
                [*python, "--root", self.root, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                check=True,
            )
        return set(modules.read_text().split())

    def state(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("state", container))
        return found

    def create(self, container: str, *args: str, **places: Any) -> None:
        # A pipe that the container holds would keep `communicate` waiting for its end.
        with open(os.devnull, "w", encoding="ascii") as nobody:
            done = self.call(
                *("create", "--bundle", self.bundle(*args, **places), container),
                stdout=nobody,
                stderr=subprocess.STDOUT,
            )
        assert done.returncode == 0

    def clean(self) -> None:
        """Delete all containers."""
        if not self.root.exists():
            return
        for container in self.ok("list", "--quiet").split():
            self.ok("delete", "--force", container)
        with contextlib.suppress(FileNotFoundError):
            assert os.listdir(self.root) == []
