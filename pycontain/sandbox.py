# SPDX-License-Identifier: Apache-2.0
"""The front door: `run` for one command, `Sandbox` for many."""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ._command import Argument, Options, Packer
from ._files import Files
from ._plan import Plan, compile_plan
from ._popen import Popen
from ._process import Command, TextMode
from ._runtime import Runtime
from ._streams import PIPE, Capture, Plumbing, Pump, Stream
from .config import (
    DEFAULT_NAMESPACES,
    Mount,
    Network,
    SandboxConfig,
    Size,
    StrPath,
    check_env,
    check_host_path,
    check_inside_path,
    check_namespaces,
    check_positive,
    parse_size,
    parse_user,
)
from .errors import ConfigError, SandboxClosedError, TimeoutExpired, UnsupportedError
from .result import Reason, Result

DEFAULT_OUTPUT_LIMIT = 1 << 20


def configure(  # noqa: PLR0913: the fields of SandboxConfig, in the words of the caller
    image: str | None = None, *, rootfs: StrPath | None = None, mounts: Sequence[Mount] = (), network: Network = "none",
    namespaces: Sequence[str] = DEFAULT_NAMESPACES, memory: Size | None = None, cpus: float | None = None,
    pids: int | None = None, disk: Size = "64M", inodes: int = 16384, cpuset: str | None = None,
    wall_limit: float | None = None, cpu_limit: float | None = None, output_limit: Size | None = None,
    env: Mapping[str, str] | None = None, cwd: StrPath | None = None, user: int | str | None = None,
    hostname: str = "sandbox", platform: str | None = None, profile: str = "default", read_only: bool = False,
    require: Sequence[str] = (), accept_missing: Sequence[str] = (),
) -> SandboxConfig:  # fmt: skip
    """Check the options of a sandbox.

    Raises:
        ConfigError: An option that cannot be right.
        UnsupportedError: An option that this version does not have yet.
    """
    for name, value in (("image", image), ("platform", platform), ("cpu_limit", cpu_limit)):
        if value is not None:
            raise UnsupportedError(errno.ENOSYS, f"{name}= is not there yet; see the status table in the README")
    if pids is not None and (isinstance(pids, bool) or not isinstance(pids, int) or pids <= 0):
        raise ConfigError(f"pids: {pids!r} is not a positive number")
    for mount in mounts:
        if not isinstance(mount, Mount):
            raise ConfigError(f"mounts: {mount!r} is neither a Bind, a Tmpfs nor an Overlay")
    return SandboxConfig(
        rootfs=None if rootfs is None else check_host_path(rootfs, "rootfs"),
        mounts=tuple(mounts),
        network=network,
        namespaces=check_namespaces(tuple(namespaces)),
        memory=None if memory is None else parse_size(memory, "memory"),
        pids=pids,
        cpus=check_positive(cpus, "cpus"),
        cpuset=cpuset,
        disk=parse_size(disk, "disk"),
        inodes=inodes,
        wall_limit=check_positive(wall_limit, "wall_limit"),
        output_limit=DEFAULT_OUTPUT_LIMIT if output_limit is None else parse_size(output_limit, "output_limit"),
        kill_on_output=output_limit is not None,
        read_only=read_only,
        env=check_env(env or {}),
        cwd=None if cwd is None else check_inside_path(cwd, "cwd"),
        user=None if user is None else parse_user(user),
        hostname=hostname,
        profile=profile,
        require=tuple(require),
        accept_missing=tuple(accept_missing),
    )


@functools.lru_cache(maxsize=64)
def _cached_packer(config: SandboxConfig, _uid: int, _gid: int) -> Packer:
    return Packer(compile_plan(config))


def packer_of(config: SandboxConfig) -> Packer:
    """Return the compiled form of a configuration, made once for each user that the caller is."""
    return _cached_packer(config, os.geteuid(), os.getegid())


def _output_exceeded(captures: Sequence[Capture | None]) -> bool:
    return any(capture is not None and capture.truncated for capture in captures)


