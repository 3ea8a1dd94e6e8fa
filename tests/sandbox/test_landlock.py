# SPDX-License-Identifier: Apache-2.0
"""Landlock: nothing outside the root is opened, and what a program is used to goes on working."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import pycontain
from _box import started
from pycontain import Sandbox, _landlock
from pycontain._landlock import ruleset
from pycontain.config import Bind, SandboxConfig, Tmpfs
from pycontain.profile import get

LEVELS = {0: None, 1: None, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 99: 16}
needed = pytest.mark.requires("landlock")


@pytest.mark.parametrize("abi, rights", LEVELS.items())
def test_each_kernel_gets_the_rights_that_it_knows(abi: int, rights: int | None) -> None:
    rules = ruleset(SandboxConfig(), get("default"), abi)
    assert (None if rules is None else rules.handled) == (rights and (1 << rights) - 1)
    control = _landlock.control(rules, get("default"), abi)
    assert control.in_force == (rights is not None)
    assert bool(control.remedy) == (rights is None)


def test_a_read_only_root_is_written_nowhere_but_where_it_is_meant_to_be() -> None:
    mounts = (Bind("/a", "/a"), Bind("/b", "/b", read_only=False), Tmpfs("/c"))
    rules = ruleset(SandboxConfig(read_only=True, mounts=mounts), get("default"), 7)
    assert rules is not None
    assert rules.paths == ("/dev/mqueue", "/dev", "/proc", "/b", "/c")
    assert not rules.below_root & _landlock.WRITE_FILE
    assert rules.below_paths & _landlock.WRITE_FILE


def test_only_who_may_make_devices_makes_devices() -> None:
    rules = {name: ruleset(SandboxConfig(), get(name), 7) for name in ("default", "compat")}
    makes = {name: bool(r and r.below_root & _landlock.MAKE_CHAR) for name, r in rules.items()}
    assert makes == {"default": False, "compat": "CAP_MKNOD" in get("compat").capabilities}


@pytest.mark.parametrize(
    "abi, net, scopes", [(3, False, 0), (4, True, 0), (5, True, 0), (6, True, 2), (7, True, 2)]
)
def test_commands_that_stand_alone_have_what_each_kernel_can_deny(
    abi: int, net: bool, scopes: int
) -> None:
    rules = ruleset(SandboxConfig(), get("judge"), abi)
    assert rules is not None
    assert (bool(rules.net), rules.scoped.bit_count()) == (net, scopes)
    said = _landlock.control(rules, get("judge"), abi).by
    assert ("no TCP" in said, "no signals" in said) == (net, bool(scopes))
    together = ruleset(SandboxConfig(), get("default"), abi)
    assert together is not None
    assert (together.net, together.scoped) == (0, 0)


@needed
def test_it_is_in_force_but_where_mounts_are_made() -> None:
    assert Sandbox().enforcement["landlock"].in_force
    assert not Sandbox(profile="nested").enforcement["landlock"].in_force


@needed
def test_a_file_handed_in_for_reading_cannot_be_opened_for_writing(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("data\n")
    file.chmod(0o666)
    tmp_path.chmod(0o755)
    with file.open() as stream:
        done = pycontain.run(
            ["sh", "-c", "cat /dev/stdin; : > /proc/self/fd/0"], stdin=stream, text=True
        )
    assert done.stdout == "data\n"
    assert "Permission denied" in done.stderr
    assert file.read_text() == "data\n"


@needed
def test_a_directory_that_got_in_is_no_way_out(tmp_path: Path) -> None:
    """A descriptor of a host's directory leads to that directory, not to the one above it."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("secret")
    for path in (tmp_path, tmp_path / "inside", tmp_path / "secret"):
        path.chmod(0o777)
    fd = os.open(tmp_path / "inside", os.O_RDONLY)
    try:
        script = f"cat /proc/self/fd/{fd}/../secret; ls /proc/self/fd/{fd}/.."
        done = pycontain.run(["sh", "-c", script], pass_fds=[fd], text=True)
    finally:
        os.close(fd)
    assert "secret" not in done.stdout
    assert done.stderr.count("Permission denied") == 2


