# SPDX-License-Identifier: Apache-2.0
"""Containers' groups from making to removing them, with processes in them."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycontain import _cgroup
from pycontain._cgroup import _files, _systemd
from pycontain._oci import _cgroups
from pycontain._oci._cgroups import _cpuset, _create, _homes, _path
from pycontain._oci._spec import CPU, Memory, Resources
from pycontain.errors import ConfigError, UnsupportedError

from .conftest import config, left, unique, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Make, Start

MB = 1 << 20

pytestmark = [pytest.mark.requires("root", "cgroup_pids"), pytest.mark.usefixtures("view")]


def groups(pid: int) -> set[str]:
    """Return the groups of a process, as paths in their hierarchies."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[2] for line in lines}


def test_a_process_is_in_all_of_them(make: Make, start: Start, view: str) -> None:
    path = f"/{unique()}/inner"
    cgroup = make(path=path)
    with start(cgroup) as process:
        there = groups(process.pid)
        assert cgroup.pids() == (process.pid,)
    assert there == {path} if view == "as it is" else path in there


def test_absolute_paths_begin_at_the_root(make: Make) -> None:
    name = unique()
    cgroup = make(path=f"/{name}")
    host = _cgroup.detect()
    mounts = [h.mount for h in (host.v2, *host.v1, *host.named) if h is not None]
    assert set(cgroup.paths.values()) <= {f"{mount}/{name}" for mount in mounts}


@pytest.mark.parametrize("path", ["", "relative"])
def test_other_paths_begin_at_our_own_group(make: Make, path: str) -> None:
    name = unique()
    cgroup = make(path=path and f"{name}/{path}")
    for h in _cgroup.detect().v1:
        (controller, *_) = h.controllers
        assert cgroup.paths[controller].startswith(f"{h.own}/")
    assert all(os.path.isdir(found) for found in cgroup.paths.values())


def test_a_limit_above_the_container_holds_for_it(make: Make) -> None:
    """A v1 cpuset that was made a moment ago has no processors of its own."""
    name = unique()
    cgroup = make(Resources(cpu=CPU(cpus="0")), f"/{name}/a/b")
    assert value(cgroup, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"


@pytest.mark.parametrize("path", ["/{name}", "/{name}/deeper/yet"])
def test_nothing_is_left(make: Make, start: Start, path: str) -> None:
    name = unique()
    cgroup = make(path=path.format(name=name))
    with start(cgroup) as process:
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    cgroup.remove()
    assert left(name) == []


def test_the_default_parent_goes_with_the_last_container(make: Make) -> None:
    first, second = make(path=""), make(path="")
    parents = {str(Path(path).parent) for path in first.paths.values()}
    assert {Path(parent).name for parent in parents} == {_path.DEFAULT_PARENT}
    first.remove()
    assert all(os.path.isdir(path) for path in second.paths.values())
    second.remove()
    used = [parent for parent in parents if os.path.isdir(parent)]
    assert [parent for parent in used if not _cgroup._remove.children(parent)] == []


def test_a_parent_that_was_there_stays(make: Make) -> None:
    name = unique()
    outer = make(path=f"/{name}")
    inner = make(path=f"/{name}/inner")
    inner.remove()
    assert all(os.path.isdir(path) for path in outer.paths.values())


def test_groups_made_inside_are_removed(make: Make) -> None:
    name = unique()
    cgroup = make(path=f"/{name}")
    for path in set(cgroup.paths.values()):
        Path(path, "a", "b").mkdir(parents=True)
    cgroup.remove()
    assert left(name) == []


@pytest.mark.requires("cgroup_v2")
def test_groups_made_deeper_than_a_path_can_be(make: Make, start: Start, view: str) -> None:
    """As a container that has its groups writable can."""
    if view != "as it is":
        return
    name = unique()
    cgroup = make(path=f"/{name}")
    with contextlib.chdir(cgroup.paths[""]):
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    with start(cgroup) as process:
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    cgroup.remove()
    assert left(name) == []


def test_a_group_in_use_cannot_be_removed(make: Make, start: Start) -> None:
    cgroup = make()
    with start(cgroup) as process:
        with pytest.raises(UnsupportedError, match=rf"\[{process.pid}\] are still in it") as caught:
            _cgroups.load(cgroup.to_json()).remove(0.05)
        assert caught.value.errno == errno.EBUSY


@pytest.mark.parametrize("inner", ["", "/inner"])
def test_a_group_in_use_is_refused(make: Make, start: Start, inner: str) -> None:
    name = unique()
    used = make(path=f"/{name}{inner}")
    with start(used), pytest.raises(UnsupportedError, match="cgroup is not empty: 1 process"):
        make(path=f"/{name}")


def test_an_empty_group_is_taken_and_removed(make: Make) -> None:
    name = unique()
    _cgroups.create(config(f"/{name}"), "id", systemd=False).close()
    make(path=f"/{name}").remove()
    assert left(name) == []


def test_of_what_a_killed_maker_planned_only_what_was_not_there_is_removed(
    make: Make, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_create, "REMOVE_SECONDS", 0.1)
    name = unique()
    used = make(path=f"/{name}/used")
    plans = [_create.plan_groups(config(f"/{name}/{part}"), "id") for part in ("used", "new/own")]
    missing = [plan.missing() for plan in plans]
    assert missing[0] == {"groups": [], "above": []}
    _cgroups.create(config(f"/{name}/new/own"), "id", planned=plans[1]).close()
    assert left(f"{name}/new/own") != []
    with start(used) as process:
        for row in missing:
            _cgroups.remove_planned(row)
        assert left(f"{name}/new") == []
        assert used.pids() == (process.pid,)


@pytest.mark.parametrize("path", ["/../escape", "a/../../b"])
def test_no_path_leads_out(path: str) -> None:
    with pytest.raises(ConfigError, match=r"must not contain '\.\.'"):
        _cgroups.create(config(path), "id", systemd=False)


def test_no_scope_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_systemd, "booted", lambda: False)
    with pytest.raises(UnsupportedError, match="--systemd-cgroup: systemd does not run this"):
        _cgroups.create(config("s.slice:p:n"), "id", systemd=True)
    with pytest.raises(ConfigError, match='of format "slice:prefix:name"'):
        _cgroups.create(config("/a/b"), "id", systemd=True)


