# SPDX-License-Identifier: Apache-2.0
"""The exceptions that are also those of `subprocess`. They are public in `errors`."""

from __future__ import annotations

import subprocess
from typing import Any

from ._error_base import PycontainError


class TimeoutExpired(PycontainError, subprocess.TimeoutExpired, TimeoutError):
    """A command did not end in time. From `run`, everything in it has been killed.

    Attributes:
        usage: What it used, a `Usage`; None if it still runs.
    """

    __module__ = "pycontain.errors"

    def __init__(
        self,
        cmd: object,
        timeout: float,
        output: object = None,
        stderr: object = None,
        usage: object = None,
    ) -> None:
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output, stderr)  # type: ignore[arg-type]
        self.usage = usage

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cmd, self.timeout, self.output, self.stderr, self.usage)


class CalledProcessError(PycontainError, subprocess.CalledProcessError):
    """A command that was run with `check=True` failed."""

    __module__ = "pycontain.errors"
