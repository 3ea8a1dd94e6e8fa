# SPDX-License-Identifier: Apache-2.0
"""The front door of event loops: `run_async` for one command, `AsyncSandbox` for many."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from subprocess import PIPE
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from pycontain import _groups
from pycontain._command import Argument, Options, check_size
from pycontain._configure import Configured, configure
from pycontain._image._root import ImageRoot
from pycontain._job import Job
from pycontain._native import pack_denials
from pycontain._plan import Plan
from pycontain._process import TextMode
from pycontain._runtime import Runtime, prepare
from pycontain._streams import Stream
from pycontain.config import LiveLimits, RunOptions, SandboxOptions, StrPath, check_positive
from pycontain.denial import Denials
from pycontain.enforcement import Control
from pycontain.errors import SandboxClosedError
from pycontain.result import Result, Stats

from ._command import AsyncCommand, AsyncPump, finish
from ._files import AsyncFiles
from ._popen import AsyncPopen
from ._runtime import AsyncRuntime

if TYPE_CHECKING:
    from pycontain._stored import Image
    from pycontain._writable import Change, CommitOptions


class AsyncSandbox(Configured):
    """`Sandbox` for an event loop: the same names and options, with methods to await.

    Use it with `async with`, or await `start` and `close`, in one event loop. Everything waits for
    descriptors with the loop's `add_reader`: there is no signal handler and no child watcher, and
    a thread only where `start` pulls an image that is given by its name, and in `diff` and
    `commit`. (Cancelling these leaves them to end by themselves.) A task that is cancelled in `run`
    or in the start of `popen` is cancelled when everything of its command is dead.

    Only the clone of PID 1 itself, a fraction of a millisecond in `start`, holds the loop up.

    Raises:
        ConfigError: An option that cannot be right.
        UnsupportedError: This host cannot do what was asked.
    """

    def __init__(
        self, image: str | ImageRoot | None = None, **options: Unpack[SandboxOptions]
    ) -> None:
        self._named = (image, options) if isinstance(image, str) else None
        if self._named is None:
            super().__init__(image, **options)
        else:  # what is wrong with the options is said now, what is with the image in `start`
            others = options.copy()
            others.pop("platform", None)
            super().__init__(None, **others)
        self._pid1: AsyncRuntime | None = None
        self._processes: weakref.WeakSet[AsyncPopen] = weakref.WeakSet()

    @property
    def _living(self) -> AsyncRuntime:
        if self._pid1 is None:
            raise SandboxClosedError(
                "the sandbox has not been started; use `async with`, or await start()"
            )
        if self._pid1.closed:
            raise SandboxClosedError("the sandbox is closed")
        return self._pid1

    @property
    def runtime(self) -> Runtime:
        """The living PID 1.

        Raises:
            SandboxClosedError: Not started yet, or closed.
        """
        return self._living.runtime

    @property
    def plan(self) -> Plan:
        """The compiled configuration; that of an image given by its name from the start on.

        Raises:
            SandboxClosedError: Such a sandbox has not been started yet.
        """
        if self._named is not None and self._pid1 is None:
            raise SandboxClosedError("the sandbox has not been started, nor its image looked at")
        return super().plan

    @property
    def enforcement(self) -> Mapping[str, Control]:
        """Each control, and what holds it or why nothing does; limits from the start on."""
        tree = None if self._pid1 is None else self._pid1.runtime.tree
        return _groups.in_force(super().enforcement, tree, self._config)

    @property
    def pid(self) -> int:
        """Process id of PID 1 as the caller sees it."""
        return self.runtime.pid

    @property
    def files(self) -> AsyncFiles:
        """Its files."""
        return AsyncFiles(self._living)

    async def start(self) -> Self:
        """Set the sandbox up.

        Raises:
            SpawnError: A step failed; nothing is left.
        """
        if self._pid1 is not None and not self._pid1.closed:
            raise SandboxClosedError("the sandbox has been started already")
        if self._named is not None:
            image, options = self._named
            self._compile(await asyncio.to_thread(configure, image, **options))
        self._pid1 = AsyncRuntime(
            Runtime.start(self._packer.plan, prepare(self._packer.plan, self._config, single=False))
        )
        await self._pid1.wait_ready()
        return self

    async def close(self) -> None:
        """Kill everything inside and wait for it, whatever cancels this. Idempotent."""
        if self._pid1 is not None:
            try:
                await self._pid1.kill()
            finally:
                for process in list(self._processes):
                    process.release()

    kill = close

    async def pause(self) -> None:
        """Stop every process of the commands until `resume`; see `Sandbox.pause`."""
        await self._living.pause()

    async def resume(self) -> None:
        """Let the processes run again. Idempotent."""
        self.runtime.resume()

    async def denials(self) -> Denials | None:
        """Return the system calls that were refused so far; see `Sandbox.denials`."""
        report, _ = await self._living.ask(pack_denials(0))
        return self.runtime.denials_of(report)

    async def update(self, **limits: Unpack[LiveLimits]) -> None:
        """Change limits while commands run; see `Sandbox.update`."""
        self._update(self.runtime, limits)

    async def diff(self) -> tuple[Change, ...]:
        """Return what the sandbox has changed of its root; see `Sandbox.diff`."""
        from pycontain import _writable  # noqa: PLC0415 - few sandboxes need it

        return await asyncio.to_thread(_writable.diff, self.runtime)

    async def commit(
        self,
        name: str,
        *,
        author: str = "",
        comment: str = "",
        **options: Unpack[CommitOptions],
    ) -> Image:
        """Make an image of what the sandbox has become; see `Sandbox.commit`."""
        from pycontain import _writable  # noqa: PLC0415 - few sandboxes need it

        return await asyncio.to_thread(
            _writable.committed, self.runtime, name, author, comment, options
        )

    @overload
    def stats(self) -> Coroutine[Any, Any, Stats]: ...

    @overload
    def stats(self, interval: float) -> AsyncIterator[Stats]: ...

    def stats(
        self, interval: float | None = None
    ) -> Coroutine[Any, Any, Stats] | AsyncIterator[Stats]:
        """Await what the commands use now, or iterate over it until the sandbox ends.

        Args:
            interval: Seconds from one value to the next; None: one value.
        """
        pid1 = self._living
        if interval is None:
            return pid1.stats()
        check_positive(interval, "interval")
        return pid1.stats_every(interval)

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def run(  # noqa: PLR0913 - those of subprocess.run
        self,
        args: Sequence[Argument],
        *,
        input: Any = None,  # noqa: A002 - subprocess's name
        stdin: Stream = None,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        timeout: float | None = None,  # noqa: ASYNC109 - subprocess's
        check: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        user: int | str | None = None,
        pass_fds: Sequence[int] = (),
        umask: int | None = None,
    ) -> Result:
        """Run a command and wait for it; all else is as with `Sandbox.run`.

        After a timeout or a cancellation everything that the command started is dead, and the
        sandbox goes on working.
        """
        pid1 = self._living
        mode = TextMode.of(text=text, encoding=encoding, errors=errors)
        timeout = check_positive(timeout, "timeout")
        options = Options(env=env, cwd=cwd, user=user, umask=umask)
        job = Job(self._config, AsyncPump, mode, input, (stdin, stdout, stderr), timeout)
        try:
            command = await AsyncCommand.start(
                pid1,
                self._packer,
                args,
                options,
                job.plumbing,
                tell_start=False,
                pass_fds=pass_fds,
            )
            job.plumbing.close_child()
            result = await finish(job, command)
        finally:
            job.close()
        if check:
            result.check_returncode()
        return result

    async def popen(  # noqa: PLR0913 - those of subprocess.Popen
        self,
        args: Sequence[Argument],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        user: int | str | None = None,
        pass_fds: Sequence[int] = (),
        umask: int | None = None,
        process_group: int | None = None,
        pty: bool = False,
        size: tuple[int, int] = (24, 80),
    ) -> AsyncPopen:
        """Start a command and return its handle, `asyncio.subprocess.Process`'s twin.

        Args:
            args: Program and arguments.
            stdin, stdout, stderr: PIPE, STDOUT, DEVNULL, a descriptor or a file; None is /dev/null.
            env: Added to the sandbox's environment.
            cwd, user, umask: Of this command alone.
            pass_fds: Descriptors to hand in under the same numbers.
            process_group: Join this group (0: a new one) instead of starting a session.
            pty: Give it a terminal of the sandbox's own, of `size` rows and columns.

        Raises:
            ConfigError, ProgramNotFoundError, ProgramNotExecutableError, SpawnError,
                SandboxClosedError: As in `run`.
        """
        rows, columns = check_size(size)
        options = Options(
            env=env,
            cwd=cwd,
            user=user,
            umask=umask,
            process_group=process_group,
            pty=pty,
            rows=rows,
            columns=columns,
        )
        process = await AsyncPopen.start(
            self._living,
            self._packer,
            args,
            streams=(stdin, stdout, stderr),
            options=options,
            pass_fds=pass_fds,
        )
        self._processes.add(process)
        return process


async def run_async(  # noqa: PLR0913 - those of subprocess.run
    args: Sequence[Argument],
    *,
    input: Any = None,  # noqa: A002 - subprocess's name
    stdin: Stream = None,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    timeout: float | None = None,  # noqa: ASYNC109 - subprocess's
    check: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    pass_fds: Sequence[int] = (),
    umask: int | None = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Run one command in a sandbox of its own, which is gone when this returns or is cancelled.

    Arguments, result and exceptions are those of `pycontain.run`.
    """
    async with AsyncSandbox(**options) as sandbox:
        return await sandbox.run(
            args,
            input=input,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            timeout=timeout,
            check=check,
            text=text,
            encoding=encoding,
            errors=errors,
            pass_fds=pass_fds,
            umask=umask,
        )
