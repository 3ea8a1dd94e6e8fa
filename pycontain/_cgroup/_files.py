# SPDX-License-Identifier: Apache-2.0
"""Read, write and wait on the small text files of a group, with few system calls."""

from __future__ import annotations

import errno
import time

from pycontain import _os as os

_READ_SIZE = 65536


def read(path: str) -> str:
    """Return a file's text. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, _READ_SIZE):  # the kernel ends a read at a line, not when full
            parts.append(part)
        return b"".join(parts).decode(errors="surrogateescape")
    finally:
        os.close(fd)


def read_optional(path: str) -> str | None:
    """Return a file's text, or None where the kernel has no such file or the group is gone."""
    try:
        return read(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise


def read_value(path: str) -> str | None:
    """Return a file that the kernel gives whole in one read; None where there is none.

    That is any file that is not a list of processes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, _READ_SIZE).decode(errors="surrogateescape")
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """Write one value, which the kernel takes whole or refuses. Raises OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def write_optional(path: str, text: str) -> bool:
    """Write one value; False where the kernel has no such file. Raises OSError with the path."""
    try:
        write(path, text)
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(path)):
            return False
        raise
    return True


def flat(text: str | None) -> dict[str, int]:
    """Parse `key value` lines (memory.events, cpu.stat, ...); other lines are left out."""
    table: dict[str, int] = {}
    for line in (text or "").splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            table[key] = int(value)
    return table


def number(text: str | None) -> int | None:
    """Parse a file that holds one number; `max` and an absent file give None."""
    stripped = (text or "").strip()
    return int(stripped) if stripped.isdecimal() else None


def writable(path: str) -> bool:
    """Tell whether the effective user may write to `path`."""
    return os.access(path, os.W_OK, effective_ids=True)


def wait_event(directory: str, key: str, value: int, deadline: float) -> bool:
    """Wait until `cgroup.events` of a v2 group says `key value`.

    The kernel wakes a poll() when the file changes (cgroup-v2.rst, "Basic Operations"), so nothing
    sleeps here. Returns False when `deadline` (time.monotonic) passes; a group that is gone counts
    as `populated 0`.
    """
    try:
        fd = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return (key, value) == ("populated", 0)
    import select  # noqa: PLC0415 - few wait

    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while True:
            try:
                table = flat(os.pread(fd, 4096, 0).decode())
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return (key, value) == ("populated", 0)
                raise
            if table.get(key) == value:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(left * 1000)
    finally:
        os.close(fd)
