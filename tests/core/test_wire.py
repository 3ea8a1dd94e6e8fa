# SPDX-License-Identifier: Apache-2.0
"""The sockets of messages: paths, ends, descriptors, signals."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from pycontain import _wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MESSAGE = bytes(range(16))  # no shorter than a struct nsb_header


@pytest.fixture
def pair() -> Iterator[tuple[int, socket.socket]]:
    """A descriptor of ours, and the interpreter's own socket at its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours.fileno(), theirs


def test_a_message_goes_through_a_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = _wire.listen(path)
    client = _wire.connect(path)
    with socket.socket(fileno=listener) as server, server.accept()[0] as connection:
        assert [os.get_inheritable(fd) for fd in (listener, client)] == [False, False]
        assert [os.get_blocking(fd) for fd in (listener, client)] == [False, True]
        connection.send(b"there")
        assert _wire.receive(client) == (b"there", -1)
        _wire.send(client, MESSAGE)
        assert connection.recv(100) == MESSAGE
    assert _wire.receive(client) == (b"", -1)
    os.close(client)


@pytest.mark.parametrize("call", [_wire.listen, _wire.connect])
@pytest.mark.parametrize(
    "name, number",
    [("no/such", errno.ENOENT), ("x" * 108, errno.ENAMETOOLONG), ("file/x", errno.ENOTDIR)],
)
def test_paths_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object, name: str, number: int
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("file").touch()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        call(name)  # type: ignore[operator]
    assert (caught.value.errno, caught.value.filename) == (number, name)
    assert os.listdir("/proc/self/fd") == before


def test_a_path_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        _wire.listen(str(path))
    with pytest.raises(ConnectionRefusedError):
        _wire.connect(str(path))


@pytest.mark.parametrize("n", [1, 2, 8, 20])
def test_one_descriptor_is_kept(pair: tuple[int, socket.socket], n: int) -> None:
    ours, theirs = pair
    before = len(os.listdir("/proc/self/fd"))
    with open(os.devnull, "rb") as file:
        socket.send_fds(theirs, [b"some"], [file.fileno(), *[0] * (n - 1)])
        data, fd = _wire.receive(ours)
        assert data == b"some"
        assert os.path.sameopenfile(fd, file.fileno())
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_message_is_cut(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"x" * 5000)
    theirs.send(b"next")
    assert _wire.receive(ours) == (b"x" * 4096, -1)
    assert _wire.receive(ours) == (b"next", -1)


def test_a_peer_that_is_gone(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    _wire.send(ours, MESSAGE)
    theirs.close()
    with pytest.raises(ConnectionResetError):
        _wire.receive(ours)
    with pytest.raises(BrokenPipeError):
        _wire.send(ours, MESSAGE)


def test_a_message_has_a_header(pair: tuple[int, socket.socket]) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        _wire.send(pair[0], MESSAGE[:-1])


@contextlib.contextmanager
def interrupting(last: int) -> Iterator[list[int]]:
    """A signal comes again and again; the handler raises TimeoutError the `last` time."""
    calls: list[int] = []

    def handle(*_: object) -> None:
        calls.append(len(calls) + 1)
        if len(calls) == last:
            raise TimeoutError

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        yield calls
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_handler_may_end_the_wait(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    with interrupting(2) as calls, pytest.raises(TimeoutError):
        _wire.receive(ours)
    assert calls == [1, 2]
    theirs.send(b"later")
    assert _wire.receive(ours) == (b"later", -1)


def test_another_thread_runs_meanwhile(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    threading.Timer(0.05, theirs.send, [b"now"]).start()
    assert _wire.receive(ours) == (b"now", -1)


def test_what_has_come(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    wanted = {ours: _wire.POLLIN | _wire.POLLOUT, theirs.fileno(): _wire.POLLIN}
    assert _wire.poll(wanted) == {ours: _wire.POLLOUT}
    theirs.send(b"now")
    assert _wire.poll({ours: _wire.POLLIN}) == {ours: _wire.POLLIN}
    assert _wire.poll(wanted) == {ours: _wire.POLLIN | _wire.POLLOUT}
    theirs.close()
    assert _wire.poll({ours: 0})[ours] & select.POLLHUP


def test_the_wait_ends_with_what_comes(pair: tuple[int, socket.socket]) -> None:
    ours, theirs = pair
    threading.Timer(0.05, theirs.send, [b"now"]).start()
    assert _wire.poll({ours: _wire.POLLIN}) == {ours: _wire.POLLIN}


def test_a_handler_may_end_the_wait_for_several(pair: tuple[int, socket.socket]) -> None:
    with interrupting(2) as calls, pytest.raises(TimeoutError):
        _wire.poll({pair[0]: _wire.POLLIN})
    assert calls == [1, 2]


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_nothing_has_come_in_time(pair: tuple[int, socket.socket], timeout_s: float) -> None:
    assert _wire.poll({pair[0]: _wire.POLLIN}, timeout_s) == {}


def test_a_signal_does_not_make_a_wait_longer(pair: tuple[int, socket.socket]) -> None:
    with interrupting(1000) as calls:
        assert _wire.poll({pair[0]: _wire.POLLIN}, 0.2) == {}
    assert calls
