# SPDX-License-Identifier: Apache-2.0
"""Who an image's User is: as Docker finds it, from files that may be traps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain import ImageConfigError, ImageError, LimitExceededError
from pycontain._image._user import ACCOUNTS_MAX, User, resolve

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
# a comment
broken
bad:x:one:2::/:
huge:x:99999999999:1::/:
alice:x:1000:1000::/home/alice:/bin/sh
alice:x:2000:2000::/another:/bin/sh
homeless:x:1001:1001:::
123:x:1002:1002::/digits:
nom\xe9:x:1003:1003::/nom\xe9:
"""
GROUP = b"""\
root:x:0:root
devs:x:2000:alice,bob
ops:x:3000:bob,alice
again:x:3000:alice
short:x:4000
bad:x:four:alice
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    (tmp_path / "etc/group").write_bytes(GROUP)
    return tmp_path


def opener(image: Path) -> Callable[[str], int]:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    return lambda path: os.open(f"{image}{path}", flags)


ALICE = User(uid=1000, gid=1000, groups=(2000, 3000), name="alice", home="/home/alice")
USERS = {
    "": User(uid=0, gid=0, groups=(0,), name="root", home="/root"),
    "root": User(uid=0, gid=0, groups=(0,), name="root", home="/root"),
    "0": User(uid=0, gid=0, groups=(0,), name="root", home="/root"),
    "alice": ALICE,
    "1000": ALICE,
    "alice:devs": User(uid=1000, gid=2000, name="alice", home="/home/alice"),
    "alice:5": User(uid=1000, gid=5, name="alice", home="/home/alice"),
    "1000:ops": User(uid=1000, gid=3000, name="alice", home="/home/alice"),
    "4242": User(uid=4242, gid=0),
    "4242:4343": User(uid=4242, gid=4343),
    "homeless": User(uid=1001, gid=1001, name="homeless"),
    "123": User(uid=123, gid=0),
    "4294967294": User(uid=4294967294, gid=0),
}


@pytest.mark.parametrize("text", USERS)
def test_found(image: Path, text: str) -> None:
    assert resolve(text, opener(image)) == USERS[text]


NOBODY = {
    "nosuch": "user: 'nosuch' not found in the root's /etc/passwd",
    "root:nosuch": "user: group 'nosuch' not found in the root's /etc/group",
    "root:short": "group 'short' not found",
    "99999999999": "not between 0 and 4294967294",
    "4294967295": "not between 0 and 4294967294",
    "0:4294967295": "not between",
    "9" * 5000: "not between",
    "-1": "user: '-1' not found",
    "٣": "not found",
    "bad": "user: 'bad' not found",
    "a:b:c": "is not USER or USER:GROUP",
    "root:": "is not USER or USER:GROUP",
    ":root": "is not USER or USER:GROUP",
}


@pytest.mark.parametrize("text", NOBODY)
def test_not_found(image: Path, text: str) -> None:
    with pytest.raises(ImageConfigError, match=NOBODY[text]):
        resolve(text, opener(image))


def test_an_image_without_accounts(tmp_path: Path) -> None:
    assert resolve("", opener(tmp_path)) == User(uid=0, gid=0)
    assert resolve("7:8", opener(tmp_path)) == User(uid=7, gid=8)
    with pytest.raises(ImageConfigError, match="user: 'root' not found"):
        resolve("root", opener(tmp_path))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def too_large(path: Path) -> None:
    path.write_bytes(b"\n" * (ACCOUNTS_MAX + 1))


TRAPS: dict[str, tuple[Callable[[Path], None], type[ImageError], str]] = {
    "fifo": (fifo, ImageConfigError, "not a regular file"),
    "directory": (directory, ImageConfigError, "not a regular file"),
    "link out of the image": (link, ImageConfigError, "cannot be read"),
    "a terabyte": (sparse, LimitExceededError, "larger than"),
    "a byte too much": (too_large, LimitExceededError, "larger than"),
}


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("make, error, said", TRAPS.values(), ids=TRAPS)
def test_traps(
    image: Path, name: str, make: Callable[[Path], None], error: type[ImageError], said: str
) -> None:
    path = image / "etc" / name
    path.unlink()
    make(path)
    with pytest.raises(error, match=said):
        resolve("alice", opener(image))


def test_the_largest_file_is_read(image: Path) -> None:
    padding = b"#" * (ACCOUNTS_MAX - len(PASSWD) - 1) + b"\n"
    (image / "etc/passwd").write_bytes(padding + PASSWD)
    assert resolve("alice", opener(image)) == ALICE
