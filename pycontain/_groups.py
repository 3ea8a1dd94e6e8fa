# SPDX-License-Identifier: Apache-2.0
"""The control groups of a sandbox that has limits, and what they say of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ._identity import Identity
from .config import SandboxConfig
from .enforcement import GROUP_CONTROLS, Control, check_required
from .result import Reason

if TYPE_CHECKING:
    from ._cgroup import CommandGroup, SandboxTree

LIMITS: Final = ("memory", "pids", "cpus", "cpuset")


def asked(config: SandboxConfig) -> tuple[str, ...]:
    """Return the names of the limits that a configuration has."""
    return tuple(name for name in LIMITS if getattr(config, name) is not None)


def create(config: SandboxConfig, ids: Identity, *, single: bool) -> SandboxTree | None:
    """Make the groups of a sandbox; None if it has no limits.

    Args:
        config: The limits, and which of them may be missing.
        ids: Whose PID 1 is to start commands in the groups.
        single: The sandbox is for one command only.

    Raises:
        ConfigError: A limit beyond the machine.
        UnsupportedError: A limit cannot be enforced here, and may not be missing.
    """
    names = asked(config)
    required = [name for name in config.require if name in GROUP_CONTROLS]
    if not names and not required:
        return None
    # Not at the top: most sandboxes have no limits, and this is a quarter of the package's import
    # time.
    from . import _cgroup  # noqa: PLC0415

    limits = _cgroup.Limits(
        memory=config.memory, pids=config.pids, cpus=config.cpus, cpuset=config.cpuset
    )
    owner_uid = ids.host_uid(ids.init_uid) if ids.mapping == "range" else None
    tree = _cgroup.SandboxTree.create(
        limits, counters=("memory", "pids"), owner_uid=owner_uid, single=single
    )
    try:
        accepted = [name for name in config.accept_missing if name in GROUP_CONTROLS]
        check_required({**absent(), **tree.enforcement}, required, accepted, names)
    except BaseException:
        tree.remove()
        raise
    return tree


def absent() -> dict[str, Control]:
    """Say of each control that needs groups that there are none; a tree's come over this."""
    none = Control(in_force=False, why="it was not asked for", remedy="give the limit as an option")
    return dict.fromkeys(GROUP_CONTROLS, none)


def in_force(enforcement: Mapping[str, Control], tree: SandboxTree | None) -> dict[str, Control]:
    """Return a plan's controls with those of the sandbox's groups, once it has any."""
    return {**absent(), **enforcement, **(tree.enforcement if tree else {})}


def verdict(group: CommandGroup, returncode: int) -> Reason | None:
    """Return the limit that ended a command, by the kernel's own counters; None: no limit.

    A program that was refused something and went on to succeed was not ended by it.
    """
    if returncode == 0:
        return None
    events = group.events()
    if events.get("oom_kill"):
        return Reason.OOM
    return Reason.PIDS_LIMIT if events.get("pids_max") else None
