# SPDX-License-Identifier: Apache-2.0
"""The state directory: ids, locks, callers at the same time, callers that are killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pycontain._oci._state import Record, StateDir, default_root
from pycontain._oci._status import process_start, status
from pycontain.errors import (
    ConfigError,
    ContainerError,
    ContainerExistsError,
    ContainerNotFoundError,
    UnsupportedError,
)


@pytest.fixture
def home(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def python(code: str, *args: str) -> subprocess.Popen[str]:
    program = f"import os, sys\nfrom pycontain._oci._state import *\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", program, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def contents(home: StateDir) -> list[str]:
    return sorted(os.listdir(home.root))


# Ids ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["a", "A-b_c+d.e", "0", "_", "+x", "-x", "x" * 255, "a..b"])
def test_ids(home: StateDir, container: str) -> None:
    with home.create(container) as entry:
        assert home.ids() == [container]
        entry.remove()


@pytest.mark.parametrize(
    "container",
    [
        *("", ".", "..", "../x", "a/b", "/a", ".hidden", "a b", "a\n", "a\0", "ä", "a:b", "٣"),
        *("x" * 256, "x" * 1025, "\ud800"),
    ],
)
def test_what_is_no_id(home: StateDir, container: str) -> None:
    with pytest.raises(ConfigError, match=r"^invalid container ID"):
        home.create(container)
    with pytest.raises(ConfigError, match=r"^invalid container ID"):
        home.open(container)
    assert contents(home) == []


# Roots -------------------------------------------------------------------------------------------


def test_the_root_is_made_private(tmp_path: Path) -> None:
    home = StateDir(tmp_path / "a" / "b")
    assert stat.S_IMODE(os.stat(home.root).st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_root_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.joinpath("state").mkdir()
    tmp_path.joinpath("state").chmod(mode)
    with pytest.raises(UnsupportedError, match="others may write to it"):
        StateDir(tmp_path / "state")


@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "file"])
def test_a_root_that_is_no_directory_is_refused(tmp_path: Path, target: str) -> None:
    tmp_path.joinpath("elsewhere").mkdir()
    tmp_path.joinpath("file").touch()
    tmp_path.joinpath("state").symlink_to(target)
    for root in (tmp_path / "state", tmp_path / "file"):
        with pytest.raises(UnsupportedError, match="not a directory"):
            StateDir(root)
    assert list(tmp_path.joinpath("elsewhere").iterdir()) == []


@pytest.mark.requires("root")
def test_a_root_of_another_user_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("state").mkdir()
    os.chown(tmp_path / "state", 1234, 1234)
    with pytest.raises(UnsupportedError, match="belongs to another user"):
        StateDir(tmp_path / "state")


def test_a_root_that_turns_hostile_is_refused(home: StateDir) -> None:
    home.create("a").close()
    os.rename(home.root, f"{home.root}.real")
    os.symlink(f"{home.root}.real", home.root)
    with pytest.raises(UnsupportedError):
        home.open("a")


def test_the_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        assert default_root() == "/run/pycontain-runtime"
        return
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x")
    assert default_root() == "/x/pycontain-runtime"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with pytest.raises(UnsupportedError, match="use --root"):
        default_root()


def test_a_link_as_entry_is_no_container(home: StateDir, tmp_path: Path) -> None:
    tmp_path.joinpath("other").mkdir()
    os.symlink(tmp_path / "other", f"{home.root}/a")
    with pytest.raises(ContainerNotFoundError):
        home.open("a")
    with pytest.raises(ContainerExistsError):
        home.create("a")


# Life --------------------------------------------------------------------------------------------


def test_life(home: StateDir) -> None:
    record = Record(id="a", bundle="/b", annotations={"k": "ä\n"}, options={"n": [1, None]})
    with home.create("a", record, b"{}") as entry:
        assert entry.read() == record
        assert sorted(os.listdir(entry.path)) == ["config.json", "state.json"]
        entry.write(record.replace(pid=7))
    with home.open("a") as entry:
        assert entry.read().pid == 7
        assert entry.read_config() == b"{}"
        entry.remove()
        entry.remove()
    assert contents(home) == []
    with pytest.raises(ContainerNotFoundError, match=r"^container does not exist: a$"):
        home.open("a")


def test_a_second_of_the_same_id_is_refused(home: StateDir) -> None:
    with (
        home.create("a"),
        pytest.raises(ContainerExistsError, match=r"^container with given ID already exists: a$"),
    ):
        home.create("a")
    assert contents(home) == ["a"]


def test_an_old_entry_is_not_the_new_one_of_its_id(home: StateDir) -> None:
    with home.create("a") as old, home.open("a") as other:
        old.remove()
        with home.create("a") as new:
            for call in (other.read, other.lock, lambda: other.write(Record(id="a"))):
                with pytest.raises(ContainerNotFoundError):
                    call()
            other.remove()
            assert new.read().id == "a"


def test_records_of_the_next_version_are_read(home: StateDir) -> None:
    with home.create("a") as entry:
        later = {"version": 2, "id": "a", "pid": 5, "invented": {"later": [1]}}
        entry.write_file("state.json", json.dumps(later).encode())
        assert entry.read() == Record(id="a", pid=5)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"id": "a"}', b'{"version":1,"id":"a","pid":"x"}'],
)
def test_damaged_records_are_named(home: StateDir, data: bytes) -> None:
    with home.create("a") as entry:
        entry.write_file("state.json", data)
        with pytest.raises(ContainerError, match=r"^the state of container a is damaged: "):
            entry.read()
        entry.remove()


# Locks -------------------------------------------------------------------------------------------


def test_a_new_entry_is_locked_until_its_lock_is_left(home: StateDir) -> None:
    with home.create("a") as entry, home.open("a") as other:
        with pytest.raises(BlockingIOError):
            other.lock(wait=False)
        assert status(other, other.read()) == "creating"
        with entry.lock():
            pass
        with other.lock(wait=False):
            assert status(other, other.read()) == "creating"
        assert status(entry, entry.read()) == "stopped"


def test_a_lock_ends_with_its_process(home: StateDir) -> None:
    home.create("a").close()
    code = "entry = StateDir(sys.argv[1]).open('a'); entry.lock(); print(1, flush=True); input()"
    with python(code, home.root) as holder, home.open("a") as entry:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BlockingIOError):
            entry.lock(wait=False)
        holder.kill()
        with entry.lock():
            assert entry.read().id == "a"


def test_who_waited_for_a_removed_container_is_told(home: StateDir) -> None:
    found: list[BaseException] = []

    def wait() -> None:
        with home.open("a") as other:
            started.set()
            try:
                other.lock()
            except ContainerNotFoundError as error:
                found.append(error)

    started = threading.Event()
    with home.create("a") as entry:
        waiter = threading.Thread(target=wait)
        waiter.start()
        started.wait()
        entry.remove()
    waiter.join()
    assert [str(error) for error in found] == ["container does not exist: a"]


# Many callers ------------------------------------------------------------------------------------


RACE = """
home = StateDir(sys.argv[1])
input()
won = lost = 0
for number in range(60):
    try:
        entry = home.create("same")
    except ContainerExistsError:
        lost += 1
        try:
            entry = home.open("same")
            assert entry.read().id == "same"
        except ContainerNotFoundError:
            pass
        continue
    assert entry.read().bundle == ""
    entry.write(entry.read().replace(bundle=str(os.getpid())))
    assert entry.read().bundle == str(os.getpid())
    won += 1
    entry.remove()