def test_it_is_found_again(make: Make, start: Start) -> None:
    cgroup = make(Resources(pids_limit=20))
    with start(cgroup) as process:
        again = _cgroups.load(cgroup.to_json())
        assert (again.cgroup_fd, again.tasks_fds) == (None, ())
        assert again.paths == cgroup.paths
        again.update(Resources(pids_limit=30))
        assert value(cgroup, "pids", "pids.max", "pids.max") == "30"
        assert again.pids() == (process.pid,)


# Kill


FORKS = """
import signal, time
for _ in range(4):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(100)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(100)
"""


def test_a_signal_reaches_all(make: Make, start: Start) -> None:
    cgroup = make()
    with start(cgroup, "print('ready', flush=True); input()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        cgroup.kill(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_ends_all(make: Make, start: Start, frozen: bool) -> None:
    cgroup = make()
    with start(cgroup, FORKS) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(5)] == ["ready\n"] * 5
        assert len(cgroup.pids()) == 5
        if frozen:
            cgroup.freeze()
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert cgroup.pids() == ()
    cgroup.remove()


def test_kill_reaches_groups_made_inside(make: Make, start: Start) -> None:
    cgroup = make()
    with start(cgroup) as process:
        for path in set(cgroup.paths.values()):
            inner = Path(path, "inner")
            inner.mkdir()
            if path == cgroup.paths.get("cpuset"):
                _cpuset.inherit(path, str(inner))
            (inner / "cgroup.procs").write_text(str(process.pid))
        assert cgroup.pids() == (process.pid,)
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    cgroup.remove()


