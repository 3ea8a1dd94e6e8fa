# SPDX-License-Identifier: Apache-2.0
"""That memory ran out: counters, and a descriptor that tells when they change.

Sources: cgroup-v1/memory.rst, "OOM Control"; cgroup-v2.rst, "memory.events".
"""

from __future__ import annotations

import os
import select

from pycontain._cgroup import _files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir


def counts(memory: Dir | None) -> dict[str, int]:
    """Return how often memory ran out.

    Keys: `oom` (v2: times that an allocation could not be met), `oom_kill` (processes that were
    killed for it, on v1 since Linux 4.13). What the kernel does not count is left out.
    """
    if memory is None:
        return {}
    file = "memory.events" if memory.is_v2 else "memory.oom_control"
    table = _files.flat(_files.read_optional(f"{memory.path}/{file}"))
    return {name: table[name] for name in ("oom", "oom_kill") if name in table}


class Watch:
    """Wakes a poll() when memory runs out in a group.

    Attributes:
        mask: What to wait for at `fileno()`.

    Raises:
        OSError: The group is gone, or is not ours to watch.
    """

    def __init__(self, memory: Dir) -> None:
        self._memory = memory
        if memory.is_v2:  # whose file itself can be waited for
            self._fd = os.open(f"{memory.path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self.mask = select.POLLPRI
        else:
            self._fd = _event_fd(memory.path)
            self.mask = select.POLLIN
        self._seen = self._count()

    def fileno(self) -> int:
        """Return the descriptor to wait at."""
        return self._fd

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)

    def news(self) -> bool:
        """Tell whether memory ran out since this was last asked."""
        if not self._memory.is_v2:
            try:
                os.eventfd_read(self._fd)
            except BlockingIOError:
                return False
            return os.path.exists(f"{self._memory.path}/memory.oom_control")  # not the group's end
        seen, self._seen = self._seen, self._count()
        return self._seen > seen

    def _count(self) -> int:
        if not self._memory.is_v2:
            return 0
        try:
            table = _files.flat(os.pread(self._fd, 4096, 0).decode())
        except OSError:  # ENODEV: the group is gone
            return self._seen
        return table.get("oom", 0) + table.get("oom_kill", 0)


def _event_fd(path: str) -> int:
    """Register an eventfd for the group's memory.oom_control."""
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _files.write(f"{path}/cgroup.event_control", f"{fd} {control}")
        finally:
            os.close(control)
    except BaseException:
        os.close(fd)
        raise
    return fd
