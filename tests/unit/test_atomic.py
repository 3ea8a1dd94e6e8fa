# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from typing import TYPE_CHECKING

import pytest

from pycontain import _atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """As on a full disk, a file cannot grow over ten bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["by path", "in a directory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    if request.param == "by path":
        yield {"path": str(tmp_path / "file")}
        return
    fd = os.open(tmp_path, os.O_RDONLY)
    yield {"path": "file", "dir_fd": fd}
    os.close(fd)


def test_a_file_is_made_and_replaced(tmp_path: Path, place: dict[str, object]) -> None:
    for data in (b"first", b"", b"second"):
        _atomic.replace(data=data, **place)  # type: ignore[arg-type]
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": data}
        assert tmp_path.joinpath("file").stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    tmp_path.joinpath("target").write_bytes(b"mine")
    tmp_path.joinpath("file").symlink_to("target")
    _atomic.replace(str(tmp_path / "file"), b"new", mode=0o640)
    assert not tmp_path.joinpath("file").is_symlink()
    assert tmp_path.joinpath("target").read_bytes() == b"mine"
    assert tmp_path.joinpath("file").stat().st_mode & 0o777 == 0o640


def test_nothing_is_left_of_what_has_no_room(tmp_path: Path, place: dict[str, object]) -> None:
    _atomic.replace(data=b"old", **place)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), no_room():
        _atomic.replace(data=b"x" * 11, **place)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    tmp_path.joinpath("file").mkdir()
    with pytest.raises(IsADirectoryError):
        _atomic.replace(str(tmp_path / "file"), b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_new_file_takes_no_place(tmp_path: Path) -> None:
    tmp_path.joinpath("link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        _atomic.write_new(str(tmp_path / "link"), b"")
    assert not tmp_path.joinpath("nowhere").exists()
