# SPDX-License-Identifier: Apache-2.0
"""Whether an execution fits a machine: each problem is a sentence with a remedy."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pycontain.errors import (
    CpuLevelError,
    InterpreterNotFoundError,
    KernelTooOldError,
    PlatformError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
    SpawnError,
)

from ._machine import Machine
from ._program import Execution, File, Open


class Kind(StrEnum):
    """What does not fit."""

    PROGRAM = "program"
    PERMISSION = "permission"
    FORMAT = "format"
    INTERPRETER = "interpreter"
    PLATFORM = "platform"
    CPU = "cpu"
    KERNEL = "kernel"
    SET_ID = "set-id"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that does not fit.

    Attributes:
        kind: What.
        path: Which file, inside.
        text: What is wrong with it, and what the host has.
        remedy: What to do.
        fatal: It does not run; else it runs, and not as it may seem.
        needs: What the file is for or needs, such as "linux/arm64".
    """

    kind: Kind
    path: str
    text: str
    remedy: str
    fatal: bool = True
    needs: str = ""

    def __str__(self) -> str:
        """Say it in a sentence; hostile names are escaped."""
        return f"{self.path!r} {self.text}: {self.remedy}"


_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)
_MUSL: Final = "/lib/ld-musl-"


def problems(
    execution: Execution, machine: Machine, *, set_id: bool = True, open_file: Open | None = None
) -> tuple[Problem, ...]:
    """Return what of an execution does not fit a machine, the most telling first.

    Args:
        execution: What is to be executed.
        machine: Where.
        set_id: Set-user-ID bits have an effect.
        open_file: Opens files of the same root, to look for another C library.
    """
    found: list[Problem] = []
    for file in execution.files:
        found += _of_file(execution, file, machine, open_file)
    if not set_id and execution.files and (bits := _set_id(execution.files[0])) is not None:
        found.append(bits)
    return tuple(found)


def _of_file(
    execution: Execution, file: File, machine: Machine, open_file: Open | None
) -> Iterator[Problem]:
    if file.errno:
        yield _missing(execution, file, open_file)
    elif file.problem is not None:
        yield Problem(
            kind=Kind.FORMAT,
            path=file.path,
            text=file.problem,
            remedy="Linux executes whole ELF programs, and scripts that begin with #!",
            fatal=file.role != "library",
        )
    elif file.elf is not None:
        yield from _of_elf(file, machine)


def _of_elf(file: File, machine: Machine) -> Iterator[Problem]:
    assert file.elf is not None  # noqa: S101 - by the caller
    architecture = file.elf.architecture
    if not machine.runs(architecture):
        if not machine.emulates(architecture, file.head):
            yield _foreign(file, architecture, machine)
        return
    if file.elf.level > machine.level > 0:
        yield Problem(
            kind=Kind.CPU,
            path=file.path,
            text=f"needs a processor of x86-64-v{file.elf.level}, this one is of "
            f"x86-64-v{machine.level}",
            remedy="use a build for an older processor, or a newer machine",
            needs=f"x86-64-v{file.elf.level}",
        )
    kernel = file.elf.kernel
    if kernel is not None and kernel > machine.kernel:
        needs = ".".join(map(str, kernel))
        yield Problem(
            kind=Kind.KERNEL,
            path=file.path,
            text=f"needs Linux {needs}, this host has {'.'.join(map(str, machine.kernel))}",
            remedy="use an image of an older release of its distribution, or a newer kernel",
            needs=needs,
        )


def _foreign(file: File, architecture: str, machine: Machine) -> Problem:
    host = str(machine.platform)
    if machine.platform.architecture == "amd64" and architecture == "386":
        remedy = "it needs a profile whose filter has secondary=('i386',), or a 64-bit build"
    elif architecture == "x32" or " " in architecture:
        remedy = "build it for this host"
    else:
        remedy = (
            f"use an image or a build for linux/{machine.platform.architecture}, or "
            f'platform="linux/{architecture}", emulate=True, which is slow'
        )
    handler = next((each for each in machine.handlers if each.takes(file.head)), None)
    text = f"is for {architecture}, this host is {host}"
    if handler is not None:
        text += (
            f"; its handler {handler.name} runs {handler.interpreter!r} from inside the sandbox, "
            "for it was registered without the flag F"
        )
    return Problem(
        kind=Kind.PLATFORM, path=file.path, text=text, remedy=remedy, needs=f"linux/{architecture}"
    )


def _missing(execution: Execution, file: File, open_file: Open | None) -> Problem:
    match file.role:
        case "program":
            return _no_program(execution, file)
        case "loader":
            return _no_loader(execution, file, open_file)
        case _:
            return _no_interpreter(execution, file)


def _no_program(execution: Execution, file: File) -> Problem:
    if file.errno in _ABSENT:
        if "/" in execution.name:
            text = "does not exist inside"
        else:
            text = f"is in no directory of PATH inside (tried {file.path!r} first)"
        return Problem(
            kind=Kind.PROGRAM,
            path=execution.name,
            text=text,
            remedy="check its name, or install it into the root",
        )
    return _forbidden(file)


