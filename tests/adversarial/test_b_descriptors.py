# SPDX-License-Identifier: Apache-2.0
"""B: no descriptor, executable or directory of the host is within reach, at no instant.

Those that a caller holds open are in tests/sandbox/test_descriptors.py (B4), working directories in
test_bad_input.py (B2, B3), and programs that cannot be executed there too (B8).
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import pycontain
from _attackers import ATTACKER, INSIDE, MOUNT, SECRET, Call, rounds, run_inside
from pycontain import ProgramNotFoundError, Sandbox
from pycontain.selftest._facts import secrets
from pycontain.selftest._programs import Result, lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USERS = [None, pytest.param("0", marks=pytest.mark.requires("rootrange"))]


def test_b1_our_interpreter_is_seen_outside() -> None:
    done = subprocess.run([ATTACKER, "objects"], capture_output=True, text=True, check=True)
    assert {line.identity for line in lines(done.stdout)} & secrets()


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_b1_nothing_of_the_host_is_seen_while_commands_start(
    user: str | None, box: Callable[..., Sandbox]
) -> None:
    stop = threading.Event()
    with box(mounts=[MOUNT]) as sandbox:

        def commands() -> None:
            while not stop.is_set():
                sandbox.run(["true"], user=user)

        threads = [threading.Thread(target=commands) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            seen = [
                line
                for _ in rounds()
                for line in lines(sandbox.run([INSIDE, "objects"], text=True, user=user).stdout)
            ]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    forbidden = secrets()
    assert [line for line in seen if line.identity in forbidden] == []
    own = ("/bin/busybox", INSIDE, "/attacker")
    programs = {line.text for line in seen if line.what.endswith("/exe")}
    assert programs <= {*own, "/bin/true"}
    roots = {line.text for line in seen if line.what.endswith(("/root", "/cwd"))}
    assert roots <= {"/", "/tmp"}
    assert len({line.what.split("/")[2] for line in seen}) > 5


PROGRAMS = (
    "/proc/self/exe",
    "/proc/1/exe",
    *(f"/proc/self/fd/{number}" for number in range(3, 10)),
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_b3_what_runs_before_a_command_cannot_be_its_interpreter(program: str, sb: Sandbox) -> None:
    script = f"#!{program}\n"
    sb.files.write_bytes("/tmp/script", script.encode())
    sb.run(["chmod", "755", "/tmp/script"], check=True)
    try:
        done = sb.run(["/tmp/script"], timeout=20, text=True)
    except OSError:
        return
    # The kernel may run PID 1's program, which is sealed, as a program like any other.
    assert done.stdout == ""
    assert done.returncode != 0
    assert sb.run(["echo", "well"]).stdout == b"well\n"


def test_b3_pid_1s_program_cannot_be_written(box: Callable[..., Sandbox]) -> None:
    # A script whose interpreter is /proc/self/exe opens what it was started from.
    write = (
        Call("openat", (-100, "/proc/self/exe", 1, 0)),
        Call("write", (Result(0), b"x", 1)),
    )
    with box(mounts=[MOUNT]) as sandbox:
        assert str(run_inside(sandbox, write)[0]) in {
            "ETXTBSY",
            "EROFS",
            "EACCES",
        }


@pytest.mark.parametrize("kind", ["script", "program"])
def test_b7_an_interpreter_is_looked_up_inside(kind: str, rootfs: Path, tmp_path: Path) -> None:
    program = tmp_path / "v/program"
    program.parent.mkdir()
    if kind == "script":
        shutil.copy(rootfs / "bin/busybox", tmp_path / "interpreter")
        program.write_text(f"#!{tmp_path}/interpreter echo\n")
    else:  # dynamic, with the loader of the host, which this root does not have
        shutil.copy(sys.executable, program)
    program.chmod(0o755)
    with pytest.raises(ProgramNotFoundError):
        pycontain.run(["/v/program"], rootfs=rootfs, mounts=[pycontain.Bind(tmp_path / "v", "/v")])


def test_b5_a_file_that_was_handed_in_for_reading_is_not_written(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    file = tmp_path / "input"
    file.write_text(SECRET)
    file.chmod(0o600)
    with box() as sandbox, file.open("rb") as stdin:
        done = sandbox.run(["sh", "-c", "cat; : > /proc/self/fd/0"], stdin=stdin, text=True)
        controls = sandbox.enforcement
        rows = sandbox.run(["cat", "/proc/self/uid_map"], text=True).stdout.splitlines()
    assert done.stdout == SECRET
    # Who has the caller's own id may open the caller's files, unless Landlock forbids it
    # (docs/security.md, "What is not promised").
    spans = [tuple(map(int, row.split()[1:])) for row in rows]
    foreign = not any(first <= os.geteuid() < first + count for first, count in spans)
    landlock = "landlock" in controls and controls["landlock"].in_force
    assert file.read_text() == (SECRET if foreign or landlock else "")


def test_b5_the_pipes_of_a_command_lead_to_the_caller_alone(sb: Sandbox) -> None:
    script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; ls /proc/self/fd/1/.."
    done = sb.run(["sh", "-c", script], text=True)
    first, *others = done.stdout.split()
    assert first == "/dev/null"
    assert len(others) == 2
    assert all(target.startswith("pipe:[") for target in others)
    assert "Not a directory" in done.stderr


def test_b6_no_socket_is_inside_by_which_descriptors_could_come() -> None:
    script = "readlink /proc/self/fd/*; find / -xdev -type s 2>/dev/null; find /dev /tmp -type s"
    done = pycontain.run(["sh", "-c", script], text=True)
    assert "pipe:[" in done.stdout
    assert [line for line in done.stdout.splitlines() if "pipe" not in line] == ["/dev/null"]


def test_b6_a_socket_of_a_volume_is_granted_with_it(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    # It is a service of the host, read-only or not (docs/security.md, "What is not promised").
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    address = struct.pack("=H", socket.AF_UNIX) + b"/v/socket\0"
    connect = (
        Call("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0)),
        Call("connect", (Result(0), address, len(address))),
    )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o666)
        server.listen()
        with box(mounts=[MOUNT, pycontain.Bind(tmp_path, "/v")]) as sandbox:
            assert str(run_inside(sandbox, connect)[0]) == "done"
        with box(mounts=[MOUNT]) as sandbox:
            assert str(run_inside(sandbox, connect)[0]) == "ENOENT"
