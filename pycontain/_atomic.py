# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whatever happens to who writes them."""

from __future__ import annotations

import time

from . import _os as os


def write_new(path: str, data: bytes, *, mode: int = 0o600, dir_fd: int | None = None) -> None:
    """Make a file. Raises OSError; FileExistsError: one is there, or a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode, dir_fd=dir_fd), "wb") as file:
        file.write(data)


def replace(path: str, data: bytes, *, mode: int = 0o600, dir_fd: int | None = None) -> None:
    """Make a file or replace the one that is there, by way of one with a hidden name beside it.

    Args:
        path: Of the file; not below `dir_fd`: absolute, or of the working directory.
        data: Its contents.
        mode: Its permissions, before the umask.
        dir_fd: The directory in which it is.

    Raises:
        OSError: It is as it was, and nothing else remains.
    """
    directory, name = os.path.split(path)
    hidden = name if name.startswith(".") else f".{name}"
    temporary = os.path.join(directory, f"{hidden}.{os.getpid()}.{time.time_ns()}")
    try:
        write_new(temporary, data, mode=mode, dir_fd=dir_fd)
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        try:
            os.unlink(temporary, dir_fd=dir_fd)
        except FileNotFoundError:
            pass
        raise
