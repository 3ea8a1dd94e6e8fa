# SPDX-License-Identifier: Apache-2.0
"""Which ids a sandbox has: the arithmetic of maps, without a kernel."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain import _identity, _native
from pycontain._identity import RANGE


def spans(fields: list[str]) -> list[tuple[int, int, int]]:
    numbers = [int(field) for field in fields]
    return list(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True))


@given(
    own=st.integers(0, 2**32 - 2),
    inside=st.integers(0, RANGE - 1),
    first=st.integers(1, 2**32 - 2 - RANGE),
)
def test_a_map_of_subids_has_every_id_once(own: int, inside: int, first: int) -> None:
    rows = spans(_identity._subids_map(own, inside, first))
    assert (inside, own, 1) in rows
    assert all(count >= 0 for _, _, count in rows)
    covered = sorted((start, start + count) for start, _, count in rows if count)
    assert covered[0][0] == 0
    assert covered[-1][1] == RANGE
    assert all(left[1] == right[0] for left, right in itertools.pairwise(covered))
    granted = [(host, count) for start, host, count in rows if start != inside]
    assert all(first <= host and host + count <= first + RANGE for host, count in granted if count)


SUBIDS = {
    "by number": ("0:100000:65536\n", 100000),
    "by name": ("root:100000:65536\n", 100000),
    "after others": ("somebody-else:1:65536\n0:200000:131072\n", 200000),
    "too small": ("0:100000:65535\n", None),
    "a small one first": ("0:1:10\n0:300000:65536\n", 300000),
    "somebody else's": ("somebody-else:100000:65536\n", None),
    "broken": ("0\n0:x:y\n::\n\n0:-5:65536\n", None),
    "empty": ("", None),
}


@pytest.mark.parametrize("text, expected", SUBIDS.values(), ids=SUBIDS)
def test_granted_ranges(text: str, expected: int | None, tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text(text)
    assert _identity._subid_range(path, 0) == expected


def test_no_file_grants_nothing(tmp_path: Path) -> None:
    assert _identity._subid_range(tmp_path / "subuid", 0) is None


def make(mapping: _identity.Mapping) -> _identity.Identity:
    return _identity.Identity(mapping=mapping, user_uid=1000, user_gid=100)


@pytest.mark.parametrize("mapping", ["range", "subids"])
def test_a_range_has_64_ki_ids(mapping: _identity.Mapping) -> None:
    ids = make(mapping)
    assert [ids.has_id(number) for number in (0, 1000, RANGE - 1, RANGE)] == [True] * 3 + [False]
    assert ids.has_group(0)
    assert not ids.has_group(RANGE)


def test_a_single_id_is_the_callers_own() -> None:
    ids = make("single")
    assert [ids.has_id(number) for number in (0, 100, 1000)] == [False, False, True]
    assert [ids.has_group(number) for number in (0, 100, 1000)] == [False, True, False]


def test_a_single_identity_needs_no_namespace_made_ahead() -> None:
    ids = _identity._single_identity(1000, 100)
    assert (ids.userns_fd, ids.drop_groups) == (-1, False)
    assert ids.uid_map == f"1000 {os.geteuid()} 1"
    assert ids.gid_map == f"100 {os.getegid()} 1"
    assert ids.init_uid == _native.KEEP_ID


def test_a_namespace_is_made_once_for_each_map() -> None:
    made: list[tuple[str, str]] = []

    def make_one(uid_map: str, gid_map: str) -> int:
        made.append((uid_map, gid_map))
        return len(made)

    cache = _identity._Cache(make_one)
    asked = [cache.get("0 1 1", "0 1 1"), cache.get("0 1 1", "0 1 1"), cache.get("0 1 1", "0 2 1")]
    assert asked == [1, 1, 2]
    assert cache.get("0 1 1", "0 1 1", nested=True) == 3
    assert len(made) == 3
