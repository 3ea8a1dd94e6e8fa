# SPDX-License-Identifier: Apache-2.0
"""The exceptions.

PycontainError
├── ConfigError (ValueError)                    an option that cannot be right
├── SpawnError (OSError)                        a step of the set-up failed
├── UnsupportedError (OSError)                  this host cannot do what was asked
├── SandboxClosedError (RuntimeError)           the sandbox is gone
├── TimeoutExpired (subprocess.TimeoutExpired, TimeoutError)
├── CalledProcessError (subprocess.CalledProcessError)
├── ProgramNotFoundError (FileNotFoundError)    no such program inside
├── ProgramNotExecutableError (PermissionError)
└── FilesError (OSError)                        reading or writing files of a sandbox
"""

from __future__ import annotations

import subprocess
from typing import Any


class PycontainError(Exception):
    """Base of all exceptions of this package."""


class ConfigError(PycontainError, ValueError):
    """An option, or a combination of options, that cannot be right on this machine."""


class SpawnError(PycontainError, OSError):
    """A step of setting up a sandbox or starting a command failed.

    Attributes:
        step: The step's name.
        errno: The system's error number.
        path: The path that the step was about, or None.
        hint: What to do about it, or None.
    """

    def __init__(
        self, step: str, errno: int, strerror: str, path: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(errno, strerror)
        self.step = step
        self.path = path
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.errno, self.strerror, self.path, self.hint)

    def __str__(self) -> str:
        """One sentence: the step, the errno, the path, the remedy. Hostile names are escaped."""
        where = f" ({self.path!r})" if self.path else ""
        advice = f". {self.hint}" if self.hint else ""
        return f"{self.step} failed{where}: {self.strerror}{advice}"


class UnsupportedError(PycontainError, OSError):
    """This host, or this user on it, cannot do what was asked."""


class SandboxPausedError(PycontainError, RuntimeError):
    """The sandbox is paused, and a new command would only begin when it is resumed."""


class SandboxClosedError(PycontainError, RuntimeError):
    """The sandbox has been closed or has ended."""


class TimeoutExpired(PycontainError, subprocess.TimeoutExpired, TimeoutError):
    """A command did not end in time. From `run`, everything in it has been killed.

    Attributes:
        usage: What it used, a `Usage`; None if it still runs.
    """

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


class ProgramNotFoundError(PycontainError, FileNotFoundError):
    """The program does not exist inside the sandbox."""


class ProgramNotExecutableError(PycontainError, PermissionError):
    """The program exists inside the sandbox but cannot be executed."""


class FilesError(PycontainError, OSError):
    """Reading or writing files of a sandbox failed."""