USED_TO = {
    "files": "cd /tmp && echo a > a && mkdir d && mv a d/b && ln d/b c && cat c",
    "links": "ln -s /etc/passwd /tmp/l && head -c 1 /tmp/l && rm /tmp/l",
    "standard streams": "echo a > /dev/stdout; echo b > /dev/stderr; cat /dev/stdin",
    "devices": "echo a > /dev/null && head -c 1 /dev/zero && test -t 0 || echo > /dev/full || :",
    "shared memory": "echo a > /dev/shm/a && cat /dev/shm/a",
    "proc": "echo name > /proc/self/comm; cat /proc/self/comm",
    "sockets and pipes": "mkfifo /tmp/p && (echo a > /tmp/p &) && cat /tmp/p",
}


@pytest.mark.parametrize("options", [{}, {"profile": "judge"}, {"profile": "build"}], ids=str)
@pytest.mark.parametrize("script", USED_TO.values(), ids=USED_TO)
def test_what_programs_are_used_to(script: str, options: dict[str, Any]) -> None:
    done = pycontain.run(["sh", "-c", script], input=b"in\n", **options)
    assert (done.returncode, b"denied" in done.stderr) == (0, False), done.stderr


QUEUE = """
import ctypes, os
lib = ctypes.CDLL(None, use_errno=True)
queue = lib.mq_open(b"/queue", os.O_CREAT | os.O_RDWR, 0o600, None)
assert queue >= 0, os.strerror(ctypes.get_errno())
assert os.listdir("/dev/mqueue") == ["queue"] and lib.mq_unlink(b"/queue") == 0
"""


@pytest.mark.parametrize("options", [{}, {"profile": "build"}, {"read_only": True}], ids=str)
def test_posix_queues(options: dict[str, Any]) -> None:
    done = pycontain.run([sys.executable, "-c", QUEUE], text=True, **options)
    assert (done.returncode, done.stderr) == (0, "")


def test_standard_streams_can_be_opened_by_name_by_every_user() -> None:
    with Sandbox(profile="build") as sandbox:
        # Only root can give its pipes to others than the user that it is itself inside.
        users = [None, 1000] if sandbox.plan.identity.mapping == "range" else [None]
        for user in users:
            script = "cat /dev/stdin > /dev/stdout; echo e > /dev/stderr"
            done = sandbox.run(["sh", "-c", script], input="in", user=user, text=True)
            assert (done.stdout, done.stderr) == ("in", "e\n")


TCP = """
import errno, socket
server = socket.socket()
for call, address in ((server.bind, ("127.0.0.1", 0)), (socket.socket().connect, ("127.0.0.1", 1))):
    try:
        call(address)
        print("allowed")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


# With the default's system calls, for judge's filter lets nobody ask.
ALONE = get("default").replace(name="alone", alone=True)


@pytest.mark.requires("landlock_net")
@pytest.mark.parametrize(
    "profile, expected", [(ALONE, ["EACCES", "EACCES"]), ("default", ["allowed", "ECONNREFUSED"])]
)
def test_commands_that_stand_alone_have_no_tcp(profile: Any, expected: list[str]) -> None:
    done = pycontain.run([sys.executable, "-c", TCP], profile=profile, text=True)
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.requires("landlock_scopes")
@pytest.mark.parametrize("profile, expected", [("judge", "denied"), ("default", "signalled")])
def test_commands_that_stand_alone_do_not_signal_each_other(profile: str, expected: str) -> None:
    with Sandbox(profile=profile) as sandbox, started(sandbox) as other:
        status = Path(f"/proc/{other.pid}/status").read_text()
        number = status.partition("\nNSpid:")[2].split("\n")[0].split()[-1]
        script = f"kill -0 {number} && echo signalled || echo denied; kill -0 $$"
        done = sandbox.run(["sh", "-c", script], text=True)
        assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr
        assert other.poll() is None


@pytest.mark.requires("landlock_scopes")
def test_a_command_that_stands_alone_signals_what_it_started() -> None:
    script = "sleep 100 & kill -9 $!; wait $!; echo $?"
    assert pycontain.run(["sh", "-c", script], profile="judge", text=True).stdout == "137\n"
