# SPDX-License-Identifier: Apache-2.0
"""A program that does not fit the host is explained, before it runs, when it fails, or after."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import pycontain
from _archives import archive, entry
from _box import warm
from _boxes import Add, add, busybox, store_path
from _elves import EXIT, UNDEFINED, abi, elf, isa
from pycontain import (
    Bind,
    CpuLevelError,
    InterpreterNotFoundError,
    KernelTooOldError,
    PlatformError,
    ProgramNotExecutableError,
    Sandbox,
    SpawnError,
    contract,
    images,
)

__all__ = ["add", "busybox", "store_path", "warm"]

FUTURE = 1 << 9
"""A level of x86-64 that no processor has."""

PROGRAMS: dict[str, tuple[bytes, type[Exception], str]] = {
    "other machine": (elf(machine=22, order=">"), PlatformError, "is for s390x, this host"),
    "no loader": (elf(interpreter=b"/no/ld\0"), InterpreterNotFoundError, "loader '/no/ld'"),
    "no interpreter": (b"#!/no/sh\n", InterpreterNotFoundError, "script for '/no/sh'"),
    "lines of Windows": (b"#!/bin/sh\r\n", InterpreterNotFoundError, "dos2unix"),
    "cut off": (elf(interpreter=b"/no/ld\0")[:-20], SpawnError, "is cut off"),
    "text": (b"echo\n", SpawnError, "a text that does not begin"),
    "script loop": (b"#!/srv/p\n", SpawnError, "more than five"),
    "first line of 10 KB": (b"#!/" + b"a" * 10_000 + b"\n", SpawnError, "more than 256 bytes"),
    "a.out": (b"\x0b\x01\x64\x00" + bytes(60), SpawnError, "a.out program"),
    "very many headers": (elf(phnum=65535), SpawnError, "65535 program headers"),
    "headers behind the end": (elf(phoff=1 << 62), SpawnError, "ends before its program headers"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "programs"
    made.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    return made


def program(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o755)


@pytest.mark.requires("tmpfs_binds")
@pytest.mark.parametrize("data, error, said", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("root", ["rootfs", "host"])
def test_a_failure_is_explained(
    data: bytes, error: type[Exception], said: str, root: str, folder: Path, rootfs: Path
) -> None:
    program(folder / "p", data)
    options: dict[str, Any] = {"mounts": [Bind(folder, "/srv")]}
    if root == "rootfs":
        options["rootfs"] = rootfs
    with pytest.raises(error, match=said):
        pycontain.run(["/srv/p"], **options)
    with pytest.raises(error, match=said):
        asyncio.run(pycontain.run_async(["/srv/p"], **options))
    with Sandbox(**options) as sandbox:
        for start in (sandbox.run, sandbox.popen):
            with pytest.raises(error, match=said):
                start(["/srv/p"])
        assert sandbox.run(["echo", "well"]).returncode == 0


def test_what_was_written_inside_is_explained_too(rootfs: Path) -> None:
    with Sandbox(rootfs=rootfs) as sandbox:
        sandbox.files.write_text("/tmp/p", "#!/bin/nobody\n")
        with pytest.raises(ProgramNotExecutableError, match="chmod"):
            sandbox.run(["/tmp/p"])
        sandbox.run(["chmod", "755", "/tmp/p"], check=True)
        with pytest.raises(InterpreterNotFoundError, match="'/bin/nobody'"):
            sandbox.run(["./p"], cwd="/tmp")
        with pytest.raises(InterpreterNotFoundError, match="'/bin/nobody'"):
            sandbox.run(["p"], env={"PATH": "/tmp"})


def test_links_lead_nowhere_but_inside(rootfs: Path, folder: Path) -> None:
    program(folder / "secret", elf(machine=22, order=">"))
    with Sandbox(rootfs=rootfs) as sandbox:
        sandbox.run(["ln", "-s", f"../../../../../../../..{folder}/secret", "/tmp/p"], check=True)
        with pytest.raises(pycontain.ProgramNotFoundError, match="does not exist inside"):
            sandbox.run(["/tmp/p"])


@pytest.mark.requires("overlay")
def test_an_image_for_another_machine_is_refused_before_anything(add: Add) -> None:
    layer = archive(entry("bin/p", data=elf(machine=22, order=">"), mode=0o755))
    add("box", layer, platform="linux/s390x", cmd=("p",))
    with pytest.raises(PlatformError, match="is for s390x, this host is"):
        Sandbox("box", platform="linux/s390x")
    with pytest.raises(PlatformError, match="is for s390x, this host is"):
        pycontain.run(["p"], image="box", platform="linux/s390x")


@pytest.mark.requires("overlay")
def test_an_image_without_a_program_is_taken_at_its_word(add: Add) -> None:
    add("box", platform="linux/s390x", cmd=())
    with pytest.raises(PlatformError, match="is for linux/s390x"):
        Sandbox("box", platform="linux/s390x")


@pytest.mark.requires("overlay")
def test_an_image_that_says_something_else_than_it_is_runs(add: Add) -> None:
    add("box", platform="linux/s390x", cmd=("echo", "well"))
    done = pycontain.run(["echo", "well"], image="box", platform="linux/s390x")
    assert done.stdout == b"well\n"
    problems = images.inspect("box", platform="linux/s390x").check().problems
    assert [(problem.kind, problem.fatal) for problem in problems] == [(contract.Kind.CLAIM, False)]


AHEAD = {
    "processor": (elf(notes=(isa(FUTURE),)), CpuLevelError, "x86-64-v10"),
    "kernel": (elf(notes=(abi(99, 0, 0),)), KernelTooOldError, "needs Linux 99.0.0"),
}


@pytest.mark.requires("overlay", "x86_64")
@pytest.mark.parametrize("data, error, said", AHEAD.values(), ids=AHEAD)
def test_what_the_kernel_does_not_see_is_found_before(
    add: Add, data: bytes, error: type[Exception], said: str
) -> None:
    add("box", archive(entry("bin/p", data=data, mode=0o755)))
    with pytest.raises(error, match=said):
        pycontain.run(["p"], image="box")
    with Sandbox("box") as sandbox:
        with pytest.raises(error, match=said):
            sandbox.run(["p"])
        assert sandbox.run(["true"]).returncode == 0


@pytest.mark.requires("overlay", "x86_64")
def test_what_was_replaced_inside_is_looked_at_as_it_is(add: Add, folder: Path) -> None:
    add("box", archive(entry("bin/p", data=elf(notes=(isa(FUTURE),)), mode=0o755)))
    program(folder / "p", elf())
    covered = [Bind(folder / "p", "/bin/p")]
    assert pycontain.run(["p"], image="box", mounts=covered).returncode == 0
    with Sandbox("box") as sandbox:
        sandbox.run(["rm", "/bin/p"], check=True)
        sandbox.run(["sh", "-c", "cat > /bin/p; /bin/busybox chmod 755 /bin/p"], input=elf())
        assert sandbox.run(["p"]).returncode == 0


@pytest.mark.requires("tmpfs_binds", "x86_64")
@pytest.mark.parametrize("living", [False, True], ids=["one-shot", "living"])
@pytest.mark.parametrize("level, explained", [(FUTURE, True), (1, False)])
def test_an_unknown_instruction_is_explained_by_the_level(
    level: int, explained: bool, living: bool, folder: Path
) -> None:
    program(folder / "p", elf(code=UNDEFINED, notes=(isa(level),)))
    mounts = [Bind(folder, "/srv")]
    if living:
        with Sandbox(mounts=mounts) as sandbox:
            done = sandbox.run(["/srv/p"])
            with sandbox.popen(["/srv/p"]) as process:
                process.wait()
        assert process.explanation == done.explanation
    else:
        done = pycontain.run(["/srv/p"], mounts=mounts)
    assert done.returncode == -signal.SIGILL
    assert (done.explanation is not None) is explained
    assert not explained or "x86-64-v10" in str(done.explanation)


@pytest.mark.requires("x86_64", "tmpfs_binds")
@pytest.mark.parametrize("machine, bits, explained", [(3, 32, True), (62, 64, False)])
def test_a_32_bit_program_is_explained_by_the_filter(
    machine: int, bits: int, explained: bool, folder: Path
) -> None:
    """It cannot even end itself; a fault of a program of ours needs no such explanation."""
    fault = b"\xcd\x80\xf4"  # int 0x80, hlt
    program(folder / "p", elf(machine=machine, bits=bits, code=fault))
    done = pycontain.run(["/srv/p"], mounts=[Bind(folder, "/srv")])
    assert done.returncode == -signal.SIGSEGV
    assert (done.explanation is not None) is explained
    assert not explained or "secondary=('i386',)" in str(done.explanation)


@pytest.mark.requires("x86_64", "tmpfs_binds")
def test_a_program_that_runs_needs_no_explanation(folder: Path) -> None:
    program(folder / "p", elf(code=EXIT, notes=(isa(FUTURE),)))
    done = pycontain.run(["/srv/p"], mounts=[Bind(folder, "/srv")])
    assert (done.returncode, done.explanation) == (0, None)


@pytest.mark.requires("overlay")
def test_an_image_is_checked_for_other_machines(add: Add) -> None:
    add("box", archive(entry("bin/p", data=elf(notes=(isa(7), abi(5, 3, 0))), mode=0o755)))
    image = images.inspect("box")
    assert image.check().fits
    assert image.check().args == ("sh",)
    for machine, kinds in {
        ("linux/amd64/v3", "5.3"): [],
        ("linux/amd64", "5.3"): ["cpu"],
        ("linux/amd64/v4", "4.18"): ["kernel"],
        ("linux/arm64", "6.1"): ["platform"],
    }.items():
        found = image.check(contract.Machine.of(*machine), ["p"])
        assert [str(problem.kind) for problem in found.problems] == kinds


def test_a_file_that_the_set_up_makes_is_there_though_the_host_has_none() -> None:
    with pytest.raises(ProgramNotExecutableError, match="/etc/passwd"):
        pycontain.run(["/etc/passwd"])
    with Sandbox() as sandbox, pytest.raises(ProgramNotExecutableError, match="/etc/passwd"):
        sandbox.run(["/etc/passwd"])


@pytest.mark.requires("tmpfs_binds")
def test_no_program_of_a_root_makes_anybody_wait(folder: Path) -> None:
    os.mkfifo(folder / "p", 0o755)
    (folder / "q").touch(0o755)
    os.truncate(folder / "q", 10 << 30)
    mounts = [Bind(folder, "/srv")]
    with pytest.raises(ProgramNotExecutableError, match="no regular file"):
        pycontain.run(["/srv/p"], mounts=mounts)
    with pytest.raises(SpawnError, match="is no program"):
        pycontain.run(["/srv/q"], mounts=mounts)
