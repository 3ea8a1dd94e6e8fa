# SPDX-License-Identifier: Apache-2.0
"""Messages hold what was put in, as the C core reads them: by offset, in the structs of api.h."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain import _native
from pycontain._native import Exec, Landlock, Op, OpKind, Report, Setup
from pycontain._nsbind import ffi, lib

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
strings = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))
texts = strings.map(os.fsdecode)
some_strings = st.lists(strings, min_size=1, max_size=6).map(tuple)
numbers = st.lists(u32, max_size=6).map(tuple)


def members(names: type) -> dict[str, int]:
    return {name: number for name, number in vars(names).items() if name.isupper()}


execs = st.builds(
    Exec, id=u32, flags=u32, uid=u32, gid=u32, groups=numbers, paths=some_strings,
    argv=some_strings, env=strings, n_env=st.integers(0, 9), cwd=strings, umask=u32,
    process_group=u32, n_tasks=u32, fds=numbers, rows=u32, columns=u32,
)  # fmt: skip
ops = st.builds(
    Op, st.sampled_from([*members(OpKind).values()]),
    texts.map(lambda text: "/" + text.lstrip("/")), st.binary(max_size=40), u32,
    st.integers(-1, 250), u32, u32, u32, u64, st.none(), texts, u64,
    u64, u64, st.lists(u32, max_size=2).map(tuple),
)  # fmt: skip
maps = st.none() | texts
landlocks = st.builds(
    Landlock, handled=u64, net=u32, scoped=u64, below_root=u64, below_paths=u64,
    paths=st.lists(texts, max_size=4).map(tuple),
)  # fmt: skip
setups = st.builds(
    Setup, ops=st.lists(ops, max_size=6).map(tuple), attach_at=texts, uid_map=maps, gid_map=maps,
    uid=u32, gid=u32, time_namespace=st.booleans(),
    rlimits=st.lists(st.tuples(u32, u64, u64), max_size=6).map(tuple),
    seccomp=st.lists(st.binary(min_size=8, max_size=8), max_size=6).map(b"".join),
    seccomp_flags=u32,
    audit=st.lists(st.binary(min_size=8, max_size=8), max_size=6).map(b"".join),
    no_new_privs=st.booleans(), landlock=st.none() | landlocks, securebits=u32,
    drop_groups=st.booleans(), bounding=u64, permitted=u64, inheritable=u64, ambient=u64,
    effective=st.none() | u64, flags=u32, propagation=u32, personality=u32, timens_offsets=maps,
)  # fmt: skip


class Reader:
    """A message as C sees it."""

    def __init__(self, data: bytes, kind: str) -> None:
        self.data = data
        self._keep = ffi.from_buffer(data)
        self.head: Any = ffi.cast(f"struct {kind} *", self._keep)
        assert self.head.header.size == len(data)
        assert self.head.header.payload_fd == 0

    def strings(self, offset: int, count: int = 1) -> list[bytes]:
        """Return consecutive NUL-terminated strings."""
        found = []
        for _ in range(count):
            end = self.data.index(b"\0", offset)
            found.append(self.data[offset:end])
            offset = end + 1
        return found

    def text(self, offset: int) -> str | None:
        return os.fsdecode(self.strings(offset)[0]) if offset else None

    def array(self, kind: str, offset: int, count: int) -> Any:
        size = ffi.sizeof(kind)
        assert offset % min(size, 8) == 0
        assert offset + size * count <= len(self.data)
        return ffi.cast(f"{kind} *", self._keep + offset)


@given(execs)
def test_a_command(request: Exec) -> None:
    message = Reader(_native.pack_exec(request), "nsb_exec")
    head = message.head
    assert (head.header.kind, head.header.id) == (lib.NSB_REQUEST_EXEC, request.id)
    for name in ("flags", "uid", "gid", "umask", "process_group", "n_tasks", "rows", "columns"):
        assert getattr(head, name) == getattr(request, name), name
    assert tuple(message.strings(head.paths, head.n_paths)) == request.paths
    assert tuple(message.strings(head.argv, head.n_argv)) == request.argv
    assert head.n_env == request.n_env
    assert message.strings(head.env) == [request.env]
    assert message.strings(head.cwd) == [request.cwd]
    for name in ("groups", "fds"):
        count = getattr(head, f"n_{name}")
        found = message.array("uint32_t", getattr(head, name), count)
        assert tuple(found[i] for i in range(count)) == getattr(request, name)


@given(setups)
def test_a_set_up(setup: Setup) -> None:
    message = Reader(_native.pack_setup(setup), "nsb_setup")
    head = message.head
    assert head.header.kind == lib.NSB_REQUEST_SETUP
    for name in ("uid", "gid", "time_namespace", "no_new_privs", "securebits", "drop_groups",
                 "bounding", "permitted", "inheritable", "ambient", "seccomp_flags", "flags",
                 "propagation", "personality"):  # fmt: skip
        assert getattr(head, name) == getattr(setup, name), name
    assert head.effective == (setup.permitted if setup.effective is None else setup.effective)
    assert message.text(head.timens_offsets) == setup.timens_offsets
    assert message.text(head.attach_at) == setup.attach_at
    both = setup.uid_map is not None and setup.gid_map is not None
    assert message.text(head.uid_map) == (setup.uid_map if both else None)
    assert message.text(head.gid_map) == (setup.gid_map if both else None)
    limits = message.array("struct nsb_rlimit", head.rlimits, head.n_rlimits)
    rows = [limits[i] for i in range(head.n_rlimits)]
    assert tuple((row.resource, row.soft, row.hard) for row in rows) == setup.rlimits
    assert message.data[head.seccomp :][: 8 * head.n_seccomp] == setup.seccomp
    assert message.data[head.audit :][: 8 * head.n_audit] == setup.audit
    check_landlock(message, head, setup.landlock)
    assert head.n_ops == len(setup.ops)
    slots = message.array("struct nsb_op", head.ops, head.n_ops)
    for number, op in enumerate(setup.ops):
        check_op(message, slots[number], op)


def check_landlock(message: Reader, head: Any, rules: Landlock | None) -> None:
    if rules is None:
        assert (head.landlock_handled, head.n_landlock_paths) == (0, 0)
        return
    for name in ("handled", "net", "scoped", "below_root", "below_paths"):
        assert getattr(head, f"landlock_{name}") == getattr(rules, name), name
    assert head.n_landlock_paths == len(rules.paths)
    text = b"".join(os.fsencode(path) + b"\0" for path in rules.paths)
    assert message.data[head.landlock_paths :][: len(text)] == text


def check_op(message: Reader, slot: Any, op: Op) -> None:
    for name in ("kind", "flags", "fd", "mode", "uid", "gid", "attr", "attr_clear", "tree_attr",
                 "tree_attr_clear"):  # fmt: skip
        assert getattr(slot, name) == getattr(op, name), name
    assert message.text(slot.type) == (op.type or None)
    assert tuple(slot.propagation) == (*op.propagation, 0, 0)[:2]
    # Relative to the root, so that no path starts at the host's.
    assert message.text(slot.target) == op.target.lstrip("/")
    assert message.data[slot.source :][: slot.length + 1] == op.source + b"\0"


@given(u32, st.integers(0, 64), st.integers(0, 2))
def test_a_signal(ident: int, number: int, everything: int) -> None:
    head = Reader(_native.pack_kill(ident, number, everything), "nsb_kill").head
    assert (head.header.kind, head.header.id) == (lib.NSB_REQUEST_KILL, ident)
    assert (head.signal, head.everything) == (number, everything)


@given(strings, u32, u32, u32, u32, u32)
def test_a_file(path: bytes, flags: int, open_flags: int, mode: int, uid: int, gid: int) -> None:
    message = Reader(_native.pack_open(path, flags, open_flags, mode, uid, gid), "nsb_open")
    head = message.head
    assert head.header.kind == lib.NSB_REQUEST_OPEN
    assert (head.flags, head.open_flags, head.mode) == (flags, open_flags, mode)
    assert (head.uid, head.gid) == (uid, gid)
    assert message.strings(head.path) == [path]


@given(st.tuples(u32, u32, st.integers(-(2**31), 2**31 - 1), u32), u64, u64)
def test_a_report(numbers: tuple[int, int, int, int], user_us: int, system_us: int) -> None:
    report = Report(*numbers, 7, 9, user_us, system_us, 11, 13)
    memory = ffi.new("struct nsb_report *")
    memory.event, memory.step, memory.err, memory.index = numbers
    memory.pid, memory.status = 7, 9
    memory.user_us, memory.system_us = user_us, system_us
    memory.read_blocks, memory.written_blocks = 11, 13
    assert _native.parse_report(bytes(ffi.buffer(memory))) == report


def test_a_report_with_denials() -> None:
    memory = ffi.new("struct nsb_report *", {"event": lib.NSB_EVENT_DENIALS, "denied": 9})
    row = {"args": [*range(1, 7)], "count": 8, "number": 41, "arch": 7, "verdict": 6,
           "examined": 5, "pid": 4, "name": list(b"a program")}  # fmt: skip
    rows = ffi.new("struct nsb_denial[2]", [row, {**row, "name": list(b"0123456789abcdef")}])
    report = _native.parse_report(bytes(ffi.buffer(memory)) + bytes(ffi.buffer(rows)))
    assert (report.event, report.denied) == (_native.Event.DENIALS, 9)
    first = _native.DeniedCall((1, 2, 3, 4, 5, 6), 8, 41, 7, 6, 5, 4, b"a program")
    assert report.denials == (first, first._replace(name=b"0123456789abcdef"))


def test_a_question_for_denials() -> None:
    head = Reader(_native.pack_denials(7), "nsb_denials").head
    assert (head.header.kind, head.header.id) == (lib.NSB_REQUEST_DENIALS, 7)


@pytest.mark.parametrize("size", [0, 1, _native.REPORT_SIZE - 1])
def test_a_report_of_another_size_is_an_error(size: int) -> None:
    with pytest.raises(struct.error):
        _native.parse_report(bytes(size))


ENUMS = {
    "op_kind": OpKind,
    "event": _native.Event,
    "probe": _native.Probe,
    "idmap": _native.Idmap,
}


@pytest.mark.parametrize("name, names", ENUMS.items(), ids=ENUMS)
def test_names_are_those_of_the_core(name: str, names: type) -> None:
    elements = ffi.typeof(f"enum nsb_{name}").elements
    known = {text.partition("NSB_")[2].partition("_")[2]: n for n, text in elements.items()}
    assert members(names) == {text: number for text, number in known.items() if text != "COUNT"}
