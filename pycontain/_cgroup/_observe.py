# SPDX-License-Identifier: Apache-2.0
"""The groups of a sandbox as another process finds them: by the kernel's word alone.

/proc/PID/cgroup says which groups PID 1, a command and the owner are in. No state file is read:
those of other users are theirs to write.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from . import _counters, _files, _state
from ._build import ROOM_FOR_GROUPS
from ._dir import Dir
from ._hierarchy import discover

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SANDBOX = re.compile(
    rf"(?P<base>/.*)/(?P<identity>{_state.NAME.pattern})/(?P<name>s[0-9]+)(?:/.*)?"
)
_V2_FILES = {"memory": "memory.current", "pids": "pids.current"}
_LIMIT_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}
_NO_V1_LIMIT = 1 << 62  # PAGE_COUNTER_MAX in bytes, whatever the size of a page


class Observed(NamedTuple):
    """What the groups of a sandbox tell; None: not known, and for a limit also that there is none.

    Attributes:
        memory, memory_limit: Bytes.
        pids, pids_limit: Processes and threads.
        cpu_s: Seconds of processor time of all that ever ran inside.
        paused: It is frozen.
        directory: The payload's v2 directory, or else one of v1.
    """

    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    cpu_s: float | None = None
    paused: bool | None = None
    directory: str | None = None


def observe(init: int, owner: int, inside: Iterable[int]) -> Observed:
    """Read the counters of a sandbox of whatever process.

    Args:
        init: Its PID 1.
        owner: The process that started it; groups that are not its own do not count.
        inside: The processes in it, a command first, which says where the v1 groups are.
    """
    dirs = _directories(init, owner, inside)
    if not dirs:
        return Observed()
    found = _counters.stats(dirs)
    cpu = [found[name].value for name in ("user_s", "system_s") if name in found]
    return Observed(
        memory=int(found["memory"].value) if "memory" in found else None,
        memory_limit=_limit(dirs, "memory"),
        pids=int(found["pids"].value) if "pids" in found else None,
        pids_limit=_limit(dirs, "pids"),
        cpu_s=sum(cpu) if cpu else None,
        paused=_is_frozen(dirs),
        directory=dirs["core"].path if "core" in dirs else next(iter(dirs.values())).path,
    )


def _directories(init: int, owner: int, inside: Iterable[int]) -> dict[str, Dir]:
    """Return the payload's directory per controller, `core` being the v2 group."""
    dirs: dict[str, Dir] = {}
    mounts = _files.read_optional("/proc/self/mountinfo") or ""
    sandbox: tuple[str, str] | None = None
    # PID 1 is in no v1 group, a command is in all.
    for pid in (init, *itertools.islice(inside, 1)):
        for directory, controllers in _places(mounts, pid):
            match = _SANDBOX.fullmatch(directory)
            if match is None or not _is_by(owner, match["identity"]):
                continue
            sandbox = match["identity"], match["name"]
            dirs |= _payload(f"{match['base']}/{'/'.join(sandbox)}", controllers)
    if sandbox and all(found.is_v2 for found in dirs.values()):
        for directory, controllers in _places(mounts, owner):
            path = f"{directory.rstrip('/')}/{'/'.join(sandbox)}"
            if controllers and os.path.isdir(path):
                dirs |= _payload(path, controllers)
    return dirs


def _places(mounts: str, pid: int) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the directories of a process's groups, with the controllers on v1."""
    try:
        text = _files.read_optional(f"/proc/{pid}/cgroup")
    except OSError:  # it has ended
        text = None
    host = discover(mounts, text or "")
    for hierarchy in (host.v2, *host.v1):
        if hierarchy is not None and hierarchy.own is not None:
            yield hierarchy.own, hierarchy.controllers


def _is_by(owner: int, identity: str) -> bool:
    match = _state.NAME.fullmatch(identity)
    # The pid in the name is one of its own PID namespace.
    return match is not None and _state.start_time(owner) == int(match[4])


def _payload(root: str, controllers: frozenset[str]) -> dict[str, Dir]:
    if controllers:
        names = ("io" if name == "blkio" else name for name in controllers)
        return {name: Dir(1, root) for name in names}
    payload = f"{root}/payload"
    there = [name for name, file in _V2_FILES.items() if os.path.exists(f"{payload}/{file}")]
    return {name: Dir(2, payload) for name in ("core", *there)}


def _limit(dirs: Mapping[str, Dir], name: str) -> int | None:
    directory = dirs.get(name)
    if directory is None:
        return None
    file = _LIMIT_FILES[name][directory.is_v2]
    limit = _files.number(_files.read_optional(f"{directory.path}/{file}"))
    if limit is None or limit >= _NO_V1_LIMIT:
        return None
    if name == "memory" and not _files.read_optional(f"{directory.path}/cgroup.procs"):
        limit -= ROOM_FOR_GROUPS  # its commands have groups of their own
    return limit


def _is_frozen(dirs: Mapping[str, Dir]) -> bool | None:
    if core := dirs.get("core"):
        return (_files.read_optional(f"{core.path}/cgroup.freeze") or "0").strip() == "1"
    if freezer := dirs.get("freezer"):
        return (_files.read_optional(f"{freezer.path}/freezer.state") or "").strip() == "FROZEN"
    return None
