# SPDX-License-Identifier: Apache-2.0
"""Calling other programs, and what to say if that cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SHOWN_CHARACTERS = 2000


class UnavailableError(Exception):
    """This host cannot have the machine, for a reason that is no defect of ours."""


def call(*words: str | Path, cwd: Path | None = None) -> str:
    """Return what a program prints.

    Raises:
        UnavailableError: It does not exist or fails; with the end of what it said.
    """
    if not shutil.which(words[0]):
        raise UnavailableError(f"no {words[0]}: see scripts/debian-packages.txt, purpose vm")
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-SHOWN_CHARACTERS:].strip()
        raise UnavailableError(f"{words[0]} ended with {done.returncode}: {said}")
    return done.stdout