class _Run:
    """One `run`: a command, its streams, and what ends it."""

    def __init__(self, config: SandboxConfig, plumbing: Plumbing, mode: TextMode, data: Any) -> None:
        self._config = config
        self._mode = mode
        self._captures: list[Capture | None] = [
            None if fd is None else Capture(config.output_limit) for fd in plumbing.ours[1:]
        ]
        feed = None
        if plumbing.ours[0] is not None:
            feed = (plumbing.ours[0], mode.encode(data))
            plumbing.ours[0] = None  # the pump closes it
        by_fd = {fd: capture for fd, capture in zip(plumbing.ours[1:], self._captures, strict=True)
                 if fd is not None and capture is not None}  # fmt: skip
        limit = config.kill_on_output
        self._pump = Pump(feed, by_fd, stop=(lambda: _output_exceeded(self._captures)) if limit else None)

    def finish(self, command: Command, timeout: float | None) -> Result:
        """Wait for the end, or bring it about.

        Raises:
            TimeoutExpired: After `timeout`; nothing of the command is left.
        """
        wall_limit = self._config.wall_limit
        times = [limit for limit in (timeout, wall_limit) if limit is not None]
        deadline = time.monotonic() + min(times) if times else None
        expired = False
        try:
            if not self._pump.run(command, deadline):
                expired = timeout is not None and timeout == min(times) and not _output_exceeded(self._captures)
                command.kill(self._reason(expired=expired))
                self._pump.drain()
        except BaseException:
            command.kill(Reason.KILLED)
            raise
        result = self._result(command)
        if expired and command.reason == Reason.KILLED:
            raise TimeoutExpired(command.args, timeout or 0.0, result.stdout, result.stderr, result.usage)
        return result

    def _reason(self, *, expired: bool) -> Reason:
        if expired:
            return Reason.KILLED
        return Reason.OUTPUT_LIMIT if _output_exceeded(self._captures) and self._config.kill_on_output else Reason.WALL_LIMIT

    def _result(self, command: Command) -> Result:
        out, err = (None if capture is None else self._mode.decode(capture.value()) for capture in self._captures)
        names = ("stdout", "stderr")
        truncated = frozenset(
            name for name, capture in zip(names, self._captures, strict=True) if capture and capture.truncated
        )
        assert command.returncode is not None and command.reason and command.usage  # noqa: S101, PT018
        return Result(command.args, command.returncode, out, err, reason=command.reason, usage=command.usage,
                      truncated=truncated)  # fmt: skip


def run(  # noqa: PLR0913: those of subprocess.run
    args: Sequence[Argument], *, input: Any = None, stdin: Stream = None, stdout: Stream = PIPE, stderr: Stream = PIPE,  # noqa: A002
    timeout: float | None = None, check: bool = False, text: bool | None = None, encoding: str | None = None,
    errors: str | None = None, pass_fds: Sequence[int] = (), umask: int | None = None, **options: Any,
) -> Result:  # fmt: skip
    """Run one command in a sandbox of its own, which is gone when this returns.

    Args:
        args: Program and arguments.
        input: Sent to its stdin; bytes, or str.
        stdin, stdout, stderr: As in subprocess; None is /dev/null. Both outputs are captured by default.
        timeout: Seconds, after which everything inside is killed and TimeoutExpired raised.
        check: Raise CalledProcessError unless the exit status is 0.
        text, encoding, errors: As in subprocess; undecodable bytes are replaced unless `errors` says otherwise.
        pass_fds: Descriptors to hand in under the same numbers.
        umask: The command's file mode creation mask.
        options: Those of `Sandbox`.

    Raises:
        ConfigError: An option or argument that cannot be right; nothing was started.
        ProgramNotFoundError, ProgramNotExecutableError: The program inside.
        SpawnError: A step of the set-up failed; nothing is left.
        TimeoutExpired, CalledProcessError: As in subprocess.
    """
    config = configure(**options)
    packer = packer_of(config)
    mode = TextMode.of(text=text, encoding=encoding, errors=errors)
    plumbing = _plumbing(input, stdin, stdout, stderr)
    try:
        command = Command.start_only(packer, args, Options(umask=umask), plumbing, pass_fds)
        plumbing.close_child()
        result = _Run(config, plumbing, mode, input).finish(command, check_positive(timeout, "timeout"))
    finally:
        plumbing.close()
    if check:
        result.check_returncode()
    return result


def _plumbing(data: Any, stdin: Stream, stdout: Stream, stderr: Stream) -> Plumbing:
    if data is not None:
        if stdin is not None:
            raise ConfigError("input and stdin cannot both be given")
        stdin = PIPE
    return Plumbing(stdin, stdout, stderr)


