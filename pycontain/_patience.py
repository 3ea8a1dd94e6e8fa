# SPDX-License-Identifier: Apache-2.0
"""File servers that may be dead: who asks one may wait for ever, so a thread of its own does."""

from __future__ import annotations

import errno
import functools
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from .errors import SpawnError

# Nothing in a set-up waits for anything outside the kernel, unless a file server is asked.
SETUP_TIMEOUT_S: Final = 30.0
# File systems whose files come from a process or a machine that may be gone, as mountinfo calls
# them, up to the first dot (proc_pid_mountinfo(5)).
SERVED: Final = frozenset(
    (
        *("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "fuse", "fuseblk", "glusterfs"),
        *("lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    )
)

# Where nearly every machine has some that no path leads to by accident: of systemd and of desktops.
_APART: Final = ("/proc/", "/run/user/")

T = TypeVar("T")


def set_up_hangs(step: str = "RECEIVE", path: str | None = None) -> SpawnError:
    """Return the exception for a set-up that does not end."""
    return SpawnError(
        step,
        errno.ETIMEDOUT,
        os.strerror(errno.ETIMEDOUT),
        path,
        "The set-up hangs; is one of the mounted directories on a dead file server?",
    )


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, or raise what it raises, in a thread that may stay behind.

    Raises:
        TimeoutError: It has not returned in time; the thread goes on waiting.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            answers.put((None, error))

    thread = threading.Thread(target=answer, name="pycontain-ask", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads for this caller
        return ask()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
    thread.join()
    if error is not None:
        raise error
    return value  # type: ignore[return-value] # without an error there is one


def patiently(paths: Collection[str], look: Callable[[], T]) -> T:
    """Return what `look`, which looks the paths up, returns; in a thread only if one may hang.

    A caller without threads should stay so: the first one changes it (glibc then handles a signal).

    Raises:
        TimeoutError: A server does not answer.
    """
    points = [os.fsdecode(mount.point) for mount in _mounts() if mount.kind in SERVED]
    below = any(path.startswith(point) for path in paths for point in points)
    if below or any(not point.startswith(_APART) for point in points):
        return within(SETUP_TIMEOUT_S, look)
    return look()


def served(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of the paths, which exist, that are on file systems with a server."""
    kinds = {mount.device: mount.kind for mount in _mounts()}
    return tuple(path for path in paths if kinds.get(_device(path)) in SERVED)


class _Mount(NamedTuple):
    device: str
    point: bytes
    kind: str


def _mounts() -> list[_Mount]:
    found = []
    for row in Path("/proc/self/mountinfo").read_bytes().split(b"\n")[:-1]:
        before, _, after = row.partition(b" - ")
        fields = before.split(b" ")
        kind = after.split(b" ")[0].decode(errors="replace").partition(".")[0]
        found.append(_Mount(fields[2].decode(), fields[4], kind))
    return found


def _device(path: str) -> str:
    device = os.stat(path).st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def reach(paths: Iterable[str]) -> None:
    """Look each path up, as the set-up is about to.

    Raises:
        SpawnError: The server of one does not answer. What else is wrong the set-up will say.
    """
    for path in paths:
        try:
            within(SETUP_TIMEOUT_S, functools.partial(os.stat, path))
        except TimeoutError:
            raise set_up_hangs("PREPARE", path) from None
        except OSError:
            continue
