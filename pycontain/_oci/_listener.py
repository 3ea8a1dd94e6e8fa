# SPDX-License-Identifier: Apache-2.0
"""The listener of a seccomp filter on its way to the agent (config-linux.md, "listenerPath")."""

from __future__ import annotations

import array
import os
import socket

from pycontain._json import dumps
from pycontain.errors import ContainerError

from ._console import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def hand_listener(
    state: Mapping[str, Any], pid: int, seccomp: Mapping[str, Any], listener: int
) -> None:
    """Send a listener with the container process state, and close it.

    Args:
        state: The container's.
        pid: The process that has the filter.
        seccomp: `linux.seccomp`.
        listener: The descriptor; without an agent calls that ask it get ENOSYS.

    Raises:
        ContainerError: The agent does not take it.
    """
    path = seccomp.get("listenerPath")
    try:
        if path:
            _send(str(path), state, pid, str(seccomp.get("listenerMetadata") or ""), listener)
    finally:
        os.close(listener)


def _send(path: str, state: Mapping[str, Any], pid: int, metadata: str, listener: int) -> None:
    message = {
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": metadata,
        "state": dict(state),
    }
    rights = array.array("i", [listener])
    try:
        with connect(path) as sock:
            sock.sendmsg(
                [dumps(message).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
    except OSError as error:
        raise ContainerError(
            f"linux.seccomp.listenerPath: {path}: {os.strerror(error.errno or 0)}"
        ) from None
