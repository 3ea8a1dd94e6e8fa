# SPDX-License-Identifier: Apache-2.0
"""Decide where groups can be made, and say why where they cannot.

On v2, see `_place_v2`. On v1 any group that the caller may write to will do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pycontain.errors import ConfigError

from . import _files
from ._hierarchy import outside_ancestor
from ._place_v2 import Missing, choose, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._hierarchy import Hierarchy, Host
    from ._place_v2 import AskSystemd

V1_NAMES: Mapping[str, str] = {"io": "blkio"}


class Places(NamedTuple):
    """Where the groups of a sandbox go.

    Attributes:
        v2: The v2 directory to make groups in (None: no v2 group can be made).
        v2_controllers: The wanted controllers that are in force through it.
        v1: Directory for each v1 hierarchy in use, with the wanted controllers it carries.
        missing: What is wanted and not to be had, `tracking` standing for v2 itself.
        scope: The systemd unit that `v2` is the directory of; empty: it is not one of ours.
        outside: This process may not clone into `v2`; its keeper there has to.
    """

    v2: str | None
    v2_controllers: frozenset[str]
    v1: Mapping[str, frozenset[str]]
    missing: Mapping[str, Missing]
    scope: str = ""
    outside: bool = False


def v1_name(controller: str) -> str:
    """Return the v1 name of a controller."""
    return V1_NAMES.get(controller, controller)


def find(
    host: Host,
    wanted: frozenset[str],
    cgroup: Iterable[str] = (),
    ask_systemd: AskSystemd | None = None,
) -> Places:
    """Choose the places for the `wanted` controllers (v2 names).

    In this order: what was given; a delegated subtree that we are in; a systemd scope; a group that
    we may write to, though it is systemd's.

    Args:
        host: From `detect`.
        wanted: Controllers by their v2 names; `freezer` and `cpuacct` are v1 only.
        cgroup: Directories to use in their hierarchies instead of a choice of ours.
        ask_systemd: Gets a scope, why there is none, or None where there is no systemd.

    Raises:
        ConfigError: A directory in `cgroup` that cannot serve.
    """
    explicit: dict[str, str] = {}
    for path in cgroup:
        hierarchy = _check_explicit(host, path)
        if hierarchy.mount in explicit:
            raise ConfigError(
                f"cgroup={path!r}: {explicit[hierarchy.mount]} names the same hierarchy"
            )
        explicit[hierarchy.mount] = path.rstrip("/")

    missing: dict[str, Missing] = {}
    v1: dict[str, frozenset[str]] = {}
    for controller in wanted:
        taken = host.v1_of(v1_name(controller))
        if taken is None:
            continue
        place = explicit.get(taken.mount) or _v1_place(taken, controller)
        if isinstance(place, Missing):
            missing[controller] = place
        else:
            v1[place] = v1.get(place, frozenset()) | {controller}

    rest = frozenset(c for c in wanted if host.v1_of(v1_name(c)) is None)
    if host.v2 is None:
        missing |= {c: _not_mounted(c) for c in rest}
        return Places(v2=None, v2_controllers=frozenset(), v1=v1, missing=missing)
    if host.mode != "v2":  # the limits are v1's, where any writable group will do
        ask_systemd = None
    chosen = choose(host.v2, rest, explicit.get(host.v2.mount), ask_systemd)
    return Places(
        v2=chosen.directory,
        v2_controllers=chosen.usable,
        v1=v1,
        missing=missing | {m.controller: m for m in chosen.refused},
        scope=chosen.scope,
        outside=bool(chosen.scope and outside_ancestor(host.v2, f"{chosen.directory}")),
    )


def _not_mounted(controller: str) -> Missing:
    return Missing(
        controller=controller,
        file="/proc/self/mountinfo",
        why=f"no cgroup hierarchy with the {v1_name(controller)} controller is mounted",
        remedy="mount cgroup2 on /sys/fs/cgroup",
    )


def _check_explicit(host: Host, path: str) -> Hierarchy:
    """Return the hierarchy of a directory that the user named, or say what is wrong with it."""
    trouble = f"cgroup={path!r}"
    mounts = [h for h in (host.v2, *host.v1) if h is not None]
    if not os.path.isabs(path) or os.path.normpath(path) != path.rstrip("/"):
        raise ConfigError(f"{trouble}: give an absolute path without '..', below /sys/fs/cgroup")
    if os.path.realpath(path) != path.rstrip("/"):
        raise ConfigError(
            f"{trouble} is a symbolic link or leads through one: give the directory itself"
        )
    try:
        device = os.stat(path).st_dev
    except OSError as error:
        raise ConfigError(
            f"{trouble}: {error.strerror}: make the group first, or leave it out"
        ) from None
    owner = next(
        (h for h in mounts if _below(path, h.mount) and os.stat(h.mount).st_dev == device), None
    )
    if owner is None or not os.path.isdir(path):
        points = ", ".join(h.mount for h in mounts) or "none is mounted"
        raise ConfigError(f"{trouble} is not a cgroup directory: the hierarchies are {points}")
    procs = f"{path}/cgroup.procs"
    if owner.read_only or not _files.writable(path) or not _files.writable(procs):
        raise ConfigError(
            f"{trouble} is not ours: {procs} is not writable: "
            "chown the directory, its cgroup.procs and cgroup.subtree_control to this user"
        )
    if owner.version == 2:
        if (kind := type_of(path)) != "domain":
            raise ConfigError(
                f"{trouble} is {kind!r} ({path}/cgroup.type), where only threads can live: "
                "choose a group of the type 'domain'"
            )
        if blocked := outside_ancestor(owner, path):
            raise ConfigError(
                f"{trouble} cannot be entered from this process's own group: {blocked} is not "
                "writable: start this process inside the delegated subtree "
                "(systemd-run --user --scope -p Delegate=yes COMMAND)"
            )
    return owner


def _below(path: str, mount: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")


def _v1_place(hierarchy: Hierarchy, controller: str) -> str | Missing:
    """Return our own group in a v1 hierarchy, or why it cannot be used."""
    directory = hierarchy.own or hierarchy.mount
    if hierarchy.read_only:
        return Missing(
            controller=controller,
            file=hierarchy.mount,
            why="the hierarchy is mounted read-only",
            remedy="mount it writable, or hand in a group of a writable mount with cgroup=",
        )
    if not _files.writable(directory):
        return Missing(
            controller=controller,
            file=directory,
            why="this user may not make groups there",
            remedy=f"as root: mkdir {directory}/NAME and chown it to this user; then give "
            f"cgroup={directory}/NAME",
        )
    return directory
