# SPDX-License-Identifier: Apache-2.0
"""Which descriptors go in: the standard three and those that were named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, python, settles
from pycontain import PIPE, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def inheritable() -> Iterator[list[int]]:
    """Hold 500 descriptors of many kinds that every exec would inherit."""
    fds: list[int] = []
    for _ in range(50):
        fds += [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc", os.O_PATH), *os.pipe()]
        fds += [sock.detach() for sock in socket.socketpair()]
        fds += [os.memfd_create("held", 0), os.pidfd_open(os.getpid()), os.eventfd(0, 0)]
        fds.append(os.open("/dev/null", os.O_RDWR))
    for fd in fds:
        os.set_inheritable(fd, True)
    yield fds
    for fd in fds:
        os.close(fd)


def numbers(output: bytes) -> list[int]:
    return [int(line) for line in output.split()]


def test_what_is_inheritable_is_inherited_outside(inheritable: list[int], probe: Path) -> None:
    done = subprocess.run([probe / "probe", "fds"], close_fds=False, stdout=PIPE, check=True)
    assert set(inheritable) <= set(numbers(done.stdout))


HOW = ["once", "living", "popen", "pty"]


def fds_inside(how: str, sb: Sandbox, box_options: dict[str, Any], **more: Any) -> list[int]:
    args = [PROBE, "fds"]
    if how == "once":
        return numbers(pycontain.run(args, **box_options, **more).stdout)
    if how == "living":
        return numbers(sb.run(args, **more).stdout)
    with sb.popen(args, **({"pty": True} if how == "pty" else {"stdout": PIPE}), **more) as process:
        return numbers(process.communicate()[0])


@pytest.mark.parametrize("mode", ["vm", "fork"])
@pytest.mark.parametrize("how", HOW)
def test_three_descriptors_are_inside(
    how: str, mode: str, sb: Sandbox, box_options: dict[str, Any], inheritable: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYCONTAIN_CLONE", mode)
    assert fds_inside(how, sb, box_options) == [0, 1, 2]


@pytest.mark.parametrize("how", HOW)
def test_those_that_are_named_keep_their_numbers(
    how: str, sb: Sandbox, box_options: dict[str, Any], inheritable: list[int]
) -> None:
    named = [inheritable[3], inheritable[0], inheritable[170]]
    assert fds_inside(how, sb, box_options, pass_fds=named) == [0, 1, 2, *sorted(named)]


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 11, 63, 200])
def test_every_number_can_be_named(number: int, probe: Path, rootfs: Path) -> None:
    code = """
        import os, sys
        import pycontain
        number, rootfs, probe = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        read, write = os.pipe()
        os.write(write, b"through")
        os.close(write)
        with pycontain.Sandbox(rootfs=rootfs, mounts=[pycontain.Bind(probe, "/probe")]) as sb:
            free = number
            while True:
                try:
                    os.fstat(free)
                except OSError:
                    break
                free += 1
            os.dup2(read, free)
            inside = sb.run(["/probe/probe", "fds"], pass_fds=[free]).stdout.split()
            assert inside == [b"0", b"1", b"2", str(free).encode()], inside
            print(sb.run(["sh", "-c", f"cat <&{free}"], pass_fds=[free], timeout=5).stdout)
    """
    assert python(code, number, rootfs, probe) == "b'through'\n"


def test_many_descriptors_go_in_at_once(sb: Sandbox, inheritable: list[int]) -> None:
    named = inheritable[:200]
    inside = numbers(sb.run([PROBE, "fds"], pass_fds=named).stdout)
    assert inside == [0, 1, 2, *sorted(named)]


def test_a_descriptor_that_was_named_once_is_not_there_the_next_time(
    sb: Sandbox, inheritable: list[int]
) -> None:
    sb.run(["true"], pass_fds=inheritable[:5])
    assert numbers(sb.run([PROBE, "fds"]).stdout) == [0, 1, 2]


def test_the_same_file_can_be_all_three_streams(sb: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in\n")
    with (tmp_path / "file").open("r+b") as file:
        script = "read line; echo out; echo err >&2; echo $line"
        sb.run(["sh", "-c", script], stdin=file, stdout=file, stderr=file, check=True)
    assert (tmp_path / "file").read_bytes() == b"in\nout\nerr\nin\n"


OWN_VOLUMES = 4  # the file system of the writable layer, that layer itself, /dev, /dev/shm


@pytest.mark.requires("root")  # PID 1 is not dumpable
def test_pid_1_holds_nothing_of_ours(sb: Sandbox, inheritable: list[int]) -> None:
    # The reply socket of an earlier command is closed after its last word.
    numbers = [*range(4), *range(4, 4 + OWN_VOLUMES), 4 + OWN_VOLUMES]
    assert settles(lambda: sorted(map(int, os.listdir(f"/proc/{sb.pid}/fd"))) == numbers)
    paths = [f"/proc/{sb.pid}/fd/{number}" for number in numbers]
    assert [os.readlink(path) for path in paths[:3]] == ["/dev/null"] * 3
    kinds = [os.readlink(path).split(":")[0] for path in (paths[3], paths[-1])]
    assert kinds == ["socket", "anon_inode"]
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    of_the_host = {row.split()[2] for row in rows}
    devices = [os.stat(path).st_dev for path in paths[4:-1]]
    assert of_the_host.isdisjoint(f"{os.major(d)}:{os.minor(d)}" for d in devices)


CLOSED = """
    import os, sys
    import pycontain
    closed, rootfs, probe = eval(sys.argv[1]), sys.argv[2], sys.argv[3]
    report = os.dup(2)
    for fd in closed:
        os.close(fd)
    options = {"rootfs": rootfs, "mounts": [pycontain.Bind(probe, "/probe")]}
    said = []
    try:
        args = ["sh", "-c", "cat; echo err >&2; /probe/probe fds"]
        for _ in range(2):
            done = pycontain.run(args, input=b"in\\n", **options)
            said.append((done.returncode, done.stdout, done.stderr))
        with pycontain.Sandbox(**options) as sb:
            done = sb.run(args, input=b"in\\n")
            said.append((done.returncode, done.stdout, done.stderr))
            process = sb.popen(args, stdin=-1, stdout=-1, stderr=-1)
            out, err = process.communicate(b"in\\n")
            said.append((process.returncode, out, err))
            with sb.popen(["echo", "pty"], pty=True) as process:
                said.append(process.communicate()[0])
            sb.files.write_bytes("/tmp/a", b"file")
            said.append(sb.files.read_bytes("/tmp/a"))
    except BaseException as error:
        said = [repr(error)]
    os.write(report, repr(said).encode())
    os._exit(0)
"""


@pytest.mark.parametrize("mode", ["vm", "fork"])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
def test_a_host_process_without_standard_streams_can_do_everything(
    closed: tuple[int, ...], mode: str, probe: Path, rootfs: Path
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CLOSED), str(closed), str(rootfs), str(probe)]
    env = {**os.environ, "PYCONTAIN_CLONE": mode}
    done = subprocess.run(command, stderr=PIPE, env=env, check=True)
    said = done.stderr.decode()
    whole = (0, b"in\n0\n1\n2\n", b"err\n")
    assert said == repr([whole, whole, whole, whole, b"pty\r\n", b"file"])
