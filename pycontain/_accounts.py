# SPDX-License-Identifier: Apache-2.0
"""Who the user of a command is: numbers, or names of the root's own passwd and group files."""

from __future__ import annotations

import os

from . import _userland
from ._image._tree import Tree
from ._image._user import USERS, resolve
from ._image._user import User as Account
from .config import SandboxConfig, User
from .errors import ConfigError, LimitExceededError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._image._user import Open


def account(config: SandboxConfig, user: User | None, default: tuple[int, int]) -> Account:
    """Return who a user of a configuration is; None is the image's, or else `default`.

    A number without a group is, as in a container, the user that the image knows; in other roots
    the group has the same number.

    Raises:
        ConfigError: No such name, or a table that is no regular file or too large.
    """
    image = config.image
    if user is None:
        if image is None:
            return Account(uid=default[0], gid=default[1])
        return resolve(image.config.user, _opener(config, default))
    uid, gid = user.uid, user.gid
    if image is None and isinstance(uid, int) and not isinstance(gid, str):
        return Account(uid=uid, gid=uid if gid is None else gid)
    try:
        return resolve(f"{uid}" if gid is None else f"{uid}:{gid}", _opener(config, default))
    except LimitExceededError as error:
        raise ConfigError(str(error)) from None


def _opener(config: SandboxConfig, ids: tuple[int, int]) -> Open:
    if config.image is not None:
        return Tree(config.image.paths).open
    if config.rootfs is not None:
        return Tree((config.rootfs,)).open
    return lambda path: _text(_userland.passwd(*ids) if path == USERS else _userland.group(ids[1]))


def _text(content: bytes) -> int:
    fd = os.memfd_create("accounts", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
