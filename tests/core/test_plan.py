# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""PID 1 and its set-up message: each step that fails says which one it was, and nothing is left."""

from __future__ import annotations

import dataclasses
import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain import SpawnError, _native, _plan
from pycontain._identity import identity
from pycontain._native import Failure, Op, OpKind
from pycontain._runtime import Runtime, prepare
from pycontain.config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain._plan import Plan

ROOT = Op(OpKind.ROOT_TMPFS, "", b"size=1m,nr_inodes=64,mode=755")
PIVOT = Op(OpKind.PIVOT_ROOT)
PROC = Op(OpKind.PROC, "/proc")


def setup(*ops: Op, **changes: Any) -> _native.Setup:
    """Return a minimal set-up with these ops."""
    ids = identity(1000, 1000)
    fields: dict[str, Any] = {
        "attach_at": "/sys", "uid_map": ids.uid_map, "gid_map": ids.gid_map, "uid": ids.init_uid,
        "gid": ids.init_gid, "time_namespace": False, "rlimits": (), "seccomp": b"",
        "no_new_privs": True, "securebits": 0, "drop_groups": ids.drop_groups, "bounding": 0,
        "permitted": 0, "inheritable": 0, "ambient": 0,
    }  # fmt: skip
    return _native.Setup(ops=ops, **{**fields, **changes})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return _plan.compile_plan(SandboxConfig(rootfs=str(tmp_path)))


@pytest.fixture
def start(plan: Plan) -> Callable[[bytes], Runtime]:
    """Start PID 1 with a packed set-up message, without any tree."""

    def start(message: bytes) -> Runtime:
        changed = dataclasses.replace(plan, setup=message, trees=_native.Trees([]))
        runtime = Runtime.start(changed, prepare(plan, plan.config, single=False))
        runtime.wait_ready()
        return runtime

    return start


@pytest.fixture
def fail(plan: Plan) -> Callable[[bytes], Failure]:
    """Start PID 1 with a set-up message that it refuses, and return what it says."""

    def fail(message: bytes) -> Failure:
        changed = dataclasses.replace(plan, setup=message, trees=_native.Trees([]))
        runtime = Runtime.start(changed, prepare(plan, plan.config, single=False))
        try:
            return _native.parse_report(os.read(runtime._control_fd, _native.REPORT_SIZE)).failure
        finally:
            runtime.kill()

    return fail


def test_the_smallest_set_up_works(start: Callable[[bytes], Runtime]) -> None:
    start(_native.pack_setup(setup(ROOT, PIVOT))).kill()