def _forbidden(file: File) -> Problem:
    if file.errno == errno.ELOOP:
        text, remedy = "is one of symbolic links that lead to each other", "mend them"
        return Problem(kind=Kind.FORMAT, path=file.path, text=text, remedy=remedy)
    why = {
        errno.EISDIR: ("is a directory", "name the program in it"),
        errno.EINVAL: ("is no regular file", "only those are executed"),
        errno.EACCES: ("has no permission to be executed", "chmod +x it"),
    }
    text, remedy = why.get(
        file.errno, (f"cannot be read: {os.strerror(file.errno)}", "see its permissions")
    )
    return Problem(kind=Kind.PERMISSION, path=file.path, text=text, remedy=remedy)


def _no_interpreter(execution: Execution, file: File) -> Problem:
    script = execution.files[0]
    if file.errno == errno.ELOOP:
        return Problem(
            kind=Kind.FORMAT,
            path=script.path,
            text="is a script whose interpreters are scripts, more than five in one another",
            remedy="name a program in its first line",
        )
    if file.errno not in _ABSENT:
        return _forbidden(file)
    by_env = file.role == "run by env"
    name = file.path.rpartition("/")[2] if by_env else file.path
    text = f"is a script for {name!r}, which does not exist inside"
    if name.endswith("\r"):
        remedy = "its lines end as Windows' do: convert it with dos2unix"
    else:
        remedy = "install that into the root, or change the first line"
    return Problem(
        kind=Kind.INTERPRETER, path=script.path, text=text, remedy=remedy, fatal=not by_env
    )


def _no_loader(execution: Execution, file: File, open_file: Open | None) -> Problem:
    program = next(
        each for each in reversed(execution.files) if each.elf is not None and each.elf.interpreter
    )
    assert program.elf is not None  # noqa: S101 - by the line above
    libc = execution.libc
    text = f"needs the loader {file.path!r}, which does not exist inside"
    if file.errno not in _ABSENT:
        text = f"needs the loader {file.path!r}, which cannot be read: {os.strerror(file.errno)}"
    remedy = "install that C library into the root, or link the program statically"
    musl = f"{_MUSL}{_MUSL_NAMES.get(program.elf.architecture, program.elf.architecture)}.so.1"
    if libc == "glibc" and open_file is not None and _exists(open_file, musl):
        text += "; it was built for glibc, and this root has musl"
        remedy = "build it for musl or statically, or use an image with glibc"
    elif libc == "musl":
        text += "; it was built for musl"
        remedy = "use an image with musl, such as Alpine, or link it statically"
    return Problem(kind=Kind.INTERPRETER, path=program.path, text=text, remedy=remedy)


_MUSL_NAMES: Final = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "arm": "armhf"}


def _exists(open_file: Open, path: str) -> bool:
    try:
        os.close(open_file(path))
    except OSError:
        return False
    return True


def _set_id(program: File) -> Problem | None:
    bits = [
        name
        for bit, name in ((stat.S_ISUID, "set-user-ID"), (stat.S_ISGID, "set-group-ID"))
        if program.mode & bit
    ]
    if not bits or not stat.S_ISREG(program.mode):
        return None
    return Problem(
        kind=Kind.SET_ID,
        path=program.path,
        text=f"has the {' and '.join(bits)} bit, which has no effect in a sandbox with "
        "no_new_privileges",
        remedy='use user= to start it as somebody else, or profile="build"',
        fatal=False,
    )


def error_of(problem: Problem, machine: Machine, number: int = errno.ENOEXEC) -> PycontainError:
    """Return the exception that says a problem; `number` is what execve(2) says or would say."""
    sentence = str(problem)
    match problem.kind:
        case Kind.PLATFORM | Kind.CLAIM:
            return PlatformError(sentence, wanted=str(machine.platform), offered=(problem.needs,))
        case Kind.CPU:
            return CpuLevelError(errno.ENOEXEC, sentence)
        case Kind.KERNEL:
            return KernelTooOldError(errno.ENOEXEC, sentence)
    make = _ERRORS.get(problem.kind)
    if make is None:
        text = f"it {problem.text}: {problem.remedy}"
        if number == errno.ENOENT:  # of a loader that the broken file names
            number = errno.ENOEXEC
        return SpawnError("EXEC", number, os.strerror(number), problem.path, text)
    own, kind = make
    return kind(own, f"it {problem.text}: {problem.remedy}", problem.path)


_ERRORS: Final[dict[Kind, tuple[int, Callable[..., PycontainError]]]] = {
    Kind.PROGRAM: (errno.ENOENT, ProgramNotFoundError),
    Kind.INTERPRETER: (errno.ENOENT, InterpreterNotFoundError),
    Kind.PERMISSION: (errno.EACCES, ProgramNotExecutableError),
}
