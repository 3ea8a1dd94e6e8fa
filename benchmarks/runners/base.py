# SPDX-License-Identifier: Apache-2.0
"""What a benchmark asks of a runner."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.site import Site

ENVIRONMENT = {"PATH": "/bin", "HOME": "/tmp"}


class NotOfferedError(Exception):
    """The runner has no such feature; the text says what it has instead."""


class Runner:
    """Runs programs of the site's root directory, each with the isolation it can give."""

    name: ClassVar[str]
    #: Which options ask for the isolation, and what it has no option for.
    asked: ClassVar[str]
    #: The program that has to be there.
    program: ClassVar[str | None] = None

    def __init__(self, site: Site) -> None:
        self.site = site

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot run here, or None."""
        if cls.program and not shutil.which(cls.program):
            return f"{cls.program} is not installed"
        return None

    @classmethod
    def version(cls) -> str:
        """Return what it calls itself."""
        if not cls.program:
            return ""
        done = subprocess.run(
            [cls.program, "--version"], capture_output=True, text=True, check=False
        )
        return done.stdout.splitlines()[0] if done.stdout else ""

    def limited_to(self, limits: dict[str, int]) -> Runner:
        """Return the same runner with these limits, by the names of its options, and no others."""
        raise NotOfferedError(f"{self.name} has no way to do without")

    def run(self, program: str) -> bytes:
        """Run /bin/`program` in a fresh sandbox and return its output; raise if it fails."""
        raise NotImplementedError

    def living(self) -> AbstractContextManager[Callable[[str], bytes]]:
        """Make a sandbox that stays; yields a `run` that starts its program in it."""
        raise NotOfferedError(f"{self.name} has no command for a living sandbox")

    def hold(self) -> AbstractContextManager[object]:
        """Make a sandbox that only lives."""
        raise NotOfferedError(f"{self.name} keeps no sandbox alive")