FAILURES = [
    # name, ops, step, errno, index
    ("tmpfs option", (Op(OpKind.ROOT_TMPFS, "", b"size=many"),), "ROOT", errno.EINVAL, 0),
    ("long option", (Op(OpKind.ROOT_TMPFS, "", b"x" * 300),), "ROOT", errno.ENAMETOOLONG, 0),
    ("missing root", (Op(OpKind.ROOT_BIND, "", b"/nowhere"),), "SOURCE", errno.ENOENT, 0),
    ("missing bind", (ROOT, Op(OpKind.BIND, "/a", b"/nowhere")), "SOURCE", errno.ENOENT, 1),
    ("no such descriptor", (ROOT, Op(OpKind.BIND, "/a", fd=3)), "SOURCE", errno.EPROTO, 1),
    ("device of another number", (ROOT, Op(OpKind.DEVICE, "/a", b"/dev/null", mode=0x105)),
     "DEVICE", errno.ENODEV, 1),
    ("device that is a file", (ROOT, Op(OpKind.DEVICE, "/a", b"/proc/self/status", mode=0x103)),
     "DEVICE", errno.ENODEV, 1),
    ("directory through a file", (ROOT, Op(OpKind.FILE, "/f", b"x", mode=0o644), Op(OpKind.MKDIR, "/f/d", mode=0o755)),
     "MKDIR", errno.ENOTDIR, 2),
    ("directory above the root", (ROOT, Op(OpKind.MKDIR, "/a/../../b", mode=0o755)), "MKDIR", errno.EXDEV, 1),
    ("file that exists", (ROOT, Op(OpKind.FILE, "/f", b"x"), Op(OpKind.FILE, "/f", b"y")),
     "FILE", errno.EEXIST, 2),
    ("file larger than the root", (ROOT, Op(OpKind.FILE, "/f", b"x" * (2 << 20), mode=0o644)),
     "FILE", errno.ENOSPC, 1),
    ("long name", (ROOT, Op(OpKind.MKDIR, "/" + "a" * 256, mode=0o755)), "MKDIR", errno.ENAMETOOLONG, 1),
    ("link that exists", (ROOT, Op(OpKind.SYMLINK, "/l", b"a"), Op(OpKind.SYMLINK, "/l", b"b")),
     "SYMLINK", errno.EEXIST, 2),
    ("mount on a link", (ROOT, Op(OpKind.SYMLINK, "/l", b"/etc"), Op(OpKind.TMPFS, "/l", b"", _native.OP_NO_SYMLINKS)),
     "TMPFS", errno.ELOOP, 2),
    ("mount on a dangling link", (ROOT, Op(OpKind.SYMLINK, "/l", b"/etc/no"), Op(OpKind.TMPFS, "/l", b"")),
     "TMPFS", errno.ELOOP, 2),
    ("proc on a file", (ROOT, Op(OpKind.FILE, "/proc", b""), PROC), "PROC", errno.ENOTDIR, 2),
    ("proc option", (ROOT, Op(OpKind.PROC, "/proc", b"nonsense=1")), "PROC", errno.EINVAL, 1),
    ("devpts option", (ROOT, Op(OpKind.DEVPTS, "/pts", b"nonsense=1")), "DEVPTS", errno.EINVAL, 1),
    ("sysctl that does not exist", (ROOT, PROC, Op(OpKind.SYSCTL, "/sys/kernel/no", b"1")),
     "SYSCTL", errno.ENOENT, 2),
    ("value that a sysctl refuses", (ROOT, PROC, Op(OpKind.SYSCTL, "/sys/user/max_user_namespaces", b"x")),
     "SYSCTL", errno.EINVAL, 2),
    ("sysctl without a procfs", (ROOT, Op(OpKind.SYSCTL, "/sys/kernel/no", b"1")), "SYSCTL", errno.EPROTO, 1),
    ("long host name", (ROOT, Op(OpKind.HOSTNAME, "", b"a" * 65)), "HOSTNAME", errno.EINVAL, 1),
    ("overlay without a layer", (ROOT, Op(OpKind.STAGE, "", b""), Op(OpKind.ROOT_OVERLAY)),
     "OVERLAY", errno.ENOENT, 2),
    ("layer without a stage", (ROOT, Op(OpKind.LOWER, "", b"/usr")), "LOWER", errno.EBADF, 1),
    ("op that does not exist", (ROOT, Op(OpKind.PIVOT_ROOT)._replace(kind=99)), "REQUEST", errno.EPROTO, 1),
    ("no root at all", (PIVOT,), "PIVOT_ROOT", errno.EBADF, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    "ops, step, number, index",
    [
        # mount(2) hands its options to the file system as they are.
        pytest.param(*row[1:], marks=pytest.mark.requires("mount_api"))
        if row[0] == "long option"
        else row[1:]
        for row in FAILURES
    ],
    ids=[row[0] for row in FAILURES],
)
def test_a_step_that_fails_names_itself(
    fail: Callable[[bytes], Failure], ops: tuple[Op, ...], step: str, number: int, index: int
) -> None:
    failure = fail(_native.pack_setup(setup(*ops)))
    assert (failure.step, errno.errorcode[failure.errno], failure.index) == (
        step, errno.errorcode[number], index,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes, step, number",
    [
        ({"attach_at": "/nowhere"}, "ROOT", errno.ENOENT),
        ({"attach_at": "/proc/self/status"}, "ROOT", errno.ENOTDIR),
        ({"uid_map": "0 0 5000", "gid_map": "0 0 1"}, "ID_MAP", errno.EPERM),
        ({"uid_map": "nonsense", "gid_map": "0 0 1"}, "ID_MAP", errno.EINVAL),
    ],
)
def test_a_field_that_cannot_be_right_is_an_error(
    start: Callable[[bytes], Runtime], changes: dict[str, Any], step: str, number: int
) -> None:
    with pytest.raises(SpawnError) as caught:
        start(_native.pack_setup(setup(ROOT, PIVOT, **changes)))
    assert caught.value.step == step
    assert caught.value.errno in (number, errno.EPERM)


def _header(kind: int, size: int, payload: int = 0) -> bytes:
    return struct.pack("=IIII", kind, size, payload, 0)


WHOLE = _native.pack_setup(setup(ROOT, PIVOT))
BROKEN = {
    "only a header": _header(1, 16),
    "another kind": _header(2, len(WHOLE)) + WHOLE[16:],
    "kind 0": _header(0, len(WHOLE)) + WHOLE[16:],
    "cut short": WHOLE[: len(WHOLE) // 2],
    "size too large": _header(1, len(WHOLE) + 1) + WHOLE[16:],
    "size too small": _header(1, len(WHOLE) - 1) + WHOLE[16:],
    "payload without a descriptor": _header(1, len(WHOLE), 1) + WHOLE[16:],
    "unknown flags": WHOLE[:16] + struct.pack("=I", 1 << 31) + WHOLE[20:],
    "ops beyond the end": WHOLE[:24] + struct.pack("=II", 2, 0xFFFFFFF0) + WHOLE[32:],
    "too many ops": WHOLE[:24] + struct.pack("=I", 0xFFFFFFFF) + WHOLE[28:],
    "ops in the header": WHOLE[:24] + struct.pack("=II", 1, 4) + WHOLE[32:],
    "all ones": _header(1, 200) + b"\xff" * 184,
    "zeros": _header(1, 200) + b"\0" * 184,
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN)
def test_a_message_that_makes_no_sense_is_refused(
    start: Callable[[bytes], Runtime], message: bytes
) -> None:
    with pytest.raises(SpawnError) as caught:
        start(message)
    assert caught.value.errno == errno.EPROTO


def test_any_cut_of_a_message_is_refused(start: Callable[[bytes], Runtime]) -> None:
    for end in range(16, len(WHOLE) - 1, 7):
        with pytest.raises(SpawnError):
            start(_header(1, end) + WHOLE[16:end])


def test_a_message_larger_than_a_packet_arrives(start: Callable[[bytes], Runtime]) -> None:
    large = Op(OpKind.FILE, "/f", b"x" * (700 << 10), mode=0o644)
    start(_native.pack_setup(setup(ROOT, large, PIVOT))).kill()


def test_a_whole_table_of_ops_arrives(start: Callable[[bytes], Runtime]) -> None:
    directories = [Op(OpKind.MKDIR, "/d", mode=0o755)] * 1022
    start(_native.pack_setup(setup(ROOT, *directories, PIVOT))).kill()


def test_too_many_ops_are_refused(start: Callable[[bytes], Runtime]) -> None:
    directories = [Op(OpKind.MKDIR, "/d", mode=0o755)] * 1023
    with pytest.raises(SpawnError) as caught:
        start(_native.pack_setup(setup(ROOT, *directories, PIVOT)))
    assert caught.value.step == "RECEIVE"


def test_requests_that_make_no_sense_leave_pid_1_alone(start: Callable[[bytes], Runtime]) -> None:
    runtime = start(_native.pack_setup(setup(ROOT, PIVOT)))
    try:
        for kind in (2, 3, 4, 5, 99):
            for body in (b"", b"\0" * 4, b"\xff" * 60, b"\xff" * 400):
                report, fd = runtime.ask(_header(kind, 16 + len(body)) + body)
                assert (report.event, fd) == (_native.Event.FAILED, None)
    finally:
        assert runtime.kill() == 9