print(won, lost)
"""


def test_many_processes_create_one_id(home: StateDir) -> None:
    callers = [python(RACE, home.root) for _ in range(6)]
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("\n")
        caller.stdin.flush()
    outputs = [caller.communicate()[0] for caller in callers]
    assert [caller.returncode for caller in callers] == [0] * 6
    assert all(sum(map(int, output.split())) == 60 for output in outputs)
    assert contents(home) == []


LOOP = """
home = StateDir(sys.argv[1])
print(1, flush=True)
while True:
    with home.create("victim", config=b"x" * 100000) as entry:
        entry.write(entry.read().replace(bundle="/b" * 1000))
        entry.remove()
"""


def test_killed_callers_leave_nothing_half_made(home: StateDir) -> None:
    for number in range(25):
        with python(LOOP, home.root) as caller:
            assert caller.stdout is not None
            caller.stdout.readline()
            threading.Event().wait(number * 0.0007)
            caller.send_signal(signal.SIGKILL)
        for container in home.ids():  # whole, whatever the instant was
            with home.open(container) as entry, entry.lock(wait=False):
                assert entry.read().id == "victim"
                assert status(entry, entry.read()) == "creating"
                entry.remove()
    with home.create("next") as entry:
        entry.remove()
    assert contents(home) == []


# A full disk -------------------------------------------------------------------------------------


FULL = """
import os, subprocess, sys
from pycontain._oci._state import *
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", folder], check=True)
home = StateDir(folder)
entry = home.create("a")
with open(f"{folder}/.filler", "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
before = entry.read()
try:
    entry.write(before.replace(bundle="x" * 9000))
except OSError as error:
    print(error.errno)
assert entry.read() == before
assert sorted(os.listdir(entry.path)) == ["config.json", "state.json"]
try:
    home.create("b")
except OSError as error:
    print(error.errno)
assert sorted(os.listdir(folder)) == [".filler", "a"], os.listdir(folder)
entry.remove()
assert os.listdir(folder) == [".filler"]
"""


@pytest.mark.requires("userns")
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["28", "28"]


# Status ------------------------------------------------------------------------------------------


def test_the_status_sees_recycled_and_dead_processes(home: StateDir) -> None:
    with home.create("a") as entry, subprocess.Popen(["sleep", "100"]) as process:
        start = process_start(process.pid)
        assert start is not None
        record = Record(id="a", pid=process.pid, pid_start=start)
        assert status(entry, record) == "running"
        assert status(entry, record.replace(pid_start=start + 1)) == "stopped"
        entry.write_file("start.sock", b"")
        assert status(entry, record) == "created"
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
        assert status(entry, record) == "stopped"
        entry.remove()
