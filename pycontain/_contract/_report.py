# SPDX-License-Identifier: Apache-2.0
"""Whether what is in a root fits the machine that is to run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pycontain import profile as profiles
from pycontain._image._platform import Platform
from pycontain._image._tree import Tree
from pycontain.errors import ConfigError
from pycontain.profile import Profile

from . import PATH
from ._architectures import NARROW
from ._check import Kind, Problem, error_of, problems
from ._machine import Machine
from ._program import Execution, File, look

if TYPE_CHECKING:
    from pycontain._image._root import ImageRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a command needs of a machine, and what of that it does not have.

    Attributes:
        machine: The machine.
        args: The command; empty: the image names none.
        files: What is executed: the program, a script's interpreter, the loader, the C library.
        libc: `glibc`, `musl`, `static` or another; "" if that cannot be told.
        problems: What does not fit, or not as it may seem.
    """

    machine: Machine
    args: tuple[str, ...]
    files: tuple[File, ...]
    libc: str
    problems: tuple[Problem, ...]

    @property
    def fits(self) -> bool:
        """Whether the command can run."""
        return not any(problem.fatal for problem in self.problems)

    def check(self) -> None:
        """Do nothing if it fits.

        Raises:
            PlatformError, CpuLevelError, KernelTooOldError, InterpreterNotFoundError,
                ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It does not; the same
                that running it would raise.
        """
        for problem in self.problems:
            if problem.fatal:
                raise error_of(problem, self.machine)


def check(
    rootfs: str | os.PathLike[str] | Sequence[str],
    args: Sequence[str],
    *,
    machine: Machine | None = None,
    path: str = PATH,
    cwd: str = "/",
    profile: str | Profile = profiles.default,
) -> Contract:
    """Return whether a command of a root fits a machine.

    Args:
        rootfs: A directory, or those of an image's layers, topmost first.
        args: The command.
        machine: None: this one.
        path: The PATH by which the program is looked up.
        cwd: Where a relative name begins.
        profile: Whose filter and privileges it would have.

    Raises:
        ConfigError: There is no command.
    """
    if not args:
        raise ConfigError("args: the list is empty; the first item is the program")
    policy = profiles.get(profile)
    machine = Machine.here() if machine is None else machine
    machine = machine.under(policy.seccomp)
    layers = [os.fspath(rootfs)] if isinstance(rootfs, str | os.PathLike) else rootfs
    root = Tree(layers).open_file
    execution = look(root, args[0], path, cwd)
    found = problems(execution, machine, set_id=not policy.no_new_privileges, open_file=root)
    return _contract(machine, tuple(args), execution, found)


def _contract(
    machine: Machine, args: tuple[str, ...], execution: Execution, found: tuple[Problem, ...]
) -> Contract:
    return Contract(
        machine=machine, args=args, files=execution.files, libc=execution.libc, problems=found
    )


def check_image(
    image: ImageRoot,
    args: Sequence[str] | None = None,
    *,
    machine: Machine | None = None,
    profile: str | Profile = profiles.default,
) -> Contract:
    """Return whether an image's command fits a machine, and what it says of itself is true.

    Args:
        image: The image, unpacked.
        args: The command; None: what the image is made for.
        machine: None: this one.
        profile: Whose filter and privileges it would have.
    """
    machine = Machine.here() if machine is None else machine
    config = image.config
    command = tuple(args or config.entrypoint or config.cmd or ())
    if not command:
        none = Execution(name="", files=())
        return _contract(machine, (), none, tuple(_unfit(config.platform, machine, image.name)))
    found = check(
        image.paths,
        command,
        machine=machine,
        path=config.environment.get("PATH", PATH),
        cwd=config.working_dir,
        profile=profile,
    )
    return replace(found, problems=(*found.problems, *_false(image, found)))


def _unfit(claimed: Platform, machine: Machine, name: str) -> list[Problem]:
    """Return what speaks against an image that has only its word."""
    if machine.runs(claimed.architecture) or machine.emulates(claimed.architecture, b""):
        return []
    text = f"is for {claimed}, this host is {machine.platform}"
    own = f"linux/{machine.platform.architecture}"
    return [
        Problem(
            kind=Kind.PLATFORM,
            path=name,
            text=text,
            remedy=f"pull it for {own}, or use emulate=True",
            needs=str(claimed),
        )
    ]


def _false(image: ImageRoot, found: Contract) -> list[Problem]:
    """Return what an image says of its platform and is not so."""
    claimed = image.config.platform.architecture
    elf = next((file.elf for file in found.files if file.elf is not None), None)
    if elf is None or elf.architecture in (claimed, NARROW.get(claimed)):
        return []
    return [
        Problem(
            kind=Kind.CLAIM,
            path=image.name,
            text=f"says that it is for {image.config.platform}, but its program is for "
            f"{elf.architecture}",
            remedy="tell whoever built it",
            fatal=False,
            needs=f"linux/{elf.architecture}",
        )
    ]
