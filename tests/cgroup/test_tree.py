# SPDX-License-Identifier: Apache-2.0
"""Groups of real sandboxes: limits that hold, counters that are true, kills that kill."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain._cgroup import CommandGroup, Host, Limits, Owner, SandboxTree, _remove
from pycontain._cgroup._build import ROOM_FOR_GROUPS
from pycontain._cgroup._owner import enable, inherit_cpuset
from pycontain._cgroup._tree import RETIRED_MAX
from pycontain.config import IoLimit
from pycontain.errors import ConfigError, UnsupportedError

from .conftest import wait_ready

if TYPE_CHECKING:
    from .conftest import MakeTree, Start

MB = 1 << 20

pytestmark = pytest.mark.requires("cgroup_memory", "cgroup_pids")


def value(tree: SandboxTree | CommandGroup, controller: str, v1: str, v2: str) -> str:
    directory = tree.dirs[controller]
    return Path(directory.path, v2 if directory.is_v2 else v1).read_text().strip()


LIMIT_FILES = "memory.limit_in_bytes", "memory.max"


def test_limits_are_in_the_kernel_and_in_enforcement(make_tree: MakeTree) -> None:
    limits = Limits(memory=64 * MB, swap=4 * MB, cpus=0.5, pids=17, cpuset="0")
    tree = make_tree(limits)
    assert value(tree, "memory", *LIMIT_FILES) == str(64 * MB + ROOM_FOR_GROUPS)
    group = tree.command_group()
    assert value(group, "memory", *LIMIT_FILES) == str(64 * MB)
    group.remove()
    assert value(tree, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert value(tree, "pids", "pids.max", "pids.max") == "17"
    assert value(tree, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    expected = ("memory", "swap", "cpus", "pids", "cpuset", "tracking", "kill", "freeze")
    assert [name for name in expected if not tree.enforcement[name].in_force] == []
    source = "memory.max" if tree.dirs["memory"].is_v2 else "memory.limit_in_bytes"
    assert source in tree.enforcement["memory"].by


def test_swap_is_bounded_beside_memory(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(memory=64 * MB, swap=4 * MB))
    if not tree.enforcement["swap"].by.startswith("cgroup"):
        assert len(Path("/proc/swaps").read_text().splitlines()) == 1
        return
    expected = 4 * MB if tree.dirs["memory"].is_v2 else 68 * MB + ROOM_FOR_GROUPS
    text = value(tree, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
    assert text == str(expected)


def test_without_limits_only_the_tracking_group_is_made(make_tree: MakeTree) -> None:
    tree = make_tree()
    made = {"core"} if "core" in tree.dirs else {"freezer", "cpuacct"}
    assert set(tree.dirs) == made
    group = tree.command_group()
    assert len(group.tasks_fds) == len({d for d in group.dirs.values() if not d.is_v2})
    group.remove()


def test_what_is_only_counted_is_counted(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(counters=("memory", "pids"))
    group = tree.command_group()
    with start(group, "touch", 16 * MB) as process:
        wait_ready(process)
        assert group.usage()["memory_peak"].value > 15 * MB
    assert group.usage()["pids_peak"].value == 1
    assert tree.enforcement["memory"].in_force is False
    assert group.remove()


@pytest.mark.parametrize("single", [False, True])
def test_peak_memory_is_what_was_touched(make_tree: MakeTree, start: Start, single: bool) -> None:
    group = make_tree(Limits(memory=256 * MB), single=single).command_group()
    with start(group, "touch", 64 * MB) as process:
        wait_ready(process)
    peak, source = group.usage()["memory_peak"]
    assert 0.95 < peak / (64 * MB) < 1.05
    assert source in {"cgroup v1 memory.max_usage_in_bytes", "cgroup v2 memory.peak"}


@pytest.mark.parametrize("single", [False, True])
def test_memory_beyond_the_limit_is_an_oom_kill(
    make_tree: MakeTree, start: Start, single: bool
) -> None:
    group = make_tree(Limits(memory=16 * MB), single=single).command_group()
    with start(group, "touch", 64 * MB) as process:
        assert process.wait() == -signal.SIGKILL
    assert group.events()["oom_kill"] >= 1
    assert group.usage()["memory_peak"].value <= 16 * MB


def test_an_oom_killed_grandchild_is_seen(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(memory=16 * MB))
    group = tree.command_group()
    with start(group, "child-touch", 64 * MB) as process:
        status = process.wait()
    assert group.events()["oom_kill"] >= 1
    whole = tree.enforcement["oom_group"].in_force
    assert status == (-signal.SIGKILL if whole else 0)


def test_another_command_of_the_sandbox_survives_an_oom_kill(
    make_tree: MakeTree, start: Start
) -> None:
    tree = make_tree(Limits(memory=16 * MB))
    bystander, culprit = tree.command_group(), tree.command_group()
    with start(bystander, "sleep") as quiet:
        wait_ready(quiet)
        with start(culprit, "touch", 64 * MB) as process:
            assert process.wait() == -signal.SIGKILL
        assert bystander.events()["oom_kill"] == 0
        assert culprit.events()["oom_kill"] >= 1
        quiet.communicate()
        assert quiet.returncode == 0


@pytest.mark.parametrize("single", [False, True])
def test_forks_beyond_the_limit_are_counted(
    make_tree: MakeTree, start: Start, single: bool
) -> None:
    group = make_tree(Limits(pids=6), single=single).command_group()
    with start(group, "forks", 50) as process:
        assert process.stdout is not None
        assert process.communicate()[0] == "5\n"
    assert group.events()["pids_max"] >= 1
    assert group.usage()["pids_peak"].value == 6


def test_forks_within_the_limit_are_no_event(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(pids=6))
    refused = tree.command_group()
    with start(refused, "forks", 50) as process:
        process.communicate()
    fine = tree.command_group()
    with start(fine, "forks", 3) as process:
        assert process.stdout is not None
        assert process.communicate()[0] == "3\n"
    assert fine.events()["pids_max"] == 0
    assert fine.usage()["pids_peak"].value == 4


@pytest.mark.requires("real_cpu")
def test_cpu_time_is_that_of_the_whole_tree(make_tree: MakeTree, start: Start) -> None:
    group = make_tree().command_group()
    with start(group, "spin", 0.2) as process:
        assert process.stdout is not None
        truth = float(process.stdout.read())
    usage = group.usage()
    assert truth >= 0.8
    assert usage["user_s"].value + usage["system_s"].value == pytest.approx(
        truth, rel=0.03, abs=0.01
    )


def disk_of(path: Path) -> str:
    """Return major:minor of the disk that a path is on."""
    device = os.stat(path).st_dev
    block = Path("/sys/dev/block", f"{os.major(device)}:{os.minor(device)}")
    if not block.exists():
        pytest.skip(f"{path} is on no block device")
    whole = block.resolve().parent if (block / "partition").exists() else block
    return (whole / "dev").read_text().strip()


@pytest.mark.requires("root")
def test_bytes_written_to_a_device_are_counted(
    make_tree: MakeTree, start: Start, tmp_path: Path
) -> None:
    limit = IoLimit(device=disk_of(tmp_path), write_bytes=1 << 30)
    group = make_tree(Limits(io=(limit,)), counters=("io",)).command_group()
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
    with start(group, "write", 8, extra_fd=fd) as process:
        process.communicate()
    os.close(fd)
    assert process.returncode == 0
    assert 8 * MB <= group.usage()["io_write"].value < 12 * MB
    assert group.usage()["io_read"].value < MB


@pytest.mark.requires("root")
def test_io_limits_are_written_and_lifted(make_tree: MakeTree) -> None:
    device = next(iter(sorted(os.listdir("/sys/block"))))
    number = Path("/sys/block", device, "dev").read_text().strip()
    tree = make_tree(Limits(io=(IoLimit(device=number, write_bytes=5 * MB),)))
    written = value(tree, "io", "blkio.throttle.write_bps_device", "io.max")
    assert written.startswith(number)
    assert str(5 * MB) in written
    tree.update(Limits())
    assert value(tree, "io", "blkio.throttle.write_bps_device", "io.max") == ""
    assert not tree.enforcement["io"].in_force


def test_limits_change_while_a_command_runs(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(memory=32 * MB, pids=4))
    group = tree.command_group()
    with start(group, "sleep") as process:
        wait_ready(process)
        for memory in (64 * MB, 24 * MB, None, 32 * MB):
            tree.update(Limits(memory=memory, pids=9))
            text = value(group, "memory", *LIMIT_FILES)
            assert (text == str(memory)) is (memory is not None)
            text = value(tree, "memory", *LIMIT_FILES)
            assert memory is None or int(text) == memory + ROOM_FOR_GROUPS
            assert tree.enforcement["memory"].in_force is (memory is not None)
        assert value(tree, "pids", "pids.max", "pids.max") == "9"
        process.communicate()
        assert process.returncode == 0


def test_a_limit_that_the_sandbox_was_made_without_is_added_or_refused(
    make_tree: MakeTree,
) -> None:
    tree = make_tree(Limits(pids=4))
    wanted = Limits(pids=4, memory=32 * MB)
    if tree.dirs["pids"].is_v2:
        tree.update(wanted)
        assert value(tree, "memory", "", "memory.max") == str(32 * MB + ROOM_FOR_GROUPS)
    else:
        with pytest.raises(UnsupportedError, match=r"memory: .*when making it"):
            tree.update(wanted)


def processor_time(group: CommandGroup) -> float:
    usage = group.usage()
    return usage["user_s"].value + usage["system_s"].value


def test_frozen_processes_stand_still_until_thawed(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree()
    group = tree.command_group()
    with start(group, "spin", 30) as process:
        while group.usage()["user_s"].value < 0.02:
            continue
        assert tree.freeze()
        before = processor_time(group)
        later = time.monotonic() + 0.05
        while time.monotonic() < later:
            os.sched_yield()
        # The kernel may charge the way into the freezer late.
        assert processor_time(group) - before < 0.005
        assert tree.thaw()
        while processor_time(group) - before < 0.05:
            assert process.poll() is None
        assert tree.freeze()
        assert group.kill()
        assert process.wait() == -signal.SIGKILL
        assert tree.thaw()


@pytest.mark.parametrize("mode, count", [("spread", 20), ("bomb", 0), ("sleep", 0)])
def test_kill_ends_whatever_runs_in_the_group(
    make_tree: MakeTree, start: Start, mode: str, count: int
) -> None:
    group = make_tree(Limits(pids=40)).command_group()
    with start(group, mode, count) as process:
        wait_ready(process)
        assert group.kill()
        assert process.wait() == -signal.SIGKILL
    assert group.kill()
    assert group.remove()
    assert group.kill()


def test_kill_from_many_threads_ends_once(make_tree: MakeTree, start: Start) -> None:
    group = make_tree(Limits(pids=40)).command_group()
    with start(group, "spread", 20) as process:
        wait_ready(process)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda _: group.kill(), range(8))) == [True] * 8
        assert process.wait() == -signal.SIGKILL


def test_kill_of_one_command_leaves_the_others(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree()
    first, second = tree.command_group(), tree.command_group()
    with start(first, "sleep") as one, start(second, "sleep") as two:
        wait_ready(one)
        wait_ready(two)
        assert first.kill()
        assert one.wait() == -signal.SIGKILL
        two.communicate()
        assert two.returncode == 0


@pytest.mark.requires("cgroup_v2")
def test_kernels_without_cgroup_kill_are_served_by_freezing(
    make_tree: MakeTree, start: Start
) -> None:
    group = make_tree(Limits(pids=40)).command_group()
    path = next(d.path for d in group.dirs.values())
    file, words = ("cgroup.freeze", ("1", "0")) if group.dirs.get("core") else ("none", ("", ""))
    with start(group, "spread", 20) as process:
        wait_ready(process)
        core = group.dirs.get("core")
        assert _remove._kill_frozen(core.path if core else path, file, words, time.monotonic() + 10)
        assert process.wait() == -signal.SIGKILL


def test_a_group_is_removed_only_when_it_is_empty(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(pids=4))
    group = tree.command_group()
    with start(group, "sleep") as process:
        wait_ready(process)
        assert not group.remove(0)
        assert not tree.remove(0)
        removed: list[bool] = []
        waiting = threading.Thread(target=lambda: removed.append(group.remove(30)))
        waiting.start()
        process.communicate()
        waiting.join()
        assert removed == [True]
    assert tree.remove()
    assert [d.path for d in tree.dirs.values() if os.path.exists(d.path)] == []


def there(groups: list[CommandGroup]) -> int:
    """Return how many of the groups have a directory."""
    return sum(any(os.path.exists(d.path) for d in group.dirs.values()) for group in groups)


def test_groups_of_earlier_commands_go_while_the_next_one_runs(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(pids=4))
    earlier, running = [tree.command_group(), tree.command_group()], tree.command_group()
    for group in earlier:
        tree.retire(group)
    assert there([*earlier, running]) == 3
    tree.between()
    assert there(earlier) == 0
    assert there([running]) == 1
    running.remove()


def test_only_a_few_groups_wait_for_their_removal(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(pids=4))
    groups = [tree.command_group() for _ in range(3 * RETIRED_MAX)]
    for ended, group in enumerate(groups, 1):
        tree.retire(group)
        assert there(groups[:ended]) <= RETIRED_MAX
    assert tree.remove()
    assert there(groups) == 0


def test_what_a_command_left_running_keeps_its_group(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(pids=4))
    group = tree.command_group()
    with start(group, "sleep") as process:
        wait_ready(process)
        tree.retire(group)
        tree.between()
        assert there([group]) == 1
        assert tree.kill()
        assert process.wait() == -signal.SIGKILL
    assert tree.remove()
    assert there([group]) == 0


@pytest.mark.requires("cgroup_v2")
@pytest.mark.parametrize("single", [False, True])
def test_the_payload_is_empty_when_its_last_process_is_gone(
    make_tree: MakeTree, start: Start, single: bool
) -> None:
    tree = make_tree(Limits(pids=4), single=single)
    by_v2 = "core" in tree.dirs
    group = tree.command_group()
    with start(group, "sleep") as process:
        wait_ready(process)
        assert not tree.empty
        process.communicate()
    assert _remove.until(lambda: tree.empty is by_v2, time.monotonic() + 10)
    tree.remove_payload()
    assert there([group]) == 0


def test_groups_made_inside_are_removed_too(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(pids=4))
    group = tree.command_group()
    for directory in set(group.dirs.values()):
        os.makedirs(f"{directory.path}/made/by/somebody")
    assert group.remove()
    assert [d.path for d in group.dirs.values() if os.path.exists(d.path)] == []


def test_a_single_command_lives_in_the_limited_group(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(pids=4), single=True)
    group = tree.command_group()
    assert group.dirs == tree.dirs
    with pytest.raises(UnsupportedError, match="single"):
        tree.command_group()
    group.remove()


def test_pid_1_is_outside_the_limits(make_tree: MakeTree) -> None:
    tree = make_tree(Limits(pids=4))
    fd = tree.open_init()
    if "core" not in tree.dirs:
        assert fd == -1
        return
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    assert not path.startswith(tree.dirs["core"].path)
    assert os.path.commonpath([path, tree.dirs["core"].path]) == os.path.dirname(
        tree.dirs["core"].path
    )


@pytest.mark.requires("root", "cgroup_v2")
@pytest.mark.parametrize("single", [False, True])
def test_pid_1_may_start_commands_in_their_groups(tmp_path: Path, single: bool) -> None:
    owner = Owner(str(tmp_path))
    tree = SandboxTree.create(Limits(pids=4), owner=owner, owner_uid=100000, single=single)
    group = tree.command_group()
    root = tree._groups.root
    assert root is not None
    for directory in (root, group.dirs["core"].path):
        assert os.stat(f"{directory}/cgroup.procs").st_uid == 100000
        assert os.stat(f"{directory}/cgroup.subtree_control").st_uid == 0
        assert os.stat(directory).st_uid == 0
    group.remove()
    assert tree.remove()
    owner.close()


def test_without_any_hierarchy_everything_is_said_and_nothing_fails(tmp_path: Path) -> None:
    owner = Owner(str(tmp_path), Host(v2=None, v1=()))
    tree = SandboxTree.create(Limits(memory=64 * MB, cpus=1), owner=owner)
    for name in ("memory", "cpus", "tracking", "kill", "freeze"):
        control = tree.enforcement[name]
        assert not control.in_force
        assert control.why
        assert control.remedy
    group = tree.command_group()
    assert (group.v2_dir_fd, group.tasks_fds, group.usage(), group.events()) == (-1, (), {}, {})
    assert tree.open_init() == -1
    assert not group.kill()
    assert not tree.kill()
    with pytest.raises(UnsupportedError, match="freeze"):
        tree.freeze()
    assert group.remove()
    assert tree.remove()
    owner.close()


def test_a_cpuset_beyond_the_parent_group_is_refused_and_leaves_nothing(
    owner: Owner, tmp_path: Path
) -> None:
    if (os.cpu_count() or 1) < 2:
        return
    places = owner.places(frozenset({"cpuset"}))
    base = next(iter(places.v1), places.v2)
    assert base is not None
    if "cpuset" in places.v2_controllers:
        enable(base, frozenset({"cpuset"}))
    narrow = f"{base}/pycontain-test-{os.getpid()}"
    os.mkdir(narrow)
    inherit_cpuset(base, narrow)
    Path(narrow, "cpuset.cpus").write_text("0")
    try:
        with pytest.raises(ConfigError, match=r"cpuset='1'.* CPUs 1 .*cpuset\.cpus.*: 0\)"):
            SandboxTree.create(Limits(cpuset="1", pids=3), cgroup=narrow, owner=owner)
        left = [path for path in Path(narrow, owner.identity).iterdir() if path.is_dir()]
        assert left == []
    finally:
        owner.close()
        os.rmdir(narrow)


def test_a_directory_that_vanished_is_made_again(owner: Owner, make_tree: MakeTree) -> None:
    first = make_tree(Limits(pids=4))
    assert first.remove()
    for directory in list(owner._directories.values()):
        os.rmdir(directory)
    assert make_tree(Limits(pids=4)).enforcement["pids"].in_force


def test_many_threads_make_and_remove_groups(owner: Owner, start: Start) -> None:
    def one(number: int) -> bool:
        tree = SandboxTree.create(Limits(memory=64 * MB, pids=8), owner=owner)
        groups = [tree.command_group() for _ in range(2)]
        with start(groups[0], "touch", (number % 4 + 1) * MB) as process:
            wait_ready(process)
        peak = groups[0].usage()["memory_peak"].value
        clean = all(group.remove() for group in groups) and tree.remove()
        return clean and peak >= (number % 4 + 1) * MB

    fds = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(80)))
    assert len(os.listdir("/proc/self/fd")) == fds


def test_stats_show_what_is_in_use(make_tree: MakeTree, start: Start) -> None:
    tree = make_tree(Limits(memory=64 * MB, pids=8))
    with start(tree.command_group(), "touch", 8 * MB) as process:
        wait_ready(process)
        stats = tree.stats()
        assert stats["memory"].value > 7 * MB
        assert stats["pids"].value == 1
        assert {"user_s", "system_s", "memory_peak", "pids_peak"} <= stats.keys()
    assert tree.events()["oom_kill"] == 0


def test_places_are_those_that_were_given(owner: Owner) -> None:
    found = owner.places(frozenset({"pids"}))
    base = found.v2 if "pids" in found.v2_controllers else next(iter(found.v1))
    assert base is not None
    tree = SandboxTree.create(Limits(pids=3), cgroup=base, owner=owner)
    assert tree.dirs["pids"].path.startswith(f"{base}/")
    assert tree.remove()


def test_peaks_below_a_limit_that_was_changed_are_not_cut(
    make_tree: MakeTree, start: Start
) -> None:
    tree = make_tree(Limits(memory=16 * MB, pids=9))
    group = tree.command_group()
    tree.update(Limits(memory=64 * MB, pids=9))
    with start(group, "touch", 32 * MB) as process:
        wait_ready(process)
    tree.update(Limits(memory=8 * MB, pids=9))
    assert group.usage()["memory_peak"].value > 31 * MB
