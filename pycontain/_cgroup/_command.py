# SPDX-License-Identifier: Apache-2.0
"""The group of one command: what it is born into, is measured, killed and removed by."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from . import _counters, _remove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._counters import Reading
    from ._dir import Dir

KILL_SECONDS = 2.0
_KILL_ORDER = ("core", "freezer", "pids", "memory")  # the best first


def kill_directory(dirs: Mapping[str, Dir]) -> str | None:
    """Return the directory through which a group's processes can all be found and killed."""
    return next((dirs[name].path for name in _KILL_ORDER if name in dirs), None)


class CommandGroup:
    """One command's directories in the hierarchies in use. Made by `SandboxTree.command_group`.

    Attributes:
        v2_dir_fd: For CLONE_INTO_CGROUP, or -1 without v2. Owned by this object.
        tasks_fds: v1 `tasks` files open for writing; the child writes "0" to each before its
            exec. The kernel checks the opener's credentials. Owned by this object.
        dirs: The directory per controller, for tests and diagnostics.
    """

    __slots__ = (
        "_ceilings",
        "_own",
        "_pid",
        "_pids_base",
        "_pids_parent",
        "dirs",
        "tasks_fds",
        "v2_dir_fd",
    )

    def __init__(
        self,
        dirs: Mapping[str, Dir],
        own: tuple[str, ...],
        *,
        ceilings: dict[str, int],
        pids_parent: Dir | None = None,
    ) -> None:
        """Open the directories.

        Args:
            dirs: The directory per controller.
            own: Those to remove with this group, v2 first.
            ceilings: What peaks cannot have exceeded; it may change.
            pids_parent: The v2 group above, where forks are counted that its limit refuses.
        """
        self._ceilings = ceilings
        self.dirs = dirs
        self._own = own
        self._pid = os.getpid()
        self._pids_parent = pids_parent
        self._pids_base = self._refused_forks()
        self.v2_dir_fd = -1
        self.tasks_fds: tuple[int, ...] = ()
        try:
            if core := dirs.get("core"):
                self.v2_dir_fd = os.open(core.path, os.O_DIRECTORY | os.O_PATH | os.O_CLOEXEC)
            for path in {d.path: None for d in dirs.values() if not d.is_v2}:
                fd = os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC)
                self.tasks_fds = (*self.tasks_fds, fd)
        except BaseException:
            self.started()
            raise

    def started(self) -> None:
        """Close the descriptors, once the command is born; again is allowed."""
        fds, self.tasks_fds, self.v2_dir_fd = (*self.tasks_fds, self.v2_dir_fd), (), -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    @property
    def kills(self) -> bool:
        """Whether a group is there that `kill` can use."""
        return kill_directory(self.dirs) is not None

    def kill(self, timeout_s: float = KILL_SECONDS) -> bool:
        """Kill everything in the group and wait for its end; again, or when empty, is allowed.

        Returns:
            True when the group was seen empty within `timeout_s`; False too where no group exists.
        """
        directory = kill_directory(self.dirs)
        if directory is None or os.getpid() != self._pid:
            return False
        return _remove.kill_tree(directory, time.monotonic() + timeout_s)

    def cpu_s(self) -> float | None:
        """Return the seconds of processor time used so far; None: nothing counts them."""
        return _counters.cpu_s(self.dirs)

    def usage(self) -> dict[str, Reading]:
        """Return what the command has used (`_counters.usage`), all of it once it is empty."""
        found = _counters.usage(self.dirs)
        # What the sandbox's limit refused is in the peak of a group below it (page_counter.c,
        # pids.c: a charge goes up level by level), although it was never used.
        for name, most in self._ceilings.copy().items():
            if name in found and found[name].value > most:
                found[name] = found[name]._replace(value=most)
        return found

    def events(self) -> dict[str, int]:
        """Return how often the kernel stopped the command at a limit: see `_counters.events`.

        Where the kernel counts refused forks at the sandbox's limit, `pids_max` has those of all
        commands of the sandbox since this one was made.
        """
        found = _counters.events(self.dirs)
        if "pids_max" in found:
            found["pids_max"] += max(0, self._refused_forks() - self._pids_base)
        return found

    def _refused_forks(self) -> int:
        if self._pids_parent is None:
            return 0
        return _counters.events({"pids": self._pids_parent}).get("pids_max", 0)

    def remove(self, timeout_s: float = KILL_SECONDS) -> bool:
        """Remove the directories when the last process is gone; tell whether all are.

        Does not kill. What remains is removed with the sandbox, or else by `sweep`.
        """
        self.started()
        if os.getpid() != self._pid:
            return False
        return not _remove.all_of(self._own, timeout_s)
