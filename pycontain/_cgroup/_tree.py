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

from pycontain.errors import UnsupportedError

from . import _controls, _counters, _files, _remove
from ._build import COUNTED, LIMITS, Groups
from ._command import KILL_SECONDS, CommandGroup, kill_directory
from ._counters import Dir, Reading
from ._limits import Limits
from ._owner import Owner, current_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pycontain.enforcement import Control

    from ._place import Places
    from ._scope import StartKeeper

FREEZE_SECONDS = 5.0
RETIRED_MAX = 8
"""Groups of commands that are over, and have not been removed yet."""


@functools.lru_cache(maxsize=64)
def _on_machine(limits: Limits) -> Limits:
    return limits.on_machine()


class SandboxTree:
    """A sandbox's groups: made by `create`, given back by `remove`. Any thread may use it."""

    def __init__(
        self, groups: Groups, cgroup: tuple[str, ...], start_keeper: StartKeeper | None
    ) -> None:
        self._pid = os.getpid()
        self._groups = groups
        self._cgroup = cgroup
        self._start_keeper = start_keeper
        self._lock = threading.Lock()
        self._commands = 0
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
        given = (cgroup,) if isinstance(cgroup, str) else tuple(cgroup)
        extra = frozenset(counters)
        make = functools.partial(Groups, owner=owner, single=single, owner_uid=owner_uid)
        choose = functools.partial(_places, owner, limits.controllers | extra, given, start_keeper)
        try:
            groups = make(places=choose())
            _make(groups, limits, extra)
        except UnsupportedError as error:
            if error.errno != errno.ENOENT:
                raise
            owner.forget()  # the directory that was chosen earlier has been removed since
            groups = make(places=choose())
            _make(groups, limits, extra)
        return cls(groups, given, start_keeper)

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
        with self._lock:
            self._commands += 1
            serial = self._commands
        if self._groups.single:
            if serial > 1:
                raise UnsupportedError(errno.EBUSY, "this sandbox was made for a single command")
            return CommandGroup(self._groups.dirs, (), ceilings=self._groups.ceilings)
        made: list[str] = []
        try:
            dirs = self._groups.make_command(f"c{serial}", made)
            pids = self._groups.dirs.get("pids")
            return CommandGroup(
                dirs,
                tuple(made),
                ceilings=self._groups.ceilings,
                pids_parent=pids if pids and pids.is_v2 else None,
            )
        except OSError as error:
            _remove.all_of(made, 0.0)
            version = 1 if self._groups.root is None else 2
            raise _controls.refused(" ".join(sorted(self._groups.dirs)), version, error) from error

    def retire(self, group: CommandGroup) -> None:
        """Remove a command's group while the next command runs, or else with the sandbox."""
        self._retired.append(group)
        if len(self._retired) > RETIRED_MAX:
            self.remove_retired()

    def remove_retired(self) -> None:
        """Remove the groups of earlier commands, when there is nothing to do but to wait."""
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
        for controller in self._groups.dirs:
            if controller in LIMITS:
                self._groups.apply(controller, limits)

    def _add_controller(self, controller: str) -> None:
        """Hand a further v2 controller down; on v1 the processes would have to be moved."""
        groups = self._groups
        places = groups.owner.places(frozenset({controller}), self._cgroup, self._start_keeper)
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
        self.remove_retired()
        return self._groups.remove(timeout_s)


def _places(
    owner: Owner,
    wanted: frozenset[str],
    cgroup: tuple[str, ...],
    start_keeper: StartKeeper | None,
) -> Places:
    places = owner.places(wanted, cgroup, start_keeper)
    if places.v2 is None:  # without v2, only v1's freezer can stop and find every process
        places = owner.places(wanted | {"freezer", "cpuacct"}, cgroup, start_keeper)
    return places


def _make(groups: Groups, limits: Limits, counters: frozenset[str]) -> None:
    groups.counted = COUNTED | counters
    try:
        groups.make(limits)
    except BaseException:
        with contextlib.suppress(OSError):
            groups.remove(0.0)
        raise
