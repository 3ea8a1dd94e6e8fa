# SPDX-License-Identifier: Apache-2.0
"""Descriptors of processes (pidfd_open(2))."""

from __future__ import annotations

import errno

from . import _os as os


def open_pidfd(pid: int) -> int:
    """Return a pidfd of a process. Raises ProcessLookupError: it has ended."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # So say kernels such as 6.1 of a number that only a session or a process group still has.
        if error.errno == errno.EINVAL and pid > 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        raise
