# SPDX-License-Identifier: Apache-2.0
"""What groups were asked for, as a value, and how they are made."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pycontain.errors import UnsupportedError

from ._build import COUNTED, Groups

if TYPE_CHECKING:
    from ._limits import Limits
    from ._owner import Owner
    from ._place import Places
    from ._scope import StartKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The arguments of `SandboxTree.create`; equal ones can take each other's new groups."""

    limits: Limits
    cgroup: tuple[str, ...]
    counters: frozenset[str]
    single: bool

    @property
    def lasting(self) -> bool:
        """Whether groups made now are still right later: processors and devices may change."""
        return self.limits.cpuset is None and not self.limits.io

    def make(self, owner: Owner, start_keeper: StartKeeper | None) -> Groups:
        """Make the groups. Raises as `SandboxTree.create`."""
        try:
            return self._make(owner, start_keeper)
        except UnsupportedError as error:
            if error.errno != errno.ENOENT:
                raise
        owner.forget()  # the directory that was chosen earlier has been removed since
        return self._make(owner, start_keeper)

    def _make(self, owner: Owner, start_keeper: StartKeeper | None) -> Groups:
        groups = Groups(
            owner=owner,
            places=self._places(owner, start_keeper),
            single=self.single,
            counted=COUNTED | self.counters,
        )
        try:
            groups.make(self.limits)
        except BaseException:
            with contextlib.suppress(OSError):
                groups.remove()
            raise
        return groups

    def _places(self, owner: Owner, start_keeper: StartKeeper | None) -> Places:
        wanted = self.limits.controllers | self.counters
        places = owner.places(wanted, self.cgroup, start_keeper)
        if places.v2 is None:  # without v2, only v1's freezer can stop and find every process
            wanted |= {"freezer", "cpuacct"}
            places = owner.places(wanted, self.cgroup, start_keeper)
        return places
