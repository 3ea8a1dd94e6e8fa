# SPDX-License-Identifier: Apache-2.0

"""PID 1 against hostile commands: it cannot be killed, read or confused."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, processes, settles, started
from pycontain import PIPE, Reason, Sandbox, SandboxClosedError, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_signal_to_everybody_reaches_only_the_sandbox(sb: Sandbox) -> None:
    sb.run(["sh", "-c", "trap '' TERM; kill -TERM -1; kill -CONT -1"])
    assert sb.run(["echo", "well"]).stdout == b"well\n"


def test_orphans_are_reaped(sb: Sandbox) -> None:
    assert sb.run([PROBE, "orphans", "2000"], timeout=60).stdout == b"done\n"
    script = "cat /proc/[0-9]*/stat | grep -c ' Z '"
    with started(sb, "sh", "-c", f"while [ $({script}) != 0 ]; do :; done; echo ready"):
        pass


def test_a_flood_of_ended_children_does_not_delay_another_command(sb: Sandbox) -> None:
    script = f"echo ready; while :; do {PROBE} orphans 50; done"
    with started(sb, "sh", "-c", script):
        for number in range(10):
            assert sb.run(["sh", "-c", f"exit {number}"], timeout=30).returncode == number


DAEMONS: dict[str, list[str]] = {
    "daemons": [PROBE, "daemons", "30"],
    "background": [
        "sh",
        "-c",
        "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &); echo ready; wait",
    ],
    "deaf": [
        "sh",
        "-c",
        "trap '' TERM INT HUP QUIT USR1; (sleep 1000 &); echo ready; while :; do sleep 1000; done",
    ],
    "stopped": ["sh", "-c", "(sleep 1000 &); echo ready; kill -STOP $$"],
    "no main thread": [PROBE, "leaderless"],
    "daemon without a main thread": [PROBE, "hidden-leaderless"],
    "forks without end": [PROBE, "forks", "100"],
    "pty": ["sh", "-c", "setsid sleep 1000 & echo ready; wait"],
}


@pytest.mark.parametrize("name", DAEMONS)
def test_after_a_timeout_nothing_of_the_command_is_left(name: str, sb: Sandbox) -> None:
    with started(sb) as bystander:
        with pytest.raises(TimeoutExpired) as caught:
            sb.run(DAEMONS[name], timeout=0.4)
        assert caught.value.stdout == b"ready\n"
        assert caught.value.usage is not None
        assert processes(sb) == ["sleep"]
        assert bystander.poll() is None
        assert sb.run(["echo", "well"]).stdout == b"well\n"


@pytest.mark.parametrize("name", DAEMONS)
def test_kill_all_leaves_nothing_of_the_command(name: str, sb: Sandbox) -> None:
    with started(sb) as bystander:
        with started(sb, *DAEMONS[name]) as process:
            process.kill_all()
            assert process.returncode == -9
            assert process.reason == Reason.KILLED
        assert processes(sb) == ["sleep"]
        assert bystander.poll() is None


@pytest.mark.parametrize("name", DAEMONS)
def test_the_end_of_the_sandbox_is_the_end_of_everything(
    name: str, box: Callable[..., Sandbox]
) -> None:
    with box() as sb:
        process = sb.popen(DAEMONS[name], stdout=PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    # Each of them held our pipe.
    assert process.stdout.read().strip("ready\n") == ""
    process.stdout.close()
    assert process.wait(timeout=10) == -9
    assert process.reason == Reason.KILLED


@pytest.mark.requires("root")
def test_a_process_whose_program_cannot_be_read_is_killed_too(
    box: Callable[..., Sandbox], probe: Path, tmp_path: Path
) -> None:
    # With an owner from outside, nobody inside may look at the process (would_dump() in fs/exec.c).
    program = tmp_path / "program"
    program.write_bytes((probe / "probe").read_bytes())
    os.chown(program, 200_000, 200_000)
    program.chmod(0o111)
    with box(mounts=[pycontain.Bind(tmp_path, "/closed")]) as sb:
        process = sb.popen(["/closed/program", "daemons", "3"], stdout=PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill_all()
        # The pipe is closed when the last of them is gone.
        assert process.stdout.read() == ""
        process.stdout.close()


def test_a_daemon_that_holds_the_output_does_not_delay_run(sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", "setsid sleep 1000 & echo out"], timeout=60)
    assert (done.returncode, done.stdout, done.reason) == (0, b"out\n", Reason.EXITED)
    # Its name is that of busybox's own file until it has executed sleep.
    assert settles(lambda: processes(sb) == ["sleep"])


def test_a_daemon_that_goes_on_writing_does_not_delay_run(sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", "setsid yes & echo out; exit 3"], timeout=60)
    assert done.returncode == 3
    assert len(done.stdout) <= 1 << 20


def test_a_one_shot_ends_with_its_daemons(box_options: dict[str, Any]) -> None:
    done = pycontain.run([PROBE, "daemons", "5"], **box_options, wall_limit=0.4)
    assert (done.stdout, done.reason, done.returncode) == (b"ready\n", Reason.WALL_LIMIT, -9)


def test_when_pid_1_is_killed_commands_end_truthfully(box: Callable[..., Sandbox]) -> None:
    sb = box().start()
    with started(sb) as process:
        os.kill(sb.pid, signal.SIGKILL)
        assert process.wait(timeout=10) == -9
        assert process.reason == Reason.KILLED
    os.waitid(os.P_PID, sb.pid, os.WEXITED | os.WNOWAIT)
    for action in (
        lambda: sb.run(["true"]),
        lambda: sb.popen(["true"]),
        lambda: sb.files.list("/"),
    ):
        with pytest.raises(SandboxClosedError):
            action()
    sb.close()
    sb.close()


def test_a_run_whose_pid_1_is_killed_ends(box: Callable[..., Sandbox]) -> None:

    with box() as sb:
        pid = sb.pid
        results: list[Any] = []
        with started(sb):
            thread = threading.Thread(target=lambda: results.append(sb.run(["sleep", "1000"])))
            thread.start()
            while (
                b"sleep\nsleep\n" not in sb.run(["sh", "-c", "cat /proc/[0-9]*/comm | sort"]).stdout
            ):
                pass
            os.kill(pid, signal.SIGKILL)
            thread.join(timeout=10)
        assert (results[0].returncode, results[0].reason) == (-9, Reason.KILLED)


def test_output_that_imitates_a_report_is_output(sb: Sandbox) -> None:
    report = (4).to_bytes(4, "little") + bytes(36)
    done = sb.run(["sh", "-c", "cat; cat <&0 >&2; exit 7"], input=report * 100)
    assert (done.returncode, done.stdout) == (7, report * 100)


def test_an_own_sigkill_is_not_called_ours(sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", "kill -9 $$"])
    assert (done.returncode, done.reason) == (-9, Reason.SIGNALED)


@pytest.mark.parametrize("number", [1, 2, 6, 8, 11, 13, 14, 15, 24, 34, 64])
def test_the_signal_that_ended_a_command_is_told(number: int, sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", f"kill -{number} $$; sleep 10"])
    assert (done.returncode, done.reason) == (-number, Reason.SIGNALED)


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 128, 137, 255])
def test_the_exit_status_is_told(code: int, sb: Sandbox, rootfs: Path) -> None:
    assert sb.run(["sh", "-c", f"exit {code}"]).returncode == code
    assert pycontain.run(["sh", "-c", f"exit {code}"], rootfs=rootfs).returncode == code


def test_commands_are_children_of_pid_1_and_leaders_of_a_session(sb: Sandbox) -> None:
    fields = sb.run(["cat", "/proc/self/stat"], text=True).stdout.split()
    pid, parent, group, session = fields[0], fields[3], fields[4], fields[5]
    assert parent == "1"
    assert pid == group == session


def test_a_command_without_new_privileges_or_capabilities(sb: Sandbox) -> None:
    status = dict(
        line.split(":\t")
        for line in sb.run(["cat", "/proc/self/status"], text=True).stdout.splitlines()
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert {
        int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    } == {0}
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4


@pytest.mark.requires("root")
def test_hundreds_of_commands_leave_pid_1_as_it_was(sb: Sandbox) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir(f"/proc/{sb.pid}/fd"))

    sb.run(["true"])
    before = descriptors()
    for _ in range(300):
        sb.run(["true"])
    # A reply socket is closed after its last word.
    assert settles(lambda: len(descriptors()) <= len(before))
    assert set(descriptors()) <= set(before)
    assert processes(sb) == []


def test_two_hundred_commands_at_once(sb: Sandbox) -> None:
    running = [
        sb.popen(["sh", "-c", f"read a; exit {number}"], stdin=PIPE) for number in range(200)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(timeout=60) for process in running] == list(range(200))
