# SPDX-License-Identifier: Apache-2.0
"""Programs and this host: an image's are looked at before their first start, others if they fail.

What the kernel says of a program that does not fit is a bare error number, and some fail only when
they run; here it is said which file, what the host has, and what to do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from . import _native, _userland
from ._command import Options, Packer
from ._contract._check import Kind, Problem, error_of, problems
from ._contract._machine import Machine
from ._contract._program import Open, look
from ._image._tree import Tree
from ._native import Event
from .config import Bind, Overlay, SandboxConfig
from .errors import PycontainError

if TYPE_CHECKING:
    from ._runtime import Runtime

# What the kernel does not see itself: the loader or the C library gives up, or the processor does.
_AHEAD: Final = frozenset((Kind.PLATFORM, Kind.CPU, Kind.KERNEL))
_LATE: Final = frozenset((Kind.CPU, Kind.KERNEL))
_VETTED_MAX: Final = 4096
_ASK_TIMEOUT_S: Final = 1.0
# exec's errors that the files explain; others are of limits.
_OF_FILES: Final = frozenset((
    *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC, errno.ELOOP, errno.EINVAL),
    *(errno.ELIBBAD, errno.EIO, errno.EISDIR, errno.EPERM),
))  # fmt: skip


class _BlindError(PycontainError):
    """What a link leads to cannot be told."""


def machine_for(config: SandboxConfig) -> Machine:
    """Return this machine as a sandbox's programs find it."""
    machine = Machine.here().under(config.profile.seccomp)
    return replace(machine, emulated=frozenset((config.emulate,))) if config.emulate else machine


def root_of(config: SandboxConfig) -> Open:
    """Return what opens the files of a sandbox that has just been set up."""
    mounts: dict[str, Sequence[str]] = {}
    layers: tuple[str, ...] = ()
    if config.image is not None:
        layers = config.image.paths
    elif config.rootfs is not None:
        layers = (config.rootfs,)
    else:
        for entry in _userland.entries(0, 0, config.hostname, resolver=False):
            match entry:
                case _userland.Show(path) | _userland.Link(path, _) if os.path.exists(path):
                    mounts[path] = (path,)
    for mount in config.mounts:
        match mount:
            case Bind(source, target, _):
                mounts[os.fspath(target)] = (os.fspath(source),)
            case Overlay(lowers, target):
                mounts[os.fspath(target)] = tuple(os.fspath(lower) for lower in lowers)
            case _:
                mounts[os.fspath(mount.target)] = ()
    return Tree(layers, mounts).open_file


def _living_root(runtime: Runtime) -> Open:
    """Return what opens the files of a living sandbox: PID 1 does, in its own root."""

    def open_file(path: str) -> int:
        message = _native.pack_open(os.fsencode(path), _native.OPEN_FOLLOW, os.O_RDONLY, 0, 0, 0)
        report, fd = runtime.ask(message, _ASK_TIMEOUT_S)
        if report.errno == errno.ELOOP and not _native.available(_native.Probe.OPENAT2):
            raise _BlindError  # PID 1 follows no link then
        if report.event == Event.FAILED or fd is None:
            raise OSError(report.errno, os.strerror(report.errno), path)
        return fd

    return open_file


class Vet:
    """Looks at one command's program.

    Args:
        packer: Of its sandbox.
        program: As in argv[0].
        options: Of the command.
    """

    __slots__ = ("_options", "_packer", "_program")

    def __init__(self, packer: Packer, program: bytes, options: Options) -> None:
        self._packer = packer
        self._program = program
        self._options = options

    def ahead(self, runtime: Runtime | None) -> None:
        """Look at a program of an image once, before it is started.

        Raises:
            PlatformError, CpuLevelError, KernelTooOldError: It does not fit this host.
        """
        config = self._packer.plan.config
        if config.image is None:
            return
        vetted = self._packer.vetted
        key = (os.fsdecode(self._program), *self._packer.search(self._options))
        if key in vetted:
            return
        if not self._wrong(Tree(config.image.paths).open_file, _AHEAD):
            if len(vetted) >= _VETTED_MAX:
                vetted.clear()
            vetted.add(key)
        elif error := self._error(runtime, _AHEAD):  # it may have been replaced, or covered
            raise error

    def failed(self, number: int, runtime: Runtime | None) -> PycontainError | None:
        """Return why a program could not be executed; None: its files do not tell.

        Args:
            number: What execve(2) said.
            runtime: The living sandbox; None: it is gone.
        """
        return self._error(runtime, frozenset(Kind), number) if number in _OF_FILES else None

    def crashed(self, runtime: Runtime | None) -> str | None:
        """Return what of a program that did not run well does not fit this host."""
        try:
            wrong = self._wrong(self._root(runtime), _LATE)
        except (OSError, PycontainError):
            return None
        return str(wrong[0]) if wrong else None

    def _error(
        self, runtime: Runtime | None, kinds: frozenset[Kind], number: int = errno.ENOEXEC
    ) -> PycontainError | None:
        try:
            wrong = self._wrong(self._root(runtime), kinds)
        except (OSError, PycontainError):
            return None
        machine = machine_for(self._packer.plan.config)
        return error_of(wrong[0], machine, number) if wrong else None

    def _root(self, runtime: Runtime | None) -> Open:
        return root_of(self._packer.plan.config) if runtime is None else _living_root(runtime)

    def _wrong(self, open_file: Open, kinds: frozenset[Kind]) -> list[Problem]:
        path, cwd = self._packer.search(self._options)
        execution = look(open_file, os.fsdecode(self._program), path, cwd)
        machine = machine_for(self._packer.plan.config)
        found = problems(execution, machine, open_file=open_file)
        return [problem for problem in found if problem.fatal and problem.kind in kinds]
