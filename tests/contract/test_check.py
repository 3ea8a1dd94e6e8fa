# SPDX-License-Identifier: Apache-2.0
"""Whether a command of a root fits a machine: which file, what the host has, what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from _elves import abi, elf, isa
from pycontain import (
    ConfigError,
    CpuLevelError,
    InterpreterNotFoundError,
    KernelTooOldError,
    PlatformError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    SpawnError,
)
from pycontain.contract import Kind, Machine, check

OLD = Machine.of("linux/amd64/v2", "5.10")
GLIBC = "lib64/ld-linux-x86-64.so.2"
DYNAMIC = elf(interpreter=b"/" + GLIBC.encode() + b"\0")
MUSL = elf(interpreter=b"/lib/ld-musl-x86_64.so.1\0")
LOADER = elf(kind=3)

Files = Mapping[str, bytes]


def make(root: Path, files: Files) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data.startswith(b"-> "):
            path.symlink_to(os.fsdecode(data[3:]))
        else:
            path.write_bytes(data)
            path.chmod(0o755)
    return root


FIT: dict[str, tuple[Files, str]] = {
    "static": ({"bin/p": elf()}, "static"),
    "glibc": ({"bin/p": DYNAMIC, GLIBC: LOADER}, "glibc"),
    "musl": ({"bin/p": MUSL, "lib/ld-musl-x86_64.so.1": LOADER}, "musl"),
    "another libc": ({"bin/p": elf(interpreter=b"/l/rtld\0"), "l/rtld": LOADER}, "other"),
    "as much as there is": ({"bin/p": elf(notes=(isa(0b11), abi(5, 10, 0)))}, "static"),
    "script": ({"bin/p": b"#!/bin/q -x\n", "bin/q": elf()}, "static"),
    "script of a script": (
        {"bin/p": b"#!/bin/q\n", "bin/q": b"#! /bin/r", "bin/r": DYNAMIC, GLIBC: LOADER},
        "glibc",
    ),
    "by env": ({"bin/p": b"#!/usr/bin/env q\n", "usr/bin/env": elf(), "bin/q": elf()}, "static"),
    "links": (
        {"bin/p": b"-> /usr/bin/p", "usr/bin/p": DYNAMIC, "lib64": b"-> usr/lib",
         "usr/lib/ld-linux-x86-64.so.2": b"-> ../../../../real", "real": LOADER},
        "glibc",
    ),
    "second of PATH": ({"sbin/p/x": b"", "bin/p": elf()}, "static"),
}  # fmt: skip


@pytest.mark.parametrize("files, libc", FIT.values(), ids=FIT)
def test_what_fits(files: Files, libc: str, tmp_path: Path) -> None:
    found = check(make(tmp_path, files), ["p"], machine=OLD)
    assert (found.problems, found.fits, found.libc) == ((), True, libc)
    found.check()


FAR = {f"bin/s{number}": b"#!/bin/s%d\n" % (number + 1) for number in range(7)}
WRONG: dict[str, tuple[Files, Kind, str, str, type[Exception]]] = {
    "other machine": (
        {"bin/p": elf(machine=183)},
        *(Kind.PLATFORM, "/bin/p", "is for arm64, this host is linux/amd64/v2", PlatformError),
    ),
    "32 bits": (
        {"bin/p": elf(machine=3, bits=32)},
        *(Kind.PLATFORM, "/bin/p", "secondary=('i386',)", PlatformError),
    ),
    "big endian": (
        {"bin/p": elf(machine=21, order=">")},
        *(Kind.PLATFORM, "/bin/p", "is for ppc64,", PlatformError),
    ),
    "unknown machine": (
        {"bin/p": elf(machine=4711)},
        *(Kind.PLATFORM, "/bin/p", "ELF machine 4711", PlatformError),
    ),
    "interpreter of another machine": (
        {"bin/p": b"#!/bin/q\n", "bin/q": elf(machine=243)},
        *(Kind.PLATFORM, "/bin/q", "is for riscv64", PlatformError),
    ),
    "loader of another machine": (
        {"bin/p": DYNAMIC, GLIBC: elf(machine=183)},
        *(Kind.PLATFORM, f"/{GLIBC}", "is for arm64", PlatformError),
    ),
    "no loader": (
        {"bin/p": DYNAMIC},
        *(Kind.INTERPRETER, "/bin/p", f"needs the loader '/{GLIBC}'", InterpreterNotFoundError),
    ),
    "glibc's program among musl": (
        {"bin/p": DYNAMIC, "lib/ld-musl-x86_64.so.1": LOADER},
        *(Kind.INTERPRETER, "/bin/p", "this root has musl", InterpreterNotFoundError),
    ),
    "musl's program elsewhere": (
        {"bin/p": MUSL},
        *(Kind.INTERPRETER, "/bin/p", "was built for musl", InterpreterNotFoundError),
    ),
    "no interpreter": (
        {"bin/p": b"#!/usr/bin/python9\n"},
        *(Kind.INTERPRETER, "/bin/p", "'/usr/bin/python9'", InterpreterNotFoundError),
    ),
    "lines of Windows": (
        {"bin/p": b"#!/bin/sh\r\n", "bin/sh": elf()},
        *(Kind.INTERPRETER, "/bin/p", "dos2unix", InterpreterNotFoundError),
    ),
    "processor": (
        {"bin/p": elf(notes=(isa(0b111),))},
        *(Kind.CPU, "/bin/p", "x86-64-v3, this one is of x86-64-v2", CpuLevelError),
    ),
    "processor for the loader": (
        {"bin/p": DYNAMIC, GLIBC: elf(kind=3, notes=(isa(0b1111),))},
        *(Kind.CPU, f"/{GLIBC}", "x86-64-v4", CpuLevelError),
    ),
    "processor for the C library": (
        {"bin/p": DYNAMIC, GLIBC: LOADER, "lib64/libc.so.6": elf(kind=3, notes=(isa(0b111),))},
        *(Kind.CPU, "/lib64/libc.so.6", "x86-64-v3", CpuLevelError),
    ),
    "kernel": (
        {"bin/p": elf(notes=(abi(5, 10, 1),))},
        *(Kind.KERNEL, "/bin/p", "Linux 5.10.1, this host has 5.10.0", KernelTooOldError),
    ),
    "kernel for the C library": (
        {"bin/p": DYNAMIC, GLIBC: LOADER, "lib64/libc.so.6": elf(kind=3, notes=(abi(6, 0, 0),))},
        *(Kind.KERNEL, "/lib64/libc.so.6", "Linux 6.0.0", KernelTooOldError),
    ),
    "script loop": (
        {"bin/p": b"#!/bin/p\n"},
        *(Kind.FORMAT, "/bin/p", "more than five", SpawnError),
    ),
    "very far": (
        {"bin/p": b"#!/bin/s0\n", **FAR, "bin/s7": elf()},
        *(Kind.FORMAT, "/bin/p", "more than five", SpawnError),
    ),
    "first line of 10 KB": (
        {"bin/p": b"#!/" + b"a" * 10_000 + b"\n"},
        *(Kind.FORMAT, "/bin/p", "more than 256 bytes", SpawnError),
    ),
    "cut off": ({"bin/p": elf()[:-1]}, Kind.FORMAT, "/bin/p", "is cut off", SpawnError),
    "empty": ({"bin/p": b""}, Kind.FORMAT, "/bin/p", "is empty", SpawnError),
    "text": ({"bin/p": b"echo\n"}, Kind.FORMAT, "/bin/p", "not begin with #!", SpawnError),
    "a.out": (
        {"bin/p": b"\x0b\x01\x64\x00" + bytes(60)},
        *(Kind.FORMAT, "/bin/p", "a.out", SpawnError),
    ),
    "Windows": ({"bin/p": b"MZ\x90\0"}, Kind.FORMAT, "/bin/p", "for Windows", SpawnError),
    "macOS": ({"bin/p": b"\xcf\xfa\xed\xfe"}, Kind.FORMAT, "/bin/p", "for macOS", SpawnError),
    "garbage": ({"bin/p": b"\x01\x00\xff"}, Kind.FORMAT, "/bin/p", "is no program", SpawnError),
    "missing": ({}, Kind.PROGRAM, "p", "no directory of PATH", ProgramNotFoundError),
    "link to nowhere": ({"bin/p": b"-> /gone"}, Kind.PROGRAM, "p", "PATH", ProgramNotFoundError),
    "link to itself": ({"bin/p": b"-> p"}, Kind.FORMAT, "/bin/p", "symbolic links", SpawnError),
    "link out of the root": (
        {"bin/p": b"-> ../../../../../../../../../bin/busybox"},
        *(Kind.PROGRAM, "p", "PATH", ProgramNotFoundError),
    ),
}  # fmt: skip


@pytest.mark.parametrize("files, kind, path, said, error", WRONG.values(), ids=WRONG)
def test_what_does_not_fit(
    files: Files, kind: Kind, path: str, said: str, error: type[Exception], tmp_path: Path
) -> None:
    found = check(make(tmp_path, {"etc/x": b"", **files}), ["p"], machine=OLD)
    problem = found.problems[0]
    assert (found.fits, problem.kind, problem.path) == (False, kind, path)
    assert said in str(problem)
    assert problem.remedy
    with pytest.raises(error) as caught:
        found.check()
    assert problem.remedy in str(caught.value)
    assert path in str(caught.value)


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o755)


def sock(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))


def sparse(path: Path) -> None:
    path.touch(0o755)
    os.truncate(path, 10 << 30)


def sparse_elf(path: Path) -> None:
    path.write_bytes(elf(loads=5 << 30, interpreter=b"/lib/ld\0"))
    path.chmod(0o755)
    os.truncate(path, 10 << 30)


def no_permission(path: Path) -> None:
    path.write_bytes(elf())
    path.chmod(0o644)


SPECIAL: dict[str, tuple[Callable[[Path], None], str, type[Exception]]] = {
    "directory": (Path.mkdir, "is a directory", ProgramNotExecutableError),
    "fifo": (fifo, "is no regular file", ProgramNotExecutableError),
    "socket": (sock, "is no regular file", ProgramNotExecutableError),
    "10 GB of nothing": (sparse, "is no program", SpawnError),
    "10 GB of a program": (sparse_elf, "needs the loader", InterpreterNotFoundError),
    "no permission": (no_permission, "chmod +x", ProgramNotExecutableError),
}


@pytest.mark.parametrize("make_file, said, error", SPECIAL.values(), ids=SPECIAL)
@pytest.mark.parametrize("role", ["program", "interpreter", "loader"])
def test_nothing_waits_for_what_is_no_program(
    make_file: Callable[[Path], None], said: str, error: type[Exception], role: str, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    make_file(tmp_path / "bin/x")
    script, dynamic = b"#!/bin/x\n", elf(interpreter=b"/bin/x\0")
    make(tmp_path, {"bin/p": {"interpreter": script, "loader": dynamic}.get(role, b"")})
    found = check(tmp_path, ["x" if role == "program" else "/bin/p"], machine=OLD)
    assert found.fits is False or role == "loader"
    if role == "program":
        with pytest.raises(error, match=said.replace("+", r"\+")):
            found.check()


@pytest.mark.requires("root")
def test_a_device_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    os.mknod(tmp_path / "bin/p", 0o20755, os.makedev(10, 130))  # a watchdog: opened, it starts
    found = check(tmp_path, ["p"], machine=OLD)
    assert "no regular file" in str(found.problems[0])


def test_env_finds_its_program_only_when_it_runs(tmp_path: Path) -> None:
    make(tmp_path, {"bin/p": b"#!/bin/env python9\n", "bin/env": elf()})
    found = check(tmp_path, ["p"], machine=OLD)
    assert found.fits
    assert [(each.kind, each.fatal) for each in found.problems] == [(Kind.INTERPRETER, False)]
    assert "'python9'" in str(found.problems[0])


def test_set_id_bits_have_no_effect_where_nobody_gains_by_them(tmp_path: Path) -> None:
    make(tmp_path, {"bin/p": elf()})
    (tmp_path / "bin/p").chmod(0o6755)
    (problem,) = check(tmp_path, ["p"], machine=OLD).problems
    assert (problem.kind, problem.fatal) == (Kind.SET_ID, False)
    assert "set-user-ID and set-group-ID" in str(problem)
    assert check(tmp_path, ["p"], machine=OLD, profile="build").problems == ()


def test_a_program_is_looked_up_as_the_sandbox_does(tmp_path: Path) -> None:
    make(tmp_path, {"a/p": elf(machine=183), "b/p": elf()})
    assert not check(tmp_path, ["p"], machine=OLD, path="relative:/a:/b").fits
    assert check(tmp_path, ["p"], machine=OLD, path="/none:/b:/a").fits
    assert check(tmp_path, ["b/p"], machine=OLD).fits
    assert check(tmp_path, ["./p"], machine=OLD, cwd="/b").fits
    with pytest.raises(ConfigError, match="empty"):
        check(tmp_path, [])


def test_the_upper_layer_counts(tmp_path: Path) -> None:
    below = make(tmp_path / "below", {"bin/p": DYNAMIC, GLIBC: LOADER})
    above = make(tmp_path / "above", {"bin/p": elf(machine=183)})
    assert not check([str(above), str(below)], ["p"], machine=OLD).fits
    assert check([str(below), str(above)], ["p"], machine=OLD).fits