class Sandbox:
    """A living sandbox, in which any number of commands run, one after the other or at once.

    Use it as a context manager, or call `start` and `close`. It may be used from any thread. What its commands leave
    running goes on until the sandbox ends, and with it, everything does.

    Args are documented in `docs/api.md`; in short: the root (`rootfs`, else the host's own user land), `mounts`,
    `network`, limits, defaults of commands (`env`, `cwd`, `user`), and the policy (`profile`).

    Raises:
        ConfigError: An option that cannot be right.
        UnsupportedError: This host cannot do what was asked.
    """

    def __init__(self, image: str | None = None, **options: Any) -> None:
        self._config = configure(image, **options)
        self._packer = packer_of(self._config)
        self._runtime: Runtime | None = None

    @property
    def plan(self) -> Plan:
        """The compiled configuration."""
        return self._packer.plan

    @property
    def enforcement(self) -> Mapping[str, str]:
        """Each control, and what holds it or why nothing does."""
        return self.plan.enforcement

    @property
    def runtime(self) -> Runtime:
        """The living PID 1.

        Raises:
            SandboxClosedError: Not started yet, or closed.
        """
        if self._runtime is None:
            raise SandboxClosedError("the sandbox has not been started; use `with`, or call start()")
        if self._runtime.closed:
            raise SandboxClosedError("the sandbox is closed")
        return self._runtime

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
        if self._runtime is not None and not self._runtime.closed:
            raise SandboxClosedError("the sandbox has been started already")
        runtime = Runtime.start(self._packer.plan)
        runtime.wait_ready()
        self._runtime = runtime
        return self

    def close(self) -> None:
        """Kill everything inside and wait for it. Idempotent."""
        if self._runtime is not None:
            self._runtime.kill()

    kill = close

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def run(  # noqa: PLR0913: those of subprocess.run
        self, args: Sequence[Argument], *, input: Any = None, stdin: Stream = None, stdout: Stream = PIPE,  # noqa: A002
        stderr: Stream = PIPE, timeout: float | None = None, check: bool = False, text: bool | None = None,
        encoding: str | None = None, errors: str | None = None, env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None, user: int | str | None = None, pass_fds: Sequence[int] = (),
        umask: int | None = None,
    ) -> Result:  # fmt: skip
        """Run a command and wait for it; arguments, result and exceptions are those of `pycontain.run`.

        After a timeout everything that the command started is dead, and the sandbox goes on working.
        """
        runtime = self.runtime
        mode = TextMode.of(text=text, encoding=encoding, errors=errors)
        timeout = check_positive(timeout, "timeout")
        plumbing = _plumbing(input, stdin, stdout, stderr)
        options = Options(env=env, cwd=cwd, user=user, umask=umask)
        try:
            command = Command.start(
                runtime, self._packer, args, options, plumbing, tell_start=False, pass_fds=pass_fds
            )
            plumbing.close_child()
            result = _Run(self._config, plumbing, mode, input).finish(command, timeout)
        finally:
            plumbing.close()
        if check:
            result.check_returncode()
        return result

    def popen(  # noqa: PLR0913: those of subprocess.Popen
        self, args: Sequence[Argument], *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
        text: bool | None = None, encoding: str | None = None, errors: str | None = None, bufsize: int = -1,
        env: Mapping[str, str] | None = None, cwd: StrPath | None = None, user: int | str | None = None,
        pass_fds: Sequence[int] = (), umask: int | None = None, process_group: int | None = None, pty: bool = False,
        size: tuple[int, int] = (24, 80),
    ) -> Popen:  # fmt: skip
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
            ConfigError, ProgramNotFoundError, ProgramNotExecutableError, SpawnError, SandboxClosedError: As in `run`.
        """
        options = Options(env=env, cwd=cwd, user=user, umask=umask, process_group=process_group, pty=pty,
                          rows=size[0], columns=size[1])  # fmt: skip
        mode = TextMode.of(text=text, encoding=encoding, errors=errors)
        return Popen(self.runtime, self._packer, args, stdin=stdin, stdout=stdout, stderr=stderr, options=options,
                     pass_fds=pass_fds, mode=mode, bufsize=bufsize)  # fmt: skip
