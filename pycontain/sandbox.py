# SPDX-License-Identifier: Apache-2.0
"""The front door: `run` for one command, `Sandbox` for many."""

from __future__ import annotations

import dataclasses
import os
import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from subprocess import PIPE
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from . import _groups
from ._command import Argument, Options, check_size
from ._configure import Configured, configured, packer_of
from ._files import Files
from ._image._root import ImageRoot
from ._job import Job
from ._native import pack_denials
from ._popen import Popen
from ._process import Command, TextMode
from ._runtime import Runtime, does_not_pause, prepare
from ._streams import Pump, Stream
from .config import LiveLimits, RunOptions, SandboxOptions, StrPath, check_positive
from .denial import Denials
from .enforcement import Control
from .errors import SandboxClosedError
from .result import Reason, Result, Stats

if TYPE_CHECKING:
    from ._stored import Image
    from ._writable import Change, CommitOptions


def _finish(job: Job[Pump], command: Command) -> Result:
    """Wait for the end, or bring it about.

    Raises:
        TimeoutExpired: The time is over; nothing of the command is left.
    """
    try:
        if not job.flow.run(command, job.timeout):
            command.kill(job.end())
            job.flow.drain()
    except BaseException:
        command.kill(Reason.KILLED)
        raise
    return job.result(command)


