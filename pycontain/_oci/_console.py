# SPDX-License-Identifier: Apache-2.0
"""A pty's master on its way to who asked for it."""

from __future__ import annotations

import array
import os
import socket

from pycontain.errors import ContainerError


def connect(path: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Connect to a unix socket, however long its path is. Raises OSError."""
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


def send_console(path: str, master: int) -> None:
    """Send a pty's master with its name, as runc does.

    Raises:
        ContainerError: Nobody takes it.
    """
    rights = array.array("i", [master])
    try:
        name = os.readlink(f"/proc/self/fd/{master}").encode()
        with connect(path) as sock:
            sock.sendmsg([name], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except OSError as error:
        raise ContainerError(f"console socket {path}: {error.strerror}") from None
