# SPDX-License-Identifier: Apache-2.0
"""The tools of EROFS's authors, of a version that reads blocks of 512 bytes (1.6).

Where Debian's own is older, those of the next suite are unpacked into build/, with their libraries.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from machine.images import KEYRING, MIRROR, REPOSITORY
from machine.shell import call

SUITE = "trixie"
FOLDER = REPOSITORY / "build/erofs-utils"
LEAST = (1, 6)


def installed() -> bool:
    """Tell whether those of this host will do."""
    if shutil.which("fsck.erofs") is None:
        return False
    done = subprocess.run(["fsck.erofs", "-V"], capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)\.(\d+)", done.stdout + done.stderr)
    return version is not None and (int(version[1]), int(version[2])) >= LEAST


@functools.cache
def _prefix() -> list[str]:
    """Return what comes before the path of a program, to run it with its own libraries."""
    if installed():
        return []
    if not FOLDER.exists():
        FOLDER.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as name:
            root = Path(name) / "root"
            options = ("--quiet", "--variant=extract", f"--keyring={KEYRING}")
            private = ("unshare", "--mount", "--propagation", "private", "--", "mmdebstrap")
            call(*private, *options, "--include=erofs-utils", SUITE, root, MIRROR)
            root.rename(FOLDER)
    (loader,) = FOLDER.glob("usr/lib*/ld-linux-*.so.*")
    (libraries,) = FOLDER.glob("usr/lib/*-linux-gnu")
    return [str(loader), "--library-path", str(libraries)]


def run(tool: str, index: Path, archive: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run fsck.erofs or dump.erofs on an index and its archive."""
    prefix = _prefix()
    program = f"{FOLDER}/usr/bin/{tool}" if prefix else tool
    command = [*prefix, program, f"--device={archive}", *options, str(index)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
