# SPDX-License-Identifier: Apache-2.0
"""Seccomp filters that are kept in the state directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pycontain._oci._filter import Filter, compile_filter, find_filter, pack, unpack
from pycontain._oci._state import StateDir
from pycontain.errors import ConfigError

OTHER = Filter(program=b"12345678", flags=2, notifies=True)


def rules(number: int = 1) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": number}],
    }


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def kept(state: StateDir) -> list[Path]:
    return sorted(Path(state.root).iterdir())


def test_a_filter_is_compiled_once(state: StateDir) -> None:
    assert find_filter(rules(), state) == compile_filter(rules())
    [file] = kept(state)
    file.write_bytes(pack(OTHER))
    assert find_filter(rules(), state) == OTHER


def test_other_rules_are_another_filter(state: StateDir) -> None:
    assert find_filter(rules(1), state) != find_filter(rules(2), state)


@pytest.mark.parametrize("data", [b"", b"\n", b"x y z\n", b"0 0 8\n1234567", pack(OTHER)[:-1]])
def test_what_is_not_whole_is_compiled_again(state: StateDir, data: bytes) -> None:
    find_filter(rules(), state)
    [file] = kept(state)
    file.write_bytes(data)
    assert unpack(data) is None
    assert find_filter(rules(), state) == compile_filter(rules())


def test_a_link_is_not_followed(state: StateDir, tmp_path: Path) -> None:
    find_filter(rules(), state)
    [file] = kept(state)
    (tmp_path / "elsewhere").write_bytes(pack(OTHER))
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert find_filter(rules(), state) == compile_filter(rules())


def test_few_are_kept_and_none_is_a_container(state: StateDir) -> None:
    for number in range(1, 40):
        find_filter(rules(number), state)
    assert 0 < len(kept(state)) <= 16
    assert state.ids() == []


def test_without_rules_there_is_no_filter_and_wrong_ones_are_not_kept(state: StateDir) -> None:
    assert find_filter(None, state) == Filter()
    with pytest.raises(ConfigError):
        find_filter({"defaultAction": "nonsense"}, state)
    assert kept(state) == []
