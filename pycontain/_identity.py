# SPDX-License-Identifier: Apache-2.0
"""Which ids a sandbox has, and the user namespaces that give them.

Three ways, the first that this host and this user allow:

* range: the caller may map any id (root, in a user namespace with room): 64 Ki ids that belong to
  nobody on the host and to no other living sandbox (`_ranges`).
* subids: the caller's /etc/subuid range through newuidmap(1); the sandbox's default user is the
  caller's own id, but where the root is an image: there it is user 0, as in the caller's store.
* single: one id, the caller's own.

A user namespace with 64 Ki ids is made once per mapping, kept as a descriptor and joined by one
sandbox after the other (user_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from . import _hints, _native, _ranges, _usermap
from ._ranges import Range, ranges
from .errors import UnsupportedError

RANGE: Final = _ranges.SIZE
Mapping = Literal["range", "subids", "single", "whole"]


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """The ids of one living sandbox.

    Attributes:
        userns_fd: The user namespace to join; -1: a new one with the maps of the identity.
        bind_userns_fd: Shows the caller's files as the default user's and the other way round; -1:
            not asked for, or not possible.
        init_host_uid: PID 1's user on the host, if that is another than the caller.
        lent: The range; None: the ids are those of all sandboxes of the caller.
    """

    userns_fd: int
    bind_userns_fd: int = -1
    init_host_uid: int | None = None
    lent: Range | None = None

    @property
    def base(self) -> int | None:
        """The host's id of id 0 inside, if the ids are a range of the sandbox's own."""
        return None if self.lent is None else self.lent.base

    def release(self) -> None:
        """Give the range back, once the sandbox is dead. Idempotent."""
        lent, self.lent = self.lent, None
        if lent is not None:
            ranges().give_back(lent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The ids of sandboxes of one configuration.

    Attributes:
        mapping: How ids inside relate to those of the host.
        userns_fd: Of the mapping "subids": the user namespace to join.
        uid_map, gid_map: Of the mapping "single": those of each sandbox's new namespace.
        init_uid: PID 1's own id inside.
        user_uid, user_gid: The default user inside.
        nested: Whether user namespaces may be made inside.
        emulated: The architecture whose programs the user namespace has an interpreter for.
        drop_groups: Whether the supplementary groups can be dropped (not in a map of one id).
    """

    mapping: Mapping
    userns_fd: int = -1
    uid_map: str | None = None
    gid_map: str | None = None
    init_uid: int = 0
    init_gid: int = 0
    user_uid: int
    user_gid: int
    nested: bool = False
    emulated: str = ""
    drop_groups: bool = True

    def has_id(self, number: int) -> bool:
        """Whether an id exists inside."""
        return number < RANGE if self.mapping != "single" else number == self.user_uid

    def has_group(self, number: int) -> bool:
        """Whether a group id exists inside."""
        return number < RANGE if self.mapping != "single" else number == self.user_gid

    def lease(self, *, binds: bool) -> Lease:
        """Return ids for one sandbox.

        Args:
            binds: Whether it shows files of the caller as its user's.

        Raises:
            UnsupportedError: The user namespace cannot be made on this host, or no ids are left.
        """
        if self.mapping != "range":
            return Lease(userns_fd=self.userns_fd)
        lent = ranges().take()
        try:
            with _explained():
                return Lease(
                    userns_fd=lent.root_userns(nested=self.nested, emulated=self.emulated),
                    bind_userns_fd=lent.bind_userns(self.user_uid, self.user_gid) if binds else -1,
                    init_host_uid=lent.base + self.init_uid,
                    lent=lent,
                )
        except BaseException:
            ranges().give_back(lent)
            raise


