# SPDX-License-Identifier: Apache-2.0
"""F: what comes out of a sandbox does nothing to the terminal, the logs or the caller."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import termios
from typing import TYPE_CHECKING

import pytest

import pycontain
from _attackers import INSIDE, MOUNT, Call, encode
from _box import python, settles
from pycontain import CalledProcessError, Sandbox, TimeoutExpired, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
TYPED = "rm -rf /\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Return master and slave of a terminal."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def injection() -> list[str]:
    """Return the programs that type into the terminal at descriptor 0, by all ways to say it."""
    return [
        encode((Call("ioctl", (0, number | high, letter)),))
        for number in (TIOCSTI, TIOCLINUX, TIOCSETD)
        for high in (0, 1 << 32, 0xFFFFFFFF << 32)
        for letter in TYPED
    ]


def test_f1_typing_into_the_terminal_works_outside() -> None:
    code = """
        import fcntl, os, pty, select, subprocess, sys, termios
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, 0x5412, b"x")
            os._exit(0)
        os.waitpid(pid, 0)
        print(select.select([master], [], [], 5)[0] != [])
    """
    if "0\n" in _legacy_tiocsti():
        return  # the kernel has it switched off for all (dev.tty.legacy_tiocsti)
    assert python(code) == "True\n"


def _legacy_tiocsti() -> str:
    try:
        with open("/proc/sys/dev/tty/legacy_tiocsti", encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


@pytest.mark.parametrize("name", profile.names())
def test_f1_nothing_is_typed_into_the_terminal_of_the_caller(
    name: str, terminal: tuple[int, int], box: Callable[..., Sandbox]
) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    with box(profile=name, mounts=[MOUNT]) as sandbox:
        sandbox.run([INSIDE, "calls", *injection()], stdin=slave, stdout=slave, stderr=slave)
        said = _drain(master)
        os.write(master, b"typed by the user\n")
        # What had been typed by the program would come before.
        assert settles(lambda: _queued(slave) > 0)
    assert b"signal" in said
    assert os.read(slave, 4096) == b"typed by the user\n"
    assert _queued(slave) == 0
    assert termios.tcgetattr(slave) == before


def _drain(master: int) -> bytes:
    data = b""
    while select.select([master], [], [], 0.1)[0]:
        data += os.read(master, 65536)
    return data


def _queued(slave: int) -> int:
    answer = fcntl.ioctl(slave, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(answer, "little")


@pytest.mark.parametrize("name", profile.names())
def test_f2_no_command_has_the_terminal_of_the_caller(
    name: str, terminal: tuple[int, int], box: Callable[..., Sandbox]
) -> None:
    _, slave = terminal
    with box(profile=name) as sandbox:
        script = "echo x > /dev/tty || echo none"
        done = sandbox.run(["sh", "-c", script], stdin=slave, stderr=slave, text=True)
        with sandbox.popen(["sh", "-c", "echo own > /dev/tty"], pty=True) as process:
            assert process.communicate(timeout=20)[0] == b"own\r\n"
    assert done.stdout == "none\n"


def test_f3_a_program_that_hangs_up_and_floods_its_terminal_ends(sb: Sandbox) -> None:
    script = "while :; do printf '\\033c\\033[2J\\033]0;owned\\007'; done"
    with sb.popen(["sh", "-c", script], pty=True, bufsize=0) as process:
        assert process.stdout is not None
        assert len(process.stdout.read(4096)) > 0
        process.kill_all()
        process.wait(20)


EVIL = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m"


def test_f4_what_a_program_says_is_escaped_where_it_is_shown(sb: Sandbox) -> None:
    script = f"printf '%s' '{EVIL}'; printf '%s' '{EVIL}' >&2; exit 3"
    done = sb.run(["sh", "-c", script, EVIL])
    shown = [repr(done), str(done)]
    with pytest.raises(CalledProcessError) as failed:
        sb.run(["sh", "-c", script, EVIL], check=True)
    shown += [repr(failed.value), str(failed.value)]
    with pytest.raises(TimeoutExpired) as late:
        sb.run(["sh", "-c", f"printf '%s' '{EVIL}'; sleep 100", EVIL], timeout=0.2)
    shown += [repr(late.value), str(late.value)]
    assert all(text.isprintable() for text in shown), shown


def test_f4_a_program_of_an_evil_name_is_escaped_in_its_error(sb: Sandbox) -> None:
    for args in ([EVIL], [f"/bin/{EVIL}"], ["/etc/passwd/" + EVIL]):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - any of several
            sb.run(args)
        assert str(caught.value).isprintable()


BYTES = {
    "all": bytes(range(256)),
    "cut": "é".encode()[:1],
    "surrogate": b"\xed\xa0\x80",
    "too long": b"\xc0\x80\xf8\x88\x80\x80\x80",
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_f5_output_that_is_no_text_is_kept_and_never_raises(data: bytes, rootfs: object) -> None:
    script = "printf '" + "".join(f"\\{byte:03o}" for byte in data) + "'"
    assert pycontain.run(["sh", "-c", script]).stdout == data
    text = pycontain.run(["sh", "-c", script], text=True).stdout
    assert isinstance(text, str)
    with pytest.raises(UnicodeDecodeError):
        pycontain.run(["sh", "-c", script], encoding="utf-8", errors="strict")
