# SPDX-License-Identifier: Apache-2.0
"""Who an image's User is, by the image's own passwd(5) and group(5).

No NSS and no libc: what is in the image is data, never code.
"""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first

from pycontain import _os as os
from pycontain._record import NamedTuple
from pycontain.errors import ImageConfigError, LimitExceededError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final, TypeAlias

    # Opens a file of the image for reading, links followed inside the image only, without waiting
    # for anybody (O_NONBLOCK), and returns the descriptor; or raises OSError.
    Open: TypeAlias = Callable[[str], int]

ACCOUNTS_MAX: Final = 4 << 20
# 2**32 - 1 is "no id" to every system call that takes one.
ID_MAX: Final = 2**32 - 2
USERS: Final = "/etc/passwd"
GROUPS: Final = "/etc/group"


class User(NamedTuple):
    """A user as the image knows it.

    Attributes:
        uid, gid: The ids inside.
        groups: Supplementary groups.
        name: "" if the image has none for the id.
        home: "/" if the image has none for the id.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = "/"


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve(user: str, open_file: Open) -> User:
    """Return who USER or USER:GROUP is, each a name or a number, as Docker does.

    Numbers need not be in the image's files. Without GROUP it is the user's own, and the user is
    in its supplementary groups; with GROUP in none.

    Raises:
        ImageConfigError: A name that is not in the image, a number that is no id, or a file with
            accounts that is no regular file.
        LimitExceededError: A file with accounts is larger than `ACCOUNTS_MAX`.
    """
    who, colon, group = user.partition(":")
    if ":" in group or (colon and not (who and group)):
        raise ImageConfigError(f"user: {user[:60]!r} is not USER or USER:GROUP")
    account = _account(who, open_file)
    gid, groups = account.gid, tuple[int, ...]()
    if group:
        gid = _gid(group, open_file)
    elif account.name:
        found = _groups(open_file)
        groups = tuple(dict.fromkeys(row.gid for row in found if account.name in row.members))
    return User(
        uid=account.uid, gid=gid, groups=groups, name=account.name, home=account.home or "/"
    )


def _account(who: str, open_file: Open) -> _Account:
    number = _parse_id(who) if who else 0
    for account in _accounts(open_file):
        if account.uid == number if number is not None else account.name == who:
            return account
    if number is None:
        raise ImageConfigError(f"user: {who[:60]!r} not found in the root's {USERS}")
    return _Account("", number, 0, "/")


def _gid(group: str, open_file: Open) -> int:
    number = _parse_id(group)
    if number is not None:
        return number
    for row in _groups(open_file):
        if row.name == group:
            return row.gid
    raise ImageConfigError(f"user: group {group[:60]!r} not found in the root's {GROUPS}")


def _parse_id(text: str) -> int | None:
    """Return the id that digits are, None for a name."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > ID_MAX:
        raise ImageConfigError(f"user: {text[:60]!r} is not between 0 and {ID_MAX}")
    return int(text)


def _accounts(open_file: Open) -> Iterator[_Account]:
    for fields in _rows(USERS, open_file):
        if len(fields) >= 6 and _is_id(fields[2]) and _is_id(fields[3]):
            yield _Account(fields[0], int(fields[2]), int(fields[3]), fields[5])


def _groups(open_file: Open) -> Iterator[_Group]:
    for fields in _rows(GROUPS, open_file):
        if len(fields) >= 4 and _is_id(fields[2]):
            yield _Group(fields[0], int(fields[2]), tuple(fields[3].split(",")))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= ID_MAX


def _rows(path: str, open_file: Open) -> Iterator[list[str]]:
    text = _read(path, open_file).decode(errors="surrogateescape")
    return (line.split(":") for line in text.split("\n") if line and not line.startswith("#"))


def _read(path: str, open_file: Open) -> bytes:
    """Return what a file with accounts holds, nothing if there is none."""
    try:
        fd = open_file(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ImageConfigError(
            f"user: the root's {path} cannot be read: {error.strerror}"
        ) from error
    data = bytearray()
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ImageConfigError(f"user: the root's {path} is not a regular file")
        while chunk := os.read(fd, ACCOUNTS_MAX + 1 - len(data)):
            data += chunk
    finally:
        os.close(fd)
    if len(data) > ACCOUNTS_MAX:
        raise LimitExceededError(
            f"user: the root's {path} is larger than {ACCOUNTS_MAX} bytes",
            limit="accounts",
            allowed=ACCOUNTS_MAX,
        )
    return bytes(data)
