# SPDX-License-Identifier: Apache-2.0
"""`pycontain ps` shows living sandboxes to whoever may see them."""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

import pytest

import pycontain
from _box import python, settles
from _owners import kill, owner
from pycontain._cgroup import detect
from pycontain._cli import main

LIMITS: dict[str, object] = {"memory": "64M", "pids": 20}
UNLIMITED: dict[str, object] = {"memory": "max", "pids": "max"}
LIBC = ctypes.CDLL(None, use_errno=True)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[int, dict[str, Any]]:
    """Return what `ps --json` tells, by PID 1."""
    capsys.readouterr()
    assert main(["ps", "--json", *arguments]) == 0
    return {entry["pid"]: entry for entry in json.loads(capsys.readouterr().out)}


def table(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["ps"]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_sandbox_of_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    with owner(UNLIMITED) as (process, [pid]):
        entry = listed(capsys)[pid]
        assert entry["owner_pid"] == process.pid
        assert entry["owner_uid"] == os.geteuid()
        assert entry["owner_command"] == "owner"
        assert (entry["commands"], entry["processes"], entry["pids"]) == (1, 1, 1)
        assert 0 <= entry["age_s"] < 60
        assert 0 <= entry["cpu_s"] < 60
        assert entry["root"] == "host"
        # Nothing counts it, so nothing is said.
        unknown = ("memory", "memory_limit", "pids_limit", "paused", "cgroup")
        assert [entry[name] for name in unknown] == [None] * len(unknown)


def test_it_is_gone_when_it_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with pycontain.Sandbox() as sandbox:
        pid = sandbox.pid
        assert pid in listed(capsys)
    assert pid not in listed(capsys)


def test_it_is_gone_with_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    with owner(UNLIMITED) as (process, [pid]):
        pidfd = os.pidfd_open(pid)
        kill(process)
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
        assert pid not in listed(capsys)


@pytest.mark.requires("cgroup_memory", "cgroup_pids")
@pytest.mark.parametrize("commands", [0, 1, 2])
def test_groups_tell_use_and_limits(capsys: pytest.CaptureFixture[str], commands: int) -> None:
    with pycontain.Sandbox(memory="64M", pids=20) as sandbox:
        running = [
            sandbox.popen(["sh", "-c", "echo; read x"], stdin=pycontain.PIPE, stdout=pycontain.PIPE)
            for _ in range(commands)
        ]
        for command in running:
            assert command.stdout is not None
            command.stdout.read(1)
        entry = listed(capsys)[sandbox.pid]
        assert (entry["memory_limit"], entry["pids_limit"]) == (64 << 20, 20)
        assert (entry["commands"], entry["pids"]) == (commands, commands)
        assert 0 <= entry["memory"] <= 64 << 20
        assert (entry["memory"] > 0) == (commands > 0)
        assert entry["paused"] is False
        assert os.path.isdir(entry["cgroup"])
        for command in running:
            command.communicate()


@pytest.mark.requires("cgroup_memory", "cgroup_pids")
@pytest.mark.parametrize("without_v2", ["", "1"] if detect().v1_of("freezer") else [""])
def test_groups_of_another_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, without_v2: str
) -> None:
    monkeypatch.setenv("WITHOUT_V2", without_v2)
    with owner(LIMITS, UNLIMITED) as (_, [limited, unlimited]):
        found = listed(capsys)
        entry = found[limited]
        assert (entry["memory_limit"], entry["pids_limit"]) == (64 << 20, 20)
        assert (entry["pids"], entry["paused"]) == (1, False)
        assert os.path.isdir(entry["cgroup"])
        assert (found[unlimited]["pids"], found[unlimited]["cgroup"]) == (1, None)


@pytest.mark.requires("cgroup_pids")
def test_a_limit_of_one_kind_leaves_the_other_unlimited(capsys: pytest.CaptureFixture[str]) -> None:
    with pycontain.Sandbox(memory="max", pids=20) as sandbox:
        entry = listed(capsys)[sandbox.pid]
        assert (entry["memory_limit"], entry["pids_limit"]) == (None, 20)


@pytest.mark.requires("cgroup_pids")
def test_a_paused_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    with pycontain.Sandbox(pids=20) as sandbox:
        sandbox.pause()
        assert listed(capsys)[sandbox.pid]["paused"] is True
        assert any("paused" in line for line in table(capsys))
        sandbox.resume()
        assert listed(capsys)[sandbox.pid]["paused"] is False