def test_kill_through_a_freezer_that_somebody_else_closed(make: Make, start: Start) -> None:
    cgroup = make()
    if (freezer := cgroup.paths.get("freezer")) is None:
        freezer, file, word = cgroup.paths[""], "cgroup.freeze", "1"
    else:
        file, word = "freezer.state", "FROZEN"
    with start(cgroup) as process:
        Path(freezer, file).write_text(word)
        assert cgroup.frozen
        cgroup.kill(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


# Freeze


def test_freeze_and_thaw(make: Make, start: Start) -> None:
    cgroup = make()
    states = [cgroup.frozen]
    with start(cgroup, "print(input(), flush=True)") as process:
        cgroup.freeze()
        states += [cgroup.frozen, _cgroups.load(cgroup.to_json()).frozen]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("asked\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 0.05)[0] == []
        cgroup.thaw()
        states.append(cgroup.frozen)
        assert process.stdout.readline() == "asked\n"
    assert states == [False, True, True, False]


# Exec


def test_enter(make: Make, start: Start) -> None:
    cgroup = make()
    entered = _cgroups.load(cgroup.to_json()).enter()
    with start(entered) as process:
        assert cgroup.pids() == (process.pid,)
    entered.close()


def test_enter_a_group_made_inside(make: Make, start: Start) -> None:
    cgroup = make()
    for path in set(cgroup.paths.values()):
        Path(path, "inner").mkdir()
    if "cpuset" in cgroup.paths:
        _cpuset.inherit(cgroup.paths["cpuset"], f"{cgroup.paths['cpuset']}/inner")
    entered = cgroup.enter("/inner/")
    with start(entered) as process:
        assert {path.rpartition("/")[2] for path in groups(process.pid)} >= {"inner"}
        assert cgroup.pids() == (process.pid,)
    entered.close()


@pytest.mark.parametrize("sub_path, error", [("absent", UnsupportedError), ("../x", ConfigError)])
def test_enter_no_group(make: Make, sub_path: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=sub_path):
        make().enter(sub_path)


@pytest.mark.requires("cgroup_v2")
def test_enter_where_the_first_process_has_moved_to(make: Make, start: Start, view: str) -> None:
    """As systemd in a container does: then the container's own group takes no process."""
    if view != "as it is":
        return
    cgroup = make()
    core = cgroup.paths[""]
    offered = Path(core, "cgroup.controllers").read_text().split()
    inner = Path(core, "init")
    inner.mkdir()
    with start(cgroup) as process:
        (inner / "cgroup.procs").write_text(str(process.pid))
        for name in offered[:1]:
            Path(core, "cgroup.subtree_control").write_text(f"+{name}")
        entered = cgroup.enter(init=process.pid)
        entered.close()
        assert entered.paths[""] == (str(inner) if offered else core)


# Failures


class Fault:
    """Stands for a function, and fails the n-th time that it is about a path with a name in it."""

    def __init__(self, real: Callable[..., object], name: str) -> None:
        self.real, self.name = real, name
        self.calls = self.failing = 0

    def __call__(self, path: str, *rest: object) -> object:
        if self.name in str(path):
            self.calls += 1
            if self.calls == self.failing:
                raise OSError(errno.ENOSPC, "as if", str(path))
        return self.real(path, *rest)


@pytest.mark.parametrize(
    "module, function", [(os, "mkdir"), (_files, "write"), (_files, "read"), (os, "open")]
)
def test_any_failure_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, module: object, function: str
) -> None:
    name = unique()
    resources = Resources(
        memory=Memory(limit=64 * MB, swap=64 * MB), cpu=CPU(shares=512, cpus="0"), pids_limit=9
    )
    wanted = config(f"/{name}/inner", resources)
    fault = Fault(getattr(module, function), name)
    monkeypatch.setattr(module, function, fault)
    _cgroups.create(wanted, "id", systemd=False).remove()
    n_calls, fault.calls = fault.calls, 0
    assert n_calls > 1
    errors = []
    for failing in range(1, n_calls + 1):
        fault.calls, fault.failing = 0, failing
        try:
            cgroup = _cgroups.create(wanted, "id", systemd=False)
        except UnsupportedError as error:
            errors.append(str(error))
        else:  # it can do without
            fault.failing = 0
            cgroup.remove()
        assert left(name) == []
    assert errors
    words = "as if", "controller is not available"
    assert [text for text in errors if not any(word in text for word in words)] == []


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show hierarchies in which no directory can be made, as read-only ones in a container."""

    def nowhere(path: _path.Path) -> tuple[list[_homes.Home], list[str]]:
        del path
        host = _cgroup.detect()
        here = [h for h in (host.v2, *host.v1) if h is not None]
        return [_homes.Home(h, "/sys/kernel", ("x",)) for h in here], []

    monkeypatch.setattr(_homes, "homes", nowhere)


def test_no_groups_where_none_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch)
    cgroup = _cgroups.create(config("/x"), "id", systemd=False, device_rules=False)
    assert cgroup.paths == {}
    assert all("cannot make /sys/kernel/x" in note for note in cgroup.notes)
    assert cgroup.notes
    assert (cgroup.cgroup_fd, cgroup.tasks_fds) == (None, ())
    assert (cgroup.pids(), cgroup.frozen) == ((), False)
    with pytest.raises(UnsupportedError, match=r"cannot find all processes .*cannot make"):
        cgroup.kill(signal.SIGTERM)
    with pytest.raises(UnsupportedError, match="cannot freeze"):
        cgroup.freeze()
    cgroup.thaw()
    again = _cgroups.load(cgroup.to_json())
    again.enter().close()
    again.remove()


@pytest.mark.parametrize(
    "resources, field",
    [
        (Resources(pids_limit=5), "pids.limit"),
        (Resources(memory=Memory(reservation=MB)), "memory.reservation"),
        (Resources(unified={"memory.high": "1"}), "unified"),
    ],
)
def test_a_limit_without_groups_is_an_error(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, field: str
) -> None:
    refuse(monkeypatch)
    with pytest.raises(UnsupportedError, match=rf"linux\.resources\.{field}"):
        _cgroups.create(config("/x", resources), "id", systemd=False, device_rules=False)


def test_devices_without_groups_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch)
    with pytest.raises(UnsupportedError, match=r"linux\.resources\.devices"):
        _cgroups.create(config("/x"), "id", systemd=False)
