# SPDX-License-Identifier: Apache-2.0
"""G: sandboxes, at once or one after the other, have nothing in common, nor with the host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _attackers import ATTACKER, INSIDE, MOUNT, Call, encode, run_inside, run_outside
from pycontain import PIPE, profile
from pycontain.selftest._programs import Result, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pycontain import Sandbox

KEY = 0x5EED0000 | os.getpid() & 0xFFFF
CREATE = 0o1666
QUEUE = f"pycontain-{os.getpid()}"


def _unix(name: str) -> tuple[bytes, int]:
    data = struct.pack("=H", socket.AF_UNIX) + b"\0" + name.encode()
    return data, len(data)


MAKE = {
    "shared memory": (Call("shmget", (KEY, 4096, CREATE)),),
    "semaphores": (Call("semget", (KEY, 1, CREATE)),),
    "messages": (Call("msgget", (KEY, CREATE)),),
    "a POSIX queue": (Call("mq_open", (QUEUE, 0o102, 0o666, 0)),),
    "/dev/shm": (Call("openat", (-100, f"/dev/shm/{QUEUE}", 0o102, 0o666)),),
    "/tmp": (Call("openat", (-100, f"/tmp/{QUEUE}", 0o102, 0o666)),),
}
FIND = {
    "shared memory": (Call("shmget", (KEY, 0, 0)),),
    "semaphores": (Call("semget", (KEY, 0, 0)),),
    "messages": (Call("msgget", (KEY, 0)),),
    "a POSIX queue": (Call("mq_open", (QUEUE, 0, 0, 0)),),
    "/dev/shm": (Call("openat", (-100, f"/dev/shm/{QUEUE}", 0, 0)),),
    "/tmp": (Call("openat", (-100, f"/tmp/{QUEUE}", 0, 0)),),
}


@pytest.mark.parametrize("name", profile.names())
def test_g2_g10_what_one_makes_another_does_not_find(
    name: str, box: Callable[..., Sandbox]
) -> None:
    with box(profile=name, mounts=[MOUNT]) as first, box(profile=name, mounts=[MOUNT]) as second:
        make, find = MAKE.values(), FIND.values()
        assert {str(found) for found in run_inside(first, *make)} == {"done"}
        # The control: in the same sandbox it is there.
        assert {str(found) for found in run_inside(first, *find)} == {"done"}
        assert {str(found) for found in run_inside(second, *find)} == {"ENOENT"}
    with box(profile=name, mounts=[MOUNT]) as third:
        assert {str(found) for found in run_inside(third, *find)} == {"ENOENT"}
    assert {str(found) for found in run_outside(*FIND.values())} <= {"ENOENT", "ENOSYS"}


@contextlib.contextmanager
def _listening(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        yield server


def test_g3_abstract_sockets_of_the_host_are_out_of_reach(box: Callable[..., Sandbox]) -> None:
    name = f"pycontain-{os.getpid()}"
    address, size = _unix(name)
    connect = (Call("socket", (1, 1, 0)), Call("connect", (Result(0), address, size)))
    bind = (Call("socket", (1, 1, 0)), Call("bind", (Result(0), address, size)))
    with _listening(name), box(mounts=[MOUNT]) as sandbox:
        assert str(run_outside(connect)[0]) == "done"
        assert str(run_outside(bind)[0]) == "EADDRINUSE"
        assert [str(found) for found in run_inside(sandbox, connect, bind)] == [
            "ECONNREFUSED",
            "done",
        ]


@pytest.mark.requires("landlock")
def test_g3_g7_not_even_where_the_network_is_the_hosts(box: Callable[..., Sandbox]) -> None:
    name = f"pycontain-{os.getpid()}"
    address, size = _unix(name)
    connect = (Call("socket", (1, 1, 0)), Call("connect", (Result(0), address, size)))
    with _listening(name), box(mounts=[MOUNT], network="host") as sandbox:
        found = str(run_inside(sandbox, connect)[0])
        held = "abstract" in sandbox.enforcement["landlock"].by
    # Landlock's scopes are of Linux 6.12.
    assert found == ("EPERM" if held else "done")


def test_g4_a_lock_on_a_shared_file_blocks_no_start(
    box: Callable[..., Sandbox], rootfs: Path
) -> None:
    # Any sandbox of a profile with locks can lock what it shares with others; we lock nothing.
    paths = [rootfs, rootfs / "bin", rootfs / "bin/busybox", Path(ATTACKER)]
    with contextlib.ExitStack() as stack:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            stack.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX)
        with box(mounts=[MOUNT]) as sandbox:
            assert sandbox.run(["true"], timeout=20).returncode == 0


def _peer(port: int, address: str = "127.0.0.1") -> bytes:
    return (
        struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address)
        + bytes(8)
    )  # fmt: skip


def test_g6_services_of_the_host_are_out_of_reach(box: Callable[..., Sandbox]) -> None:
    addresses = {"127.0.0.1", *_own_addresses()}
    with socket.create_server(("0.0.0.0", 0)) as server, box(mounts=[MOUNT]) as sandbox:
        port = server.getsockname()[1]
        programs = [
            (Call("socket", (2, 1, 0)), Call("connect", (Result(0), _peer(port, address), 16)))
            for address in sorted(addresses)
        ]
        assert {str(found) for found in run_outside(*programs)} == {"done"}
        found = {str(found) for found in run_inside(sandbox, *programs)}
    assert found <= {"ECONNREFUSED", "ENETUNREACH"}


def _own_addresses() -> set[str]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return {probe.getsockname()[0]}
    return set()


# Of the loopback device: its address, its flags. Nothing changes even where it is let.
_LO = b"lo".ljust(16, b"\0")
NETWORK = {
    "an address": (Call("socket", (2, 2, 0)), Call("ioctl", (Result(0), 0x8916, _LO + bytes(24)))),
    "flags": (Call("socket", (2, 2, 0)), Call("ioctl", (Result(0), 0x8914, _LO + bytes(24)))),
    "an ARP entry": (Call("socket", (2, 2, 0)), Call("ioctl", (Result(0), 0x8955, bytes(68)))),
    "a packet socket": (Call("socket", (17, 3, 0)),),
    "a raw socket": (Call("socket", (2, 3, 1)),),
    "a namespace's own": (Call("unshare", (0x40000000,)),),
}


@pytest.mark.parametrize("user", [None, pytest.param("0", marks=pytest.mark.requires("rootrange"))])
@pytest.mark.parametrize("name", ["default", "judge", "build"])
def test_g7_the_hosts_network_is_used_where_it_is_granted_and_never_changed(
    name: str, user: str | None, box: Callable[..., Sandbox]
) -> None:
    with box(profile=name, mounts=[MOUNT], network="host") as sandbox:
        control = sandbox.enforcement["namespace net"]
        found = [str(outcome) for outcome in run_inside(sandbox, *NETWORK.values(), user=user)]
    assert not control.in_force
    assert "host" in control.why
    assert set(found) <= {"EPERM", "EACCES", "EAFNOSUPPORT", "ENOSYS", "SIGSYS"}


@pytest.mark.parametrize("user", [None, pytest.param("0", marks=pytest.mark.requires("rootrange"))])
def test_g8_no_process_of_the_host_is_signalled(
    user: str | None, box: Callable[..., Sandbox]
) -> None:
    with subprocess.Popen([ATTACKER, "pause"], stdout=subprocess.PIPE) as victim:
        try:
            assert victim.stdout is not None
            assert victim.stdout.readline()
            pid = victim.pid
            programs = [
                (Call("kill", (pid, signal.SIGTERM)),),
                (Call("kill", (-pid, signal.SIGTERM)),),
                (Call("kill", (os.getpgid(pid) * -1, 0)),),
                (Call("tgkill", (pid, pid, signal.SIGTERM)),),
                (Call("pidfd_open", (pid, 0)),),
                (Call("fcntl", (0, 8, pid)), Call("fcntl", (0, 10, signal.SIGTERM))),
                (Call("setpgid", (0, pid)),),
                (Call("getpgid", (pid,)),),
                (Call("kill", (-1, signal.SIGTERM)),),
            ]
            with box(mounts=[MOUNT]) as sandbox:
                found = [str(outcome) for outcome in run_inside(sandbox, *programs[:-1], user=user)]
                sandbox.run([INSIDE, "calls", encode(programs[-1])], user=user)
                sandbox.run([INSIDE, "signals", str(pid)], user=user)
            assert set(found) <= {"ESRCH", "EPERM", "EINVAL"}
            assert victim.poll() is None
        finally:
            victim.kill()


TAKEN = {
    "inotify": (Call("inotify_init1", (0,)),),
    "queues": (Call("mq_open", (QUEUE, 0o102, 0o666, 0)), Call("mq_unlink", (QUEUE,))),
    "signals": (
        Call("rt_sigprocmask", (2, b"\xff" * 8, 0, 8)),
        Call("getpid", ()),
        Call("rt_sigqueueinfo", (Result(1), 40, struct.pack("=iii", 0, 0, -1) + bytes(120))),
    ),
    "processes": (Call("clone", (signal.SIGCHLD, 0, 0, 0, 0)),),
}


@pytest.mark.parametrize(
    "name, what",
    [
        *((name, what) for name in profile.names() for what in ("inotify", "queues")),
        *(("default", what) for what in ("signals", "processes")),
    ],
)
def test_g9_what_one_takes_all_of_others_have(
    name: str, what: str, box: Callable[..., Sandbox]
) -> None:
    # What the kernel counts by user, and along the owners of user namespaces.
    take = TAKEN[what]
    with box(profile=name, mounts=[MOUNT]) as first, box(profile=name, mounts=[MOUNT]) as second:
        # An ordinary user's sandboxes may share the user namespace, and what is counted in it
        # (docs/security.md, "What is not promised").
        shared = share_ids(first, second)
        with started_hoard(first, what) as count:
            other = "shared" if shared else str(run_inside(second, take)[0])
            (host,) = run_outside(take)
    assert str(host) == "done"
    if count:
        assert other in {"done", "shared"}
    else:
        assert (name, what) == ("judge", "inotify")


@contextlib.contextmanager
def started_hoard(sandbox: Sandbox, what: str) -> Iterator[int]:
    """Let a program take all that it can get; yields how many."""
    with sandbox.popen([INSIDE, "hoard", what], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            (line,) = lines(process.stdout.readline())
            yield line.result
        finally:
            process.kill_all()


def share_ids(first: Sandbox, second: Sandbox) -> bool:
    """Tell whether an ordinary user's sandboxes are in one user namespace. Root's never may be."""
    script = ["readlink", "/proc/self/ns/user"]
    return os.geteuid() != 0 and first.run(script).stdout == second.run(script).stdout
