# SPDX-License-Identifier: Apache-2.0
"""Where the fuzzers start: messages as Python packs them, in the form of kernel.h."""

from __future__ import annotations

import itertools
import signal
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from _archives import (
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    archive,
    entry,
    extended,
    hardlink,
    octal,
    old_sparse,
    pax_sparse,
    symlink,
)
from pycontain import _native
from pycontain._native import Exec, Landlock, Op, OpKind, Setup
from pycontain._nsbind import ffi, lib
from pycontain._wire import GO

IN_MEMFD = 1
LYING = 2
SUCCESSES = bytes(200)
"""Of as many calls."""
REFUSALS = bytes(range(192, 214)) + SUCCESSES
"""What makes calls fail late, each with another errno."""


def record(message: bytes, n_fds: int = 0, how: int = 0) -> bytes:
    """Return a message for recvmsg(2)."""
    return struct.pack("<HBB", len(message), n_fds, how) + message


def _set_up(*ops: Op, landlock: Landlock | None = None, flags: int = 0) -> bytes:
    return _native.pack_setup(
        Setup(
            ops=ops, attach_at="/tmp", uid_map="0 1000 1\n", gid_map="0 1000 1\n", uid=0, gid=0,
            time_namespace=True, rlimits=((7, 64, 64),), seccomp=bytes(8), no_new_privs=True,
            landlock=landlock, securebits=47, drop_groups=True, bounding=3, permitted=3,
            inheritable=0, ambient=1, flags=flags,
        )
    )  # fmt: skip


_TMPFS = Op(OpKind.ROOT_TMPFS, source=b"size=1m,mode=755")
_INSIDE = [
    Op(OpKind.MKDIR, "/a/b", mode=0o755, uid=1),
    Op(OpKind.SYMLINK, "/a/link", b"b"),
    Op(OpKind.FILE, "/a/file", b"text", mode=0o644, uid=1),
    Op(OpKind.BIND, "/a/bound", b"/host", _native.OP_RECURSIVE, attr=1),
    Op(OpKind.BIND, "/a/given", fd=0),
    Op(OpKind.TMPFS, "/t", b"size=1k"),
    Op(OpKind.PROC, "/proc", b"hidepid=2"),
    Op(OpKind.SYSCTL, "/sys/kernel/x", b"1"),
    Op(OpKind.DEVPTS, "/dev/pts", b"newinstance"),
    Op(OpKind.MQUEUE, "/dev/mqueue"),
    Op(OpKind.BINFMT, "/proc", b":name:M::magic:mask:/bin/qemu:F"),
    Op(OpKind.MASK, "/proc/kcore"),
    Op(OpKind.READ_ONLY, "/proc/sys", attr=1),
    Op(OpKind.READ_ONLY, "", attr=1),
    Op(OpKind.HOSTNAME, source=b"name"),
    Op(OpKind.DOMAINNAME, source=b"domain"),
    Op(OpKind.LOOPBACK),
    Op(OpKind.KEYRING),
    Op(OpKind.PIVOT_ROOT),
]
_OVERLAY = [
    Op(OpKind.STAGE, source=b"size=1m"),
    Op(OpKind.LOWER, source=b"/lower", flags=_native.OP_OPTIONAL),
    Op(OpKind.LOWER, fd=0, attr=1),
    Op(OpKind.ROOT_OVERLAY),
    Op(OpKind.LOWER, source=b"/other"),
    Op(OpKind.OVERLAY, "/o"),
    Op(OpKind.PIVOT_ROOT),
]
_CONTAINER = [
    Op(OpKind.ROOT_BIND, source=b"/root", flags=_native.OP_RECURSIVE),
    Op(OpKind.MOUNT, "/dev", b'tmpfs\0a="b,c"', _native.OP_INHERIT_MODE, type="tmpfs", attr=2),
    Op(OpKind.MOUNT, "/c", b"tmpfs\0", _native.OP_COPY_UP, type="tmpfs"),
    Op(OpKind.BIND, "/b", fd=0, attr=1, attr_clear=2, tree_attr=4, propagation=(1 << 18, 1 << 19)),
    Op(OpKind.LABEL, "/dev/mqueue", b"u:r:t:s0:c1,c2"),
    Op(OpKind.NODE, "/dev/null", b"/dev/null", mode=0o20666, length=1 << 20 | 3, uid=1),
    Op(OpKind.SYMLINK, "/dev/fd", b"/proc/self/fd", _native.OP_FOLLOW | _native.OP_OPTIONAL),
    Op(OpKind.CONSOLE, "/dev/console"),
    Op(OpKind.MASK, "/m", b'context="r:t,c"', flags=_native.OP_FOLLOW),
    Op(OpKind.SYSCTL, "/sys/kernel/x", b"1"),
    Op(OpKind.ATTRIBUTES, "/b", attr=1),
    Op(OpKind.SYNC),
    Op(OpKind.PIVOT_ROOT),
    Op(OpKind.ATTRIBUTES, "", propagation=(1 << 20,)),
]
_LANDLOCK = Landlock(handled=1, net=1, scoped=1, below_root=1, below_paths=1, paths=("/a", "/b"))


