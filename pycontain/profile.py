# SPDX-License-Identifier: Apache-2.0
"""Security profiles: whole policies as frozen values, to use by name or to derive from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from . import _capabilities, _policy
from ._seccomp import Filter
from .errors import ConfigError

_ID_MAX = 2**32 - 2
_LIMITS = frozenset(
    (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE"),
        *("NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What programs in a sandbox may do.

    Attributes:
        name: What it is called in results and messages.
        seccomp: Which system calls, with which arguments.
        capabilities: Names of the capabilities that a command of user 0 has inside the user
            namespace; the bounding set is the same, inheritable and ambient are empty.
        no_new_privileges: Whether set-id programs and file capabilities give nothing.
        securebits: Bits for PR_SET_SECUREBITS (capabilities(7)).
        nested: Whether programs may make user namespaces, and so sandboxes of their own.
        rlimits: Soft and hard limit by name without `RLIMIT_`, in setrlimit(2)'s units.
        masked_paths: Paths that look empty.
        readonly_paths: Paths that cannot be written.
        proc_subset: Whether /proc shows processes only (`subset=pid`, proc(5)).
        alone: Whether Landlock also denies TCP (Linux 6.7), and signals and abstract sockets
            between the commands of one sandbox (Linux 6.12).
        user: Numeric id of the default user and its group.
        umask: The file mode creation mask that commands start with.
        memory: Bytes of all commands together, where control groups can be had and the caller does
            not say otherwise; None: no bound.
        pids: Processes and threads at once; the same.
    """

    name: str
    seccomp: Filter
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = True
    securebits: int = _policy.NO_ROOT
    nested: bool = False
    rlimits: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: _policy.LIMITS, hash=False
    )
    masked_paths: tuple[str, ...] = _policy.MASKED
    readonly_paths: tuple[str, ...] = _policy.READ_ONLY
    proc_subset: bool = False
    alone: bool = False
    user: int = 1000
    umask: int = 0o022
    memory: int | None = None
    pids: int | None = None

    def __post_init__(self) -> None:
        """Check all fields."""
        for name in ("capabilities", "masked_paths", "readonly_paths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _capabilities.mask(self.capabilities)
        self._check_rlimits()
        self._check_paths()
        self._check_numbers()

    def _check_rlimits(self) -> None:
        limits = {name: (soft, hard) for name, (soft, hard) in self.rlimits.items()}
        for name, (soft, hard) in limits.items():
            if name not in _LIMITS:
                raise ConfigError(
                    f"profile {self.name}: {name!r} is no limit; they are named like NOFILE"
                )
            if not 0 <= soft <= hard < 1 << 64:
                raise ConfigError(
                    f"profile {self.name}: {name}: {soft}, {hard} are no soft and hard limit"
                )
        object.__setattr__(self, "rlimits", MappingProxyType(limits))

    def _check_paths(self) -> None:
        for path in (*self.masked_paths, *self.readonly_paths):
            if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
                raise ConfigError(
                    f"profile {self.name}: {path!r} is not an absolute path without '..'"
                )

    def _check_numbers(self) -> None:
        if not 0 <= self.user <= _ID_MAX:
            raise ConfigError(f"profile {self.name}: user {self.user} is out of range")
        if not 0 <= self.umask <= 0o777:
            raise ConfigError(f"profile {self.name}: umask {self.umask:#o} is out of range")
        for name in ("memory", "pids"):
            if (bound := getattr(self, name)) is not None and bound <= 0:
                raise ConfigError(f"profile {self.name}: {name} {bound} is not positive")

    def replace(self, **changes: Any) -> Profile:
        """Return a profile with other values for the named fields.

        Raises ConfigError for a value that cannot be right, TypeError for a field that does not
        exist.
        """
        return dataclasses.replace(self, **changes)

    def __reduce__(self) -> tuple[object, ...]:
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return _restore, ({**values, "rlimits": dict(self.rlimits)},)


def _restore(values: dict[str, Any]) -> Profile:
    return Profile(**values)


default: Final = Profile(name="default", seccomp=_policy.DEFAULT, memory=512 << 20, pids=256)
"""For untrusted programs: interpreters, compilers, build tools run; little of the kernel shows."""

judge: Final = Profile(
    name="judge",
    seccomp=_policy.JUDGE,
    proc_subset=True,
    alone=True,
    rlimits={**_policy.LIMITS, "SIGPENDING": (64, 64)},
    memory=256 << 20,
    pids=64,
)
"""For contest programs: no network, tracing or locks; an attack on the kernel ends them."""

build: Final = Profile(
    name="build",
    seccomp=_policy.BUILD,
    capabilities=_policy.BUILD_CAPABILITIES,
    no_new_privileges=False,
    securebits=0,
    rlimits=_policy.BUILD_LIMITS,
    user=0,
    memory=4096 << 20,
    pids=4096,
)
"""For package managers: root inside its own user namespace, with the capabilities that they use."""

nested: Final = Profile(
    name="nested",
    seccomp=_policy.NESTED,
    nested=True,
    rlimits=_policy.BUILD_LIMITS,
    # The kernel refuses a new /proc to whoever sees one with covered parts (mount_namespaces(7)).
    masked_paths=(),
    readonly_paths=(),
    memory=4096 << 20,
    pids=4096,
)
"""For sandboxes within: programs may make namespaces and mount in them. Weaker than the default."""

compat: Final = Profile(
    name="compat",
    seccomp=_policy.COMPAT,
    capabilities=_policy.DOCKER_CAPABILITIES,
    no_new_privileges=False,
    securebits=0,
    rlimits={"MSGQUEUE": _policy.LIMITS["MSGQUEUE"]},
    masked_paths=_policy.DOCKER_MASKED,
    readonly_paths=_policy.DOCKER_READ_ONLY,
    user=0,
)
"""What Docker grants by default, no limits either, but always within a user namespace."""

_PROFILES: Final = {profile.name: profile for profile in (default, judge, build, nested, compat)}


def names() -> tuple[str, ...]:
    """Return the names of the profiles."""
    return tuple(_PROFILES)


def get(profile: str | Profile) -> Profile:
    """Return the profile of a name, or the value that was given; ConfigError for anything else."""
    if isinstance(profile, Profile):
        return profile
    try:
        return _PROFILES[profile]
    except (KeyError, TypeError):
        raise ConfigError(
            f"profile: {profile!r} is none of {', '.join(_PROFILES)}, nor a Profile"
        ) from None
