# SPDX-License-Identifier: Apache-2.0
"""`pycontain gc` and `pycontain.gc` remove what killed processes left, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pycontain
from _owners import kill, left_of, only, owner
from pycontain import _cgroup, _statedir
from pycontain._cgroup import Host, _state
from pycontain._cli import main

LIMITS: dict[str, object] = {"pids": 20}
NOTHING = Host(v2=None, v1=())


@pytest.mark.requires("cgroup_pids")
def test_nothing_remains_of_a_killed_process() -> None:
    with (
        owner(LIMITS, {"pids": 9, "memory": "64M"}, LIMITS) as (process, pids),
        owner(LIMITS) as (other, [living]),
    ):
        seen = {each.pid: each.owner_pid for each in pycontain.sandboxes()}
        assert {seen[pid] for pid in pids} == {process.pid}
        before = left_of(process.pid)
        assert len(before) > 1
        kill(process)
        found = only(pycontain.gc(), f"-{process.pid}-")
        assert sorted((*found.directories, *found.files)) == sorted(before)
        assert found.remaining == ()
        assert left_of(process.pid) == []
        after = {each.pid: each.owner_pid for each in pycontain.sandboxes()}
        assert not set(pids) & set(after)
        assert after[living] == other.pid
        assert left_of(other.pid) != []
        assert other.poll() is None
        again = only(pycontain.gc(), f"-{process.pid}-")
        assert (again.directories, again.files, again.remaining) == ((), (), ())


@pytest.mark.requires("cgroup_pids")
def test_nothing_is_touched_in_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    with owner(LIMITS) as (process, _):
        kill(process)
        before = left_of(process.pid)
        found = only(pycontain.gc(dry_run=True), f"-{process.pid}-")
        assert sorted((*found.directories, *found.files)) == sorted(before) != []
        assert found.dry_run
        assert left_of(process.pid) == before
        main(["gc", "-n"])
        told = capsys.readouterr().out.splitlines()
        assert {f"would be removed: {path}" for path in before} <= set(told)
        assert main(["gc"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert {f"removed: {path}" for path in before} <= set(told)
        assert left_of(process.pid) == []


@pytest.mark.requires("cgroup_pids")
def test_json_tells_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with owner(LIMITS) as (process, _):
        kill(process)
        before = left_of(process.pid)
        assert main(["gc", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        fields = {field.name for field in dataclasses.fields(pycontain.Collected)}
        assert set(told) == fields
        assert set(before) <= {*told["directories"], *told["files"]}


def test_a_living_process_loses_nothing() -> None:
    with owner({}) as (_, [pid]):
        pycontain.gc()
        assert pid in {each.pid for each in pycontain.sandboxes()}


# Makes and closes sandboxes in one child after another, and kills each at another instant.
VICTIMS = """
import os, select, sys, pycontain
pycontain.run(["true"])
instants = [int(word) / 1e6 for word in sys.argv[1:]]
pids = []
for instant in instants:
    its, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ours, b"x")
        while True:
            with pycontain.Sandbox(pids=20) as sandbox:
                sandbox.run(["true"])
            pycontain.run(["true"], pids=20)
    os.read(its, 1)
    select.select([], [], [], instant)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pids.append(pid)
print(*pids)
"""


@pytest.mark.requires("cgroup_pids")
@pytest.mark.slow
def test_killed_at_any_instant_nothing_remains() -> None:
    instants = [str(700 * n) for n in range(50)]  # microseconds: several rounds of the victim
    done = subprocess.run(
        [sys.executable, "-c", VICTIMS, *instants], capture_output=True, text=True, check=True
    )
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 50
    remaining = pycontain.gc().remaining
    assert [left for left in remaining for pid in pids if f"-{pid}-" in left.path] == []
    assert left_of(*pids) == []
    assert not set(pids) & {each.owner_pid for each in pycontain.sandboxes()}


@pytest.mark.requires("cgroup_pids")
def test_collectors_at_once() -> None:
    with owner(LIMITS, LIMITS) as (first, _), owner(LIMITS) as (second, _):
        kill(first)
        kill(second)
        before = left_of(first.pid, second.pid)
        command = [sys.executable, "-m", "pycontain", "gc", "--json"]
        with ThreadPoolExecutor(8) as pool:
            threads = [pool.submit(pycontain.gc) for _ in range(4)]
            others = [
                pool.submit(subprocess.run, command, capture_output=True, check=False)
                for _ in range(4)
            ]
            found = [future.result() for future in threads]
            for other in others:
                told = json.loads(other.result().stdout)
                directories, files = tuple(told["directories"]), tuple(told["files"])
                found.append(pycontain.Collected(directories=directories, files=files))
                assert [each for each in told["remaining"] if each["path"] in before] == []
        named = {path for each in found for path in (*each.directories, *each.files)}
        assert set(before) <= named
        assert left_of(first.pid, second.pid) == []


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that takes the place of this user's state directory, on no cgroups."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(_statedir, "runtime_directories", lambda: [str(directory)])
    monkeypatch.setattr(_cgroup, "detect", lambda **_: NOTHING)
    monkeypatch.setattr(_cgroup._sweep, "detect", lambda **_: NOTHING)
    return directory


def dead(boot: str = "00000000") -> str:
    return f"pycontain-{boot}-{_state.pid_namespace()}-999999999-1-00000000"


def test_nothing_to_do(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc"]) == 0
    assert capsys.readouterr().out == "nothing is left of dead processes\n"
    assert pycontain.gc() == pycontain.Collected()
    state.rmdir()
    assert pycontain.gc() == pycontain.Collected()
    assert not state.exists()


@pytest.mark.parametrize("name", [dead(), dead(_state.boot()), dead() + ".new"])
def test_files_of_dead_processes(state: Path, name: str) -> None:
    (state / name).write_text("")
    assert pycontain.gc() == pycontain.Collected(files=(str(state / name),))
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("trouble", ["mode", "link", "file"])
def test_a_state_directory_that_others_control_is_told_and_not_read(
    state: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    real = state
    if trouble == "mode":
        state.chmod(0o777)
    else:
        real = state.rename(state.with_name("real"))
        state.symlink_to("real") if trouble == "link" else state.write_text("")
    (real / dead()).write_text("")
    assert main(["gc"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pycontain: {state}: not a private directory: ")
    assert err.count("\n") == 1
    assert [path.name for path in real.iterdir()] == [dead()]


@pytest.mark.requires("root")
def test_what_belongs_to_another_user_is_left_alone(state: Path) -> None:
    (state / dead()).write_text("")
    os.chown(state / dead(), 1234, 1234)
    assert pycontain.gc() == pycontain.Collected()
    os.chown(state / dead(), 0, 0)
    os.chown(state, 1234, 1234)
    assert pycontain.gc() == pycontain.Collected()
    assert [path.name for path in state.iterdir()] == [dead()]


HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_what_another_process_holds_is_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = state / dead(_state.boot())
    path.write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert main(["gc"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{path}: its owner is gone, but its lock is held by {process.pid} (" in err
        assert "end these processes" in err
        process.communicate()
    assert main(["gc"]) == 0
    assert not path.exists()


@pytest.mark.requires("user")
def test_a_file_that_cannot_be_removed_is_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = state / dead()
    path.write_text("")
    state.chmod(0o500)
    assert main(["gc"]) == 1
    state.chmod(0o700)
    assert capsys.readouterr().err.startswith(f"pycontain: {path}: Permission denied: mend ")
    assert main(["gc"]) == 0
    assert not path.exists()
