# SPDX-License-Identifier: Apache-2.0
"""Decide where groups can be made, and say why where they cannot.

On v2 a group that holds processes cannot hand controllers to children ("no internal processes",
cgroup-v2.rst), and processes may only move below a common ancestor whose cgroup.procs is writable
("Delegation Containment"). On v1 any group that the caller may write to will do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pycontain.errors import ConfigError

from . import _files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._hierarchy import Hierarchy, Host

V1_NAMES: Mapping[str, str] = {"io": "blkio"}


class Missing(NamedTuple):
    """Why a controller cannot be used: the file that says so, and what would change it."""

    controller: str
    file: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.controller}: {self.why} ({self.file}); {self.remedy}"


class Places(NamedTuple):
    """Where the groups of a sandbox go.

    Attributes:
        v2: The v2 directory to make groups in (None: no v2 group can be made).
        v2_controllers: The wanted controllers that are in force through it.
        v1: Directory for each v1 hierarchy in use, with the wanted controllers it carries.
        missing: What is wanted and not to be had, `tracking` standing for v2 itself.
    """

    v2: str | None
    v2_controllers: frozenset[str]
    v1: Mapping[str, frozenset[str]]
    missing: Mapping[str, Missing]


def v1_name(controller: str) -> str:
    """Return the v1 name of a controller."""
    return V1_NAMES.get(controller, controller)


def find(host: Host, wanted: frozenset[str], cgroup: Iterable[str] = ()) -> Places:
    """Choose the places for the `wanted` controllers (v2 names).

    Args:
        host: From `detect`.
        wanted: Controllers by their v2 names; `freezer` and `cpuacct` are v1 only.
        cgroup: Directories to use in their hierarchies instead of a choice of ours.

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
    v2, in_force = None, frozenset[str]()
    if host.v2 is not None:
        v2, in_force, refused = _v2_place(host.v2, rest, explicit.get(host.v2.mount))
        missing |= {m.controller: m for m in refused}
    else:
        missing |= {c: _not_mounted(c) for c in rest}
    return Places(v2=v2, v2_controllers=in_force, v1=v1, missing=missing)


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
        if (kind := _type_of(path)) != "domain":
            raise ConfigError(
                f"{trouble} is {kind!r} ({path}/cgroup.type), where only threads can live: "
                "choose a group of the type 'domain'"
            )
        if blocked := _outside_ancestor(owner, path):
            raise ConfigError(
                f"{trouble} cannot be entered from this process's own group: {blocked} is not "
                "writable: start this process inside the delegated subtree "
                "(systemd-run --user --scope -p Delegate=yes COMMAND)"
            )
    return owner


def _below(path: str, mount: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")


def _type_of(directory: str) -> str:
    """Return the v2 group's type; the hierarchy's real root has no such file and is a domain."""
    return (_files.read_optional(f"{directory}/cgroup.type") or "domain").strip()


def _outside_ancestor(hierarchy: Hierarchy, path: str) -> str | None:
    """Return the cgroup.procs that keeps us from cloning into `path`, if one does."""
    if hierarchy.own is None:
        return None
    procs = f"{os.path.commonpath([hierarchy.own, path])}/cgroup.procs"
    return None if _files.writable(procs) else procs


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


class _Candidate(NamedTuple):
    directory: str
    usable: frozenset[str]
    refused: tuple[Missing, ...]


def _v2_place(
    hierarchy: Hierarchy, wanted: frozenset[str], explicit: str | None
) -> tuple[str | None, frozenset[str], tuple[Missing, ...]]:
    """Return the nearest v2 directory that serves most of `wanted`, what it serves and what not."""
    best: _Candidate | None = None
    for directory in [explicit] if explicit else candidates(hierarchy):
        candidate = _examine(directory, wanted)
        if best is None or len(candidate.usable) > len(best.usable):
            best = candidate
        if candidate.usable == wanted:
            break
    if best is not None:
        return best.directory, best.usable, best.refused
    refused = [_no_v2_place(hierarchy, controller) for controller in (*wanted, "tracking")]
    return None, frozenset(), tuple(refused)


def _no_v2_place(hierarchy: Hierarchy, controller: str) -> Missing:
    remedy = (
        "run below a delegated group (systemd-run --user --scope -p Delegate=yes COMMAND), or "
        "hand in a writable one with cgroup="
    )
    if hierarchy.read_only:
        why, file = "cgroup2 is mounted read-only", hierarchy.mount
    else:
        why = "this user may not make groups in or above its own group"
        file = f"{hierarchy.own or hierarchy.mount}/cgroup.procs"
    return Missing(controller=controller, file=file, why=why, remedy=remedy)


def candidates(hierarchy: Hierarchy) -> Iterator[str]:
    """Yield the writable domains from our own group upwards.

    Where systemd manages the tree, root may write everywhere, but only groups marked as delegated
    are free for others to change (systemd's CGROUP_DELEGATION.md); the root group comes last, as
    for any container manager that makes its own groups.
    """
    directory = hierarchy.own or hierarchy.mount
    managed = os.geteuid() == 0 and os.path.isdir("/run/systemd/system")
    chain = [directory]
    while directory != hierarchy.mount and hierarchy.own is not None:
        directory = os.path.dirname(directory)
        chain.append(directory)
    if managed:
        depth = max((i for i, d in enumerate(chain) if _is_delegated(d)), default=-1)
        chain = [*chain[: depth + 1], *chain[max(depth + 1, len(chain) - 1) :]]
    for directory in chain:
        if hierarchy.read_only or not _files.writable(directory):
            return
        if _files.writable(f"{directory}/cgroup.procs") and _type_of(directory) == "domain":
            yield directory


def _is_delegated(directory: str) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _examine(directory: str, wanted: frozenset[str]) -> _Candidate:
    """Tell which of `wanted` a directory can hand to groups below it."""
    available = frozenset((_files.read_optional(f"{directory}/cgroup.controllers") or "").split())
    control = f"{directory}/cgroup.subtree_control"
    enabled = frozenset((_files.read_optional(control) or "").split())
    is_root = not os.path.exists(f"{directory}/cgroup.type")
    busy = not is_root and bool(_files.read_optional(f"{directory}/cgroup.procs"))
    may_enable = not busy and _files.writable(control)
    usable = frozenset(c for c in wanted & available if c in enabled or may_enable)
    refused = []
    for controller in sorted(wanted - usable):
        if controller not in available:
            file, why = (
                f"{directory}/cgroup.controllers",
                "the controller is not handed down to this group",
            )
            remedy = (
                f"as root: echo +{controller} into cgroup.subtree_control of each group above it "
                f"(systemd: Delegate={controller}), or hand in another group with cgroup="
            )
        elif busy:
            file, why = (
                f"{directory}/cgroup.procs",
                "the group holds processes and so cannot limit children",
            )
            remedy = (
                "move its processes into a child group first, start this one with "
                "systemd-run --scope -p Delegate=yes, or hand in an empty group with cgroup="
            )
        else:
            file, why = control, "this user may not enable the controller"
            remedy = f"as root: chown {control} to this user"
        refused.append(Missing(controller=controller, file=file, why=why, remedy=remedy))
    return _Candidate(directory, usable, tuple(refused))
