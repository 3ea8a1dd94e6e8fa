# SPDX-License-Identifier: Apache-2.0
"""What a command is, the options of all commands, and how errors are told."""

from __future__ import annotations

import sys
import time

from pycontain import _os as os
from pycontain._json import dumps
from pycontain._oci._value import Value

from ._options import Option, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PROGRAM = "pycontain-runtime"
GLOBAL = (
    Option(name="root", value="DIR", text="where the state of containers is kept"),
    Option(name="log", value="FILE", text="where errors are written, besides standard error"),
    Option(name="log-format", value="FORMAT", text="of the log: text (default) or json"),
    Option(name="debug", text="log more, and show where an unforeseen error comes from"),
    Option(name="systemd-cgroup", text="control groups by systemd: slice:prefix:name"),
    Option(name="cgroup-manager", value="MANAGER", text="cgroupfs (default), systemd or disabled"),
    Option(name="rootless", value="BOOL", text="accepted; who calls is found out"),
    Option(name="version", short="v", text="print the version"),
    Option(name="help", short="h", text="print this"),
)
_MANAGERS = ("cgroupfs", "systemd", "disabled")
_FORMATS = ("text", "json")


class Settings(Value):
    """What the options before the command say."""

    root: str | None = None
    log: str = ""
    log_format: str = "text"
    debug: bool = False
    cgroup_manager: str = "cgroupfs"

    @classmethod
    def of(cls, given: dict[str, Any]) -> Settings:
        """Return the settings. Raises UsageError."""
        manager = "systemd" if given.get("systemd-cgroup") else given.get("cgroup-manager")
        if manager is not None and manager not in _MANAGERS:
            raise UsageError(f"unknown cgroup manager {manager!r}: {', '.join(_MANAGERS)}")
        style = given.get("log-format", "text")
        if style not in _FORMATS:
            raise UsageError(f"unknown log format {style!r}: {', '.join(_FORMATS)}")
        return cls(
            root=given.get("root"),
            log=given.get("log", "").removeprefix("file:"),
            log_format=style,
            debug=given.get("debug", False),
            cgroup_manager=manager or "cgroupfs",
        )

    def complain(self, error: BaseException, status: int = 1) -> int:
        """Tell an error in one line on standard error and in the log. Returns an exit status."""
        text = _sentence(error)
        self.write_log("error", text)
        sys.stderr.write(f"{PROGRAM}: {text}\n")
        if self.debug:
            import traceback  # noqa: PLC0415 - slow to import

            traceback.print_exception(error)
        return status

    def warn(self, text: str) -> None:
        """Tell a warning in the log, or on standard error without one."""
        self.write_log("warning", text)
        if not self.log:
            sys.stderr.write(f"{PROGRAM}: warning: {text}\n")

    def write_log(self, level: str, text: str) -> None:
        """Add a line to the log if there is one."""
        if not self.log:
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.log_format == "json":
            line = dumps({"level": level, "msg": text, "time": moment})
        else:
            line = f"time={dumps(moment)} level={level} msg={dumps(text)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            with open(os.open(self.log, flags, 0o644), "wb", buffering=0) as file:
                file.write(f"{line}\n".encode())
        except OSError as error:
            sys.stderr.write(f"{PROGRAM}: cannot write the log {self.log}: {error.strerror}\n")


def _sentence(error: BaseException) -> str:
    """Return what is wrong, in one line; of the system's own errors with the name of the file."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and text.startswith("[Errno"):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        text = f"{where}{error.strerror}"
    return " ".join(text.splitlines()) or type(error).__name__


def notify_socket() -> str:
    """Return the socket of whoever waits for a container to be ready (sd_notify(3)), if any."""
    return os.getenv("NOTIFY_SOCKET", "")


class Command(Value):
    """A command: what it takes, and the function that does it and returns an exit status."""

    name: str
    arguments: str
    """As the help shows them."""
    text: str
    call: Callable[[Settings, dict[str, Any], list[str]], int]
    options: tuple[Option, ...] = ()
    least: int = 1
    most: int | None = 1
    """Bounds of the number of arguments; None is any."""
    interleaved: bool = True
    """Whether options may follow arguments."""

    def run(self, settings: Settings, words: list[str]) -> int:
        """Do it and return the exit status."""
        given, arguments = parse(words, self.options, interleaved=self.interleaved)
        if len(arguments) < self.least or (self.most is not None and len(arguments) > self.most):
            usage = f"{PROGRAM} {self.name} [options] {self.arguments}".rstrip()
            raise UsageError(f"{self.name}: wrong number of arguments; usage: {usage}")
        return self.call(settings, given, arguments)
