# SPDX-License-Identifier: Apache-2.0
"""Make a container's directory in each hierarchy, and hand controllers of v2 down to it."""

from __future__ import annotations

import errno

from pycontain import _os as os
from pycontain._cgroup import _files
from pycontain._cgroup._dir import remove_empty
from pycontain._cgroup._hierarchy import detect, outside_ancestor
from pycontain._record import NamedTuple
from pycontain.errors import UnsupportedError

from . import _cpuset, _path
from ._write import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup import Hierarchy

COUNTED = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
"""Controllers of v2 that a container has without asking: what `events --stats` reads."""

# Another container's end may remove the group above ours before ours is in it.
_ROUNDS = 16


class Home(NamedTuple):
    """Where a container's group is in one hierarchy.

    Attributes:
        hierarchy: Which.
        base: A group that is there.
        names: Of the groups below it, of which the last is the container's.
    """

    hierarchy: Hierarchy
    base: str
    names: tuple[str, ...]

    @property
    def path(self) -> str:
        """The container's directory."""
        return "/".join((self.base.rstrip("/"), *self.names))

    @property
    def keys(self) -> frozenset[str]:
        """The controllers of a v1 hierarchy; "" for v2."""
        return self.hierarchy.controllers or frozenset({""})


class Made(NamedTuple):
    """What making a home made.

    Attributes:
        fresh: The container's directory was not there before.
        above: Directories above it that were not there either, the lowest first.
    """

    fresh: bool
    above: tuple[str, ...]

    def undo(self, home: Home) -> None:
        """Remove all of it that is empty."""
        from pycontain._cgroup import _remove  # noqa: PLC0415 - only failures need it

        if self.fresh:
            _remove.all_of([home.path], 0.0)
        remove_empty(self.above)


def homes(path: _path.Path) -> tuple[list[Home], list[str]]:
    """Return the homes of a container, v2 first, and why there is none in v2 where there is none.

    An absolute path begins at each hierarchy's root as this process sees it. Another begins at this
    process's own group of v1; and on v2, where a group with processes cannot limit its children,
    at the nearest one above that can.
    """
    host = detect(refresh=True)
    found, notes = [], []
    if host.v2 is not None and path.absolute:
        found.append(Home(host.v2, host.v2.mount, path.names))
    elif host.v2 is not None:
        from pycontain._cgroup import _place_v2  # noqa: PLC0415 - engines give absolute paths

        offered = (_files.read_optional(f"{host.v2.mount}/cgroup.controllers") or "").split()
        place = _place_v2.choose(host.v2, COUNTED & frozenset(offered), None, None)
        if place.directory is not None:
            found.append(Home(host.v2, place.directory, path.names))
        else:
            notes += [str(missing) for missing in place.refused if missing.controller == "tracking"]
    for hierarchy in (*host.v1, *host.named):
        base = hierarchy.mount if path.absolute else hierarchy.own or hierarchy.mount
        found.append(Home(hierarchy, base, path.names))
    return found, notes


def make(home: Home, keeper: int = 0) -> Made:
    """Make the directories of a home; a v1 cpuset is given its parent's processors.

    Args:
        home: What to make.
        keeper: A process that may be in the container's group already.

    Raises:
        OSError: Refused by the kernel; nothing that was made remains.
        UnsupportedError: The container's group is in use already.
    """
    for round_ in range(_ROUNDS):
        above: list[str] = []
        try:
            return Made(_make(home, keeper, above), tuple(reversed(above)))
        except BaseException as error:
            remove_empty(reversed(above))
            lost = isinstance(error, FileNotFoundError) and os.path.isdir(home.base)
            if not lost or round_ == _ROUNDS - 1:
                raise
    raise AssertionError


def _make(home: Home, keeper: int, made: list[str]) -> bool:
    """Make what is not there, noted in `made` without the last; tell whether that is new.

    The default parent belongs to whoever is last in it.
    """
    if home.hierarchy.version == 2 and (blocked := outside_ancestor(home.hierarchy, home.path)):
        why = f"no process of ours can be put there: {blocked} is not writable"
        raise PermissionError(errno.EACCES, why, home.path)
    fresh = _make_last(home) or _make_all(home, made)
    if not fresh:
        _check_unused(home.path, keeper)
    return fresh


def _make_last(home: Home) -> bool:
    """Make the container's directory alone, where that is all that can be missing."""
    if "cpuset" in home.keys or _path.DEFAULT_PARENT in home.names:
        return False
    try:
        os.mkdir(home.path)
    except (FileExistsError, FileNotFoundError):
        return False
    return True


def _make_all(home: Home, made: list[str]) -> bool:
    parent, fresh = home.base.rstrip("/"), False
    for name in home.names:
        path = f"{parent}/{name}"
        try:
            os.mkdir(path)
            fresh = True
        except FileExistsError:
            fresh = False
        if fresh or name == _path.DEFAULT_PARENT:
            made.append(path)
        if "cpuset" in home.keys:
            _cpuset.inherit(parent, path)
        parent = path
    if fresh:
        made.pop()
    return fresh


def _check_unused(path: str, keeper: int) -> None:
    """Refuse a group that others are in: their limits would be ours, and our end theirs."""
    from pycontain._cgroup import _remove  # noqa: PLC0415 - few groups are there already

    inside = {pid for group in _remove.descend(path) for pid in _remove.members(group)} - {keeper}
    if inside:
        raise UnsupportedError(
            errno.EBUSY,
            f"container's cgroup is not empty: {len(inside)} process(es) found in {path}: give "
            f"another {_path.FIELD}, or end them",
        )


def hand_down(path: str, controllers: frozenset[str]) -> None:
    """Let a v2 group have controllers, as far as those above it can give them.

    What is missing afterwards is seen in the group's `cgroup.controllers`.
    """
    v2 = detect().v2
    if v2 is None or not path.startswith(f"{v2.mount}/"):
        return
    directory = v2.mount
    for name in path.removeprefix(f"{v2.mount}/").split("/"):
        try:
            _enable(directory, controllers)
        except OSError:
            pass
        directory = f"{directory}/{name}"


def _enable(directory: str, controllers: frozenset[str]) -> None:
    control = f"{directory}/cgroup.subtree_control"
    there = frozenset(_files.read(f"{directory}/cgroup.controllers").split())
    new = sorted(controllers & there - frozenset(_files.read(control).split()))
    if not new:
        return
    try:
        _files.write(control, " ".join(f"+{name}" for name in new))
    except OSError:
        for name in new:  # one that cannot be had must not keep the others away
            try:
                _files.write(control, f"+{name}")
            except OSError:
                pass


def refused(home: Home, error: OSError) -> UnsupportedError:
    """Turn the refusal of a directory into an error."""
    names = ",".join(sorted(home.hierarchy.controllers)) or "cgroup2"
    text = f"cannot make {error.filename or home.path} ({names}): {error.strerror}"
    return UnsupportedError(error.errno, f"{text}: {remedy(error)}")