class _Cache:
    """User namespaces by map; a descriptor each, kept for the life of the process."""

    def __init__(self, make: Callable[[str, str], int]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._fds: dict[tuple[str, str, bool, str], int] = {}

    def get(self, uid_map: str, gid_map: str, *, nested: bool = False, emulated: str = "") -> int:
        """Return the namespace with these maps.

        Nested ones differ in max_user_namespaces, those that emulate in binfmt_misc.
        """
        key = (uid_map, gid_map, nested, emulated)
        with self._lock:
            if key not in self._fds:
                self._fds[key] = self._make(uid_map, gid_map)
            return self._fds[key]


_granted = _Cache(functools.partial(_native.make_user_namespace, _usermap.call_map_helpers))


def _maps_range(kind: str) -> bool:
    """Whether our own user namespace has the ids that sandboxes take."""
    rows = Path(f"/proc/self/{kind}").read_text(encoding="ascii").splitlines()
    spans = ((int(row.split()[0]), int(row.split()[2])) for row in rows)
    end = _ranges.FIRST + _ranges.COUNT * RANGE
    return any(first <= _ranges.FIRST and first + count >= end for first, count in spans)


def can_map_range() -> bool:
    """Whether the caller may give a sandbox ids that nobody else has."""
    return _usermap.can_map() and _maps_range("uid_map") and _maps_range("gid_map")


def _subid_range(path: Path, uid: int) -> int | None:
    """Return the first id of a range of 64 Ki that subuid(5) or subgid(5) grants, or None."""
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    try:
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for row in rows:
        name, _, span = row.partition(":")
        first, _, count = span.partition(":")
        if name in names and first.isdecimal() and count.isdecimal() and int(count) >= RANGE:
            return int(first)
    return None


def _subids_map(own: int, inside: int, first: int) -> list[str]:
    """One id inside is the caller's own, those around it come from the granted range."""
    fields = [0, first, inside, inside, own, 1, inside + 1, first + inside, RANGE - inside - 1]
    if inside == 0:
        fields = fields[3:]
    return [str(number) for number in fields]


def keeps_privileges() -> bool:
    """Whether set-user-ID programs, such as newuidmap(1), have no effect (no_new_privs)."""
    return bool(_usermap.own_status("NoNewPrivs"))


def subids() -> tuple[int, int] | None:
    """Return the first granted uid and gid if newuidmap(1) and newgidmap(1) can give them."""
    uid = os.geteuid()
    first_uid, first_gid = (
        _subid_range(Path("/etc/subuid"), uid),
        _subid_range(Path("/etc/subgid"), uid),
    )
    if (
        first_uid is None
        or first_gid is None
        or not (shutil.which("newuidmap") and shutil.which("newgidmap"))
        or keeps_privileges()
    ):
        return None
    return first_uid, first_gid


def _subids_identity(
    uid: int, gid: int, first: tuple[int, int], *, nested: bool, image: bool, emulated: str
) -> Identity:
    uid_map = " ".join(_subids_map(os.geteuid(), 0 if image else uid, first[0]))
    gid_map = " ".join(_subids_map(os.getegid(), 0 if image else gid, first[1]))
    fd = _granted.get(uid_map, gid_map, nested=nested, emulated=emulated)
    return Identity(
        mapping="subids",
        userns_fd=fd,
        user_uid=uid,
        user_gid=gid,
        nested=nested,
        emulated=emulated,
    )


def _single_identity(uid: int, gid: int) -> Identity:
    return Identity(
        mapping="single",
        uid_map=f"{uid} {os.geteuid()} 1",
        gid_map=f"{gid} {os.getegid()} 1",
        init_uid=_native.KEEP_ID,
        init_gid=_native.KEEP_ID,
        user_uid=uid,
        user_gid=gid,
        drop_groups=False,
    )


def identity(
    uid: int, gid: int, *, nested: bool = False, image: bool = False, emulated: str = ""
) -> Identity:
    """Return the ids of a sandbox whose default user is `uid`:`gid`.

    Args:
        uid: The default user's id inside.
        gid: Its group's.
        nested: Whether user namespaces may be made inside, which is a property of the namespace.
        image: Whether the root is made of layers in the caller's store.
        emulated: The architecture whose programs it has an interpreter for, also one.

    Raises:
        UnsupportedError: The user namespace cannot be made on this host.
    """
    if can_map_range():
        return Identity(
            mapping="range", user_uid=uid, user_gid=gid, nested=nested, emulated=emulated
        )
    first = subids()
    if first is not None and uid < RANGE and gid < RANGE:
        with _explained():
            return _subids_identity(uid, gid, first, nested=nested, image=image, emulated=emulated)
    return _single_identity(uid, gid)


_whole = _Cache(functools.partial(_native.make_user_namespace, _usermap.write_maps))


def image_identity() -> Identity:
    """Return the ids with which the files of images are unpacked, packed and removed.

    Root keeps them as they are. An ordinary user's own id stands for an image's root, subordinate
    ones for the others, if there are any.

    Raises:
        UnsupportedError: The user namespace cannot be made on this host.
    """
    if not can_map_range():
        return identity(0, 0)
    with _explained():
        fd = _whole.get(f"0 0 {RANGE}", f"0 0 {RANGE}")
    return Identity(mapping="whole", userns_fd=fd, user_uid=0, user_gid=0)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say why a user namespace cannot be made, and what would help."""
    try:
        yield
    except _native.NativeError as error:
        raise _refused(error.failure.errno) from None


def _refused(number: int) -> UnsupportedError:
    made = _hints.spawn_error("CLONE", number)
    error = UnsupportedError(number, f"no user namespace: {made.strerror}. {made.hint}")
    error.cause = made.cause
    return error