@pytest.mark.parametrize("limits", [{}, pytest.param(
    {"pids": 20}, marks=pytest.mark.requires("cgroup_pids"), id="in groups"
)])  # fmt: skip
def test_processor_time_of_what_has_ended_counts(
    capsys: pytest.CaptureFixture[str], limits: dict[str, Any]
) -> None:
    with pycontain.Sandbox(**limits) as sandbox:
        result = sandbox.run(
            [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"]
        )
        assert result.returncode == 0
        assert 0.15 <= listed(capsys)[sandbox.pid]["cpu_s"] <= 5


def test_processes_inside_are_counted_wherever_they_went(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pycontain.Sandbox() as sandbox:
        sandbox.run(["sh", "-c", "(setsid sleep 1000 &) ; sleep 1000 & echo"], stdout=None)
        entry = listed(capsys)[sandbox.pid]
        assert (entry["commands"], entry["processes"]) == (2, 2)


def test_a_root_of_ones_own(capsys: pytest.CaptureFixture[str], rootfs: os.PathLike[str]) -> None:
    with pycontain.Sandbox(rootfs=rootfs) as sandbox:
        assert listed(capsys)[sandbox.pid]["root"] == "rootfs"


def test_a_read_only_root_on_a_tmpfs(
    capsys: pytest.CaptureFixture[str], rootfs: os.PathLike[str]
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(rootfs, folder, symlinks=True, dirs_exist_ok=True)
        with pycontain.Sandbox(rootfs=folder, read_only=True) as sandbox:
            assert listed(capsys)[sandbox.pid]["root"] == "rootfs"


def test_a_run_is_listed_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pycontain", "run", "-i", "--", "sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        found = [each for each in listed(capsys).values() if each["owner_pid"] == process.pid]
        assert [each["processes"] for each in found] == [1]
        process.communicate()
        assert process.pid not in {each["owner_pid"] for each in listed(capsys).values()}


def test_the_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    with pycontain.Sandbox() as first, pycontain.Sandbox() as second:
        heading, *rows = table(capsys)
        columns = "PID OWNER COMMAND USER AGE CMDS PIDS MEMORY CPU STATE ROOT"
        assert heading.split() == columns.split()
        mine = [row for row in rows if int(row.split()[1]) == os.getpid()]
        assert [int(row.split()[0]) for row in mine] == [first.pid, second.pid]
        for row in rows:
            assert len(row.split()) == len(heading.split())
            column = heading.index("ROOT")
            assert row[column - 2 : column] == "  "
            assert row[column:] in ("host", "rootfs")


def test_hostile_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    name = b"\x1b]0;x\x07\n) \\\xff\xe9"
    with owner(UNLIMITED, name=name) as (process, [pid]):
        escaped = "\\x1b]0;x\\x07\\n) \\\\\\xff\\xe9"
        assert listed(capsys)[pid]["owner_command"] == escaped
        lines = table(capsys)
        assert len([line for line in lines if f"{process.pid}  {escaped}" in line]) == 1
        assert all(line.isascii() and line.isprintable() for line in lines)


FAKE = """
import os, sys
fd = os.memfd_create("pycontain-init", 0)
with open("/bin/sleep", "rb") as program:
    os.write(fd, program.read())
os.execve(fd, ["pycontain-init", "1000"], {})
"""


def test_a_name_alone_makes_no_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", FAKE]) as process:
        try:
            exe = f"/proc/{process.pid}/exe"
            assert settles(lambda: os.readlink(exe) == "/memfd:pycontain-init (deleted)")
            assert process.pid not in listed(capsys, "--all")
        finally:
            process.kill()


NESTED = """
import pycontain, sys
with pycontain.Sandbox() as sandbox:
    print(sandbox.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.requires("userns")
def test_what_a_pid_namespace_makes_is_listed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc",
         sys.executable, "-c", NESTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        before = set(listed(capsys))
        extra = [each for pid, each in listed(capsys, "--all").items() if pid not in before]
        parents = {each["owner_pid"] for each in extra}
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            assert int(children.read()) in parents
        process.communicate()


@pytest.mark.requires("root")
def test_users_see_their_own_and_root_sees_all(capsys: pytest.CaptureFixture[str]) -> None:
    code = """
        import os, pycontain, sys
        with pycontain.Sandbox() as sandbox:
            pid = sandbox.pid
            if (child := os.fork()) == 0:
                os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
                print(pid in {each.pid for each in pycontain.sandboxes(nested=True)})
                sys.stdout.flush(); os._exit(0)
            os.waitpid(child, 0)
        print(pid in {each.pid for each in pycontain.sandboxes()})
    """
    assert python(code).split() == ["False", "False"]
    with pycontain.Sandbox(user=0) as sandbox:
        assert sandbox.pid in listed(capsys)


def test_processes_that_come_and_go_do_not_disturb() -> None:
    code = """
        import os, threading, pycontain
        over = threading.Event()
        def churn():
            while not over.is_set():
                pycontain.run(["true"])
        threads = [threading.Thread(target=churn) for _ in range(3)]
        for thread in threads: thread.start()
        with pycontain.Sandbox() as sandbox:
            seen = [sandbox.pid in {each.pid for each in pycontain.sandboxes()} for _ in range(20)]
        over.set()
        for thread in threads: thread.join()
        print(all(seen), len(seen))
    """
    assert python(code).split() == ["True", "20"]


def test_signals_do_not_hide_it(capsys: pytest.CaptureFixture[str]) -> None:
    with owner(UNLIMITED) as (process, [pid]):
        process.send_signal(signal.SIGSTOP)
        assert pid in listed(capsys)
        process.send_signal(signal.SIGCONT)
