# SPDX-License-Identifier: Apache-2.0
"""Memory bombs of every kind end inside, and the host gets all of it back."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycontain
from _bombs import GIB, MIB, bomb, charged, meminfo, truth
from _box import settles
from pycontain import Bind, Reason, Sandbox, Tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from _bombs import Once

pytestmark = pytest.mark.requires("cgroup_memory")

BIG = Tmpfs("/big", size="4G")
# What the kernel keeps of dead groups and gives back later: per-CPU stocks, slabs.
SLACK = 4 * MIB
# Where the kernel kills single processes (v1), a child may be chosen, and its parent says so.
ENDS = (-signal.SIGKILL, 3)

KINDS = ("anonymous", "file", "memfd", "memfd-mapped", "sysv", "posix")
KERNEL_KINDS = ("page-tables", "threads", "pipes", "sockets")
CASES = [(kind, size) for size in (MIB, 64 * MIB) for kind in (*KINDS, *KERNEL_KINDS)]
LARGE = ("anonymous", "file", "memfd", "sysv", "pipes")


def is_in_memory(path: Path) -> bool:
    rows = [row.split() for row in Path("/proc/self/mountinfo").read_text().splitlines()]
    points = {row[4]: row[row.index("-") + 1] for row in rows if path.is_relative_to(row[4])}
    return points[max(points, key=len)] == "tmpfs"


@pytest.mark.parametrize("kind, limit", [*CASES, ("stack", MIB)])
def test_memory_of_any_kind_ends_with_the_verdict_oom_and_is_given_back(
    kind: str, limit: int, once: Once
) -> None:
    once("end", 0, memory=limit)
    before = charged()
    done = once("memory", kind, 4 * limit, "/big", memory=limit, mounts=(BIG,))

    assert done.reason == Reason.OOM
    assert done.returncode in ENDS
    assert done.usage.memory_peak is None or 0.9 * limit <= done.usage.memory_peak <= limit
    assert settles(lambda: charged() <= before + SLACK)


@pytest.mark.requires("memory_4g")
@pytest.mark.parametrize("kind", LARGE)
def test_a_gibibyte_ends_with_the_verdict_oom_and_the_host_has_it_again(
    kind: str, once: Once
) -> None:
    once("end", 0, memory=GIB)
    before, shared = charged(), meminfo("Shmem")
    done = once("memory", kind, 2 * GIB, "/big", memory=GIB, mounts=(BIG,))

    assert done.reason == Reason.OOM
    assert done.returncode in ENDS
    assert done.usage.memory_peak is None or 0.99 * GIB <= done.usage.memory_peak <= GIB
    assert settles(lambda: charged() <= before + SLACK)
    # Others use the machine too.
    assert settles(lambda: meminfo("Shmem") <= shared + GIB // 4)


@pytest.mark.parametrize("limit", [MIB, 64 * MIB])
def test_what_is_written_to_the_hosts_disk_is_reclaimed_and_kills_nobody(
    limit: int, once: Once, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    before = charged()
    out = Bind(tmp_path, "/out", read_only=False)
    done = once("memory", "file", 2 * limit, "/out", memory=limit, mounts=(out,))

    if is_in_memory(tmp_path):
        assert done.reason == Reason.OOM
    else:
        assert (done.reason, done.returncode) == (Reason.EXITED, 0)
        assert truth(done)["bytes"] == (tmp_path / "bomb").stat().st_size == 2 * limit
    assert done.usage.memory_peak is None or done.usage.memory_peak <= limit
    (tmp_path / "bomb").unlink()
    assert settles(lambda: charged() <= before + SLACK)


@pytest.mark.parametrize(
    "limit", [MIB, 64 * MIB, pytest.param(GIB, marks=pytest.mark.requires("memory_4g"))]
)
def test_what_is_read_from_the_hosts_disk_is_reclaimed_and_kills_nobody(
    limit: int, once: Once, tmp_path: Path
) -> None:
    size = limit + min(limit, 64 * MIB)
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", size)  # holes are cached like data
    before = charged()
    out = Bind(tmp_path, "/in")
    done = once("memory", "cached", size, "/in/file", memory=limit, mounts=(out,))

    assert (done.reason, done.returncode) == (Reason.EXITED, 0)
    assert truth(done)["bytes"] == size
    assert done.usage.memory_peak is None or done.usage.memory_peak <= limit
    (tmp_path / "file").unlink()
    assert settles(lambda: charged() <= before + SLACK)


@pytest.mark.parametrize(
    "kind, most, refusal",
    [("locked", 64 << 10, "ENOMEM"), ("descriptors", 1024, "EMFILE")],
)
def test_what_a_resource_limit_refuses_does_not_reach_the_memory_limit(
    kind: str, most: int, refusal: str, once: Once
) -> None:
    done = once("memory", kind, 64 * MIB, memory=64 * MIB)

    assert (done.reason, done.returncode) == (Reason.EXITED, 3)
    assert truth(done)["bytes"] <= most
    assert truth(done)["refused"] == refusal


def test_a_stack_beyond_its_own_limit_is_no_oom(once: Once) -> None:
    done = once("memory", "stack", 32 * MIB, memory=64 * MIB)

    assert (done.reason, done.returncode) == (Reason.SIGNALED, -signal.SIGSEGV)


def test_shared_memory_of_dev_shm_is_bounded_beside_the_limit(once: Once) -> None:
    done = once("memory", "posix", 256 * MIB, memory=512 * MIB)

    assert (done.reason, done.returncode) == (Reason.DISK_FULL, 3)
    assert truth(done)["refused"] == "ENOSPC"
    assert truth(done)["bytes"] <= 64 * MIB


@pytest.mark.parametrize("limit", [MIB, 512 << 10])
def test_a_static_program_starts_and_succeeds_under_a_tiny_limit(limit: int, once: Once) -> None:
    done = once("end", 0, memory=limit)

    assert (done.reason, done.returncode) == (Reason.EXITED, 0)
    assert done.usage.memory_peak is None or done.usage.memory_peak <= limit


def test_a_static_program_starts_in_a_living_sandbox_of_a_mebibyte(
    box: Callable[..., Sandbox],
) -> None:
    with box(memory=MIB) as sb:
        done = sb.run(bomb("end", 0), timeout=60)
        process = sb.popen(bomb("end", 0))
        assert (process.wait(timeout=60), process.reason) == (0, Reason.EXITED)
    assert (done.reason, done.returncode) == (Reason.EXITED, 0)


@pytest.mark.parametrize("how", ["once", "living", "popen"])
def test_a_program_too_large_for_its_limit_is_oom_and_no_strange_error(how: str) -> None:
    large = [sys.executable, "-c", "x = list(range(10**6))"]
    if how == "once":
        done = pycontain.run(large, memory=MIB, timeout=60)
        assert (done.reason, done.returncode) == (Reason.OOM, -signal.SIGKILL)
        return
    with Sandbox(memory=MIB) as sb:
        if how == "living":
            done = sb.run(large, timeout=60)
            assert (done.reason, done.returncode) == (Reason.OOM, -signal.SIGKILL)
        else:
            process = sb.popen(large)
            assert (process.wait(timeout=60), process.reason) == (-signal.SIGKILL, Reason.OOM)
        # PID 1 is outside the limit.
        assert sb.run(["true"], timeout=60).returncode in (0, -signal.SIGKILL)
        sb.files.write_bytes("/tmp/a", b"x")
        assert sb.files.read_bytes("/tmp/a") == b"x"


def test_what_a_living_sandbox_keeps_in_memory_counts_until_it_is_removed(
    box: Callable[..., Sandbox],
) -> None:
    with box(memory=64 * MIB, disk="1G") as sb:
        assert sb.run(bomb("memory", "file", 40 * MIB, "/tmp"), timeout=60).returncode == 0
        full = sb.run(bomb("memory", "anonymous", 40 * MIB), timeout=60)
        sb.run(["rm", "/tmp/bomb"], check=True)
        free = sb.run(bomb("memory", "anonymous", 40 * MIB), timeout=60)

    assert (full.reason, full.returncode) == (Reason.OOM, -signal.SIGKILL)
    assert (free.reason, free.returncode) == (Reason.EXITED, 0)
