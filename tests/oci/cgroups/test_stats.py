# SPDX-License-Identifier: Apache-2.0
"""Usage and events of containers, in the form of runc's."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain._cgroup._dir import Dir
from pycontain._oci._cgroups import _events, _oom, _stats
from pycontain._oci._spec import CPU, Memory, Resources

if TYPE_CHECKING:
    from .conftest import Make, Start

MB = 1 << 20
LIMITED = Resources(
    memory=Memory(limit=32 * MB, swap=32 * MB),
    cpu=CPU(cpus="0"),
    pids_limit=9,
)

LIVE = pytest.mark.requires("root", "cgroup_memory", "cgroup_pids")


@LIVE
def test_counters_are_true(make: Make, start: Start) -> None:
    cgroup = make(LIMITED)
    script = """
import time
b = bytearray(b"x") * (8 << 20)
end = time.process_time() + 0.1
while time.process_time() < end: pass
print("used", flush=True)
input()
"""
    with start(cgroup, script) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stats = cgroup.stats()
    assert stats["pids"] == {"current": 1, "limit": 9}
    assert stats["memory"]["usage"]["limit"] == 32 * MB
    assert 8 * MB <= stats["memory"]["usage"]["usage"] <= 32 * MB
    assert stats["memory"]["swap"]["limit"] == 32 * MB
    assert stats["memory"]["raw"]["pgfault"] > 0
    assert stats["cpu"]["usage"]["total"] >= 100_000_000
    assert (stats["cpuset"]["cpus"], stats["cpuset"]["mems"]) == ([0], [0])


@LIVE
def test_a_group_that_is_gone(make: Make) -> None:
    cgroup = make(LIMITED)
    cgroup.remove()
    stats = cgroup.stats()
    assert stats["pids"] == {}
    assert stats["cpu"]["usage"] == {"kernel": 0, "user": 0}
    assert cgroup.events() == {}


# What this machine may not have


def files(tmp_path: Path, version: int, texts: dict[str, str]) -> Dir:
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    return Dir(version, str(tmp_path))


def only(controller: str, directory: Dir) -> dict[str, Any]:
    """Return the stats of a container with a single controller."""
    return _stats.stats(lambda name: directory if name == controller else None)


def test_memory_of_v2_has_swap_as_v1_has_it(tmp_path: Path) -> None:
    texts = {
        "memory.current": "100\n",
        "memory.max": "1000\n",
        "memory.peak": "150\n",
        "memory.swap.current": "20\n",
        "memory.swap.max": "500\n",
        "memory.events": "low 0\nmax 7\noom 1\noom_kill 2\n",
        "memory.stat": "anon 60\nfile 40\n",
    }
    memory = only("memory", files(tmp_path, 2, texts))["memory"]
    assert memory["usage"] == {"limit": 1000, "usage": 100, "max": 150, "failcnt": 7}
    assert memory["swap"] == {"limit": 1500, "usage": 120, "failcnt": 0}
    assert (memory["cache"], memory["raw"]) == (40, {"anon": 60, "file": 40})


@pytest.mark.parametrize("file", ["memory.max", "memory.swap.max"])
def test_unlimited_memory_of_v2(tmp_path: Path, file: str) -> None:
    texts = {"memory.max": "1000\n", "memory.swap.max": "500\n", file: "max\n"}
    memory = only("memory", files(tmp_path, 2, texts))["memory"]
    assert memory["swap"]["limit"] == 2**64 - 1


def test_unlimited_pids(tmp_path: Path) -> None:
    texts = {"pids.current": "3\n", "pids.max": "max\n"}
    assert only("pids", files(tmp_path, 2, texts))["pids"] == {"current": 3}


@pytest.mark.parametrize(
    "version, key, time", [(1, "throttled_time", 5_000_000), (2, "throttled_usec", 5000)]
)
def test_throttling(tmp_path: Path, version: int, key: str, time: int) -> None:
    texts = {"cpu.stat": f"nr_periods 9\nnr_throttled 4\n{key} {time}\n"}
    found = only("cpu", files(tmp_path, version, texts))["cpu"]["throttling"]
    assert found == {"periods": 9, "throttledPeriods": 4, "throttledTime": 5_000_000}


V2_IO = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=3\n7:0 \n"
V1_IO = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n"


def row(op: str, value: int) -> dict[str, Any]:
    return {"major": 8, "op": op} | ({"value": value} if value else {})


def test_io_of_v2(tmp_path: Path) -> None:
    assert only("io", files(tmp_path, 2, {"io.stat": V2_IO}))["blkio"] == {
        "ioServiceBytesRecursive": [row("Read", 10), row("Write", 20), row("Discard", 0)],
        "ioServicedRecursive": [row("Read", 1), row("Write", 2), row("Discard", 3)],
    }


@pytest.mark.parametrize("scheduler", ["blkio.bfq", "blkio.throttle"])
def test_io_of_v1(tmp_path: Path, scheduler: str) -> None:
    texts = {f"{scheduler}.io_service_bytes_recursive": V1_IO}
    assert only("io", files(tmp_path, 1, texts))["blkio"] == {
        "ioServiceBytesRecursive": [row("Read", 10), row("Write", 20), row("Total", 30)]
    }


def test_huge_pages_of_v1(tmp_path: Path) -> None:
    texts = {
        "hugetlb.2MB.usage_in_bytes": "4\n",
        "hugetlb.2MB.max_usage_in_bytes": "6\n",
        "hugetlb.2MB.failcnt": "1\n",
        "hugetlb.2MB.rsvd.usage_in_bytes": "9\n",
    }
    found = only("hugetlb", files(tmp_path, 1, texts))["hugetlb"]
    assert found == {"2MB": {"usage": 4, "max": 6, "failcnt": 1}}


def test_huge_pages_of_v2(tmp_path: Path) -> None:
    texts = {"hugetlb.1GB.current": "4\n", "hugetlb.1GB.events": "max 2\n"}
    found = only("hugetlb", files(tmp_path, 2, texts))["hugetlb"]
    assert found == {"1GB": {"usage": 4, "failcnt": 2}}


def test_pressure(tmp_path: Path) -> None:
    line = "avg10=1.50 avg60=0.25 avg300=0.00 total=77"
    found = only("", files(tmp_path, 2, {"memory.pressure": f"some {line}\nfull {line}\n"}))
    averages = {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 77}
    assert found["memory"]["psi"] == {"some": averages, "full": averages}


# Out of memory

FILL = "bytearray(b'x') * (256 << 20)"


@LIVE
def test_who_runs_out_of_memory_is_told(make: Make, start: Start) -> None:
    cgroup = make(LIMITED)
    memory = cgroup.dir("memory")
    assert memory is not None
    watch = _oom.Watch(memory)
    poller = select.poll()
    poller.register(watch.fileno(), watch.mask)
    before = watch.news()
    with start(cgroup, FILL) as process:
        assert process.wait() == -signal.SIGKILL
    assert poller.poll(10_000)
    assert (before, watch.news(), watch.news()) == (False, True, False)
    assert cgroup.events()["oom_kill"] >= 1
    cgroup.remove()
    assert not watch.news()  # the group's end is none
    watch.close()


@LIVE
def test_events_end_with_the_first_process(make: Make, start: Start) -> None:
    cgroup = make(LIMITED)
    with start(cgroup) as process:
        pidfd = os.pidfd_open(process.pid)
        events = _events.follow(cgroup, 0.05, pidfd)
        kinds = [next(events)["type"] for _ in range(2)]
        with start(cgroup, FILL) as other:
            other.wait()
        kinds.append(next(event for event in events if event["type"] != "stats")["type"])
        process.kill()
        process.wait()
        assert {event["type"] for event in events} <= {"stats", "oom"}
        os.close(pidfd)
    assert kinds == ["stats", "stats", "oom"]
