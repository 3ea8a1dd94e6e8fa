# SPDX-License-Identifier: Apache-2.0
"""Limits hold, and the verdict is what the kernel counted."""

from __future__ import annotations

import glob
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _features import cgroup_homes
from pycontain import ConfigError, Reason, Sandbox, TimeoutExpired, UnsupportedError, _cgroup

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
BOMB = "x = bytearray(b'x') * (200 << 20)"
FORKS = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done; exit 1"

memory = pytest.mark.requires("cgroup_memory")
pids = pytest.mark.requires("cgroup_pids")
absent = pytest.mark.requires("no_cgroup")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@memory
def test_a_memory_bomb_ends_with_the_verdict_oom() -> None:
    result = pycontain.run(python(BOMB), memory="64M", timeout=60)

    assert (result.reason, result.returncode) == (Reason.OOM, -signal.SIGKILL)
    assert result.usage.memory_peak is not None
    assert 60 * MIB <= result.usage.memory_peak <= 64 * MIB


@memory
def test_a_static_program_starts_under_a_limit_of_one_mebibyte(rootfs: Path) -> None:
    result = pycontain.run(["/bin/busybox", "true"], rootfs=rootfs, memory="1M", timeout=60)

    assert (result.reason, result.returncode) == (Reason.EXITED, 0)


@memory
def test_the_death_of_a_child_ends_the_command_where_the_kernel_ends_it_as_a_whole() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BOMB!r}]); print('on')"
    result = pycontain.run(python(code), memory="64M", timeout=60, text=True)

    # On v2 a command ends as a whole (memory.oom.group); v1 knows no such thing.
    whole = any({"v2", "memory"} <= names for names, _ in cgroup_homes())
    expected = (Reason.OOM, "") if whole else (Reason.EXITED, "on\n")
    assert (result.reason, result.stdout) == expected


@memory
@pytest.mark.parametrize(
    "script, reason, code",
    [("kill -9 $$", Reason.SIGNALED, -9), ("exit 137", Reason.EXITED, 137)],
)
def test_what_only_looks_like_the_limit_is_not_called_so(
    script: str, reason: Reason, code: int
) -> None:
    result = pycontain.run(["sh", "-c", script], memory="64M", timeout=60)

    assert (result.reason, result.returncode) == (reason, code)


@memory
def test_a_timeout_under_a_limit_is_a_timeout() -> None:
    with pytest.raises(TimeoutExpired) as caught:
        pycontain.run(["sleep", "60"], memory="64M", timeout=0.2)

    assert caught.value.usage is not None


@pids
def test_the_process_limit_is_counted_and_called_by_its_name() -> None:
    result = pycontain.run(["sh", "-c", FORKS], pids=6, timeout=60)

    assert result.reason == Reason.PIDS_LIMIT
    assert result.usage.pids_peak is None or result.usage.pids_peak <= 6


@memory
@pytest.mark.requires("real_cpu")
def test_processor_time_includes_descendants_that_nobody_waited_for() -> None:
    burn = "sum(i for i in range(3_000_000))"
    fork = f"r, w = os.pipe()\nif os.fork() == 0:\n    {burn}; os._exit(0)\n"
    code = f"import os\n{fork}os.close(w); os.read(r, 1)"
    alone = pycontain.run(python(burn), memory="256M", timeout=60).usage.user_s
    both = pycontain.run(python(code), memory="256M", timeout=60).usage.user_s

    assert alone is not None
    assert both is not None
    assert both > alone / 2


@memory
@pids
def test_commands_of_one_sandbox_are_measured_apart_and_killed_apart() -> None:
    with Sandbox(memory="128M", pids=64) as sb:
        large = sb.run(python("x = bytearray(b'x') * (40 << 20)"), timeout=60)
        small = sb.run(["true"], timeout=60)
        other = sb.popen(["sleep", "60"])
        with pytest.raises(TimeoutExpired):
            sb.run(["sh", "-c", "setsid sleep 60 & sleep 60"], timeout=0.2)

        assert other.poll() is None
        assert large.usage.memory_peak is not None
        assert small.usage.memory_peak is not None
        assert large.usage.memory_peak > 40 * MIB > small.usage.memory_peak
        assert sb.enforcement["memory"].in_force
        assert sb.run(["true"], timeout=60).returncode == 0
    assert other.wait() == -signal.SIGKILL


@memory
def test_no_group_remains_but_for_those_of_the_next_sandbox() -> None:
    pycontain.run(["true"], memory="64M")
    with Sandbox(memory="64M") as sb:
        sb.run(["true"])

    _cgroup.current_owner().ahead.clear()
    owner = _cgroup.current_owner().identity
    groups = glob.glob(f"/sys/fs/cgroup/**/{owner}/s*", recursive=True)
    assert [path for path in groups if path.rsplit("/", 1)[1][1:].isdecimal()] == []


@pytest.mark.parametrize(
    "options, word",
    [
        ({"memory": "12Q"}, "memory"),
        ({"memory": 0}, "memory"),
        ({"memory": -1}, "memory"),
        ({"memory": 1 << 60}, "MemTotal"),
        ({"pids": 0}, "pids"),
        ({"pids": True}, "pids"),
        ({"cpus": float("nan")}, "cpus"),
        ({"cpus": 100_000}, "cpus"),
        ({"cpuset": "9999"}, "9999"),
        ({"cpuset": "x"}, "cpuset"),
        ({"require": ("mmeory",)}, "mmeory"),
    ],
)
def test_a_limit_that_cannot_be_right_is_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        pycontain.run(["true"], **options)


@absent
def test_a_limit_that_cannot_be_had_is_an_error_with_the_remedy() -> None:
    with pytest.raises(UnsupportedError, match=r"memory is NOT in force: .*;"):
        pycontain.run(["true"], memory="64M")


@absent
def test_a_limit_that_may_be_missing_is_said_to_be() -> None:
    with Sandbox(memory="64M", accept_missing=("memory",)) as sb:
        assert sb.run(["true"]).returncode == 0
        assert not sb.enforcement["memory"].in_force
        assert sb.enforcement["memory"].why


def test_what_is_required_must_be_in_force() -> None:
    with pytest.raises(UnsupportedError, match="pids is NOT in force"):
        pycontain.run(["true"], pids="max", require=("pids",))
    assert pycontain.run(["true"], require=("seccomp", "capabilities")).returncode == 0
