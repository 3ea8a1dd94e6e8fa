# SPDX-License-Identifier: Apache-2.0
"""What stands for `os` where that is not loaded does what `os` does."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pycontain._os
import pycontain._os_path

PACKAGE = Path(__file__).parents[2]
ANSWERS = """
import sys
sys.path.append({package!r})
assert "os" not in sys.modules
from pycontain import _os as os
assert "os" not in sys.modules
calls, paths = {calls!r}, {paths!r}
print([getattr(os.path, name)(*arguments) for name, arguments in calls])
print([os.fsencode(path) for path in (*paths, b"x")])
print([os.fsdecode(os.fsencode(path)) for path in paths] == list(paths), os.fsdecode("x"))
print(os.getenv("SET"), os.getenv("UNSET"), os.getenv("UNSET", "other"))
assert not hasattr(os, "__path__") and not hasattr(os.path, "__path__")
assert "os" not in sys.modules
print(os.environ["SET"], os.sep, os.path.basename("a/b"))
assert "os" in sys.modules
"""
PATHS = ("", "/", "//", "a", "a/", "/a", "//a//b//", "a/b", "../a", "/a/b/", "é", "\udcff")

CROOKED = ("//a", "///a", "a/../..", "/..", "/../a", "..", "../..", "./.", "a/./b/..//c", "//../x")


def test_it_is_the_real_one_where_that_is_loaded() -> None:
    assert pycontain._os is os


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """Files of several kinds, and what is none."""
    tmp_path.joinpath("file").touch()
    tmp_path.joinpath("link").symlink_to("file")
    tmp_path.joinpath("to directory").symlink_to(".")
    tmp_path.joinpath("dangling").symlink_to("nowhere")
    names = ("", "file", "link", "to directory", "dangling", "nothing", "file/x", "nul\0")
    return [f"{tmp_path}/{name}" for name in names]


def test_it_answers_as_the_real_one(monkeypatch: pytest.MonkeyPatch, places: list[str]) -> None:
    calls = [
        *((name, (path,)) for name in ("split", "dirname") for path in PATHS),
        *((name, (path,)) for name in ("normpath", "abspath") for path in (*PATHS, *CROOKED)),
        *((name, (path,)) for name in ("exists", "lexists", "isdir") for path in places),
        *(
            ("commonpath", ([one, other],))
            for one, other in itertools.product((*PATHS, *CROOKED, "/a/c", "/ab"), repeat=2)
            if one.startswith("/") == other.startswith("/")
        ),
        *(("join", pair) for pair in itertools.product(PATHS, repeat=2)),
        *(("join", triple) for triple in itertools.product(PATHS[:6], repeat=3)),
    ]
    code = ANSWERS.format(package=str(PACKAGE), calls=calls, paths=PATHS)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env={"SET": "é", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    monkeypatch.chdir("/")
    expected = [
        [getattr(os.path, name)(*arguments) for name, arguments in calls],
        [os.fsencode(path) for path in (*PATHS, b"x")],
    ]
    lines = done.stdout.splitlines()
    assert lines == [*map(str, expected), "True x", "é None other", "é / b"]


def test_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "same").hardlink_to(tmp_path / "one")
    (tmp_path / "other").touch()
    one, same, other = (os.stat(tmp_path / name) for name in ("one", "same", "other"))
    samestat = pycontain._os_path.samestat
    assert (samestat(one, same), samestat(one, other)) == (True, False)
