# SPDX-License-Identifier: Apache-2.0
"""Ranges of ids: one for each living sandbox of the machine, given back at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pycontain import UnsupportedError, _ranges
from pycontain._ranges import Range, Ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Ranges]]:
    """Return what stands for a process: its own open file description of the lock file."""
    made: list[Ranges] = []

    def make() -> Ranges:
        made.append(Ranges(str(tmp_path / "ids")))
        return made[-1]

    yield make
    for one in made:
        one.forget()


def test_ranges_are_disjoint_and_nobody_elses() -> None:
    last = Range(_ranges.COUNT - 1)
    assert Range(1).base - Range(0).base == _ranges.SIZE
    assert Range(0).base > 1879048191  # the last id of containers (UIDS-GIDS)
    assert last.base + _ranges.SIZE <= 0x7FFE0000 < 2**31


def test_each_process_takes_others(make: Callable[[], Ranges]) -> None:
    bases = [processes.take().base for processes in (make(), make()) for _ in range(5)]
    assert len(set(bases)) == 10


def test_what_was_given_back_is_taken_again(make: Callable[[], Ranges]) -> None:
    ranges = make()
    first, second = ranges.take(), ranges.take()
    ranges.give_back(first)
    assert ranges.take() is first
    assert first is not second


def test_no_more_are_kept_than_are_worth_it(make: Callable[[], Ranges]) -> None:
    ranges = make()
    taken = [ranges.take() for _ in range(_ranges.KEPT + 5)]
    for one in taken:
        ranges.give_back(one)
    assert len(ranges._free) == len(ranges._numbers) == _ranges.KEPT
    assert {one.number for one in ranges._free} == ranges._numbers


def test_a_range_is_free_when_its_process_is_gone(
    make: Callable[[], Ranges], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ranges, "COUNT", 2)
    gone, living = make(), make()
    gone.take()
    living.take()
    with pytest.raises(UnsupportedError, match="all 2 ranges"):
        living.take()
    gone.forget()
    living.take()


def test_the_lock_file_is_never_a_link(tmp_path: Path) -> None:
    (tmp_path / "ids").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="ids"):
        Ranges(str(tmp_path / "ids")).take()
    assert not (tmp_path / "elsewhere").exists()