def run(  # noqa: PLR0913 - those of subprocess.run
    args: Sequence[Argument],
    *,
    input: Any = None,  # noqa: A002 - subprocess's name
    stdin: Stream = None,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    timeout: float | None = None,
    check: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    pass_fds: Sequence[int] = (),
    umask: int | None = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Run one command in a sandbox of its own, which is gone when this returns.

    Args:
        args: Program and arguments.
        input: Sent to its stdin; bytes, or str.
        stdin, stdout, stderr: As in subprocess; None is /dev/null. Both outputs are captured by
            default.
        timeout: Seconds, after which everything inside is killed and TimeoutExpired raised.
        check: Raise CalledProcessError unless the exit status is 0.
        text, encoding, errors: As in subprocess; undecodable bytes are replaced unless `errors`
            says otherwise.
        pass_fds: Descriptors to hand in under the same numbers.
        umask: The command's file mode creation mask.
        options: Those of `Sandbox`.

    Raises:
        ConfigError: An option or argument that cannot be right; nothing was started.
        ProgramNotFoundError, ProgramNotExecutableError: The program inside.
        SpawnError: A step of the set-up failed; nothing is left.
        TimeoutExpired, CalledProcessError: As in subprocess.
    """
    of_command = Options(env=options.pop("env", None), cwd=options.pop("cwd", None), umask=umask)
    config = configured(options)
    packer = packer_of(config)
    mode = TextMode.of(text=text, encoding=encoding, errors=errors)
    job = Job(
        config, Pump, mode, input, (stdin, stdout, stderr), check_positive(timeout, "timeout")
    )
    try:
        command = Command.start_only(packer, args, of_command, job.plumbing, pass_fds)
        job.plumbing.close_child()
        result = _finish(job, command)
    finally:
        job.close()
    if check:
        result.check_returncode()
    return result


def _stats_of(runtime: Runtime, interval: float) -> Iterator[Stats]:
    end = os.dup(runtime.pidfd)  # the runtime closes its own
    try:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        while not poll.poll(0):
            yield _groups.stats(runtime.tree)
            poll.poll(interval * 1000)
    finally:
        os.close(end)


class Sandbox(Configured):
    """A living sandbox, in which any number of commands run, one after the other or at once.

    Use it as a context manager, or call `start` and `close`. It may be used from any thread. What
    its commands leave running goes on until the sandbox ends, and with it, everything does.

    The options are those of `config.SandboxOptions`; docs/guide.md shows their use.

    Raises:
        ConfigError: An option that cannot be right.
        UnsupportedError: This host cannot do what was asked.
    """

    def __init__(
        self, image: str | ImageRoot | None = None, **options: Unpack[SandboxOptions]
    ) -> None:
        super().__init__(image, **options)
        self._runtime: Runtime | None = None
        self._starting = threading.Lock()

    @property
    def runtime(self) -> Runtime:
        """The living PID 1.

        Raises:
            SandboxClosedError: Not started yet, or closed.
        """
        if self._runtime is None:
            raise SandboxClosedError(
                "the sandbox has not been started; use `with`, or call start()"
            )
        if self._runtime.closed:
            raise SandboxClosedError("the sandbox is closed")
        return self._runtime

    @property
    def enforcement(self) -> Mapping[str, Control]:
        """Each control, and what holds it or why nothing does; limits from the start on."""
        tree = None if self._runtime is None else self._runtime.tree
        return _groups.in_force(super().enforcement, tree, self._config)

    @property
    def pid(self) -> int:
        """Process id of PID 1 as the caller sees it."""
        return self.runtime.pid

    @property
    def files(self) -> Files:
        """Its files."""
        return Files(self.runtime)

    def start(self) -> Self:
        """Set the sandbox up.

        Raises:
            SpawnError: A step failed; nothing is left.
        """
        with self._starting:
            if self._runtime is not None and not self._runtime.closed:
                raise SandboxClosedError("the sandbox has been started already")
            runtime = Runtime.start(
                self._packer.plan, prepare(self._packer.plan, self._config, single=False)
            )
            runtime.wait_ready()
            self._runtime = runtime
        return self

    def close(self) -> None:
        """Kill everything inside and wait for it. Idempotent."""
        if self._runtime is not None:
            self._runtime.kill()

    kill = close

    def pause(self) -> None:
        """Stop every process of the commands until `resume`. Idempotent.

        Clocks run on: those of `timeout` and `wall_limit` too. Meanwhile a new command is a
        SandboxPausedError; files can be read and written.

        Raises:
            UnsupportedError: The sandbox has no control group (see `enforcement["freeze"]`).
            TimeoutError: A process in an uninterruptible wait does not stop; all run again.
        """
        runtime = self.runtime
        if not runtime.pause():
            runtime.resume()
            raise does_not_pause()

    def resume(self) -> None:
        """Let the processes run again. Idempotent.

        Raises:
            UnsupportedError: The sandbox has no control group.
        """
        self.runtime.resume()

    def update(self, **limits: Unpack[LiveLimits]) -> None:
        """Change limits while commands run, all that are given or none; None lifts one.

        Raises:
            ConfigError: A limit that cannot be right.
            UnsupportedError: The kernel refused one, such as less memory than is in use, or the
                sandbox was made without any limit of that kind.
        """
        self._update(self.runtime, limits)

    @overload
    def stats(self) -> Stats: ...

    @overload
    def stats(self, interval: float) -> Iterator[Stats]: ...

    def stats(self, interval: float | None = None) -> Stats | Iterator[Stats]:
        """Return what the commands use now, or iterate over it until the sandbox ends.

        Args:
            interval: Seconds from one value to the next; None: one value.
        """
        runtime = self.runtime
        if interval is None:
            return _groups.stats(runtime.tree)
        check_positive(interval, "interval")
        return _stats_of(runtime, interval)

    def to_bundle(self, directory: StrPath, args: Sequence[Argument] = ("sh",)) -> None:
        """Write this sandbox as a bundle of the OCI runtime specification, which crun and runc run.

        The root is copied into it, or shown from where it is if it is a directory and `read_only`.
        docs/runtime.md says what a bundle has no words for.

        Args:
            directory: Where; it is made.
            args: The program of the container, and its arguments.

        Raises:
            ConfigError: An option that a bundle cannot express, by its name.
            OSError: It cannot be written.
        """
        from ._oci._export import export  # noqa: PLC0415 - few programs need it

        # A plan is shared by configurations that differ in limits only.
        plan = dataclasses.replace(self.plan, config=self._config)
        export(plan, os.fspath(directory), args)

    def denials(self) -> Denials | None:
        """Return the system calls that were refused so far, to all commands and what they left.

        None without `audit`.

        Raises:
            SandboxClosedError: It has ended.
        """
        runtime = self.runtime
        return runtime.denials_of(runtime.ask(pack_denials(0))[0])

    def diff(self) -> tuple[Change, ...]:
        """Return what the sandbox has changed of its image or directory, parents first.

        Its processes are stopped meanwhile, where `pause` can. What is mounted is not part of it,
        nor are the files that are the sandbox's own: /etc/hosts, for one.

        Raises:
            UnsupportedError: The root has no writable layer: it is the host's user land.
            LimitExceededError, StoreError: It is too much, or cannot be read.
        """
        from . import _writable  # noqa: PLC0415 - few sandboxes need it

        return _writable.diff(self.runtime)

    def commit(
        self,
        name: str,
        *,
        author: str = "",
        comment: str = "",
        **options: Unpack[CommitOptions],
    ) -> Image:
        """Make an image of the sandbox's image with what has been changed since, a layer on top.

        Its processes are stopped meanwhile, where `pause` can; else nothing should write. What is
        mounted, the image's volumes and the sandbox's own /etc/hosts and /etc/hostname are left
        out; so are sockets. The same content gives the same layer, whoever owns the sandbox; with
        SOURCE_DATE_EPOCH in the environment no time in the image is later than that.

        Args:
            name: What to call the image.
            author, comment: For its history.
            options: What it says of its commands: cmd, entrypoint, env, labels, user, working_dir,
                exposed_ports, volumes, stop_signal; of the image below where it is not said.

        Raises:
            ConfigError, InvalidReferenceError: A name or value that cannot be right.
            UnsupportedError: The sandbox has no image.
            LayerError: A file cannot be stored, since its name begins with ".wh.", or it changed
                while it was read.
            ImageNotFoundError: The image below has been removed.
            StoreError: The store is full or cannot be written.
        """
        from . import _writable  # noqa: PLC0415 - few sandboxes need it

        return _writable.committed(self.runtime, name, author, comment, options)

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def run(  # noqa: PLR0913 - those of subprocess.run
        self,
        args: Sequence[Argument],
        *,
        input: Any = None,  # noqa: A002 - subprocess's name
        stdin: Stream = None,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        timeout: float | None = None,
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
        """Run a command and wait for it; all else is as with `pycontain.run`.

        After a timeout everything that the command started is dead, and the sandbox goes on
        working.
        """
        runtime = self.runtime
        mode = TextMode.of(text=text, encoding=encoding, errors=errors)
        timeout = check_positive(timeout, "timeout")
        options = Options(env=env, cwd=cwd, user=user, umask=umask)
        job = Job(self._config, Pump, mode, input, (stdin, stdout, stderr), timeout)
        try:
            command = Command.start(
                runtime,
                self._packer,
                args,
                options,
                job.plumbing,
                tell_start=False,
                pass_fds=pass_fds,
            )
            job.plumbing.close_child()
            result = _finish(job, command)
        finally:
            job.close()
        if check:
            result.check_returncode()
        return result

    def popen(  # noqa: PLR0913 - those of subprocess.Popen
        self,
        args: Sequence[Argument],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        bufsize: int = -1,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        user: int | str | None = None,
        pass_fds: Sequence[int] = (),
        umask: int | None = None,
        process_group: int | None = None,
        pty: bool = False,
        size: tuple[int, int] = (24, 80),
    ) -> Popen:
        """Start a command and return its handle, `subprocess.Popen`'s twin.

        Args:
            args: Program and arguments.
            stdin, stdout, stderr: PIPE, STDOUT, DEVNULL, a descriptor or a file; None is /dev/null.
            text, encoding, errors, bufsize: As in subprocess.
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
        mode = TextMode.of(text=text, encoding=encoding, errors=errors)
        return Popen(
            self.runtime,
            self._packer,
            args,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            options=options,
            pass_fds=pass_fds,
            mode=mode,
            bufsize=bufsize,
        )
