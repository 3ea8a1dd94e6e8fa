# SPDX-License-Identifier: Apache-2.0
"""A living sandbox is paused, resumed, measured and given other limits while its commands run."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import settles
from pycontain import (
    AsyncSandbox,
    ConfigError,
    FilesError,
    IoLimit,
    Reason,
    Sandbox,
    SandboxClosedError,
    SandboxPausedError,
    TimeoutExpired,
    UnsupportedError,
    _cgroup,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done"

group = pytest.mark.requires("cgroup")
memory = pytest.mark.requires("cgroup_memory")
pids = pytest.mark.requires("cgroup_pids")


@pytest.fixture
def sb() -> Iterator[Sandbox]:
    with Sandbox(memory="128M", pids=32) as sandbox:
        yield sandbox


def counted(sb: Sandbox) -> bytes:
    with suppress(FilesError):  # not there yet
        return sb.files.read_bytes("/tmp/count")
    return b""


def runs(sb: Sandbox) -> bool:
    before = counted(sb)
    return settles(lambda: counted(sb) != before)


@memory
@pids
def test_a_paused_sandbox_uses_no_processor_time_and_goes_on_when_resumed(sb: Sandbox) -> None:
    process = sb.popen(["sh", "-c", COUNT])
    assert settles(lambda: counted(sb) != b"")
    sb.pause()
    sb.pause()
    used, count = sb.stats(), counted(sb)
    with pytest.raises(TimeoutExpired):
        process.wait(0.3)
    assert (sb.stats().user_s, sb.stats().system_s) == (used.user_s, used.system_s)
    assert counted(sb) == count
    sb.resume()
    sb.resume()
    assert runs(sb)
    process.kill_all()


@memory
@pids
def test_no_command_starts_in_a_paused_sandbox(sb: Sandbox) -> None:
    sb.pause()
    for start in (sb.run, sb.popen):
        with pytest.raises(SandboxPausedError, match="resume"):
            start(["true"])
    sb.resume()
    assert sb.run(["true"], timeout=60).returncode == 0


@memory
@pids
@pytest.mark.parametrize("how", ["kill_all", "close", "wall_limit"])
def test_what_is_paused_can_be_killed(how: str) -> None:
    with Sandbox(memory="128M", pids=32, wall_limit=0.5) as sb:
        process = sb.popen(["sleep", "60"])
        sb.pause()
        if how == "kill_all":
            process.kill_all()
        elif how == "close":
            sb.close()
        assert process.wait(60) == -signal.SIGKILL
        assert process.reason == (Reason.WALL_LIMIT if how == "wall_limit" else Reason.KILLED)


def test_without_a_group_nothing_can_be_paused_or_updated() -> None:
    with Sandbox(memory="max", pids="max") as sb:
        for change in (sb.pause, sb.resume, lambda: sb.update(memory="64M")):
            with pytest.raises(UnsupportedError, match="no control group"):
                change()
        assert sb.stats().memory is None
        assert sb.run(["true"]).returncode == 0


@group
def test_a_group_can_be_had_for_pausing_alone() -> None:
    with Sandbox(require=("freeze",)) as sb:
        sb.pause()
        sb.resume()
        assert sb.run(["true"], timeout=60).returncode == 0


@memory
@pids
def test_stats_tell_what_is_used_and_by_which_file(sb: Sandbox) -> None:
    args = [sys.executable, "-c", "x = bytearray(b'x') * (32 << 20); input()"]
    process = sb.popen(args, stdin=-1)
    assert settles(lambda: (sb.stats().memory or 0) > 32 * MIB)
    stats = sb.stats()
    assert stats.pids == 1
    assert stats.memory is not None
    assert stats.memory_peak is not None
    assert stats.memory <= stats.memory_peak <= 128 * MIB
    assert stats.user_s is not None
    names = ("memory", "memory_peak", "pids", "user_s", "system_s", *stats.pressure)
    assert [name for name in names if "cgroup v" not in stats.sources[name]] == []
    assert all(0 <= percent <= 100 for percent in stats.pressure.values())
    process.communicate(b"\n")
    assert settles(lambda: sb.stats().pids == 0)


@memory
def test_stats_iterate_until_the_sandbox_ends() -> None:
    with Sandbox(memory="64M") as sb:
        seen = list(itertools.islice(sb.stats(interval=0.001), 3))
        assert [stats.time_s for stats in seen] == sorted({stats.time_s for stats in seen})
        rest = sb.stats(interval=60)
        next(rest)
        closer = threading.Thread(target=sb.close)
        closer.start()
        assert list(rest) == []
        closer.join()
        with pytest.raises(SandboxClosedError):
            sb.stats()


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "1"])
def test_an_interval_is_a_time(interval: Any) -> None:
    with Sandbox() as sb, pytest.raises(ConfigError, match="interval"):
        sb.stats(interval)


@memory
def test_more_memory_while_a_program_runs() -> None:
    code = "input(); x = bytearray(b'x') * (100 << 20)"
    with Sandbox(memory="64M") as sb:
        process = sb.popen([sys.executable, "-c", code], stdin=-1)
        sb.update(memory="256M")
        process.communicate(b"\n", timeout=60)
        assert (process.returncode, process.reason) == (0, Reason.EXITED)


@memory
@pids
def test_a_new_limit_holds_and_a_lifted_one_does_not(sb: Sandbox) -> None:
    fork = ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 0.05 & done; wait"]
    sb.update(pids=4)
    assert sb.run(fork, timeout=60).reason == Reason.PIDS_LIMIT
    sb.update(pids=None)
    assert sb.run(fork, timeout=60).reason == Reason.EXITED
    assert not sb.enforcement["pids"].in_force
    assert sb.enforcement["memory"].in_force


@memory
@pids
@pytest.mark.parametrize(
    "limits, error, word",
    [
        ({"memory": "12Q"}, ConfigError, "memory"),
        ({"pids": 0}, ConfigError, "pids"),
        ({"cpus": -1}, ConfigError, "cpus"),
        ({"memory": "8E"}, ConfigError, "memory"),
        ({"memory": 1 << 60, "pids": 8}, ConfigError, "MemTotal"),
        ({"io": ["8:0"]}, ConfigError, "io"),
    ],
)
def test_a_refused_update_changes_nothing(
    sb: Sandbox, limits: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        sb.update(**limits)
    runtime = sb.runtime
    assert runtime.tree is not None
    directory = runtime.tree.dirs["pids"].path
    assert Path(directory, "pids.max").read_text() == "32\n"


@memory
def test_limits_of_an_event_loops_sandbox_live_too() -> None:
    async def main() -> None:
        async with AsyncSandbox(memory="64M", wall_limit=60) as sb:
            process = await sb.popen(["sleep", "60"])
            await sb.pause()
            with pytest.raises(SandboxPausedError):
                await sb.run(["true"])
            await sb.resume()
            assert ((await sb.stats()).memory or 0) > 0
            await sb.update(memory="128M")
            assert sb.enforcement["memory"].in_force
            seen = 0
            async for stats in sb.stats(interval=0.001):
                assert stats.memory is not None
                seen += 1
                if seen == 3:
                    await sb.close()
            assert seen == 3
            assert await process.wait() == -signal.SIGKILL

    asyncio.run(main())


@memory
@pytest.mark.requires("real_cpu")  # the start of sleep takes little time
def test_limits_end_commands_of_an_event_loop() -> None:
    async def main() -> tuple[pycontain.Result, pycontain.Result, Reason | None]:
        async with AsyncSandbox(memory="64M", wall_limit=0.5, cpu_limit=0.2) as sb:
            spin, sleep = await asyncio.gather(
                sb.run(["sh", "-c", "while :; do :; done"]), sb.run(["sleep", "60"])
            )
            process = await sb.popen(["sleep", "60"])
            await process.wait(60)
            return spin, sleep, process.reason

    spin, sleep, reason = asyncio.run(main())
    assert spin.reason in {Reason.CPU_LIMIT, Reason.WALL_LIMIT}  # a busy machine gives less time
    assert sleep.reason == reason == Reason.WALL_LIMIT


@memory
def test_groups_are_made_where_the_caller_says(tmp_path: Path) -> None:
    host = _cgroup.detect()
    places = _cgroup.find(host, frozenset({"memory"}))
    above = Path(next(iter(places.v1), places.v2) or "")
    if not places.v1:
        (above / "cgroup.subtree_control").write_text("+memory")
    home = above / "pycontain-test-place"
    home.mkdir()
    try:
        with Sandbox(memory="64M", cgroup=home) as sb:
            runtime = sb.runtime
            assert runtime.tree is not None
            assert Path(runtime.tree.dirs["memory"].path).is_relative_to(home)
            assert sb.run(["true"], timeout=60).returncode == 0
    finally:
        for path in sorted(home.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
        home.rmdir()
        _cgroup.current_owner().forget()


@pytest.mark.parametrize(
    "cgroup, words",
    [
        ("/tmp", ("not a cgroup",)),
        ("relative/path", ("absolute",)),
        ("/sys/fs/cgroup/../cgroup", ("absolute", "..")),
        ("/sys/fs/cgroup/pycontain-absent", ("No such file", "make the group first")),
    ],
)
def test_a_place_that_cannot_serve_is_named(cgroup: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        pycontain.run(["true"], cgroup=cgroup)
    assert [word for word in (cgroup, *words) if word not in str(caught.value)] == []


@group
def test_a_place_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    host = _cgroup.detect()
    hierarchy = host.v2 or host.v1[0]
    link = tmp_path / "link"
    link.symlink_to(hierarchy.own or hierarchy.mount)
    with pytest.raises(ConfigError, match="symbolic link"):
        pycontain.run(["true"], cgroup=link)


@pytest.mark.parametrize(
    "limit, word",
    [
        (IoLimit("/nowhere", read_bytes="1M"), "No such file"),
        (IoLimit("/proc", read_bytes="1M"), "/sys/dev/block"),
        (IoLimit("4095:1", read_ops=5), "4095:1"),
    ],
)
def test_a_disk_that_is_not_there_is_named(limit: IoLimit, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        pycontain.run(["true"], io=[limit])
