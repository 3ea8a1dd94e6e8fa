# SPDX-License-Identifier: Apache-2.0
"""`asyncio.subprocess.Process`'s interface for a command in a sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast

from pycontain._command import Argument, Options, Packer
from pycontain._hints import refused
from pycontain._popen import set_window_size
from pycontain._process import TextMode
from pycontain._streams import Capture, Plumbing, Stream
from pycontain.denial import Denials
from pycontain.errors import ConfigError, TimeoutExpired
from pycontain.result import Reason, Usage

from ._command import AsyncCommand
from ._pipes import PipeReader, PipeWriter
from ._runtime import AsyncRuntime


class AsyncPopen:
    """A running command. Made by `AsyncSandbox.popen`; shaped like `asyncio.subprocess.Process`.

    A stream that was not asked for is /dev/null. Streams carry bytes. As a context manager it
    closes the streams and waits at the end, and after a cancellation kills first.

    Attributes:
        args: The arguments as given.
        stdin: A StreamWriter, or None; closed at the command's end.
        stdout, stderr: StreamReaders, or None; of a pty, stdin and stdout are its master.
    """

    def __init__(self, command: AsyncCommand, output_limit: int) -> None:
        self.args = command.args
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._command = command
        self._limit = output_limit
        self._pipes: dict[str, PipeReader] = {}
        self._captures: dict[str, Capture] | None = None
        self._pty: PipeReader | None = None

    @classmethod
    async def start(
        cls,
        pid1: AsyncRuntime,
        packer: Packer,
        args: Sequence[Argument],
        *,
        streams: tuple[Stream, Stream, Stream],
        options: Options,
        pass_fds: Sequence[int],
    ) -> Self:
        """Start a command; if this is cancelled, nothing of it is left.

        Raises:
            ConfigError, ProgramNotFoundError, ProgramNotExecutableError, SpawnError,
                SandboxClosedError: As in `AsyncSandbox.popen`.
        """
        if options.pty and any(stream is not None for stream in streams):
            raise ConfigError("pty: the pty is stdin, stdout and stderr; leave these out")
        plumbing = Plumbing(*streams)
        try:
            command = await AsyncCommand.start(
                pid1, packer, args, options, plumbing, tell_start=True, pass_fds=pass_fds
            )
            plumbing.close_child()
            process = cls(command, packer.config.output_limit)
            try:
                await command.wait_started()
                try:
                    process._open_streams(plumbing)
                except OSError as error:
                    raise refused("STDIO", error) from None
            except BaseException:
                await command.kill(Reason.KILLED)
                raise
            finally:
                command.close_pty()
        finally:
            plumbing.close()
        command.ended.add_done_callback(lambda _: process._close_stdin())
        return process

    def _open_streams(self, plumbing: Plumbing) -> None:
        ours = plumbing.ours
        if self._command.pty_fd >= 0:
            ours[0] = os.dup(self._command.pty_fd)
            ours[1] = os.dup(self._command.pty_fd)
        for name, number in (("stdout", 1), ("stderr", 2)):
            if (fd := ours[number]) is not None:
                ours[number] = None
                self._pipes[name] = pipe = PipeReader(fd)
                setattr(self, name, pipe.stream)
        if self._command.pty_fd >= 0:
            self._pty = self._pipes["stdout"]
        if (fd := ours[0]) is not None:
            ours[0] = None
            self.stdin = PipeWriter(fd).stream

    def __repr__(self) -> str:
        """As subprocess shows it; arguments are escaped by repr."""
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"

    @property
    def pid(self) -> int:
        """Process id as the caller sees it."""
        return self._command.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; then as in subprocess."""
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

    async def wait(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - Popen's
        """Wait for the end.

        Raises:
            TimeoutExpired: It still runs after `timeout` seconds, and goes on running.
        """
        if not await self._command.wait(timeout):
            raise TimeoutExpired(self.args, timeout or 0.0)
        return cast("int", self.returncode)

    async def communicate(
        self,
        input: Any = None,  # noqa: A002 - subprocess's name
        timeout: float | None = None,  # noqa: ASYNC109 - Popen's
    ) -> tuple[bytes | None, bytes | None]:
        """Send `input`, read until the end, return (stdout, stderr), bounded by `output_limit`.

        After a timeout or a cancellation the command goes on running, and nothing that was read is
        lost for the next call.

        Raises:
            TimeoutExpired: It still runs after `timeout` seconds. What was read so far is in the
                exception.
        """
        if self._captures is None:
            self._captures = await self._begin(input)
        elif input is not None:
            raise ConfigError("input: was given to the first call of communicate()")
        ended = await self._command.wait(timeout)
        if ended:
            self.release()
        out, err = (
            self._captures[name].value() if name in self._captures else None
            for name in ("stdout", "stderr")
        )
        if not ended:
            raise TimeoutExpired(self.args, timeout or 0.0, out, err)
        return out, err

    async def _begin(self, data: Any) -> dict[str, Capture]:
        if data is not None and self.stdin is None:
            raise ConfigError("input: stdin is not a pipe")
        encoded = TextMode.of(text=None, encoding=None, errors=None).encode(data)
        captures = {name: Capture(self._limit) for name in self._pipes}
        for name, pipe in self._pipes.items():
            await pipe.divert(captures[name].add)
        if self.stdin is not None:
            if encoded:
                self.stdin.write(encoded)
            self.stdin.close()
        return captures

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing happens if the command has ended.

        Raises:
            OSError: EINVAL: not a signal.
        """
        self._command.send_signal(sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the command itself, as in asyncio; `kill_all` leaves nothing of it."""
        self.send_signal(signal.SIGKILL)

    async def kill_all(self) -> None:
        """Kill the command and everything that it started, and wait for that."""
        await self._command.kill(Reason.KILLED)

    def resize(self, rows: int, columns: int) -> None:
        """Give the pty another size.

        Raises:
            ConfigError: Not a size, or the command has no pty.
        """
        if self._pty is None or self._pty.is_closing():
            raise ConfigError("resize: the command has no pty; start it with pty=True")
        set_window_size(self._pty.fileno(), rows, columns)

    def release(self) -> None:
        """Let go of the pipes of a command that is dead; what they held can still be read."""
        for pipe in self._pipes.values():
            pipe.drain()
        self._close_streams()

    def _close_stdin(self) -> None:
        if self.stdin is not None:
            self.stdin.close()

    def _close_streams(self) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        self._close_stdin()

    async def __aenter__(self) -> Self:
        """Return self."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the streams and wait; after a cancellation or an interrupt, kill first.

        Not the other way round: a program that notices the end of its streams may end before it
        can be killed, and what it started goes on.
        """
        try:
            if kind is not None and not issubclass(kind, Exception):
                await self.kill_all()
        finally:
            self._close_streams()
        try:
            await self.wait()
        except asyncio.CancelledError:
            await self.kill_all()
            raise
