# SPDX-License-Identifier: Apache-2.0
"""`subprocess.Popen`'s interface for a command in a sandbox."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import struct
import termios
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self

from ._command import Argument, Options, Packer
from ._hints import refused
from ._process import Command, TextMode
from ._runtime import Runtime
from ._streams import Capture, Plumbing, Pump, Stream
from .denial import Denials
from .errors import ConfigError, TimeoutExpired
from .result import Reason, Usage


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Give a pty a size; its foreground processes get SIGWINCH (ioctl_tty(2))."""
    if not (0 < rows < 1 << 16 and 0 < columns < 1 << 16):
        raise ConfigError(f"size: {rows} x {columns} is not a terminal's size")
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Popen:
    """A running command. Made by `Sandbox.popen`; the interface is `subprocess.Popen`'s.

    A stream that was not asked for is /dev/null: the caller's own terminal and files never go in by
    default. Leaving the context manager waits, as in `subprocess`; the end of the sandbox ends the
    command in any case.

    Attributes:
        args: The arguments as given.
        stdin, stdout, stderr: Our ends of pipes, else None; of a pty, stdin and stdout are its
            master.
    """

    def __init__(  # noqa: PLR0913
        self,
        runtime: Runtime,
        packer: Packer,
        args: Sequence[Argument],
        *,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        options: Options,
        pass_fds: Sequence[int],
        mode: TextMode,
        bufsize: int,
    ) -> None:
        if options.pty and any(stream is not None for stream in (stdin, stdout, stderr)):
            raise ConfigError("pty: the pty is stdin, stdout and stderr; leave these out")
        self.args = args
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self._mode = mode
        self._pump: Pump | None = None
        self._captures: dict[int, Capture] = {}
        self._limit = packer.config.output_limit
        plumbing = Plumbing(stdin, stdout, stderr)
        try:
            self._command = Command.start(
                runtime, packer, args, options, plumbing, tell_start=True, pass_fds=pass_fds
            )
            plumbing.close_child()
            self._command.wait_started()
        except BaseException:
            plumbing.close()
            raise
        try:
            self._open_streams(plumbing, bufsize)
        except OSError as error:
            self._command.kill(Reason.KILLED)
            plumbing.close()
            if self._command.pty_fd >= 0:
                os.close(self._command.pty_fd)
            raise refused("STDIO", error) from None

    def _open_streams(self, plumbing: Plumbing, bufsize: int) -> None:
        ours = plumbing.ours
        if self._command.pty_fd >= 0:
            ours = [os.dup(self._command.pty_fd), self._command.pty_fd, None]
        names = ("stdin", "stdout", "stderr")
        for name, fd in zip(names, ours, strict=True):
            if fd is not None:
                setattr(self, name, self._wrap(fd, "wb" if name == "stdin" else "rb", bufsize))

    def _wrap(self, fd: int, mode: str, bufsize: int) -> IO[Any]:
        line_buffering = bufsize == 1 and self._mode.encoding is not None
        raw = open(fd, mode, -1 if line_buffering else bufsize)  # noqa: SIM115 - kept open
        if self._mode.encoding is None:
            return raw
        return io.TextIOWrapper(
            raw,
            encoding=self._mode.encoding,
            errors=self._mode.errors,
            line_buffering=line_buffering,
            write_through=bufsize == 0,
        )

    def __repr__(self) -> str:
        """As subprocess shows it; arguments are escaped by repr."""
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"

    @property
    def pid(self) -> int:
        """Process id as the caller sees it."""
        return self._command.pid

    @property
    def returncode(self) -> int | None:
        """None until `poll`, `wait` or `communicate` has seen the end; then as in subprocess."""
        return self._command.returncode

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it runs."""
        return self._command.reason

    @property
    def usage(self) -> Usage | None:
        """What it used; None while it runs."""
        return self._command.usage

    @property
    def denials(self) -> Denials | None:
        """What was refused to it, until its end; None while it runs, and without `audit`."""
        return self._command.denials

    @property
    def explanation(self) -> str | None:
        """What of its program does not fit this host, if it ended as such programs do."""
        return self._command.explanation

    def fileno(self) -> int:
        """Return a descriptor that becomes readable at the end, for `select` and event loops."""
        return self._command.fileno()

    def poll(self) -> int | None:
        """Return the return code, or None while it runs."""
        if not self._command.collect():
            self._command.enforce()
        return self.returncode

    def limit_due(self) -> float | None:
        """Return the seconds until a limit can have been reached; None: none ever will be.

        For loops of the caller's own: `poll` is what ends the command then.
        """
        return self._command.pause()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            TimeoutExpired: It still runs after `timeout` seconds, and goes on running.
        """
        if not self._command.wait(timeout):
            raise TimeoutExpired(self.args, timeout or 0.0)
        code = self.returncode
        assert code is not None  # noqa: S101 - what wait() means
        return code

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        """Send `input`, read until the end, return (stdout, stderr), bounded by `output_limit`.

        Raises:
            TimeoutExpired: It still runs after `timeout` seconds, and goes on running. What was
                read so far is in the exception; nothing is lost for the next call.
        """
        if self._pump is None:
            self._pump = self._start_pump(input)
        elif input is not None:
            raise ConfigError("input: was given to the first call of communicate()")
        ended = self._pump.run(self._command, timeout)
        out, err = (
            self._mode.decode(self._captures[stream.fileno()].value()) if stream else None
            for stream in (self.stdout, self.stderr)
        )
        if not ended:
            raise TimeoutExpired(self.args, timeout or 0.0, out, err)
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        return out, err

    def _start_pump(self, data: Any) -> Pump:
        if data is not None and self.stdin is None:
            raise ConfigError("input: stdin is not a pipe")
        self._captures = {
            stream.fileno(): Capture(self._limit) for stream in (self.stdout, self.stderr) if stream
        }
        feed = None
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.flush()
            try:
                feed = (os.dup(self.stdin.fileno()), self._mode.encode(data))
            except OSError as error:
                raise refused("STDIO", error) from None
            self.stdin.close()
        return Pump(feed, self._captures)

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing happens if the command has ended."""
        self._command.send_signal(sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the command itself, as in subprocess; `kill_all` leaves nothing of it."""
        self.send_signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill the command and everything that it started, and wait for that."""
        self._command.kill(Reason.KILLED)

    def resize(self, rows: int, columns: int) -> None:
        """Give the pty another size.

        Raises:
            ConfigError: Not a size, or the command has no pty.
        """
        if self._command.pty_fd < 0 or self.stdout is None:
            raise ConfigError("resize: the command has no pty; start it with pty=True")
        set_window_size(self.stdout.fileno(), rows, columns)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the streams and wait, as subprocess does; after an interrupt, kill first."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # Before the streams: a program that sees their end may end, and leave others behind.
            self.kill_all()
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        with contextlib.suppress(BrokenPipeError, OSError):
            if self.stdin:
                self.stdin.close()
        self.wait()
