# SPDX-License-Identifier: Apache-2.0
"""Each fallback is taken by a lane or a test that forces it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lanes
from machine import kernels
from pycontain import _syscalls
from pycontain._fallbacks import (
    FALLBACKS,
    INSTEAD,
    Fallback,
    follows_calls,
    has_own_binfmt,
    uses_landlock,
)
from pycontain._host import PRIMITIVES

REPOSITORY = Path(__file__).parents[2]
BY_A_LANE = [row for row in FALLBACKS if row.forced_by in lanes.LANES]
BY_A_TEST = [row for row in FALLBACKS if row not in BY_A_LANE]
# Without calls that could be hidden, the test's own words tell that it is about this one.
WORDS = {
    "seccomp listener": "audit is NOT in force",
    "own binfmt_misc": "the host's own",
    "cgroup.kill": "cgroup.freeze",
    "images mounted by an index": "directory",
}


@pytest.mark.parametrize("row", BY_A_LANE, ids=lambda row: row.name)
def test_a_lane_takes_it(row: Fallback) -> None:
    lane = lanes.LANES[row.forced_by]
    if lane.machine:
        kernel = tuple(map(int, kernels.DEFAULT.split(".")))
        assert kernel < row.since
    else:
        assert row.calls
        assert set(row.calls) <= set(lane.nosys.split(","))


@pytest.mark.parametrize("row", BY_A_TEST, ids=lambda row: row.name)
def test_a_test_takes_it(row: Fallback) -> None:
    """By a string in it: the calls that it hides, or what it expects to be told."""
    tree = ast.parse((REPOSITORY / row.forced_by).read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    words = {word for text in texts if isinstance(text, str) for word in re.split(r"[,\s]+", text)}
    if row.calls:
        assert set(row.calls) <= words
    else:
        assert any(WORDS[row.name] in text for text in texts if isinstance(text, str))


@pytest.mark.parametrize("row", FALLBACKS, ids=lambda row: row.name)
def test_it_begins_where_its_calls_do(row: Fallback) -> None:
    since = [_syscalls.first_kernel(name, "x86_64") for name in row.calls]
    assert all(first <= row.since for first in since)
    assert row.instead


@pytest.mark.parametrize("row", FALLBACKS, ids=lambda row: row.name)
def test_the_page_has_it(row: Fallback) -> None:
    page = (REPOSITORY / "docs/contract.md").read_text()
    assert f"| {row.name} | {'.'.join(map(str, row.since))} | {row.instead} |" in page


def test_what_is_probed_says_what_takes_its_place() -> None:
    probed = {primitive.name for primitive in PRIMITIVES if not primitive.needed}
    fails = {"overlay", "time namespace", "joining a namespace", "nested user namespace"}
    assert probed - fails <= INSTEAD.keys()
    assert not INSTEAD.keys() & {primitive.name for primitive in PRIMITIVES if primitive.needed}


def test_decisions_by_a_version() -> None:
    assert (follows_calls((5, 4, 9)), follows_calls((5, 5, 0))) == (False, True)
    assert (has_own_binfmt((6, 6, 99)), has_own_binfmt((6, 7, 0))) == (False, True)
    assert [uses_landlock(abi) for abi in (0, 1, 2, 7)] == [False, False, True, True]
