# SPDX-License-Identifier: Apache-2.0
"""The program tests/tools/bombs.c, sandboxes with it, and what its groups cost the host."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import _features
import pycontain
from _features import cgroup_homes

if TYPE_CHECKING:
    from pycontain import Result

SOURCE = Path(__file__).parent / "tools/bombs.c"
BOMBS = "/bombs/bombs"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Once(Protocol):
    def __call__(self, *words: object, **options: Any) -> Result: ...


def bomb(*words: object) -> list[str]:
    """Return the command line for one of the program's commands."""
    return [BOMBS, *map(str, words)]


def truth(result: Result) -> Any:
    """Return what the program told of itself."""
    return json.loads(result.stdout)


@pytest.fixture(scope="session")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that holds the compiled bombs.c."""
    if reason := _features.missing("gcc"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("bombs")
    folder.chmod(0o755)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-O2", "-static", "-pthread", str(SOURCE), "-o", str(folder / "bombs")]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def box_options(rootfs: Path, probe: Path, bombs: Path) -> dict[str, Any]:
    """Return the options of a sandbox with a busybox root, the probe and the bombs."""
    mounts = (pycontain.Bind(probe, "/probe"), pycontain.Bind(bombs, "/bombs"))
    return {"rootfs": rootfs, "mounts": mounts}


@pytest.fixture
def once(box_options: dict[str, Any]) -> Once:
    """Return a runner of a bomb in a sandbox of its own; mounts are added."""

    def run(*words: object, **options: Any) -> Result:
        mounts = (*box_options["mounts"], *options.pop("mounts", ()))
        own = {"memory": "max", "pids": "max", "timeout": 120, "text": True}
        merged = {**box_options, **own, **options, "mounts": mounts}
        return pycontain.run(bomb(*words), **merged)

    return run


def own_groups() -> list[Path]:
    """Return the directories in which the library makes this process's groups."""
    found: list[Path] = []
    for _, home in cgroup_homes():
        for place in (home, *home.parents):
            if not (place / "cgroup.procs").exists():
                break
            found += place.glob(f"pycontain-*-{os.getpid()}-*")
    return found


def charged() -> int:
    """Return the bytes of memory that are charged to all groups of this process, dead ones too."""
    names = ("memory.current", "memory.usage_in_bytes")
    files = [folder / name for folder in own_groups() for name in names]
    return sum(int(file.read_text()) for file in files if file.exists())


def meminfo(name: str) -> int:
    """Return a row of /proc/meminfo in bytes."""
    rows = Path("/proc/meminfo").read_text().splitlines()
    return next(int(row.split()[1]) * KIB for row in rows if row.startswith(f"{name}:"))