def _exec(flags: int = 0, n_tasks: int = 0, fds: tuple[int, ...] = (0, 1, 2)) -> bytes:
    n_fds = 1 + bool(flags & _native.EXEC_CGROUP) + n_tasks + len(fds)
    message = _native.pack_exec(
        Exec(
            id=1, flags=flags, uid=1, gid=1, groups=(1, 2), paths=(b"/bin/a", b"/usr/bin/a"),
            argv=(b"a", b"b"), env=b"X=1\0Y=2\0", n_env=2, cwd=b"/a", umask=0o22, process_group=0,
            n_tasks=n_tasks, fds=fds, rows=24, columns=80,
        )
    )  # fmt: skip
    return record(message, n_fds)


def _many(request: bytes, field: str) -> bytes:
    """Return the request with more in one of its arrays than it has room for."""
    offset = len(record(b"")) + dict(ffi.typeof("struct nsb_exec").fields)[field].offset
    return request[:offset] + struct.pack("=I", 1000) + request[offset + 4 :]


def _keeper() -> bytes:
    keep = struct.pack("=IIII", lib.NSB_REQUEST_KEEP, 16, 0, 0)
    clone = ffi.new("struct nsb_clone *")
    clone.header.kind = lib.NSB_REQUEST_CLONE
    clone.n_affinity = 1
    plain = bytes(ffi.buffer(clone))
    clone.has_cgroup = clone.has_userns = 1
    both = bytes(ffi.buffer(clone))
    clone.n_joins, clone.joins = 2, [0x10000000, 0x40000000]
    joins = bytes(ffi.buffer(clone))
    return record(keep) + record(plain, 4) + record(both, 6) + record(joins, 8)


def _become(*ops: Op, flags: int = 0) -> bytes:
    """Return a set-up after which PID 1 becomes its command, and what it is asked meanwhile."""
    both = _native.SETUP_BECOME | _native.SETUP_OPEN_ROOT
    hook = record(_native.pack_hook(b"/h", (b"h", b"x"), (b"A=1",), 1.0), 2)
    go = record(GO)
    waits = (hook, go) * 3
    return record(_set_up(*ops, flags=both), 1) + _exec(flags) + b"".join(waits)


def _set_ups() -> Iterator[bytes]:
    plain = _set_up(_TMPFS, *_INSIDE, landlock=_LANDLOCK)
    yield record(plain, 1) + _exec()
    yield record(plain, 1, IN_MEMFD) + _exec()
    yield record(plain, 2, IN_MEMFD)
    yield record(_set_up(*_OVERLAY), 1) + _exec()
    yield record(_set_up(Op(OpKind.ROOT_BIND, source=b"/", attr=1), Op(OpKind.PIVOT_ROOT)))
    for op in (*_INSIDE, Op(OpKind.DEVICE, "/dev/null", b"/dev/null", mode=0x103)):
        yield record(_set_up(_TMPFS, op), 1)
    yield record(_set_up(_TMPFS, Op(OpKind.MKDIR, "/" + 300 * "n")))
    yield record(_set_up(_TMPFS, Op(OpKind.MKDIR, 20 * ("/" + 250 * "n"))))
    yield _keeper()
    wait, pty = _native.EXEC_WAIT | _native.EXEC_MAKE_CWD, _native.EXEC_PTY
    yield _become(*_CONTAINER)
    yield _become(*_CONTAINER, flags=wait | _native.EXEC_OWN_STDIO)
    yield _become(flags=wait)
    yield _become(flags=pty | _native.EXEC_SESSION)
    for op in _CONTAINER[1:]:
        yield _become(_CONTAINER[0], op)


