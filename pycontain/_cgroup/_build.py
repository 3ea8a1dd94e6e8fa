# SPDX-License-Identifier: Apache-2.0
"""Make the directories of one sandbox and write its limits.

    v2, with controllers:        v2, for tracking only:       v1, per hierarchy:

    s1/                          s1/         PID 1            s1/        the limits
      init/      PID 1             payload/                     c1/      a command, if counted
      payload/   the limits          c1/     a command
        c1/      a command

PID 1 is outside the limits. In a sandbox for a single command, that lives in the limited group
itself, which saves a level.
"""

from __future__ import annotations

import errno
import functools
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from pycontain.enforcement import Control

from . import _controls, _files, _remove
from ._cpus import parse_cpuset
from ._dir import Dir
from ._owner import Owner, inherit_cpuset

if TYPE_CHECKING:
    from ._limits import Limits
    from ._place import Places
    from ._place_v2 import Missing

COUNTED = frozenset({"memory", "pids", "freezer", "cpuacct"})
"""Controllers with a group for each command; the others only limit the sandbox."""

ROOM_FOR_GROUPS = 4 << 20
"""Bytes on top of a sandbox's memory limit. The kernel charges each command's group to the one
above it, and takes that back long after the group's end; each command has the exact limit itself.
"""

LIMITS = {"memory": "memory", "cpu": "cpus", "pids": "pids", "cpuset": "cpuset", "io": "io"}
"""The limit that each controller enforces."""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Groups:
    """The directories of a sandbox, as far as they have been made.

    Attributes:
        owner, places: Whose and where.
        single: For one command only.
        owner_uid: The host's uid of PID 1, if it is to start commands in v2 groups.
        counted: Controllers with a group for each command.
        root: The v2 directory of the whole sandbox.
        init: The v2 directory that PID 1 is born into.
        dirs: The payload's directory per controller.
        made: What to remove, in this order.
        controls: What is in force.
        ceilings: The highest limits so far of what `_counters.usage` has peaks of.
        oom_group: The kernel ends a command as a whole when memory runs out.
        memory: The limit of each command's group in bytes, where commands have groups.
    """

    owner: Owner
    places: Places
    single: bool
    owner_uid: int | None = None
    counted: frozenset[str] = COUNTED
    root: str | None = None
    init: str | None = None
    dirs: dict[str, Dir] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    controls: dict[str, Control] = field(default_factory=dict)
    ceilings: dict[str, int] = field(default_factory=dict)
    oom_group: bool = False
    memory: int | None = None

    def make(self, limits: Limits) -> None:
        """Make all directories; `made` has those to remove, also on UnsupportedError."""
        name = f"s{self.owner.serial()}"
        if self.places.v2 is not None:
            self._make_v2(self.places.v2, name, limits)
        for base, controllers in self.places.v1.items():
            self._make_v1(base, name, controllers, limits)
        for controller in limits.controllers & self.places.missing.keys():
            self.controls[LIMITS[controller]] = _absent(self.places.missing[controller])
        self.controls |= self._describe()
        self.ceilings = {name: most for name, most in _peaks(limits) if most is not None}

    def raise_ceilings(self, limits: Limits) -> None:
        """Take note of limits that are about to change."""
        for name, most in _peaks(limits):
            if most is None:
                self.ceilings.pop(name, None)
            elif name in self.ceilings:
                self.ceilings[name] = max(self.ceilings[name], most)

    def _make_v2(self, base: str, name: str, limits: Limits) -> None:
        controllers = self.places.v2_controllers
        self.oom_group = limits.memory is not None and "memory" in controllers
        try:
            self.root = self.init = f"{self.owner.directory(base)}/{name}"
            if controllers:
                self.owner.enable(base, controllers)
            self._mkdir(self.root)
            if controllers:
                self.hand_down(self.root, controllers)
                self.init = f"{self.root}/init"
                self._mkdir(self.init)
            payload = f"{self.root}/payload"
            self._mkdir(payload)
            self.dirs |= {name: Dir(2, payload) for name in (*controllers, "core")}
            if self.single:
                self.prepare_command(payload)
            elif controllers & self.counted:
                self.hand_down(payload, controllers & self.counted)
        except OSError as error:
            raise _controls.refused(" ".join(sorted(controllers)), 2, error) from error
        for controller in controllers:
            self.apply(controller, limits)

    def _make_v1(self, base: str, name: str, controllers: frozenset[str], limits: Limits) -> None:
        try:
            parent = self.owner.directory(base)
            path = f"{parent}/{name}"
            os.mkdir(path)
            self.made.append(path)
            if "cpuset" in controllers and not limits.cpuset_exclusive:
                if not _files.read(f"{parent}/cpuset.cpus").strip():
                    inherit_cpuset(base, parent)
                inherit_cpuset(parent, path)
        except OSError as error:
            raise _controls.refused(" ".join(sorted(controllers)), 1, error) from error
        for controller in controllers:
            self.dirs[controller] = Dir(1, path)
            self.apply(controller, limits)

    def apply(self, controller: str, limits: Limits) -> None:
        """Write the limits of one controller, and take note of what is then in force.

        Raises as `_controls.apply`, and UnsupportedError where processors are not to be had alone.
        """
        if controller == "cpuset" and limits.cpuset is not None and limits.cpuset_exclusive:
            control = self.owner.exclusive.claim(self._cpuset, parse_cpuset(limits.cpuset))
            self.controls["cpuset"] = control
            return
        if controller == "memory" and not self.single:
            self.memory = limits.memory  # first: commands that start meanwhile look here
            if limits.memory is not None:
                limits = replace(limits, memory=limits.memory + ROOM_FOR_GROUPS)
        self.controls |= _controls.apply(controller, limits, self.dirs[controller])

    def bound_commands(self) -> None:
        """Give the groups of commands the present limit of memory. Raises UnsupportedError."""
        memory = self.dirs.get("memory")
        if memory is None or self.single:
            return
        for path in _remove.children(memory.path):
            try:
                _controls.bound_memory(Dir(memory.version, path), self.memory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it has ended meanwhile
                    raise _controls.refused("memory", memory.version, error) from error

    @property
    def _cpuset(self) -> str:
        """The directory that can have processors for itself: next below the owner's."""
        directory = self.dirs["cpuset"]
        return f"{self.root}" if directory.is_v2 else directory.path

    @property
    def intact(self) -> bool:
        """Whether all directories are still there."""
        return all(os.path.isdir(path) for path in {group.path for group in self.dirs.values()})

    def remove(self, timeout_s: float = 0.0) -> bool:
        """Remove the directories that are empty within this time; tell whether all are gone."""
        self.made = _remove.all_of(self.made, timeout_s)
        if not self.made and "cpuset" in self.dirs:
            self.owner.exclusive.release(self._cpuset)
        return not self.made

    def _mkdir(self, path: str) -> None:
        """Make a v2 directory, to be removed before those that it lies in and before v1's.

        v2 tells when its last process is gone, and then v1's directories are empty too.
        """
        os.mkdir(path)
        self.made.insert(0, path)

    def hand_down(self, directory: str, controllers: frozenset[str]) -> None:
        """Give the children of a v2 group these controllers. Raises OSError."""
        text = " ".join(f"+{name}" for name in controllers)
        _files.write(f"{directory}/cgroup.subtree_control", text)

    def give_to(self, owner_uid: int) -> None:
        """Let PID 1, which has this uid of the host, start commands in v2 groups.

        Raises:
            UnsupportedError: The kernel refused it.
        """
        self.owner_uid = owner_uid
        if self.root is None:
            return
        try:
            self._hand_over(self.root)
            # Whoever clones PID 1 into it is still of our own group, without capabilities here.
            os.chmod(f"{self.root}/cgroup.procs", 0o664)
            if self.single:
                self._hand_over(self.dirs["core"].path)
        except OSError as error:
            raise _controls.refused("", 2, error) from error

    def _hand_over(self, directory: str) -> None:
        """Let PID 1 put children into a v2 group: it writes to that and to the common ancestor."""
        if self.owner_uid is not None:
            os.chown(f"{directory}/cgroup.procs", self.owner_uid, -1)

    def prepare_command(self, directory: str) -> None:
        """Make a v2 group ready for a command. Raises OSError."""
        self._hand_over(directory)
        if self.oom_group:
            _files.write(f"{directory}/memory.oom.group", "1")

    def make_command(self, name: str, made: list[str]) -> dict[str, Dir]:
        """Make the directories of one command and return them by controller.

        Args:
            name: Of the command.
            made: Gets the directories to remove, as they are made.

        Raises:
            OSError: The kernel refused one.
        """
        own = {parent for controller, parent in self.dirs.items() if controller in self.counted}
        found = {}
        for controller, parent in self.dirs.items():
            if not parent.is_v2 and parent not in own:
                found[controller] = parent
                continue
            path = f"{parent.path}/{name}"
            if path not in made:
                os.mkdir(path)
                made.append(path)
                if parent.is_v2:
                    self.prepare_command(path)
                elif self.dirs.get("cpuset") == parent:
                    inherit_cpuset(parent.path, path)
            found[controller] = Dir(parent.version, path)
            if controller == "memory" and self.memory is not None:
                _controls.bound_memory(found[controller], self.memory)
        return found

    def _describe(self) -> dict[str, Control]:
        """Say what tracks, kills and freezes, and what an exhausted memory limit ends."""
        if "core" in self.dirs:
            by_file = _has_kill_file(os.path.dirname(f"{self.root}"))
            kill = "cgroup.kill" if by_file else "cgroup.freeze and a signal to each process"
            where = f", systemd scope {self.places.scope}" if self.places.scope else ""
            found = {
                "tracking": Control(in_force=True, by=f"cgroup v2{where}"),
                "kill": Control(in_force=True, by=f"cgroup v2 {kill}"),
                "freeze": Control(in_force=True, by="cgroup v2 cgroup.freeze"),
            }
        elif "freezer" in self.dirs:
            freezer = Control(in_force=True, by="cgroup v1 freezer.state")
            found = dict.fromkeys(("tracking", "kill", "freeze"), freezer)
        else:
            missing = self.places.missing
            absent = _absent(missing.get("tracking") or missing["freezer"])
            found = dict.fromkeys(("tracking", "kill", "freeze"), absent)
        if self.oom_group:
            found["oom_group"] = Control(in_force=True, by="cgroup v2 memory.oom.group")
        elif self.controls.get("memory", Control(in_force=False)).in_force:
            found["oom_group"] = Control(
                in_force=False,
                why="cgroup v1 kills single processes at the memory limit",
                remedy="use cgroup v2 for the memory controller",
            )
        return found


class CommandDirs(NamedTuple):
    """The directories of one command, by controller, and those to remove."""

    dirs: dict[str, Dir]
    made: list[str]

    def remove(self) -> None:
        """Remove those that are empty."""
        _remove.all_of(self.made, 0.0)


@functools.cache
def _has_kill_file(directory: str) -> bool:
    """Tell whether the kernel has cgroup.kill, by the v2 directory of an owner."""
    return os.path.exists(f"{directory}/cgroup.kill")


def _peaks(limits: Limits) -> tuple[tuple[str, int | None], ...]:
    return ("memory_peak", limits.memory), ("pids_peak", limits.pids)


def _absent(missing: Missing) -> Control:
    return Control(in_force=False, why=f"{missing.why} ({missing.file})", remedy=missing.remedy)
