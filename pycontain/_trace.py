# SPDX-License-Identifier: Apache-2.0
"""Which system calls a command makes, and which kernel has them: the other half of the contract."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Unpack

from . import _syscalls
from . import profile as profiles
from ._command import Argument
from ._contract._machine import Machine, parse_kernel
from ._image._root import ImageRoot
from ._seccomp import Rule, deny
from ._seccomp._explain import machine_of
from .config import SandboxOptions
from .denial import Denials
from .profile import Profile
from .result import Result
from .sandbox import Sandbox

Version = tuple[int, int]
ANY: Final[Version] = (2, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A system call that was made.

    Attributes:
        name: None for a number that is no known call.
        number: As the program gave it.
        machine: Whose numbers these are.
        count: How often.
        since: The first kernel that has it; (2, 6) is any that is still in use.
        denied: How many were refused by the filter.
        here: This kernel is new enough for it.
    """

    name: str | None
    number: int
    machine: str
    count: int
    since: Version
    denied: int
    here: bool

    def __str__(self) -> str:
        """Name it."""
        return self.name or f"syscall {self.number:#x} of {self.machine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a command did.

    Attributes:
        result: How it ended.
        calls: The system calls that it and its descendants made, from the newest kernel's on;
            without `sendmsg`, which any kernel has.
        denials: Those that the filter refused, with arguments and rules.
        kernel: What newer kernels have was refused as if this were the kernel; None: it was not.
    """

    result: Result
    calls: tuple[Call, ...]
    denials: Denials
    kernel: Version | None = None

    @property
    def oldest(self) -> Version:
        """The oldest kernel that has every call that was made and not refused."""
        return max((call.since for call in self.calls if call.count > call.denied), default=ANY)

    @property
    def because(self) -> tuple[Call, ...]:
        """The calls that no older kernel has. Programs may do without: trace with that kernel."""
        return tuple(
            call
            for call in self.calls
            if call.since == self.oldest > ANY and call.count > call.denied
        )


def trace(
    args: Sequence[Argument],
    image: str | ImageRoot | None = None,
    *,
    kernel: str | None = None,
    timeout: float | None = None,
    **options: Unpack[SandboxOptions],
) -> Trace:
    """Run a command in a sandbox and return the system calls that it made.

    Args:
        args: Program and arguments.
        image: As for `Sandbox`.
        kernel: Refuse what this release, such as "4.19", does not have, with ENOSYS, as it would.
            What an old call does differently there is not seen.
        timeout: Seconds, after which everything inside is killed and TimeoutExpired raised.
        options: Those of `Sandbox`.

    Raises:
        ConfigError: An option that cannot be right, or a profile that refuses `sendmsg`.
        UnsupportedError: No seccomp listener can be had, or the kernel is older than 5.5.
    """
    older = None if kernel is None else parse_kernel(kernel)[:2]
    policy = profiles.get(options.get("profile", profiles.default))
    more: dict[str, Any] = {
        **options,
        "profile": policy if older is None else _without_newer(policy, older),
        "trace": True,
        "require": (*options.get("require", ()), "trace"),
    }
    with Sandbox(image, **more) as sandbox:
        result = sandbox.run(args, timeout=timeout, text=True)
        denials = sandbox.denials() or Denials()
        counted = sandbox.runtime.calls()
    calls = [_call(*row, denials) for row in counted]
    calls.sort(key=lambda call: (tuple(-part for part in call.since), str(call)))
    return Trace(result=result, calls=tuple(calls), denials=denials, kernel=older)


def _without_newer(policy: Profile, kernel: Version) -> Profile:
    """Return a profile in which calls that are newer than a kernel do not exist."""
    native = os.uname().machine
    names = _syscalls.table(native).numbers
    newer = tuple(name for name in names if _syscalls.first_kernel(name, native) > kernel)
    if not newer:
        return policy
    return policy.replace(seccomp=policy.seccomp.first(Rule(newer, deny(errno.ENOSYS))))


def _call(number: int, arch: int, count: int, denials: Denials) -> Call:
    machine = machine_of(arch, number)
    names = {} if machine == "foreign" else _syscalls.table(machine).numbers
    name = next((name for name, each in names.items() if each == number), None)
    since = ANY if name is None else _syscalls.first_kernel(name, machine)
    denied = sum(
        denial.count for denial in denials if (denial.number, denial.machine) == (number, machine)
    )
    return Call(
        name=name,
        number=number,
        machine=machine,
        count=count,
        since=since,
        denied=denied,
        here=since <= Machine.here().kernel[:2],
    )
