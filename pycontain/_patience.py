# SPDX-License-Identifier: Apache-2.0
"""File servers that may be dead: who asks one may wait for ever, so a thread of its own does."""

from __future__ import annotations

import errno
import functools
import os
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

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

    Where nothing with a server is mounted no thread is made.

    Raises:
        TimeoutError: It has not returned in time; the thread goes on waiting.
    """
    if SERVED.isdisjoint(_kinds().values()):
        return ask()
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


def served(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of the paths, which exist, that are on file systems with a server."""
    kinds = _kinds()
    return tuple(path for path in paths if kinds.get(_device(path)) in SERVED)


def _kinds() -> dict[str, str]:
    """Return the kind of each file system that is mounted, by `major:minor`."""
    kinds = {}
    for row in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = row.decode(errors="replace").partition(" - ")
        kinds[before.split()[2]] = after.split()[0].partition(".")[0]
    return kinds


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
