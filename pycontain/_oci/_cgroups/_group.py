# SPDX-License-Identifier: Apache-2.0
"""The groups of one container, one directory in each hierarchy, from making to removing them."""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # signal imports enum, which is slow
import errno
import time

from pycontain import _os as os
from pycontain._cgroup import _files
from pycontain._cgroup._dir import Dir, is_removed, remove_empty
from pycontain.errors import ConfigError, UnsupportedError

from ._write import Reported

# What only some commands of a runtime need is imported in the methods that use it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pycontain._oci._spec import Resources

    from ._unit import Scope

FREEZE_SECONDS = 5.0
KILL_SECONDS = 5.0
REMOVE_SECONDS = 5.0


class Cgroup:
    """A container's groups: made by `create`, found again by `load`.

    Attributes:
        cgroup_fd: Its v2 directory, for CLONE_INTO_CGROUP; None without v2, and from `load`.
        tasks_fds: Its v1 `tasks`, in which a child with a single thread writes "0" to join.
        paths: Its directory by controller, `""` being v2.
        notes: What of the configuration is not in force, though no error, and why.
    """

    def __init__(
        self,
        paths: Mapping[str, str],
        *,
        above: Iterable[str] = (),
        scope: Scope | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.paths = dict(paths)
        self.notes = tuple(notes)
        self.cgroup_fd: int | None = None
        self.tasks_fds: tuple[int, ...] = ()
        self._above = tuple(above)
        self._scope = scope

    def to_json(self) -> dict[str, Any]:
        """Return what `load` takes."""
        unit = self._scope.unit if self._scope else ""
        return {"paths": self.paths, "above": list(self._above), "unit": unit}

    def add(self, paths: Mapping[str, str], above: Iterable[str]) -> None:
        """Add a directory that was made, by controller, and those that were made for it."""
        self.paths |= paths
        self._above += tuple(above)

    def open_v2(self) -> None:
        """Open that in which a process can be born. Raises as `open`."""
        if (core := self.paths.get("")) is not None and self.cgroup_fd is None:
            with Reported("cannot join the container's groups"):
                self.cgroup_fd = os.open(core, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self) -> None:
        """Open the descriptors by which a process joins.

        Raises:
            UnsupportedError: A group is gone, or is not ours to join.
        """
        core = self.paths.get("")
        try:
            self.open_v2()
            with Reported("cannot join the container's groups"):
                for path in self._directories():
                    if path != core:
                        fd = os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC)
                        self.tasks_fds += (fd,)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors, once the first process is born; nothing of it ends."""
        fds = [*self.tasks_fds, *([] if self.cgroup_fd is None else [self.cgroup_fd])]
        self.tasks_fds, self.cgroup_fd = (), None
        for fd in fds:
            os.close(fd)
        if self._scope is not None:
            self._scope.release()

    def _directories(self) -> list[str]:
        """List the directories, v2 first: it tells when its last process is gone."""
        paths = sorted(self.paths.items())
        return list(dict.fromkeys(path for _, path in paths))

    def dir(self, controller: str) -> Dir | None:
        """Return the group with a controller (its v2 name, "" for the v2 group), if there is."""
        core = self.paths.get("")
        v1_name = "blkio" if controller == "io" else controller
        if controller and (path := self.paths.get(v1_name)):
            return Dir(1, path)
        if core is None:
            return None
        if controller:
            offered = _files.read_optional(f"{core}/cgroup.controllers") or ""
            if controller not in offered.split():
                return None
        return Dir(2, core)

    def update(self, resources: Resources) -> None:
        """Change the resources that are given; device rules stay as they are, as in runc.

        Raises:
            ConfigError: A value that cannot be right.
            UnsupportedError: A controller that is needed is absent, or the kernel refused a value.
                Other values may be in force by then.
        """
        from . import _resources  # noqa: PLC0415

        self.apply(resources, _resources.controllers(resources))

    def hand_down(self, controllers: frozenset[str]) -> None:
        """Let the v2 group have controllers, as far as it can. Raises UnsupportedError."""
        if (core := self.paths.get("")) and controllers:
            from . import _homes  # noqa: PLC0415

            with Reported("cannot limit the container"):
                _homes.hand_down(core, controllers)

    def apply(self, resources: Resources, controllers: frozenset[str]) -> None:
        """Bring resources into force, with these controllers. Raises as `update`."""
        self.hand_down(controllers)
        with Reported("cannot limit the container"):
            if resources.has_limits:
                from . import _resources  # noqa: PLC0415

                _resources.apply(resources, self.dir, self._why_absent())
            if self._scope is not None:
                self._scope.tell(self.dir)
                if (pids := self.dir("pids")) and resources.pids_limit:
                    self._scope.make_room(pids, resources.pids_limit)

    def _why_absent(self) -> str:
        return "" if self.paths else f" ({'; '.join(self.notes) or 'the container has no groups'})"

    def pids(self) -> tuple[int, ...]:
        """Return all processes in and below the groups, in ascending order."""
        from pycontain._cgroup import _remove  # noqa: PLC0415

        found: set[int] = set()
        for path in self._directories():
            for group in _remove.descend(path):
                found.update(_remove.members(group))
        return tuple(sorted(found))

    def kill(self, signal: int, timeout_s: float = KILL_SECONDS) -> None:
        """Send a signal to all processes in and below the groups.

        With SIGKILL, those that are being forked meanwhile die too, those of a frozen v1 group are
        let run to die, and their end is waited for up to `timeout_s`.

        Raises:
            UnsupportedError: There are no groups to find them by.
        """
        from pycontain._cgroup import _remove  # noqa: PLC0415

        if not self.paths:
            text = f"cannot find all processes{self._why_absent()}"
            raise UnsupportedError(errno.EOPNOTSUPP, text)
        if signal == signals.SIGKILL:
            self._kill(time.monotonic() + timeout_s)
        seen: set[int] = set()
        for path in self._directories():
            for group in _remove.descend(path):
                new = [pid for pid in _remove.members(group) if pid not in seen]
                _remove.send(group, new, signal)
                seen.update(new)

    def _kill(self, deadline: float) -> None:
        if core := self.paths.get(""):
            try:
                _files.write(f"{core}/cgroup.kill", "1")
            except FileNotFoundError:  # before Linux 5.14
                pass
            self.thaw()  # nothing dies while v1's freezer holds it
        if tracking := core or self.paths.get("freezer"):
            from pycontain._cgroup import _remove  # noqa: PLC0415

            _remove.kill_tree(tracking, deadline)

    @property
    def frozen(self) -> bool:
        """Whether the processes are stopped, through v2 or v1's freezer, by whomever."""
        core, freezer = self.paths.get(""), self.paths.get("freezer")
        if core and (_files.read_optional(f"{core}/cgroup.freeze") or "").strip() == "1":
            return True
        state = _files.read_optional(f"{freezer}/freezer.state") if freezer else None
        return (state or "THAWED").strip() != "THAWED"

    def freeze(self, timeout_s: float = FREEZE_SECONDS) -> None:
        """Stop all processes.

        Raises:
            UnsupportedError: There is neither a v2 group nor v1's freezer, or not all stopped in
                time; then they run on.
        """
        core, freezer = self.paths.get(""), self.paths.get("freezer")
        deadline = time.monotonic() + timeout_s
        if not (core or freezer):
            why = self._why_absent()
            raise UnsupportedError(errno.EOPNOTSUPP, f"cannot freeze: no group to do it by{why}")
        with Reported("cannot freeze the container"):
            if core:
                _files.write(f"{core}/cgroup.freeze", "1")
                done = _files.wait_event(core, "frozen", 1, deadline)
            else:
                done = _freeze_v1(f"{freezer}/freezer.state", deadline)
        if not done:
            self.thaw()
            raise UnsupportedError(
                errno.EBUSY, f"cannot freeze: not all processes stopped within {timeout_s:g} s"
            )

    def thaw(self) -> None:
        """Let all processes run, whatever stopped them. Raises UnsupportedError."""
        files = {"": ("cgroup.freeze", "0"), "freezer": ("freezer.state", "THAWED")}
        for key, (file, word) in files.items():
            if path := self.paths.get(key):
                with Reported("cannot thaw the container"):
                    try:
                        _files.write_optional(f"{path}/{file}", word)
                    except FileNotFoundError:  # the group is gone
                        pass

    def stats(self) -> dict[str, Any]:
        """Return what the container uses, in the form of runc's `events --stats`."""
        from . import _stats  # noqa: PLC0415

        return _stats.stats(self.dir)

    def events(self) -> dict[str, int]:
        """Return how often memory ran out: see `_oom.counts`."""
        from . import _oom  # noqa: PLC0415

        return _oom.counts(self.dir("memory"))

    def enter(self, sub_path: str = "", *, init: int | None = None) -> Cgroup:
        """Return the groups for a further process, open; the caller closes it.

        Args:
            sub_path: A group below the container's own, made by it, to join instead.
            init: The container's first process. Where the v2 group has children with controllers,
                and so takes no process itself, its present group is joined.

        Raises:
            ConfigError: `sub_path` leads upwards.
            UnsupportedError: There is no such group.
        """
        names = [name for name in sub_path.split("/") if name not in ("", ".")]
        if ".." in names or "\0" in sub_path:
            raise ConfigError(f"cgroup: {sub_path!r} must not contain '..' or a zero byte")
        paths = {key: "/".join((path, *names)) for key, path in self.paths.items()}
        if not names and init is not None and "" in paths:
            paths[""] = _group_of(init, paths[""])
        entered = Cgroup(paths, notes=self.notes)
        entered.open()
        return entered

    def destroy(self) -> None:
        """Remove the groups, and kill first what may still be in them. Raises as `remove`."""
        self.close()
        if self._scope is None and all(map(is_removed, self._directories())):
            remove_empty(self._above)
            return
        if self.paths:
            self.kill(signals.SIGKILL)
        self.remove()

    def remove(self, timeout_s: float = REMOVE_SECONDS) -> None:
        """Remove the groups and those made inside them, once the last process is gone.

        Raises:
            UnsupportedError: Some are still in use after `timeout_s`.
        """
        from pycontain._cgroup import _remove  # noqa: PLC0415

        self.close()
        if self._scope is not None and not self.pids():
            self._scope.stop()
        left = _remove.all_of(self._directories(), timeout_s)
        remove_empty(self._above)
        if left:
            raise UnsupportedError(
                errno.EBUSY,
                f"cannot remove the container's cgroup {left[0]}: processes {list(self.pids())} "
                "are still in it: end them first",
            )


def _freeze_v1(file: str, deadline: float) -> bool:
    def done() -> bool:
        _files.write(file, "FROZEN")  # again: a process that was just forked may be running
        return _files.read(file).strip() == "FROZEN"

    from pycontain._cgroup import _remove  # noqa: PLC0415

    return _remove.until(done, deadline)


def _group_of(pid: int, path: str) -> str:
    """Return the v2 group that a process is in, if that is below `path` and `path` takes none."""
    if not (_files.read_optional(f"{path}/cgroup.subtree_control") or "").strip():
        return path
    from pycontain._cgroup import _remove  # noqa: PLC0415

    return next((group for group in _remove.descend(path) if pid in _remove.members(group)), path)


def load(record: Mapping[str, Any]) -> Cgroup:
    """Return the groups of a container from `Cgroup.to_json`, without descriptors."""
    scope = None
    if unit := record["unit"]:
        from ._unit import Scope  # noqa: PLC0415

        scope = Scope(unit)
    return Cgroup(record["paths"], above=record["above"], scope=scope)
