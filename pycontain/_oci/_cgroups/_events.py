# SPDX-License-Identifier: Apache-2.0
"""What happens to a container while it lives, in the form of runc's `events`."""

from __future__ import annotations

import contextlib
import select
import time

from ._oom import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._group import Cgroup


def follow(cgroup: Cgroup, interval_s: float, pidfd: int) -> Iterator[dict[str, Any]]:
    """Yield events until the container's first process ends.

    Args:
        cgroup: The container's groups.
        interval_s: The time from one event of usage to the next, the first being at once.
        pidfd: Of the first process.

    Yields:
        `{"type": "stats", "data": ...}` with what `Cgroup.stats` returns, and `{"type": "oom"}`
        whenever memory ran out.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    with contextlib.ExitStack() as stack:
        watch = None
        if memory := cgroup.dir("memory"):
            with contextlib.suppress(OSError):  # the group is gone, or not ours to watch
                watch = Watch(memory)
                stack.callback(watch.close)
                poller.register(watch.fileno(), watch.mask)
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                yield {"type": "stats", "data": cgroup.stats()}
                due = time.monotonic() + interval_s
            ready = [fd for fd, _ in poller.poll(max(0.0, due - time.monotonic()) * 1000)]
            if watch is not None and watch.fileno() in ready and watch.news():
                yield {"type": "oom"}
            if pidfd in ready:
                return
