# SPDX-License-Identifier: Apache-2.0
"""What nobody asks for is bounded too: by the profile's limits, wherever control groups hold."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

import pycontain
from pycontain import ConfigError, Reason, Sandbox, profile
from pycontain._configure import configure

MIB = 1 << 20
FORKS = "for i in $(seq 300); do sleep 60 & done; exit 1"

grouped = pytest.mark.requires("cgroup_memory", "cgroup_pids")
absent = pytest.mark.requires("no_cgroup")

# Beyond what is the machine's own, a limit would be an error.
MOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def limits(**options: Any) -> tuple[int | None, int | None]:
    config = configure(**options)
    return config.memory, config.pids


@pytest.mark.parametrize("name", profile.names())
def test_a_profile_has_limits_of_its_own(name: str) -> None:
    memory, pids = profile.get(name).memory, profile.get(name).pids
    assert limits(profile=name) == (memory and min(memory, MOST), pids)
    assert (memory is None) == (pids is None) == (name == "compat")


def test_what_is_asked_for_takes_their_place() -> None:
    assert limits(memory="1M") == (MIB, profile.default.pids)
    assert limits(pids=7) == (min(512 * MIB, MOST), 7)
    assert limits(memory="max", pids="max") == (None, None)
    own = profile.judge.replace(name="own", memory=None, pids=3)
    assert limits(profile=own) == (None, 3)


def test_more_than_the_machine_has_is_cut_down() -> None:
    own = profile.default.replace(name="own", memory=2 * MOST)
    assert limits(profile=own) == (MOST, 256)


@pytest.mark.parametrize("name", ["memory", "pids"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_profile_without_room_is_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} {value} is not positive"):
        profile.default.replace(**{name: value})


@grouped
def test_a_memory_bomb_ends_although_nobody_thought_of_it() -> None:
    own = profile.default.replace(name="small", memory=48 * MIB)
    done = pycontain.run([sys.executable, "-c", "bytearray(b'x') * (99 << 20)"], profile=own)
    assert done.reason == Reason.OOM


@grouped
def test_a_fork_bomb_ends_although_nobody_thought_of_it() -> None:
    done = pycontain.run(["sh", "-c", FORKS], timeout=60)
    assert done.reason == Reason.PIDS_LIMIT
    assert done.usage.pids_peak is not None
    assert done.usage.pids_peak <= 256


@grouped
def test_they_are_in_the_stats_and_can_be_changed_and_lifted() -> None:
    with Sandbox() as sandbox:
        assert sandbox.enforcement["memory"].in_force
        assert sandbox.enforcement["pids"].in_force
        sandbox.update(pids=400)
        assert sandbox.run(["sh", "-c", FORKS], timeout=60).reason == Reason.EXITED
        sandbox.update(pids="max", memory="max")
        assert sandbox.run(["true"]).returncode == 0


@absent
@pytest.mark.parametrize("name", ["memory", "pids"])
def test_where_they_do_not_hold_that_can_be_seen(name: str) -> None:
    with Sandbox() as sandbox:
        assert sandbox.run(["true"]).returncode == 0
        control = sandbox.enforcement[name]
        assert not control.in_force
        assert control.why
        assert control.remedy
    with pytest.raises(pycontain.UnsupportedError, match=f"{name} is NOT in force"):
        pycontain.run(["true"], require=(name,))


def test_a_profile_of_ones_own_holds_as_a_whole() -> None:
    own = profile.default.replace(name="own", umask=0o077, user=1234, memory=None)
    done = pycontain.run(["sh", "-c", "umask; id -u"], profile=own, text=True)
    assert done.stdout.split() == ["0077", "1234"]
