# SPDX-License-Identifier: Apache-2.0
"""The groups of one sandbox, from making them to removing them."""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import os
import threading
import time
from typing import TYPE_CHECKING

from pycontain.errors import ConfigError, UnsupportedError

from . import _controls, _counters, _files, _remove
from ._ahead import Ahead
from ._build import LIMITS, CommandDirs, Groups
from ._command import KILL_SECONDS, CommandGroup, kill_directory
from ._counters import Reading
from ._dir import Dir
from ._kind import Kind
from ._limits import Limits
from ._owner import Owner, current_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pycontain.enforcement import Control

    from ._scope import StartKeeper

FREEZE_SECONDS = 5.0
RETIRED_MAX = 8
"""Groups of commands that are over, and have not been removed yet."""
ROOMY = 16 << 20
"""Bytes of memory from which on a command may be charged for the group of the next (some 10 KB)."""


@functools.lru_cache(maxsize=64)
def _on_machine(limits: Limits) -> Limits:
    return limits.on_machine()


class SandboxTree:
    """A sandbox's groups: made by `create`, given back by `remove`. Any thread may use it."""

    def __init__(self, groups: Groups, kind: Kind, start_keeper: StartKeeper | None) -> None:
        self._pid = os.getpid()
        self._groups = groups
        self._kind = kind
        self._memory = kind.limits.memory
        self._start_keeper = start_keeper
        self._lock = threading.Lock()
        self._commands = 0
        self._ahead: Ahead[CommandDirs] = Ahead(1)
        self._retired: collections.deque[CommandGroup] = collections.deque()

    @classmethod
    def create(
        cls,
        limits: Limits | None = None,
        *,
        cgroup: str | Iterable[str] = (),
        counters: Iterable[str] = (),
        owner_uid: int | None = None,
        single: bool = False,
        owner: Owner | None = None,
        start_keeper: StartKeeper | None = None,
    ) -> SandboxTree:
        """Make the groups of a sandbox and write its limits.

        A limit that cannot be enforced is no error here: `enforcement` says so, with the remedy.

        Args:
            limits: For the payload as a whole; PID 1 is outside.
            cgroup: A directory to make the groups in, at most one for each hierarchy.
            counters: Controllers ("memory", "pids", "io") to count with where nothing is limited.
            owner_uid: The host's uid of PID 1, if it is to start commands in v2 groups.
            single: The sandbox is for one command only, which saves a level of groups.
            owner: This process's by default.
            start_keeper: Starts what a systemd scope needs; without it none is asked for.

        Raises:
            ConfigError: Limits beyond the machine, or a directory in `cgroup` that cannot serve.
            UnsupportedError: The kernel refused a group or a value.
        """
        limits, owner = _on_machine(limits or Limits()), owner or current_owner()
        kind = Kind(
            limits=limits,
            cgroup=(cgroup,) if isinstance(cgroup, str) else tuple(cgroup),
            counters=frozenset(counters),
            single=single,
        )
        groups: Groups | None = owner.ahead.take(kind)
        if groups is not None and not groups.intact:
            groups.remove()
            groups = None
        if groups is None:
            groups = kind.make(owner, start_keeper)
        if owner_uid is not None:
            try:
                groups.give_to(owner_uid)
            except UnsupportedError:
                groups.remove()
                raise
        return cls(groups, kind, start_keeper)

    def make_another(self) -> None:
        """Make the groups of a further sandbox like this, if such are asked for again and again.

        To be called when there is nothing to do but to wait. What goes wrong is left to `create`.
        """
        owner = self._groups.owner
        if self._kind.lasting:
            with contextlib.suppress(ConfigError, UnsupportedError, OSError):
                make = functools.partial(self._kind.make, owner, self._start_keeper)
                owner.ahead.add(self._kind, make)

    def open_init(self) -> int:
        """Open the v2 directory that PID 1 is to be born into; -1 without v2.

        The caller closes it.
        """
        if self._groups.init is None:
            return -1
        return os.open(self._groups.init, os.O_DIRECTORY | os.O_PATH | os.O_CLOEXEC)

    @property
    def keeper_fd(self) -> int:
        """The control socket of the keeper that has to clone PID 1 there; -1: we may do it."""
        groups = self._groups
        return groups.owner.scope.keeper_fd if groups.places.outside else -1

    def command_group(self) -> CommandGroup:
        """Make the group of one command.

        Raises:
            UnsupportedError: The kernel refused it, or a `single` sandbox has had its command.
        """
        if self._groups.single:
            if self._serial() > 1:
                raise UnsupportedError(errno.EBUSY, "this sandbox was made for a single command")
            return CommandGroup(self._groups.dirs, (), ceilings=self._groups.ceilings)
        if (found := self._ahead.take(None)) is not None:
            if found.dirs.keys() == self._groups.dirs.keys():
                with contextlib.suppress(UnsupportedError):  # somebody has removed it
                    return self._open(found)
            found.remove()
        return self._open(self._make_command())

    def _serial(self) -> int:
        with self._lock:
            self._commands += 1
            return self._commands

    def _make_command(self) -> CommandDirs:
        made: list[str] = []
        try:
            return CommandDirs(self._groups.make_command(f"c{self._serial()}", made), made)
        except OSError as error:
            _remove.all_of(made, 0.0)
            raise self._refused(error) from error

    def _open(self, found: CommandDirs) -> CommandGroup:
        pids = self._groups.dirs.get("pids")
        try:
            return CommandGroup(
                found.dirs,
                tuple(found.made),
                ceilings=self._groups.ceilings,
                pids_parent=pids if pids and pids.is_v2 else None,
            )
        except OSError as error:
            found.remove()
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UnsupportedError:
        version = 1 if self._groups.root is None else 2
        return _controls.refused(" ".join(sorted(self._groups.dirs)), version, error)

    def retire(self, group: CommandGroup) -> None:
        """Remove a command's group while the next command runs, or else with the sandbox."""
        self._retired.append(group)
        if len(self._retired) > RETIRED_MAX:
            self._remove_retired()

    def between(self) -> None:
        """Remove the groups of earlier commands and make that of the next, from the second on.

        To be called when there is nothing to do but to wait. What goes wrong is left to
        `command_group`.
        """
        self._remove_retired()
        if self._memory is None or self._memory >= ROOMY:
            with contextlib.suppress(UnsupportedError, OSError):
                self._ahead.add(None, self._make_command)

    def _remove_retired(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has taken the last
            while self._retired:
                self._retired.popleft().remove(0.0)

    def update(self, limits: Limits) -> None:
        """Replace the limits of the living sandbox; None lifts one.

        Raises:
            ConfigError: Limits beyond the machine.
            UnsupportedError: The kernel refused a value, or a new limit needs a controller that
                this sandbox was made without.
        """
        limits = _on_machine(limits)
        for controller in limits.controllers - self._groups.dirs.keys():
            self._add_controller(controller)
        self._groups.raise_ceilings(limits)
        self._memory = limits.memory
        for controller in self._groups.dirs:
            if controller in LIMITS:
                self._groups.apply(controller, limits)
        self._groups.bound_commands()

    def _add_controller(self, controller: str) -> None:
        """Hand a further v2 controller down; on v1 the processes would have to be moved."""
        groups = self._groups
        places = groups.owner.places(frozenset({controller}), self._kind.cgroup, self._start_keeper)
        base = groups.places.v2
        if missing := places.missing.get(controller):
            raise UnsupportedError(errno.EOPNOTSUPP, str(missing))
        if base is None or places.v2 != base or groups.root in (None, groups.init):
            raise UnsupportedError(
                errno.EOPNOTSUPP,
                f"{controller}: a living sandbox that was made without this controller cannot get "
                "it: give a limit when making it, and change that",
            )
        try:
            groups.owner.enable(base, frozenset({controller}))
            groups.hand_down(f"{groups.root}", frozenset({controller}))
        except OSError as error:
            raise _controls.refused(controller, 2, error) from error
        groups.dirs = {**groups.dirs, controller: Dir(2, f"{groups.root}/payload")}

    @property
    def enforcement(self) -> Mapping[str, Control]:
        """What is in force and by what; what is not, why, and what to do.

        Keys: each limit that was asked for (swap beside memory), tracking, kill, freeze, oom_group.
        """
        return dict(self._groups.controls)

    @property
    def dirs(self) -> Mapping[str, Dir]:
        """The payload's directory per controller, `core` being the v2 group."""
        return self._groups.dirs

    def stats(self) -> dict[str, Reading]:
        """Return current values and totals of the payload: see `_counters.stats`."""
        return _counters.stats(self._groups.dirs)

    def pressure(self) -> dict[str, Reading]:
        """Return for what the payload has waited: see `_counters.pressure`."""
        return _counters.pressure(self._groups.dirs)

    def events(self) -> dict[str, int]:
        """Return the events at the payload's limits: see `_counters.events`."""
        return _counters.events(self._groups.dirs)

    def freeze(self, timeout_s: float = FREEZE_SECONDS) -> bool:
        """Stop every process of the payload; tell whether all stopped within `timeout_s`.

        Raises:
            UnsupportedError: There is neither a v2 group nor v1's freezer.
        """
        return self._set_frozen(frozen=True, timeout_s=timeout_s)

    def thaw(self, timeout_s: float = FREEZE_SECONDS) -> bool:
        """Let the payload run again; tell whether it does."""
        return self._set_frozen(frozen=False, timeout_s=timeout_s)

    def _set_frozen(self, *, frozen: bool, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        dirs = self._groups.dirs
        if core := dirs.get("core"):
            _files.write(f"{core.path}/cgroup.freeze", str(int(frozen)))
            return _files.wait_event(core.path, "frozen", int(frozen), deadline)
        if (freezer := dirs.get("freezer")) is None:
            control = self._groups.controls["freeze"]
            text = f"cannot freeze: {control.why}; {control.remedy}"
            raise UnsupportedError(errno.EOPNOTSUPP, text)
        state, word = f"{freezer.path}/freezer.state", "FROZEN" if frozen else "THAWED"
        _files.write(state, word)
        return _remove.until(lambda: _files.read(state).strip() == word, deadline)

    def kill(self, timeout_s: float = KILL_SECONDS) -> bool:
        """Kill the whole sandbox, PID 1 included where v2 tracks it, and wait for its end.

        Returns:
            True when no process was left within `timeout_s`; False too where no group exists.
        """
        directory = self._groups.root or kill_directory(self._groups.dirs)
        if directory is None or os.getpid() != self._pid:
            return False
        return _remove.kill_tree(directory, time.monotonic() + timeout_s)

    @property
    def empty(self) -> bool:
        """Whether the kernel says that no process of the payload is left; only v2 does."""
        if (core := self._groups.dirs.get("core")) is None:
            return False
        return _files.flat(_files.read_value(f"{core.path}/cgroup.events")).get("populated") == 0

    def remove_payload(self) -> None:
        """Remove what is empty of all but PID 1's own group, without waiting."""
        if os.getpid() == self._pid:
            groups = self._groups
            rest = [path for path in groups.made if path in (groups.root, groups.init)]
            payload = [path for path in groups.made if path not in rest]
            groups.made = _remove.all_of(payload, 0.0) + rest

    def remove(self, timeout_s: float = KILL_SECONDS) -> bool:
        """Remove all directories once the last process is gone; tell whether all are.

        Does not kill. What remains is listed under its owner, and removed by `sweep` when that is
        gone.
        """
        if os.getpid() != self._pid:
            return False
        self._ahead.clear()
        self._remove_retired()
        return self._groups.remove(timeout_s)
