# SPDX-License-Identifier: Apache-2.0
"""Small files of the kernel are read whole, and their values understood."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pycontain._cgroup import _files


def test_files_of_many_pages_are_read_whole() -> None:
    expected = Path("/proc/kallsyms").read_text()
    assert len(expected) > 100_000
    assert _files.read("/proc/kallsyms") == expected


def test_absent_files_are_none_and_others_raise(tmp_path: Path) -> None:
    assert _files.read_optional(f"{tmp_path}/absent") is None
    with pytest.raises(IsADirectoryError):
        _files.read_optional(str(tmp_path))


def test_what_is_no_list_is_read_whole_at_once(tmp_path: Path) -> None:
    name = "/proc/stat"  # one record to the kernel, however long it is
    counters = [line.split()[0] for line in (_files.read_value(name) or "").splitlines()]
    assert counters == [line.split()[0] for line in _files.read(name).splitlines()]
    assert _files.read_value(f"{tmp_path}/absent") is None


def test_a_value_for_a_file_that_is_missing_is_told_from_a_group_that_is(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("max")
    assert _files.write_optional(f"{tmp_path}/there", "7")
    assert (tmp_path / "there").read_text() == "7ax"
    assert not _files.write_optional(f"{tmp_path}/absent", "7")
    with pytest.raises(FileNotFoundError):
        _files.write_optional(f"{tmp_path}/gone/there", "7")


@pytest.mark.parametrize(
    "text, table",
    [
        (None, {}),
        ("", {}),
        ("populated 1\nfrozen 0\n", {"populated": 1, "frozen": 0}),
        ("max 3\nnot a number\nempty\nbad -1\n", {"max": 3}),
    ],
)
def test_flat_files_are_tables(text: str | None, table: dict[str, int]) -> None:
    assert _files.flat(text) == table


@pytest.mark.parametrize("text, value", [("7\n", 7), ("max\n", None), ("", None), (None, None)])
def test_numbers_are_read(text: str | None, value: int | None) -> None:
    assert _files.number(text) == value


@pytest.mark.parametrize(
    "key, value, expected", [("populated", 0, True), ("populated", 1, False), ("frozen", 0, False)]
)
def test_a_group_that_is_gone_is_empty(
    tmp_path: Path, key: str, value: int, expected: bool
) -> None:
    deadline = time.monotonic() + 10
    assert _files.wait_event(f"{tmp_path}/gone", key, value, deadline) is expected


def test_refused_writes_name_the_file() -> None:
    with pytest.raises(OSError, match="/proc/self/oom_score_adj"):
        _files.write("/proc/self/oom_score_adj", "no number")
