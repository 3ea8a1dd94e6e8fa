# SPDX-License-Identifier: Apache-2.0
"""The private directory for what processes of one user must know of each other."""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first
import errno

from . import _os as os
from .errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def runtime_directory() -> str:
    """Return the private directory for state files, made on first use.

    /run/pycontain for root, $XDG_RUNTIME_DIR/pycontain for others, else a directory of this user's
    in the temporary directory.

    Raises:
        UnsupportedError: The directory belongs to somebody else, or others may write to it; or
            nothing can be written.
    """
    directory = next(_places(), "")
    if not directory:
        raise UnsupportedError(
            errno.EROFS,
            "no directory for state files can be written: mount a tmpfs on /run or /tmp (docker "
            "run --tmpfs /run), or name a directory in TMPDIR",
        )
    if not make_private(directory):
        raise UnsupportedError(
            errno.EPERM,
            "not a private directory of this user: remove it or mend its mode",
            directory,
        )
    return directory


def runtime_directories() -> list[str]:
    """Return where state files of this user may be, as the environment differs between sessions."""
    return list(_places())


def _places() -> Iterator[str]:
    user = os.geteuid()
    base = "/run" if user == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.access(base, os.W_OK, effective_ids=True):
        yield f"{base}/pycontain"
    import tempfile  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        yield f"{tempfile.gettempdir()}/pycontain-{user}"
    except FileNotFoundError:  # all is read-only
        pass


def make_private(directory: str) -> bool:
    """Make a directory unless it is there, and tell whether it is private. Raises OSError."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    return is_private(directory)


def is_own(directory: str) -> bool:
    """Tell whether a directory, or whatever is there instead, belongs to this user."""
    try:
        return os.lstat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def is_private(directory: str) -> bool:
    """Tell whether only this user can have put something into a directory."""
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    mine = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return stat.S_ISDIR(found.st_mode) and mine
