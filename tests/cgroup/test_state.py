# SPDX-License-Identifier: Apache-2.0
"""Where an ordinary user's processes say that they own groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pycontain import _statedir
from pycontain.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.requires("user")
@pytest.mark.parametrize("trouble", ["mode", "link"])
def test_a_state_directory_that_others_control_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if trouble == "mode":
        (tmp_path / "pycontain").mkdir()
        (tmp_path / "pycontain").chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "pycontain").symlink_to("elsewhere")
    with pytest.raises(UnsupportedError, match="private directory"):
        _statedir.runtime_directory()


@pytest.mark.requires("user")
def test_users_keep_state_in_their_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert _statedir.runtime_directory() == str(tmp_path / "pycontain")
    assert (tmp_path / "pycontain").stat().st_mode & 0o777 == 0o700
    assert len(_statedir.runtime_directories()) == 2  # other sessions may be without that directory
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert _statedir.runtime_directory().endswith(f"/pycontain-{os.geteuid()}")
