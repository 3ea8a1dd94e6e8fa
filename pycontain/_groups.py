# SPDX-License-Identifier: Apache-2.0
"""The control groups of a sandbox: made for its limits, paused, changed, and what they counted."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ._identity import Lease
from ._keeper import Keeper
from .config import SandboxConfig
from .enforcement import GROUP_CONTROLS, Control, check_required
from .errors import UnsupportedError
from .result import Reason, Stats

if TYPE_CHECKING:
    from ._cgroup import CommandGroup, Limits, SandboxTree

LIMITS: Final = ("memory", "pids", "cpus", "cpuset", "io")


def asked(config: SandboxConfig) -> tuple[str, ...]:
    """Return the names of the limits that a configuration has."""
    names = (*LIMITS, "cpu_limit")
    return tuple(
        name
        for name in names
        if getattr(config, name) not in (None, ()) and not (name == "cpuset" and config.pinned)
    )


def pinned(config: SandboxConfig) -> frozenset[int] | None:
    """Return the processors to set by sched_setaffinity(2), if any.

    Raises:
        ConfigError: One that this process cannot give.
    """
    if not config.pinned:
        return None
    from ._cgroup import check_affinity  # noqa: PLC0415 - see below

    return check_affinity(f"{config.cpuset}")


def limits(config: SandboxConfig) -> Limits:
    """Return the limits of a configuration as control groups take them."""
    # Not at the top: many sandboxes have no limits, and this is a quarter of the package's import
    # time.
    from ._cgroup import Limits  # noqa: PLC0415

    values = {name: getattr(config, name) for name in (*LIMITS, "cpuset_exclusive")}
    return Limits(**values | {"cpuset": None} if config.pinned else values)


def create(config: SandboxConfig, lease: Lease, *, single: bool) -> SandboxTree | None:
    """Make the groups of a sandbox; None if it needs none.

    Args:
        config: The limits, and which of them may be missing.
        lease: The ids of the PID 1 that is to start commands in the groups.
        single: The sandbox is for one command only.

    Raises:
        ConfigError: A limit beyond the machine, or a `cgroup` that cannot serve.
        UnsupportedError: A limit cannot be enforced here, and may not be missing.
    """
    names = asked(config)
    pinned = {"cpuset"} if config.pinned else set()
    required = [name for name in config.require if name in GROUP_CONTROLS and name not in pinned]
    if not (names or required or config.cgroup):
        return None
    from ._cgroup import SandboxTree  # noqa: PLC0415 - see above

    tree = SandboxTree.create(
        limits(config),
        cgroup=config.cgroup,
        counters=("memory", "pids"),
        owner_uid=lease.init_host_uid,
        single=single,
        start_keeper=Keeper,
    )
    try:
        accepted = [name for name in config.accept_missing if name in GROUP_CONTROLS]
        accepted += config.defaulted
        check_required(in_force({}, tree, config), required, accepted, names)
    except BaseException:
        tree.remove()
        raise
    return tree


def in_force(
    enforcement: Mapping[str, Control], tree: SandboxTree | None, config: SandboxConfig
) -> dict[str, Control]:
    """Return a plan's controls with those of the sandbox's groups, once it has any."""
    none = Control(in_force=False, why="it was not asked for", remedy="give the limit as an option")
    controls = {**dict.fromkeys(GROUP_CONTROLS, none), **enforcement}
    if tree is not None:
        controls |= tree.enforcement
        if config.cpu_limit is not None:
            controls["cpu_limit"] = _cpu_limit(tree)
    return controls


def _cpu_limit(tree: SandboxTree) -> Control:
    if "core" in tree.dirs:
        return Control(in_force=True, by="cgroup v2 cpu.stat, read while somebody waits")
    if "cpuacct" in tree.dirs:
        return Control(in_force=True, by="cgroup v1 cpuacct.usage, read while somebody waits")
    return Control(
        in_force=False,
        why="no group counts the time of all processes; RLIMIT_CPU bounds each of them alone",
        remedy=tree.enforcement["tracking"].remedy,
    )


def verdict(group: CommandGroup) -> Reason | None:
    """Return the limit that a command has reached, by the kernel's own counters; None: no limit."""
    events = group.events()
    if events.get("oom_kill"):
        return Reason.OOM
    return Reason.PIDS_LIMIT if events.get("pids_max") else None


def needed(tree: SandboxTree | None, what: str) -> SandboxTree:
    """Return the groups of a sandbox that has some; else raise UnsupportedError for `what`."""
    if tree is None:
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            f"{what}: the sandbox has no control group; make it with a limit, or with "
            'require=("freeze",)',
        )
    return tree


def update(tree: SandboxTree, config: SandboxConfig, changes: Mapping[str, Any]) -> SandboxConfig:
    """Change limits of a living sandbox, all of them or none.

    Args:
        tree: Its groups.
        config: What is in force.
        changes: The limits to change, checked.

    Raises:
        ConfigError: Limits beyond the machine.
        UnsupportedError: The kernel refused one, such as less memory than is in use.
    """
    if "cpuset" in changes and not config.cpuset_exclusive:
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            "cpuset: sched_setaffinity(2) cannot change all threads of a living sandbox at once; "
            "make it with cpuset_exclusive=True",
        )
    changed = dataclasses.replace(config, **changes)
    try:
        tree.update(limits(changed))
    except BaseException:
        with contextlib.suppress(UnsupportedError):
            tree.update(limits(config))
        raise
    return changed


def stats(tree: SandboxTree | None) -> Stats:
    """Return what the commands of a sandbox use now."""
    readings = {} if tree is None else tree.stats()
    pressure = {} if tree is None else tree.pressure()
    values: dict[str, Any] = {
        name: reading.value if name in ("user_s", "system_s") else int(reading.value)
        for name, reading in readings.items()
    }
    sources = {name: reading.source for name, reading in (*readings.items(), *pressure.items())}
    return Stats(
        time_s=time.monotonic(),
        **values,
        pressure=MappingProxyType({name: reading.value for name, reading in pressure.items()}),
        sources=MappingProxyType(sources),
    )
