# SPDX-License-Identifier: Apache-2.0
"""A bundle: a directory with config.json (runtime-spec, bundle.md).

What the configuration asks for is done, so nobody else may be able to write it.
"""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first
import errno

from pycontain import _os as os
from pycontain._json import LIMIT
from pycontain.errors import ConfigError, UnsupportedError

from ._parse import parse_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Bundle:
    """A bundle that has been read.

    Attributes:
        path: The directory, absolute and without symbolic links.
        data: The bytes of its configuration.
        config: The same as values.
    """

    def __init__(
        self, path: str | os.PathLike[str] = ".", *, config: str | os.PathLike[str] = "config.json"
    ) -> None:
        """Read it.

        Args:
            path: The directory.
            config: The configuration, relative to it, or absolute.

        Raises:
            ConfigError: With the path of the field that is wrong.
            UnsupportedError: The directory or the file belongs to a user who is neither this one
                nor root (the directory: nor root of the container), or every user may write to it.
            OSError: It cannot be read.
        """
        directory = os.fspath(path)
        link = os.lstat(directory)
        fd = os.open(directory, _DIRECTORY)
        try:
            found = os.fstat(fd)
            self.path: str = os.readlink(f"/proc/self/fd/{fd}")
            self.data: bytes = _read(os.fspath(config), fd)
        finally:
            os.close(fd)
        self.config: Config = parse_config(self.data)
        # Podman gives it to the container's root, to whom it is not shown.
        roots = [row.host_id for row in self.config.linux.uid_mappings if row.container_id == 0]
        for status in (link, found):
            _check(status, directory, *roots)

    def __repr__(self) -> str:
        return f"Bundle({self.path!r})"


def _read(name: str, directory: int) -> bytes:
    try:
        fd = os.open(name, _FILE, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsupportedError(errno.ELOOP, "is a symbolic link, not a file", name) from None
        raise
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{name}: not a regular file")
        _check(found, name)
        return file.read(LIMIT + 1)


def _check(found: os.stat_result, name: str, *owners: int) -> None:
    if found.st_uid not in {0, os.geteuid(), *owners}:
        raise UnsupportedError(
            errno.EPERM, f"belongs to user {found.st_uid}, who could change it: chown it", name
        )
    if found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode):
        raise UnsupportedError(errno.EPERM, "every user may write to it: chmod o-w", name)