def _requests() -> Iterator[bytes]:
    cgroup, mark = _native.EXEC_CGROUP, _native.EXEC_MARK
    execs = [
        _exec(),
        _exec(_native.EXEC_PTY | _native.EXEC_SESSION, fds=()),
        _exec(_native.EXEC_TELL_START | cgroup | mark, n_tasks=2, fds=(5, 0)),
        _exec(_native.EXEC_ONLY),
    ]
    follow, parents = _native.OPEN_FOLLOW, _native.OPEN_PARENTS
    others = [
        *(_native.pack_kill(1, signal.SIGKILL, everything) for everything in range(3)),
        _native.pack_denials(0),
        _native.pack_denials(1),
        _native.pack_calls(),
        *(
            _native.pack_open(b"/a/b", flags, 0o101, 0o644, 1, 1)
            for flags in (0, follow | parents, _native.OPEN_MKDIR, _native.OPEN_UNLINK)
        ),
        _native.pack_open(b"/" + 300 * b"n", _native.OPEN_MKDIR, 0, 0o755, 1, 1),
        _native.pack_open(300 * b"n", _native.OPEN_UNLINK, 0, 0o755, 1, 1),
        _native.pack_open(b"/", _native.OPEN_UPPER, 0, 0, 0, 0),
        _native.pack_open(b"/..//x/", parents, 0o102, 0o755, 1, 1),
    ]
    single = [*execs, *(record(message, 1) for message in others)]
    yield from single
    yield from (first + second for first, second in itertools.product(execs, single[-9:]))
    yield from (record(message, 2, IN_MEMFD) for message in others)
    yield record(others[0], 1, LYING)
    for field in ("n_groups", "n_paths", "n_env", "n_fds", "n_tasks"):
        yield _many(execs[0], field)


def _names() -> Iterator[bytes]:
    for operation in range(6):
        for path in (b"", b"/a", b"a/b/c", b"a//b/", b"../a", b"a/./b", b"a/" + 256 * b"b"):
            yield bytes([operation, 8, 0x10, 0x11, 0x20, 0x51, 0x92, 0xD3, 0x14, 0x00]) + path


def _archives() -> Iterator[bytes]:
    plain = [
        entry("a/b", FILE, b"data"),
        entry("d/", DIRECTORY) + symlink("l", "t") + hardlink("h", "a/b") + entry("p", FIFO),
        entry("x", pax={"path": "p" * 200, "SCHILY.xattr.user.k": b"v\0", "mtime": "-1.5"}),
        entry("x", pax={"LIBARCHIVE.xattr.user%2ek": "dmFsdWU", "uid": "70000", "size": "0"}),
        extended(b"n" * 150 + b"\0", "L") + extended(b"t" * 150 + b"\0", "K") + symlink("x", "y"),
        extended(b"13 comment=x\n", "g") + entry("x", uid=octal(-1, 8), mtime=octal(-5, 12)),
        entry("n" * 100, prefix=b"p" * 155) + entry("b", HARDLINK, b"payload", link="a"),
    ]
    parts = [(at * 600, b"x" * at) for at in range(30)]
    plain.append(old_sparse("s", 20000, parts))
    plain += [pax_sparse("s", 20000, parts[:5], version) for version in ("0.0", "0.1", "1.0")]
    for data in plain:
        yield b"\0" + archive(data)
        yield b"\xff" + data


def _names_of_a_tree() -> Iterator[bytes]:
    """Records of target_index.c."""

    def name(kind: int, parent: int = 0, length: int = 3, letter: str = "n") -> bytes:
        return bytes([kind, parent, length, ord(letter)])

    file = bytes.fromhex("01a4 0007 05 0300 03 000010")
    attributes = b"".join(bytes([which, 0, 20]) for which in range(3))
    plain = [
        b"",
        b"".join(name(kind, letter=chr(65 + kind)) + file for kind in range(5)),
        name(0x18) + file + attributes + name(7, letter="a") + name(7, letter="z"),
        name(0x19) + file + attributes + name(0, 1) + file,
        b"".join(name(1, depth, 200) + file for depth in range(30)),
        b"".join(name(0, 0, length, "~") + file for length in range(90)),
    ]
    for records in plain:
        yield b"\1" + records
        yield b"\0\0\x10" + records


def _strings() -> Iterator[bytes]:
    yield b"\x08abc\0abcd\0"
    yield b"\x20" + 40 * b"x" + b"\0"


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = MappingProxyType(
    {
        "setup": _set_ups,
        "requests": _requests,
        "paths": _names,
        "archives": _archives,
        "index": _names_of_a_tree,
        "strings": _strings,
    }
)


def seeds_of(target: str) -> list[bytes]:
    """Return the seeds of a target: each as it is, and with calls that fail."""
    plain = list(SEEDS[target]())
    if target not in {"setup", "requests"}:
        return plain
    both = [seed + tail for seed in plain for tail in (SUCCESSES, REFUSALS)]
    return (
        both
        if target == "setup"
        else [bytes([audit]) + seed for seed in both for audit in (0, 1, 3)]
    )
