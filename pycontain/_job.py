# SPDX-License-Identifier: Apache-2.0
"""What one `run` is, whoever waits for it: streams, the limits that end it, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from subprocess import PIPE
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ._process import BaseCommand, TextMode
from ._streams import Capture, Flow, Plumbing, Stream
from .config import SandboxConfig
from .errors import ConfigError, TimeoutExpired
from .result import Reason, Result

FlowT = TypeVar("FlowT", bound=Flow)
MakeFlow: TypeAlias = Callable[
    [tuple[int, bytes] | None, Mapping[int, Capture], Callable[[], bool] | None], FlowT
]


_OWN_ENDS: Final = (Reason.EXITED, Reason.SIGNALED)


class Job(Generic[FlowT]):
    """One `run`: made before the command, so that a wrong input starts nothing. Close it.

    Attributes:
        timeout: Seconds after which waiting is over; None: never.
        plumbing: The command's streams.
        flow: What moves them.
    """

    def __init__(
        self,
        config: SandboxConfig,
        make_flow: MakeFlow[FlowT],
        mode: TextMode,
        data: Any,
        streams: tuple[Stream, Stream, Stream],
        timeout: float | None,
    ) -> None:
        self._config = config
        self._mode = mode
        self.timeout = timeout
        self._ending: Reason | None = None
        encoded = mode.encode(data)
        self.plumbing = _plumbing(data, *streams)
        ours = self.plumbing.ours
        self._captures: Sequence[Capture | None] = [
            None if fd is None else Capture(config.output_limit) for fd in ours[1:]
        ]
        by_fd = {
            fd: capture
            for fd, capture in zip(ours[1:], self._captures, strict=True)
            if fd is not None and capture is not None
        }
        feed = None
        if ours[0] is not None:
            feed, ours[0] = (ours[0], encoded), None  # the flow closes it
        self.flow = make_flow(feed, by_fd, self._output_exceeded if config.kill_on_output else None)

    def _output_exceeded(self) -> bool:
        return any(capture is not None and capture.truncated for capture in self._captures)

    def end(self) -> Reason:
        """Decide why the command, which has not ended by itself, is now killed."""
        exceeded = self._config.kill_on_output and self._output_exceeded()
        self._ending = Reason.OUTPUT_LIMIT if exceeded else Reason.KILLED
        return self._ending

    def result(self, command: BaseCommand) -> Result:
        """Return the result of a command that has ended.

        Raises:
            TimeoutExpired: It was killed because `timeout` was over.
        """
        out, err = (
            None if capture is None else self._mode.decode(capture.value())
            for capture in self._captures
        )
        truncated = frozenset(
            name
            for name, capture in zip(("stdout", "stderr"), self._captures, strict=True)
            if capture is not None and capture.truncated
        )
        assert command.returncode is not None  # noqa: S101 - it has ended
        assert command.reason is not None  # noqa: S101
        assert command.usage is not None  # noqa: S101
        if self._ending == command.reason == Reason.KILLED:
            raise TimeoutExpired(command.args, self.timeout or 0.0, out, err, command.usage)
        reason = command.reason
        if self._config.kill_on_output and truncated and reason in _OWN_ENDS:
            reason = Reason.OUTPUT_LIMIT  # it was quicker than we
        return Result(
            command.args,
            command.returncode,
            out,
            err,
            reason=reason,
            usage=command.usage,
            truncated=truncated,
            denials=command.denials,
            explanation=command.explanation,
        )

    def close(self) -> None:
        """Close all descriptors of the job."""
        self.flow.close()
        self.plumbing.close()


def _plumbing(data: Any, stdin: Stream, stdout: Stream, stderr: Stream) -> Plumbing:
    if data is not None:
        if stdin is not None:
            raise ConfigError("input and stdin cannot both be given")
        stdin = PIPE
    return Plumbing(stdin, stdout, stderr)
