# SPDX-License-Identifier: Apache-2.0
"""A living PID 1: started from a plan, asked over its control socket, killed through its pidfd."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from . import _audit, _groups, _hints, _native, _wire
from ._hints import hint, refused
from ._identity import Lease
from ._image._use import Use, uses
from ._native import Event, Failure, Report
from ._patience import SETUP_TIMEOUT_S, reach, set_up_hangs
from ._plan import Plan
from .config import SandboxConfig
from .denial import Denials
from .errors import PycontainError, SandboxClosedError, SpawnError

if TYPE_CHECKING:
    from ._cgroup import SandboxTree

# Nothing in a kill waits for anything outside the kernel, but see `Runtime.kill`.
KILL_TIMEOUT_S: Final = 10.0
PAUSE_TIMEOUT_S: Final = 5.0
# What a step's index is of, where that is no op.
_PATHS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("RECEIVE", "TIME_NAMESPACE", "PROPAGATION", "SET_ID", "BOUNDING_SET"), ()),
    "ID_MAP": ("/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"),
}

_living: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _forget_in_child() -> None:
    """After os.fork(): the child must neither keep its parent's sandboxes alive nor end them."""
    for runtime in list(_living):
        runtime.forget()
    _living.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def spawn_error(failure: Failure, path: str | None) -> SpawnError:
    """Return the exception for a failed step."""
    return _hints.spawn_error(failure.step, failure.errno, path)


