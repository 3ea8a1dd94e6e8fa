# SPDX-License-Identifier: Apache-2.0
"""`pycontain run`: options, streams, statuses, terminals and signals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-m", "pycontain", "run")
DEADLINE_S = 60


def run(*arguments: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


MANY_FILES = "for i in $(seq 500); do :> /tmp/$i || exit; done"

STATUSES = [
    ("0", ["--", "true"]),
    ("of its own", ["--", "sh", "-c", "exit 3"]),
    ("after a signal", ["--", "sh", "-c", "kill -TERM $$"]),
    ("of a missing program", ["--", "no-such-program"]),
    ("of a directory", ["--", "/etc"]),
    ("of a bad option", ["--hostname", "a b", "--", "true"]),
    ("of no program", []),
    ("of no program after --", ["--"]),
    ("after the time is over", ["--timeout", "0.2", "--", "sleep", "100"]),
]


@pytest.mark.parametrize(
    "arguments, status",
    [
        (arguments, status)
        for (_, arguments), status in zip(
            STATUSES, (0, 3, 143, 127, 126, 125, 125, 125, 124), strict=True
        )
    ],
    ids=[name for name, _ in STATUSES],
)
def test_exit_status(arguments: list[str], status: int) -> None:
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    # Our own complaints are one line each, the command's death none.
    assert len(done.stderr.splitlines()) == (1 if 124 <= status <= 127 else 0)


def test_output_goes_where_it_belongs() -> None:
    done = run("--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_output_is_not_cut() -> None:
    done = run("--", "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x")
    assert len(done.stdout) == 5_000_000


def test_what_follows_the_program_is_its_own() -> None:
    assert run("--", "echo", "--json", "--", "-x").stdout == "--json -- -x\n"


def test_input_is_empty_unless_asked_for() -> None:
    assert run("--", "cat", data="typed").stdout == ""
    assert run("-i", "--", "cat", data="typed").stdout == "typed"


def test_input_larger_than_pipes() -> None:
    data = "0123456789" * 100_000
    assert run("-i", "--", "cat", data=data).stdout == data


def test_input_that_nobody_reads() -> None:
    assert run("-i", "--", "true", data="x" * 1_000_000).returncode == 0


def test_a_reader_that_goes_away_ends_the_writer() -> None:
    with subprocess.Popen([*PROGRAM, "--", "yes"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGPIPE


def test_options_reach_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN_OVER", "from here")
    (tmp_path / "file").write_text("shown\n")
    (tmp_path / "mine").mkdir(mode=0o755)
    script = """
        echo $GIVEN, $TAKEN_OVER, $(hostname), $(pwd), $(id -u)
        cat /shown/file; echo written > /mine/new; echo $(stat -f -c %T /scratch)
        touch /shown/new 2>/dev/null || echo read-only
    """
    done = run(
        *("--env", "GIVEN=a=b", "-e", "TAKEN_OVER", "--hostname", "box", "--cwd", "/scratch"),
        *("--bind", f"{tmp_path}:/shown", "--bind", f"{tmp_path}/mine:/mine:rw"),
        *("--tmpfs", "/scratch:1M", "--user", "1000", "--network", "none", "--disk", "8M"),
        *("--", "sh", "-c", script),
    )
    assert done.stderr == ""
    told = "a=b, from here, box, /scratch, 1000\nshown\ntmpfs\nread-only\n"
    assert done.stdout == told
    assert (tmp_path / "mine/new").read_text() == "written\n"


def test_a_directory_as_root(rootfs: Path) -> None:
    done = run("--rootfs", str(rootfs), "--profile", "judge", "sh", "-c", "ls -d /bin/busybox /usr")
    assert done.stdout == "/bin/busybox\n"


BAD = {
    "bind": (["--bind", "/etc", "--", "true"], "is not SRC:DST"),
    "bind mode": (["--bind", "/etc:/x:rwx", "--", "true"], "is not SRC:DST"),
    "bind source": (["--bind", "/no/such:/x", "--", "true"], "No such file"),
    "tmpfs": (["--tmpfs", "relative", "--", "true"], "absolute path"),
    "env": (["--env", "NOT_SET_ANYWHERE", "--", "true"], "give NOT_SET_ANYWHERE=VALUE"),
    "profile": (["--profile", "none", "--", "true"], "none of default"),
    "user": (["--user", "4294967296", "--", "true"], "out of range"),
    "root": (["--rootfs", "/no/such", "true"], "No such file"),
    "timeout": (["--timeout", "-1", "--", "true"], "not a positive number"),
    "memory": (["--memory", "lots", "--", "true"], "is not a size"),
    "processes": (["--pids", "0", "--", "true"], "not a positive number"),
    "control": (["--accept-missing", "gravity", "--", "true"], "gravity"),
    "terminal and json": (["--json", "-t", "--", "true"], "leave out -t"),
}


@pytest.mark.parametrize("arguments, text", BAD.values(), ids=BAD)
def test_bad_options_are_explained_in_a_line(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.returncode == 125
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("pycontain: ")
    assert text in done.stderr


def test_json_has_everything() -> None:
    done = run("--json", "-i", "--", "sh", "-c", "cat; echo err >&2; exit 4", data="in")
    assert done.returncode == 4
    told = json.loads(done.stdout)
    assert told["args"][0] == "sh"
    assert (told["returncode"], told["reason"]) == (4, "exited")
    assert (told["stdout"], told["stderr"], told["truncated"]) == ("in", "err\n", [])
    assert told["usage"]["wall_s"] > 0
    assert told["usage"]["sources"]["wall_s"] == "CLOCK_MONOTONIC"
    assert told["enforcement"]["seccomp"]["in_force"] is True


DENIED = ("--audit", "--", "unshare", "--user", "true")


@pytest.mark.requires("listener")
def test_an_audit_is_told_behind_the_output() -> None:
    done = run(*DENIED)
    assert done.returncode == 1
    _, total, row = done.stderr.splitlines()
    assert total == "pycontain: system calls refused: 1"
    for word in ("1", "unshare(flags=CLONE_NEWUSER)", "EPERM", "not allowed by any rule"):
        assert word in row


@pytest.mark.requires("listener")
def test_json_has_the_audit_that_was_asked_for() -> None:
    audit = json.loads(run("--json", *DENIED).stdout)["audit"]
    assert audit["total"] == 1
    [row] = audit["denials"]
    expected = {"layer": "seccomp", "syscall": "unshare", "errno": 1, "count": 1, "comm": "unshare"}
    assert {key: row[key] for key in expected} == expected
    assert row["args"] == [
        {"index": 0, "name": "flags", "value": 0x10000000, "text": "CLONE_NEWUSER"}
    ]


@pytest.mark.requires("cgroup_memory")
def test_json_tells_that_the_memory_was_not_enough() -> None:
    done = run("--json", "--memory", "32M", "--", sys.executable, "-c", "bytearray(10**9)")
    told = json.loads(done.stdout)
    assert (done.returncode, told["returncode"], told["reason"]) == (137, -9, "oom")
    assert told["enforcement"]["memory"]["in_force"] is True


@pytest.mark.requires("cgroup_pids", "cgroup_cpu")
def test_limits_of_processes_and_processors() -> None:
    done = run(
        "--pids", "4", "--cpus", "0.5", "--", "sh", "-c", "for i in 1 2 3 4 5; do sleep 1 & done"
    )
    assert done.returncode == 2
    assert "fork" in done.stderr


def test_a_control_may_be_missing_if_that_is_accepted() -> None:
    done = run("--memory", "512M", "--accept-missing", "memory", "--", "echo", "on")
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_json_tells_that_the_time_was_over() -> None:
    done = run("--json", "--timeout", "0.2", "--", "sleep", "100")
    assert done.returncode == 124
    assert json.loads(done.stdout)["reason"] == "wall_limit"


READY = "trap 'echo caught; exit 9' TERM INT HUP; echo ready; while :; do sleep 0.01; done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_handed_on(number: int) -> None:
    with subprocess.Popen([*PROGRAM, "--", "sh", "-c", READY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.read() == b"caught\n"
        assert process.wait(DEADLINE_S) == 9


def test_a_second_signal_kills() -> None:
    script = "trap 'echo caught' INT; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen([*PROGRAM, "--", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"caught\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 137


@contextlib.contextmanager
def on_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the program with a terminal of 30 x 100 as its streams, and yield the other side."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    try:
        with subprocess.Popen(
            [*PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        ) as process:
            try:
                yield process, master
            finally:
                process.kill()
    finally:
        os.close(master)
        os.close(slave)


def read_until(master: int, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        assert select.select([master], [], [], DEADLINE_S)[0], seen
        seen += os.read(master, 4096)
    return seen


def test_a_terminal_has_our_size_and_follows_it() -> None:
    script = "trap 'stty size; exit' WINCH; tty; stty size; while :; do sleep 0.01; done"
    with on_terminal("-i", "-t", "--", "sh", "-c", script) as (process, master):
        assert b"/dev/pts/0\r\n30 100\r\n" in read_until(master, b"30 100\r\n")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process.send_signal(signal.SIGWINCH)  # not the terminal's own foreground group here
        read_until(master, b"40 120\r\n")
        assert process.wait(DEADLINE_S) == 0


def test_keys_reach_the_terminal_inside_and_ours_is_restored() -> None:
    with on_terminal(
        "-it", "--", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; cat"
    ) as (
        process,
        master,
    ):
        before = termios.tcgetattr(master)
        read_until(master, b"ready\r\n")
        assert not termios.tcgetattr(master)[3] & termios.ICANON
        os.write(master, b"echoed\r")
        assert read_until(master, b"echoed\r\nechoed\r\n")
        os.write(master, b"\x03")
        read_until(master, b"caught\r\n")
        assert process.wait(DEADLINE_S) == 5
        assert termios.tcgetattr(master) == before


def test_what_was_typed_before_the_start_is_not_lost() -> None:
    master, slave = pty.openpty()
    os.write(master, b"early\n")
    command = [*PROGRAM, "-it", "--", "sh", "-c", "read word; echo got $word"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, start_new_session=True) as process:
        try:
            read_until(master, b"got early\r\n")
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    os.close(master)
    os.close(slave)


def test_input_ends_on_a_terminal_inside() -> None:
    done = run(
        "-i", "-t", "--", "sh", "-c", "stty -echo; echo ready; cat; echo over", data="typed\n"
    )
    assert done.stdout.endswith("typed\nover\n")
    assert done.returncode == 0


@pytest.mark.requires("cgroup_memory")
@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--cpu-limit", "0.2", "--", "sh", "-c", "while :; do :; done"], "cpu_limit"),
        (["--memory", "16M", "--", "sh", "-c", "head -c 64M /dev/zero | tail"], "oom"),
        (["--disk", "16M", "--", "sh", "-c", "head -c 64M /dev/zero > /tmp/a"], "disk_full"),
        (
            [
                "--inodes",
                "400",
                "--",
                "sh",
                "-c",
                "for i in $(seq 500); do :> /tmp/$i || exit; done",
            ],
            "disk_full",
        ),
    ],
)
def test_the_limit_that_ended_a_command_is_named(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"pycontain: ended by {reason}"


@pytest.mark.parametrize(
    "limit, word",
    [
        ("/", "DISK:KEY=N"),
        ("/:rbps", "DISK:KEY=N"),
        (":rbps=1M", "DISK:KEY=N"),
        ("8:0:speed=1", "rbps"),
        ("8:0:riops=1.5", "not a number"),
        ("8:0:rbps=12Q", "12Q"),
        ("/nowhere:rbps=1M", "/nowhere"),
        ("4095:9:rbps=1M,wiops=5", "4095:9"),
    ],
)
def test_rates_of_disks_are_read_in_the_kernels_words(limit: str, word: str) -> None:
    done = run("--io", limit, "--", "true")
    assert done.returncode == 125
    assert word in done.stderr
