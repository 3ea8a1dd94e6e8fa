# SPDX-License-Identifier: Apache-2.0
"""The images: how each is made, what it runs. They stay in build/portability."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine.images import KEYRING, MIRROR
from machine.shell import UnavailableError, call

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build/portability"
# Of essential packages and what these need: documentation is most of the bytes.
SLIM = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An image.

    Attributes:
        make: Writes its root directory's archive.
        summary: What it is, for the table.
        cmd: What it runs; the program's output must be the same everywhere.
        platform: What it is for.
    """

    make: Callable[[Path], None]
    summary: str
    cmd: tuple[str, ...]
    platform: str = "linux/amd64"


def _tar(root: Path, target: Path) -> None:
    owners = ("--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0")
    call("tar", "-C", root, "-cf", target, *owners, ".")


def _busybox(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for directory in ("bin", "etc", "root", "tmp"):
            (root / directory).mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        applets = subprocess.run(
            ["/bin/busybox", "--list"], capture_output=True, text=True, check=True
        )
        for applet in applets.stdout.split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        _tar(root, target)


def _musl(target: Path) -> None:
    """The loader is musl's C library itself."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for directory in ("bin", "lib", "tmp"):
            (root / directory).mkdir()
        program = root / "bin/program"
        call("musl-gcc", "-O2", "-o", program, HERE / "program.c")
        shutil.copy("/lib/x86_64-linux-musl/libc.so", root / "lib/ld-musl-x86_64.so.1")
        _tar(root, target)


def _debian(suite: str, *words: str) -> Callable[[Path], None]:
    def make(target: Path) -> None:
        excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in SLIM]
        command = ("mmdebstrap", "--quiet", f"--keyring={KEYRING}", *excluded, *words, suite)
        # It mounts /proc, /sys and /dev for its chroot: not where others see them.
        private = ("unshare", "--mount", "--propagation", "private", "--")
        call(*private, *command, str(target), MIRROR)

    return make


_SHELL = ("/bin/sh", "/srv/workload.sh")
RECIPES = {
    "busybox": Recipe(make=_busybox, summary="one static program", cmd=_SHELL),
    "bullseye": Recipe(
        make=_debian("bullseye", "--variant=essential"), summary="Debian 11", cmd=_SHELL
    ),
    "bookworm": Recipe(
        make=_debian("bookworm", "--variant=essential"), summary="Debian 12", cmd=_SHELL
    ),
    "trixie": Recipe(
        make=_debian("trixie", "--variant=essential"), summary="Debian 13", cmd=_SHELL
    ),
    "python": Recipe(
        make=_debian("bookworm", "--variant=essential", "--include=python3"),
        summary="Debian 12 with Python 3.11",
        cmd=("/usr/bin/python3", "/srv/workload.py"),
    ),
    "musl": Recipe(
        make=_musl, summary="musl, dynamically linked", cmd=("/bin/program", "/srv/workload.sh")
    ),
    "arm64": Recipe(
        make=_debian(
            *("bookworm", "--architectures=arm64", "--variant=extract"),
            "--include=dash,coreutils,sed,grep,findutils",
        ),
        summary="Debian 12 for arm64, emulated",
        cmd=("/bin/dash", "/srv/workload.sh"),
        platform="linux/arm64",
    ),
}


def archive(name: str) -> Path:
    """Return the archive of a root directory, which is made if it is not there yet.

    Raises:
        UnavailableError: What it is made from cannot be had here.
    """
    target = FOLDER / f"{name}.tar"
    if not target.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(f"portability: making {target.name}", file=sys.stderr, flush=True)
        partial = target.with_suffix(f".{os.getpid()}.partial.tar")
        RECIPES[name].make(partial)
        partial.rename(target)
    return target


def make(names: list[str]) -> dict[str, str]:
    """Make what is not there yet; return why an image cannot be had, by its name."""
    absent = {}
    for name in names:
        try:
            archive(name)
        except UnavailableError as error:
            absent[name] = str(error)
    for workload in ("workload.sh", "workload.py"):
        shutil.copy(HERE / workload, FOLDER / workload)
    shutil.copy("/usr/bin/qemu-aarch64-static", FOLDER)
    return absent