class Reply:
    """Our end of a request's reply socket. It stays open until the last thread that waits is back.

    Else a waiting thread would hold a number that is another descriptor's by now.
    """

    __slots__ = ("_closing", "_lock", "_socket", "_waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._waiting = 0
        self._closing = False

    def fileno(self) -> int:
        """Return the descriptor; readable when a report, or the end of PID 1, is there."""
        return self._socket.fileno()

    def receive(self) -> Report | None:
        """Return the next report without waiting for it; None is the end of PID 1.

        Raises:
            BlockingIOError: Nothing is there yet.
        """
        return self.receive_with()[0]

    def receive_with(
        self, room: int = _native.MESSAGE_SIZE
    ) -> tuple[Report | None, int | None, int | None]:
        """Return the next report, a descriptor that came with it, and its sender's pid for us.

        Args:
            room: Bytes of the longest that may come.
        """
        size = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(12)
        try:
            data, items, _, _ = self._socket.recvmsg(
                room, size, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None, None, None
        fd = pid = None
        for _level, kind, payload in items:
            if kind == socket.SCM_RIGHTS:
                fd = int.from_bytes(payload[:4], sys.byteorder)
            else:
                pid = int.from_bytes(payload[:4], sys.byteorder)
        whole = len(data) >= _native.REPORT_SIZE
        return (_native.parse_report(data) if whole else None), fd, pid

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until something can be received; False when the time is over."""
        with self._lock:
            if self._closing:
                return True
            self._waiting += 1
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
        finally:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._closing and not self._waiting:
                self._socket.close()

    def close(self) -> None:
        """Close our end; PID 1 goes on with what was asked."""
        with self._lock:
            self._closing = True
            if not self._waiting:
                self._socket.close()


def reply_pair(*, credentials: bool = False) -> tuple[Reply, socket.socket]:
    """Return our end and the end that travels to PID 1."""
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise refused("SOCKETPAIR", error) from None
    if credentials:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return Reply(ours), theirs


def does_not_pause() -> TimeoutError:
    """Return the exception for processes that cannot be stopped in time."""
    return TimeoutError(errno.ETIMEDOUT, "a process is in an uninterruptible wait")


class Footing(NamedTuple):
    """What a sandbox stands on.

    Attributes:
        lease: Its ids.
        tree: Its control groups, if it needs any.
        cpus: The processors of everything inside; None: the caller's.
        image: Keeps the layers of its image.
    """

    lease: Lease
    tree: SandboxTree | None
    cpus: Collection[int] | None
    image: Use | None = None

    def release(self) -> None:
        """Give back what was not used, or by a sandbox that is dead. Idempotent."""
        self.lease.release()
        if self.tree is not None:
            self.tree.remove()
        if self.image is not None:
            self.image.release()


def prepare(plan: Plan, config: SandboxConfig, *, single: bool) -> Footing:
    """Return what a sandbox that is about to start will stand on.

    Args:
        plan: Of the sandbox.
        config: Its limits.
        single: It is for one command only.

    Raises:
        ConfigError, UnsupportedError: As `_groups.create` and `Identity.lease`.
        SpawnError: The kernel refused a file, a directory or a descriptor.
    """
    cpus = _groups.pinned(config)
    try:
        footing = Footing(plan.identity.lease(binds=plan.binds), None, cpus)
        try:
            if config.image is not None:
                footing = footing._replace(image=uses().take(config.image))
            return footing._replace(tree=_groups.create(config, footing.lease, single=single))
        except BaseException:
            footing.release()
            raise
    except PycontainError:
        raise
    except OSError as error:
        raise refused("PREPARE", error) from None


def _spawn(
    plan: Plan, footing: Footing, command: bytes | None, command_fds: Sequence[int]
) -> _native.Pid1:
    lease, tree, cpus, _ = footing
    try:
        cgroup_fd = -1 if tree is None else tree.open_init()
    except OSError as error:
        raise refused("JOIN_CGROUP", error) from None
    try:
        return _native.spawn(
            namespaces=plan.namespaces,
            flags=_native.spawn_flags(),
            userns_fd=lease.userns_fd,
            bind_userns_fd=lease.bind_userns_fd,
            cgroup_fd=cgroup_fd,
            tasks_fds=(),
            cpus=cpus,
            trees=plan.trees,
            setup=plan.setup,
            command=command,
            command_fds=command_fds,
            keeper_fd=-1 if tree is None else tree.keeper_fd,
        )
    except _native.NativeError as error:
        failure = error.failure
        of_a_tree = failure.step in ("OPEN_TREE", "IDMAP")
        raise spawn_error(failure, plan.trees.paths[failure.index] if of_a_tree else None) from None
    except OSError as error:  # the program of PID 1, or /dev/null
        raise refused("EXEC_INIT", error) from None
    finally:
        if cgroup_fd >= 0:
            os.close(cgroup_fd)


class Runtime:
    """PID 1 of one sandbox. Safe to use from any thread.

    Attributes:
        plan: What it was started from.
        tree: The sandbox's control groups, if it has any.
        lease: Its ids.
        pid: Its process id as the caller sees it.
        paused: The commands' processes are stopped.
        quiet: For who stops them for a while of its own.
    """

    def __init__(self, plan: Plan, pid1: _native.Pid1, footing: Footing) -> None:
        self.plan = plan
        self.tree = footing.tree
        self.lease = footing.lease
        self._image = footing.image
        self.pid = pid1.pid
        self.paused = False
        self.quiet = threading.Lock()
        self._lock = threading.Lock()
        self._ids = 0
        self._status: int | None = None
        self._pidfd = self._control_fd = -1
        _living.add(self)
        pid1.take(self)

    @classmethod
    def start(
        cls,
        plan: Plan,
        footing: Footing,
        command: bytes | None = None,
        command_fds: Sequence[int] = (),
    ) -> Runtime:
        """Clone PID 1, perhaps with its only command; its set-up goes on while this returns.

        Args:
            plan: What it is to set up.
            footing: What it owns from now on.
            command: The only command's request, with its descriptors.
            command_fds: These.

        Raises:
            SpawnError: A step before its execution failed; nothing is left.
        """
        try:
            if plan.served:
                reach(plan.served)
            pid1 = _spawn(plan, footing, command, command_fds)
        except BaseException:
            footing.release()
            raise
        runtime = cls(plan, pid1, footing)
        if footing.tree is not None:
            footing.tree.make_another()  # the set-up takes longer
        return runtime

    @property
    def closed(self) -> bool:
        """Whether the sandbox has been closed."""
        return self._pidfd < 0

    @property
    def control_fd(self) -> int:
        """Our end of the control socket; readable at the end of the set-up."""
        return self._control_fd

    @property
    def pidfd(self) -> int:
        """PID 1's pidfd; readable when it is dead."""
        return self._pidfd

    def wait_ready(self) -> None:
        """Wait for the end of the set-up.

        Raises:
            SpawnError: A step failed. PID 1 is dead then, and the sandbox closed.
        """
        poll = select.poll()
        poll.register(self._control_fd, select.POLLIN)
        try:
            if not poll.poll(SETUP_TIMEOUT_S * 1000):
                raise set_up_hangs()  # noqa: TRY301
            self.check_ready()
        except BaseException:
            self.kill()
            raise

    def check_ready(self) -> None:
        """Read the report on the set-up, which is there once `control_fd` is readable.

        Raises:
            SpawnError: A step failed. PID 1 is dead or about to be; kill it.
        """
        try:
            data = os.read(self._control_fd, _native.REPORT_SIZE)
        except ConnectionResetError:
            # It went with our next request unread; this error is given once, and what it said
            # before comes next.
            data = os.read(self._control_fd, _native.REPORT_SIZE)
        if len(data) != _native.REPORT_SIZE:
            raise SpawnError(
                "RECEIVE",
                errno.ECONNRESET,
                "PID 1 died during the set-up",
                None,
                hint("RECEIVE", 0),
            )
        report = _native.parse_report(data)
        if report.event == Event.FAILED:
            paths = _PATHS.get(report.failure.step, self.plan.op_paths)
            raise spawn_error(
                report.failure, paths[report.index] if report.index < len(paths) else None
            )

    def next_id(self) -> int:
        """Return a number that names one command of this sandbox."""
        with self._lock:
            self._ids += 1
            return self._ids

    def send(self, message: bytes, fds: Sequence[int]) -> None:
        """Send a request.

        Raises:
            SandboxClosedError: The sandbox was closed, or has ended.
            SpawnError: The kernel refused to take it.
        """
        with self._lock:
            if self._control_fd < 0:
                raise SandboxClosedError("the sandbox is closed")
            try:
                _wire.send(self._control_fd, message, fds)
            except (BrokenPipeError, ConnectionResetError):
                raise SandboxClosedError("the sandbox has ended: its PID 1 is gone") from None
            except OSError as error:
                raise refused("SEND", error) from None

    def ask(
        self,
        message: bytes,
        timeout_s: float = KILL_TIMEOUT_S,
        room: int = _native.MESSAGE_SIZE,
    ) -> tuple[Report, int | None]:
        """Send a request and wait for its reply; returns it with the descriptor that came along.

        Raises:
            SandboxClosedError: The sandbox was closed, or has ended.
            TimeoutError: No reply.
        """
        ours, theirs = reply_pair()
        try:
            with theirs:
                self.send(message, (theirs.fileno(),))
            if not ours.wait(timeout_s):
                raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
            report, fd, _ = ours.receive_with(room)
        finally:
            ours.close()
        if report is None:
            raise SandboxClosedError("the sandbox has ended: its PID 1 is gone")
        return report, fd

    def calls(self) -> tuple[tuple[int, int, int], ...]:
        """Return number, AUDIT_ARCH_* and count of all system calls so far, with `trace`.

        Raises:
            SandboxClosedError: It has ended.
        """
        report, _ = self.ask(_native.pack_calls(), room=_native.LONG_MESSAGE_SIZE)
        return report.calls

    def denials_of(self, report: Report) -> Denials | None:
        """Return what a report of PID 1 says was refused; None without an audit."""
        if self.plan.audited is None:
            return None
        return _audit.denials(self.plan.audited, report)

    def pause(self, timeout_s: float = PAUSE_TIMEOUT_S) -> bool:
        """Stop every process of the commands. Returns whether all have stopped in time.

        Raises:
            SandboxClosedError: It was closed meanwhile.
            UnsupportedError: The sandbox has no group that can be frozen.
        """
        self.paused = True
        try:
            with self._living_groups("pause") as tree:
                return tree.freeze(timeout_s)
        except BaseException:
            self.paused = False
            raise

    def resume(self) -> None:
        """Let the processes run again. Raises as `pause`."""
        with self._living_groups("resume") as tree:
            tree.thaw(0.0)
        self.paused = False

    @contextlib.contextmanager
    def _living_groups(self, what: str) -> Iterator[SandboxTree]:
        try:
            yield _groups.needed(self.tree, what)
        except OSError as error:
            # Another thread has removed the files.
            if self.closed and error.errno in (errno.ENOENT, errno.ENODEV):
                raise SandboxClosedError("the sandbox is closed") from None
            raise

    def kill(self, timeout_s: float = KILL_TIMEOUT_S) -> int | None:
        """Kill everything inside, wait for it and let go. Idempotent, from any thread.

        The groups first: v1's frozen processes would not die of PID 1's death.

        Returns:
            PID 1's wait status, or None if it did not die in time (0: an event loop waits for
            `pidfd`; more: a process in an uninterruptible wait). Call again then.

        Raises:
            SpawnError: The kernel refused to wait. The sandbox is still ours: call again.
        """
        with self._lock:
            if self._pidfd < 0:
                return self._status
            if self.tree is not None:
                with contextlib.suppress(OSError):
                    self.tree.kill(0.0)
            self._end_pid1()
            try:
                self._status = _native.reap(self._pidfd, timeout_s)
            except OSError as error:
                raise refused("KILL", error) from None
            if self._status is None:
                return None
            self._close()
        self.lease.release()
        if self._image is not None:
            self._image.release()
        if self.tree is not None:
            self.tree.remove()
        return self._status

    def _end_pid1(self) -> None:
        try:
            _native.kill(self._pidfd, signal.SIGKILL)
        except OSError:  # an outer filter, say; PID 1 ends at the end of its control socket, too
            if self._control_fd >= 0:
                os.close(self._control_fd)
            self._control_fd = -1

    def forget(self) -> None:
        """Close our descriptors, nothing else; the process that made the sandbox owns it."""
        self._lock, self.quiet = threading.Lock(), threading.Lock()
        self._close()

    def _close(self) -> None:
        for fd in (self._control_fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._control_fd = self._pidfd = -1
        _living.discard(self)

    def __del__(self) -> None:
        """Kill a sandbox that nobody holds any more."""
        if getattr(self, "_pidfd", -1) < 0:
            return
        try:
            self.kill()
        except SpawnError:
            self._close()
