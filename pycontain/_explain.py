# SPDX-License-Identifier: Apache-2.0
"""What of a sandbox's program does not fit this host, by the files that the sandbox really has."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from . import _fallbacks, _native, _userland
from ._contract._check import Kind, Problem, error_of, problems
from ._contract._machine import Machine
from ._contract._program import Open, look
from ._image._tree import Tree
from ._native import Event
from .config import Bind, Overlay, SandboxConfig
from .errors import PycontainError

if TYPE_CHECKING:
    from ._runtime import Runtime

# What the kernel does not see itself: the loader, the C library or the processor gives up, or a
# filter has calls of one architecture only.
AHEAD: Final = frozenset((Kind.PLATFORM, Kind.CPU, Kind.KERNEL))
ALL: Final = frozenset(Kind)
_ASK_TIMEOUT_S: Final = 1.0


class Name(NamedTuple):
    """How a program is asked for: argv[0], PATH and the working directory."""

    program: str
    search: str
    cwd: str


class _BlindError(PycontainError):
    """What is in the sandbox cannot be told."""


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
        try:
            report, fd = runtime.ask(message, _ASK_TIMEOUT_S)
        except TimeoutError:
            raise _BlindError from None
        if report.errno == errno.ELOOP and not _fallbacks.follows_links():
            raise _BlindError  # PID 1 follows no link then
        if report.event == Event.FAILED or fd is None:
            raise OSError(report.errno, os.strerror(report.errno), path)
        return fd

    return open_file


def image_problem(config: SandboxConfig, name: Name) -> Problem | None:
    """Return what of a program in an image's layers does not fit, but is not seen by the kernel."""
    assert config.image is not None  # noqa: S101 - by the caller
    return _first(config, Tree(config.image.paths).open_file, name, AHEAD)


def problem(
    config: SandboxConfig, runtime: Runtime | None, name: Name, kinds: frozenset[Kind]
) -> Problem | None:
    """Return what of a program does not fit, as far as that can be told.

    Args:
        config: Of its sandbox.
        runtime: The living sandbox; None: one that has just been set up.
        name: Of the program.
        kinds: What to look for.
    """
    try:
        open_file = root_of(config) if runtime is None else _living_root(runtime)
        return _first(config, open_file, name, kinds)
    except (OSError, PycontainError):
        return None


def contradicts(found: Problem, number: int) -> bool:
    """Whether execve(2) has seen the program that a problem says is not there.

    Files that a set-up makes itself are in no directory of the host.
    """
    return found.kind is Kind.PROGRAM and number not in (errno.ENOENT, errno.ENOTDIR)


def error(found: Problem, config: SandboxConfig, number: int = errno.ENOEXEC) -> PycontainError:
    """Return the exception that says a problem; `number` is what execve(2) said."""
    return error_of(found, machine_for(config), number)


def _first(
    config: SandboxConfig, open_file: Open, name: Name, kinds: frozenset[Kind]
) -> Problem | None:
    execution = look(open_file, name.program, name.search, name.cwd)
    found = problems(execution, machine_for(config), open_file=open_file)
    return next((each for each in found if each.fatal and each.kind in kinds), None)
