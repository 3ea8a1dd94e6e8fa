# SPDX-License-Identifier: Apache-2.0
"""This process as the owner of groups: one directory of its own in each hierarchy that it uses."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import threading
from typing import Any

from pycontain import _statedir

from . import _files, _remove, _state
from ._ahead import READY_MAX, Ahead
from ._exclusive import Exclusive
from ._hierarchy import Host, detect
from ._place import Places, find
from ._scope import OwnScope, StartKeeper
from ._sweep import Sweep

_CLOSE_SECONDS = 0.2
# The first sandbox of a process does not wait longer for what others left.
_SWEEP_SECONDS = 0.03


class Owner:
    """The directories of this process, and the lock that shows others that it lives.

    Use `current_owner`; a second one in a process is for tests.

    Args:
        state_directory: For the state file, instead of the user's run-time directory.
        host: The hierarchies to use, instead of all that `detect` finds.

    Attributes:
        identity: The name of its directories.
        scope: Its systemd scope, if one was needed.
        exclusive: The processors that its sandboxes have for themselves.
        ahead: Groups that no sandbox has yet.
    """

    def __init__(self, state_directory: str | None = None, host: Host | None = None) -> None:
        self._host = host
        self.identity = _state.new_identity()
        self.pid = os.getpid()
        self.scope = OwnScope(self.identity)
        self._lock = threading.Lock()
        self._directories: dict[str, str] = {}
        self._enabled: dict[str, frozenset[str]] = {}
        self._places: dict[tuple[frozenset[str], tuple[str, ...]], Places] = {}
        self._serial = 0
        self.exclusive = Exclusive()
        self.ahead: Ahead[Any] = Ahead(READY_MAX)  # of `_build.Groups`
        self._state_path = f"{state_directory or _statedir.runtime_directory()}/{self.identity}"
        # Renamed into place only once locked, so that no sweeper finds it without its lock.
        draft = f"{self._state_path}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._state_fd = os.open(draft, flags, 0o600)
        try:
            fcntl.flock(self._state_fd, fcntl.LOCK_EX)
            _state.held.add(self.identity)
            os.rename(draft, self._state_path)
        except BaseException:
            self.abandon()
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    def places(
        self,
        wanted: frozenset[str],
        cgroup: tuple[str, ...] = (),
        start_keeper: StartKeeper | None = None,
    ) -> Places:
        """Return where groups with the `wanted` controllers go; the choice is remembered.

        Args:
            wanted: Controllers by their v2 names.
            cgroup: Directories to use instead of a choice of ours.
            start_keeper: Starts what a systemd scope needs; without it none is asked for.
        """
        key = (wanted, cgroup)
        places = self._places.get(key)
        if places is None:
            ask = None if start_keeper is None else functools.partial(self.scope.get, start_keeper)
            places = self._places[key] = find(self._host or detect(), wanted, cgroup, ask)
        return places

    def serial(self) -> int:
        """Return a number that no other sandbox of this owner has."""
        with self._lock:
            self._serial += 1
            return self._serial

    def directory(self, base: str) -> str:
        """Return this owner's directory below `base`, made on first use. Raises OSError."""
        path = self._directories.get(base)
        if path is not None:
            return path
        with self._lock:
            path = f"{base.rstrip('/')}/{self.identity}"
            os.write(self._state_fd, f"{path}\n".encode())  # first: a sweeper must know of it
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            try:
                inherit_cpuset(base, path, "cpuset.mems")
            except OSError:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
                raise
            self._directories[base] = path
        return path

    def enable(self, base: str, controllers: frozenset[str]) -> None:
        """Hand v2 `controllers` down from `base` through this owner's directory. Raises OSError."""
        path = self.directory(base)
        if controllers <= self._enabled.get(base, frozenset()):
            return
        with self._lock:
            enable(base, controllers)
            enable(path, controllers)
            self._enabled[base] = self._enabled.get(base, frozenset()) | controllers

    def forget(self) -> None:
        """Drop what is remembered, after a directory was found to be gone."""
        with self._lock:
            detect(refresh=True)
            self._places.clear()
            # What is still there is ours to remove.
            there = {b: path for b, path in self._directories.items() if os.path.isdir(path)}
            self._directories = there
            self._enabled.clear()
        self.ahead.clear()
        self.scope.refresh()

    def close(self) -> None:
        """Remove this owner's directories, as far as they are empty, and give up the lock.

        What is still in use stays listed in the state file, for `sweep`.
        """
        if os.getpid() != self.pid or self._state_fd < 0:
            return
        left = [d for d in self._directories.values() if not _remove.tree(d, _CLOSE_SECONDS)]
        if not left:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._state_path)
        self.scope.close()
        self.abandon()

    def abandon(self) -> None:
        """Give up the lock and leave everything else to `sweep`."""
        self.scope.forget()
        _state.held.discard(self.identity)
        fd, self._state_fd = self._state_fd, -1
        if fd >= 0:
            with contextlib.suppress(
                OSError
            ):  # a program that closes all fds has closed it already
                os.close(fd)


def enable(directory: str, controllers: frozenset[str]) -> None:
    """Let the children of a v2 group have `controllers` too. Raises OSError."""
    control = f"{directory}/cgroup.subtree_control"
    if new := controllers - frozenset(_files.read(control).split()):
        _files.write(control, " ".join(f"+{name}" for name in sorted(new)))


def inherit_cpuset(parent: str, path: str, *names: str) -> None:
    """Give a new v1 cpuset its parent's CPUs and nodes: an empty one takes no task (cpuset(7))."""
    if _remove.is_v2(path):  # an empty v2 cpuset means the parent's
        return
    for name in names or ("cpuset.cpus", "cpuset.mems"):
        if value := _files.read_optional(f"{parent}/{name}"):
            _files.write(f"{path}/{name}", value)


_current: Owner | None = None
_current_lock = threading.Lock()


def current_owner() -> Owner:
    """Return this process's owner; the first call sweeps after dead ones.

    Raises:
        UnsupportedError, OSError: No private run-time directory can be had.
    """
    global _current  # noqa: PLW0603 - the owner is the process, so there is one
    owner = _current
    if owner is not None:
        return owner
    with _current_lock:
        if _current is None:
            with contextlib.suppress(OSError):
                Sweep(seconds=_SWEEP_SECONDS).run([_statedir.runtime_directory()])
            _current = Owner()
            atexit.register(_current.close)
        return _current


def _after_fork() -> None:
    """Let go of the parent's lock in a forked child: it would make a dead parent look alive."""
    global _current, _current_lock  # noqa: PLW0603 - see above
    _current_lock = threading.Lock()
    if _current is not None:
        _current.abandon()
        _current = None


os.register_at_fork(after_in_child=_after_fork)
