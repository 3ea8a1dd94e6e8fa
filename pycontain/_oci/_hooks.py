# SPDX-License-Identifier: Apache-2.0
"""Hooks: programs that are run at points of the life cycle (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

import errno
import os

from pycontain import _native
from pycontain._json import dumps
from pycontain._native import Event
from pycontain.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._channel import Channel
    from ._spec import Hook

_OUTPUT_MAX = 4096


class HookError(ContainerError):
    """A hook failed, was killed because its time was over, or could not be run."""


def _memory(name: str, data: bytes = b"") -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    if data:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _verdict(kind: str, index: int, why: str, output: int) -> HookError:
    text = os.pread(output, _OUTPUT_MAX, 0).decode(errors="replace").strip()
    said = f", output: {text}" if text else ""
    return HookError(f"error running {kind} hook #{index}: {why}{said}")


def _late(hook: Hook) -> str:
    return f"{hook.path}: killed after {hook.timeout} s"


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        import signal  # noqa: PLC0415 - slow to import

        return f"signal: {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}"


def run_hooks(kind: str, hooks: tuple[Hook, ...], state: Mapping[str, Any], cwd: str) -> None:
    """Run hooks here, one after the other.

    Args:
        kind: The specification's name, for errors.
        hooks: The programs.
        state: The container's, for their standard input.
        cwd: Where they run.

    Raises:
        HookError: The first that fails; later ones are not run.
    """
    for index, hook in enumerate(hooks):
        _run(kind, index, hook, dumps(state).encode(), cwd)


def _run(kind: str, index: int, hook: Hook, state: bytes, cwd: str) -> None:
    import signal  # noqa: PLC0415 - slow to import, and few containers have hooks
    import subprocess  # noqa: PLC0415 - the same

    stdin, output = _memory("state", state), _memory("output")
    try:
        process = subprocess.Popen(
            hook.args or (hook.path,),
            executable=hook.path,
            env=dict(row.partition("=")[::2] for row in hook.env),
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=cwd,
            process_group=0,  # so that what a hook has started ends with it
        )
        try:
            code = process.wait(hook.timeout)
        except subprocess.TimeoutExpired:
            raise _verdict(kind, index, _late(hook), output) from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            status = -code if code < 0 else code << 8
            raise _verdict(kind, index, _how(status), output)
    except OSError as error:
        raise _verdict(kind, index, f"{hook.path}: {error.strerror}", output) from None
    finally:
        os.close(stdin)
        os.close(output)


def run_hooks_inside(
    kind: str, hooks: tuple[Hook, ...], state: Mapping[str, Any], channel: Channel
) -> None:
    """Let a process of the container run hooks, in its namespaces. Raises as `run_hooks`."""
    for index, hook in enumerate(hooks):
        stdin, output = _memory("state", dumps(state).encode()), _memory("output")
        try:
            args = hook.args or (hook.path,)
            channel.send(
                _native.pack_hook(
                    os.fsencode(hook.path),
                    tuple(map(os.fsencode, args)),
                    tuple(map(os.fsencode, hook.env)),
                    hook.timeout,
                ),
                (stdin, output),
            )
            data, _ = channel.receive()
            if not data:
                raise _verdict(kind, index, "the container's process died", output)
            report = _native.parse_report(data)
            if report.event == Event.FAILED:
                late = report.errno == errno.ETIMEDOUT
                why = _late(hook) if late else f"{hook.path}: {os.strerror(report.errno)}"
                raise _verdict(kind, index, why, output)
            if report.status:
                raise _verdict(kind, index, _how(report.status), output)
        finally:
            os.close(stdin)
            os.close(output)
