# SPDX-License-Identifier: Apache-2.0
"""Every entry of the selftest's catalogue, in every profile, as root and not."""

from __future__ import annotations

import errno
import functools
import os
import signal
from typing import TYPE_CHECKING

import pytest

import _catalogue
import _features
from pycontain import profile
from pycontain.selftest import runner
from pycontain.selftest._programs import Call, Outcome
from pycontain.selftest.catalogue import ATTACKS, INSPECTIONS, Attack, Inspection
from pycontain.selftest.runner import Cell, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES: tuple[Attack | Inspection, ...] = (*ATTACKS, *INSPECTIONS)
IDS = sorted({entry.id for entry in ENTRIES}, key=lambda name: (name[0], int(name[1:])))

# These have no control: the kernel has no such thing to give, or trying would change the host.
UNPROVED = {"C1", "C6", "C10", "D1", "E10", "I3"}

controls = functools.cache(runner.control)


@functools.cache
def examination(cell: Cell) -> runner.Examination:
    return runner.examine(cell, controls())


def all_cells() -> Iterator[object]:
    for name in profile.names():
        for uid in (0, 1000):
            own = profile.get(name).user == uid
            marks = () if own else (pytest.mark.requires("rootrange"),)
            cell = Cell(name, uid)
            yield pytest.param(cell, marks=marks, id=str(cell))


@pytest.mark.parametrize("number", IDS)
@pytest.mark.parametrize("cell", list(all_cells()))
def test_nothing_of_the_catalogue_works_inside(cell: Cell, number: str) -> None:
    rows = [row for row in examination(cell).rows if row.entry.id == number]
    assert rows
    broken = [f"{row.entry.what}: {row.seen}" for row in rows if row.verdict is Verdict.BROKEN]
    assert broken == []


def proved() -> Iterator[object]:
    for number in IDS:
        if number not in UNPROVED:
            marks = (pytest.mark.requires("route"),) if number == "G6" else ()
            yield pytest.param(number, marks=marks)


@pytest.mark.requires("root")
@pytest.mark.parametrize("number", list(proved()))
def test_some_of_each_kind_works_outside(number: str) -> None:
    reasons = [controls()[entry.id, entry.what] for entry in ENTRIES if entry.id == number]
    assert "" in reasons, reasons


def test_the_cells_are_those_that_this_user_can_have() -> None:
    expected = {Cell(name, profile.get(name).user) for name in profile.names()}
    if not _features.missing("rootrange"):
        expected |= {Cell(name, uid) for name in profile.names() for uid in (0, 1000)}
    assert set(runner.cells()) == expected


def test_nothing_is_tried_outside_that_would_change_this_process(tmp_path: object) -> None:
    before = (os.uname(), os.getcwd(), os.listdir("/proc/self/fd"))
    controls()
    assert (os.uname(), os.getcwd(), os.listdir("/proc/self/fd")) == before


ATTACK = Attack(
    id="D0", what="nothing", programs=((Call("getpid", ()),),), denied=frozenset((errno.EPERM,))
)
OUTCOMES = {
    "the error of a denial": (Outcome((-errno.EPERM,), 0, 0), True),
    "another error": (Outcome((-errno.EINVAL,), 0, 0), False),
    "success": (Outcome((7,), 0, 0), False),
    "a blank": (Outcome((0,), 0, 0), False),
    "an address": (Outcome((-5000,), 0, 0), False),
    "a call that never comes back": (Outcome((), signal.SIGALRM, 0), False),
    "the filter's signal": (Outcome((), signal.SIGSYS, 0), True),
    "could not be tried": (Outcome((), 0, 5), False),
}


@pytest.mark.parametrize("outcome, expected", OUTCOMES.values(), ids=OUTCOMES)
def test_what_counts_as_refused(outcome: Outcome, expected: bool) -> None:
    assert runner.refused(ATTACK, outcome) is expected


SIZES = {"A": 14, "B": 8, "C": 10, "D": 12, "E": 10, "F": 6, "G": 10, "H": 12, "I": 14, "J": 12,
         "K": 12, "L": 6, "M": 8}  # fmt: skip


def test_every_attack_of_the_plan_is_known() -> None:
    assert list(SIZES) == list(_catalogue.GROUPS)
    assert [entry.id for entry in _catalogue.ENTRIES] == [
        f"{group}{number}" for group, size in SIZES.items() for number in range(1, size + 1)
    ]


@pytest.mark.parametrize("entry", _catalogue.ENTRIES, ids=lambda entry: entry.id)
def test_every_attack_is_tried_or_says_why_not(entry: _catalogue.Entry) -> None:
    assert entry.places or entry.id in IDS or entry.reason
    for place in entry.places:
        path, _, name = place.partition("::")
        file = _catalogue.TESTS / path
        assert file.is_dir() or f"def {name}" in file.read_text(), place


@pytest.mark.parametrize(
    "nodeid, number, covered",
    [
        (f"tests/{_catalogue.SELFTEST[0]}default:0-A7]", "A7", True),
        (f"tests/{_catalogue.SELFTEST[0]}default:0-A10]", "A1", False),
        (f"tests/{_catalogue.SELFTEST[1]}A7]", "A7", True),
        ("tests/adversarial/test_a_roots.py::test_a4_masks[file]", "A4", True),
        ("tests/adversarial/test_a_roots.py::test_a4_masks[file]", "A5", False),
        ("tests/programs/test_tools.py::test_git", "D11", True),
        ("tests/image/layers/test_rules.py::TestLinks::test_a_chain_of_links", "K2", True),
    ],
)
def test_a_test_is_known_by_its_id(nodeid: str, number: str, covered: bool) -> None:
    entry = next(entry for entry in _catalogue.ENTRIES if entry.id == number)
    assert entry.covers(nodeid) is covered
