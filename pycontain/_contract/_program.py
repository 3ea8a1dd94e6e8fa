# SPDX-License-Identifier: Apache-2.0
"""The files that an execve(2) in a root would lead to: a program, who runs it, its loader."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ._elf import MAGIC, BadElfError, Elf, read_elf
from ._script import HEAD, NESTED_MAX, BadScriptError, parse_shebang, run_by_env

Open: TypeAlias = Callable[[str], int]
"""Opens a file of a root for reading, links followed inside it only, and never waits; returns the
descriptor. What is no regular file is an OSError: EISDIR, ELOOP or EINVAL."""

# Where glibc's and musl's own C library is, beside their loaders.
_LIBC: Final = ("libc.so.6",)
_LOADERS: Final = {
    "glibc": ("ld-linux", "ld64.so.", "ld.so.1"),
    "musl": ("ld-musl-",),
    "uClibc": ("ld-uClibc", "ld64-uClibc"),
    "bionic": ("linker",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that takes part in an execution.

    Attributes:
        path: In the root, as it was looked up.
        role: `program`, `interpreter` of a script, `loader`, `library`, or `run by env`.
        errno: Why it cannot be opened; 0: it can.
        problem: Why its content cannot be executed; None: it can, or it was not opened.
        mode: `st_mode`; 0: not opened.
        owner: Its user id; None: not known.
        head: Its first bytes.
        elf: What its headers say; None: it is none.
    """

    path: str
    role: str
    errno: int = 0
    problem: str | None = None
    mode: int = 0
    owner: int | None = None
    head: bytes = field(default=b"", repr=False)
    elf: Elf | None = None

    @property
    def is_script(self) -> bool:
        """Whether it names who runs it."""
        return self.head.startswith(b"#!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an execve(2) leads to.

    Attributes:
        name: The program as it was asked for.
        files: In the order in which they are looked up.
    """

    name: str
    files: tuple[File, ...]

    @property
    def libc(self) -> str:
        """`glibc`, `musl`, `uClibc`, `bionic`, `other`; `static`: none; "": not known."""
        last = next((file.elf for file in reversed(self.files) if file.role in _RUN), None)
        if last is None:
            return ""
        return "static" if last.interpreter is None else _family(os.fsdecode(last.interpreter))


_RUN: Final = ("program", "interpreter", "run by env")


def _family(loader: str) -> str:
    name = loader.rpartition("/")[2]
    for family, beginnings in _LOADERS.items():
        if name.startswith(beginnings):
            return family
    return "other"


def look(open_file: Open, program: str, search: str, cwd: str = "/") -> Execution:
    """Return what an execution in a root leads to.

    Args:
        open_file: Opens the root's files.
        program: As in argv[0].
        search: The directories of PATH, for a program without a slash.
        cwd: Where a relative name begins.
    """
    look_up = _LookUp(open_file, search, cwd)
    return Execution(name=program, files=tuple(look_up.execution(program)))


class _LookUp:
    def __init__(self, open_file: Open, search: str, cwd: str) -> None:
        self.open_file = open_file
        self.directories = [path for path in search.split(":") if path.startswith("/")]
        self.cwd = cwd

    def execution(self, program: str) -> Iterator[File]:
        file = self.first(self.candidates(program), "program")
        yield file
        last, depth = file, 0
        while _is_whole(last) and depth <= NESTED_MAX:
            yield (last := self.interpreter(last))
            depth += 1
        if depth > NESTED_MAX and last.is_script:
            yield File(path=last.path, role="interpreter", errno=errno.ELOOP)
            return
        yield from self.loader(last)
        if _is_whole(file) and (name := run_by_env(parse_shebang(file.head))) is not None:
            found = self.first(self.candidates(os.fsdecode(name)), "run by env")
            yield found
            if found.path != last.path:
                yield from self.loader(found)

    def candidates(self, program: str) -> tuple[str, ...]:
        if "/" in program:
            return (os.path.join(self.cwd, program),)
        return tuple(f"{path}/{program}" for path in self.directories) or (f"/{program}",)

    def first(self, paths: Iterable[str], role: str) -> File:
        """Return the first that exists, as PID 1 tries them; else one that is forbidden."""
        best: File | None = None
        for path in paths:
            file = self.file(path, role)
            if file.errno == 0 and not stat.S_IMODE(file.mode) & 0o111:
                file = _refused(file, errno.EACCES)
            if file.errno in (0, errno.ELOOP):
                return file
            absent = (errno.ENOENT, errno.ENOTDIR)
            if best is None or (best.errno in absent and file.errno not in absent):
                best = file
        assert best is not None  # noqa: S101 - there is always a path
        return best

    def interpreter(self, script: File) -> File:
        name = os.fsdecode(parse_shebang(script.head).interpreter)
        file = self.file(os.path.join(self.cwd, name), "interpreter")
        if file.errno == 0 and not stat.S_IMODE(file.mode) & 0o111:
            file = _refused(file, errno.EACCES)
        return file

    def loader(self, program: File) -> Iterator[File]:
        if program.elf is None or program.elf.interpreter is None:
            return
        path = os.path.join(self.cwd, os.fsdecode(program.elf.interpreter))
        loader = self.file(path, "loader")
        yield loader
        if _family(path) != "glibc" or loader.elf is None:
            return
        for library in _libraries(path, loader.elf.architecture):
            file = self.file(library, "library")
            if file.elf is not None and file.elf.architecture == loader.elf.architecture:
                yield file
                return

    def file(self, path: str, role: str) -> File:
        try:
            fd = self.open_file(path)
        except OSError as error:
            return File(path=path, role=role, errno=error.errno or errno.EIO)
        except ValueError:  # a NUL in a name
            return File(path=path, role=role, errno=errno.ENOENT)
        try:
            return _read(fd, path, role)
        except OSError as error:
            return File(path=path, role=role, errno=error.errno or errno.EIO)
        finally:
            os.close(fd)


def _is_whole(script: File) -> bool:
    return script.is_script and script.problem is None


def _refused(file: File, number: int) -> File:
    return File(path=file.path, role=file.role, errno=number, mode=file.mode, owner=file.owner)


def _read(fd: int, path: str, role: str) -> File:
    status = os.fstat(fd)
    make = functools.partial(File, path=path, role=role, mode=status.st_mode, owner=status.st_uid)
    if not stat.S_ISREG(status.st_mode):
        is_directory = stat.S_ISDIR(status.st_mode)
        return make(errno=errno.EISDIR if is_directory else errno.EINVAL)
    head = os.pread(fd, HEAD, 0)
    if head.startswith(b"#!"):
        try:
            parse_shebang(head)
        except BadScriptError as error:
            return make(head=head, problem=str(error))
        return make(head=head)
    if not head.startswith(MAGIC):
        return make(head=head, problem=_no_program(head))
    try:
        elf = read_elf(lambda size, offset: os.pread(fd, size, offset), status.st_size)
    except BadElfError as error:
        return make(head=head, problem=str(error))
    return make(head=head, elf=elf)


# The magic numbers of a.out, in the low half of the first word (a.out.h).
_A_OUT: Final = frozenset((0o407, 0o410, 0o413, 0o314))


def _no_program(head: bytes) -> str:
    if not head:
        return "is empty"
    if head.startswith(b"MZ"):
        return "is a program for Windows"
    if head[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return "is a program for macOS, or of Java"
    if int.from_bytes(head[:2], "little") in _A_OUT and b"\0" in head[:8]:
        return "is an a.out program, which Linux no longer runs"
    if b"\0" not in head:
        return "is a text that does not begin with #! and an interpreter"
    return "is no program"


def _libraries(loader: str, architecture: str) -> Iterator[str]:
    """Yield where glibc's C library may be."""
    triplet = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "ppc64le": "powerpc64le"}
    name = triplet.get(architecture, architecture)
    directories = (
        f"/lib/{name}-linux-gnu",
        f"/usr/lib/{name}-linux-gnu",
        loader.rpartition("/")[0],
        *("/lib64", "/usr/lib64", "/lib", "/usr/lib"),
    )
    for directory in dict.fromkeys(directories):
        for library in _LIBC:
            yield f"{directory}/{library}"
