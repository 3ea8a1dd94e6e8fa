# SPDX-License-Identifier: Apache-2.0
"""The living sandboxes of a machine, whichever process made them.

A sandbox without limits has no state file, and making one would slow down every run: the truth is
in /proc. PID 1 of a sandbox is the first process of a PID namespace, executed from our sealed
memfd. A program may give its own memory that name, but not from inside a sandbox: what is made
there is a PID namespace further down, which is listed only on demand.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ._cgroup._observe import Observed, observe
from ._processes import TICKS_PER_S, Process, descendants, namespace_pids, processes, user_of

# As /proc/PID/exe names the memfd that _native makes. Whoever made a sandbox may read the link, as
# the owner of its user namespace (ptrace(2), "access mode checking"); root may read all.
_PROGRAM: Final = "/memfd:pycontain-init (deleted)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingSandbox:
    """A sandbox, from outside. None: not known.

    Attributes:
        pid: Its PID 1, as this process sees it.
        owner_pid: The process that made it.
        owner_command: That process's name, which it chooses itself: any bytes.
        owner_uid: Its effective user.
        age_s: Seconds since the start.
        commands: Running commands, with what ended ones left running in the background.
        processes: All processes inside but for PID 1.
        pids: Processes and threads as limited, where there is a group; else counted in /proc.
        pids_limit: None also where there is no limit.
        memory: Bytes in use; known where there is a group that counts them.
        memory_limit: Bytes; None also where there is no limit.
        cpu_s: Processor time of everything that ran inside; without a group, of what still runs
            and what was waited for.
        paused: Whether it stands still; known where there is a group.
        root: `host`, the host's own user land, or `rootfs`.
        cgroup: Directory of its control group.
    """

    pid: int
    owner_pid: int
    owner_command: str
    owner_uid: int | None
    age_s: float
    commands: int
    processes: int
    pids: int
    pids_limit: int | None
    memory: int | None
    memory_limit: int | None
    cpu_s: float
    paused: bool | None
    root: str | None
    cgroup: str | None


def sandboxes(*, nested: bool = False) -> tuple[LivingSandbox, ...]:
    """List the living sandboxes of this user, for root those of all users; the oldest first.

    Args:
        nested: List those in further PID namespaces too, as far as they can be seen: in
            containers, and in sandboxes, whose programs could make up some.
    """
    everybody = processes()
    here = len(namespace_pids(os.getpid()))
    found = []
    for init in sorted(everybody.values(), key=lambda each: (each.start, each.pid)):
        if not _runs_our_program(init.pid):
            continue
        pids = namespace_pids(init.pid)
        is_nested = len(pids) != here + 1
        if pids[-1:] == [1] and (nested or not is_nested):
            sandbox = _describe(init, everybody)
            if nested or os.geteuid() in (0, sandbox.owner_uid):
                found.append(sandbox)
    return tuple(found)


def _runs_our_program(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe") == _PROGRAM
    return False


def _describe(init: Process, everybody: dict[int, Process]) -> LivingSandbox:
    inside = list(descendants(init.pid, everybody))
    owner = everybody.get(init.parent)
    groups = _observe(init, inside)
    counted = init.waited_ticks + sum(each.ticks + each.waited_ticks for each in inside)
    return LivingSandbox(
        pid=init.pid,
        owner_pid=init.parent,
        owner_command=owner.command if owner else "",
        owner_uid=user_of(init.parent),
        age_s=max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - init.start / TICKS_PER_S),
        commands=sum(each.parent == init.pid for each in inside),
        processes=len(inside),
        pids=sum(each.threads for each in inside) if groups.pids is None else groups.pids,
        pids_limit=groups.pids_limit,
        memory=groups.memory,
        memory_limit=groups.memory_limit,
        cpu_s=counted / TICKS_PER_S if groups.cpu_s is None else groups.cpu_s,
        paused=groups.paused,
        root=_root(init.pid),
        cgroup=groups.directory,
    )


def _observe(init: Process, inside: Sequence[Process]) -> Observed:
    try:
        return observe(init.pid, init.parent, [each.pid for each in inside])
    except OSError:  # removed while we looked
        return Observed()


def _root(init: int) -> str | None:
    """Tell a root of the host's own directories, which are mounted on a tmpfs, from another."""
    try:
        with open(f"/proc/{init}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    roots = [words for words in lines if words[4] == "/"]
    if not roots:
        return None
    part, kind, source = roots[-1][3], *roots[-1][roots[-1].index("-") + 1 :][:2]
    return "host" if (part, kind, source) == ("/", "tmpfs", "none") else "rootfs"
