# SPDX-License-Identifier: Apache-2.0
"""Choose a directory of the v2 hierarchy to make groups in.

A group that holds processes cannot hand controllers to children ("no internal processes",
cgroup-v2.rst), and processes may only be put below a common ancestor whose cgroup.procs is writable
("Delegation Containment").
"""

from __future__ import annotations

import os

from pycontain._record import NamedTuple

from . import _files
from ._systemd import Refusal, Scope, hand_down_remedy, is_managed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._hierarchy import Hierarchy

    AskSystemd = Callable[[], Scope | Refusal | None]


class Missing(NamedTuple):
    """Why a controller cannot be used: the file that says so, and what would change it."""

    controller: str
    file: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.controller}: {self.why} ({self.file}); {self.remedy}"


class Candidate(NamedTuple):
    """A v2 directory to make groups in, if there is one.

    Attributes:
        directory: None: there is none.
        usable: The wanted controllers that it can hand to groups below it.
        refused: The others, and `tracking` where there is no directory.
        scope: The systemd unit of ours that it belongs to.
    """

    directory: str | None
    usable: frozenset[str]
    refused: tuple[Missing, ...]
    scope: str = ""


_NOWHERE = Candidate(None, frozenset(), ())


def choose(
    hierarchy: Hierarchy,
    wanted: frozenset[str],
    explicit: str | None,
    ask_systemd: AskSystemd | None,
) -> Candidate:
    """Return the first v2 directory that serves most of `wanted`, what it serves and what not."""
    if explicit:
        return _examine(explicit, wanted)
    ours, others = candidates(hierarchy)
    best = _best(_NOWHERE, ours, wanted)
    refusal = None
    if ask_systemd and (best.directory is None or best.usable != wanted):
        answer = ask_systemd()
        if isinstance(answer, Scope):
            best = _better(best, _in_scope(answer, wanted))
        else:
            refusal = answer
    best = _best(best, others, wanted)
    if best.directory is None:
        refused = [_nowhere(hierarchy, controller) for controller in (*wanted, "tracking")]
        best = best._replace(refused=tuple(refused))
    if refusal is not None:
        best = best._replace(refused=tuple(_with_refusal(m, refusal) for m in best.refused))
    return best


def _better(best: Candidate, other: Candidate) -> Candidate:
    if best.directory is None or len(other.usable) > len(best.usable):
        return other
    return best


def _best(best: Candidate, directories: Iterable[str], wanted: frozenset[str]) -> Candidate:
    for directory in directories:
        if best.directory is not None and best.usable == wanted:
            break
        best = _better(best, _examine(directory, wanted))
    return best


def _in_scope(scope: Scope, wanted: frozenset[str]) -> Candidate:
    candidate = _examine(scope.directory, wanted)
    refused = [m._replace(remedy=hand_down_remedy(m.controller)) for m in candidate.refused]
    return candidate._replace(refused=tuple(refused), scope=scope.unit)


def _with_refusal(missing: Missing, refusal: Refusal) -> Missing:
    return missing._replace(
        why=f"{missing.why}, and {refusal.why}", remedy=f"{refusal.remedy}, or {missing.remedy}"
    )


def _nowhere(hierarchy: Hierarchy, controller: str) -> Missing:
    remedy = (
        "run below a delegated group (systemd-run --user --scope -p Delegate=yes COMMAND), or "
        "hand in a writable one with cgroup="
    )
    if hierarchy.read_only:
        why, file = "cgroup2 is mounted read-only", hierarchy.mount
    else:
        why = "this user may not make groups in or above its own group"
        file = f"{hierarchy.own or hierarchy.mount}/cgroup.procs"
    return Missing(controller=controller, file=file, why=why, remedy=remedy)


def candidates(hierarchy: Hierarchy) -> tuple[list[str], list[str]]:
    """Return the writable domains from our own group upwards: those that are ours, and others.

    Where systemd manages the tree, root may write everywhere, and a user to all that the user's
    manager has, but only groups marked as delegated are free for others to change (systemd's
    CGROUP_DELEGATION.md). For root only the root group is left then, as for any container manager
    that makes its own groups.
    """
    directory = hierarchy.own or hierarchy.mount
    chain = [directory]
    while directory != hierarchy.mount and hierarchy.own is not None:
        directory = os.path.dirname(directory)
        chain.append(directory)
    n_ours = len(chain)
    if is_managed(hierarchy.mount) and (os.geteuid() == 0 or any(map(_is_own_manager, chain))):
        n_ours = 1 + max((i for i, d in enumerate(chain) if _is_delegated(d)), default=-1)
        if os.geteuid() == 0:
            chain = [*chain[:n_ours], *chain[max(n_ours, len(chain) - 1) :]]
    ours: list[str] = []
    others: list[str] = []
    for i, directory in enumerate(chain):
        if hierarchy.read_only or not _files.writable(directory):
            break
        if _files.writable(f"{directory}/cgroup.procs") and type_of(directory) == "domain":
            (ours if i < n_ours else others).append(directory)
    return ours, others


def _is_own_manager(directory: str) -> bool:
    """Tell the group that is delegated to this user's systemd, not to us."""
    return os.path.basename(directory) == f"user@{os.geteuid()}.service"


def type_of(directory: str) -> str:
    """Return the v2 group's type; the hierarchy's real root has no such file and is a domain."""
    return (_files.read_optional(f"{directory}/cgroup.type") or "domain").strip()


def _is_delegated(directory: str) -> bool:
    if _is_own_manager(directory):
        return False
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _examine(directory: str, wanted: frozenset[str]) -> Candidate:
    """Tell which of `wanted` a directory can hand to groups below it."""
    available = frozenset((_files.read_optional(f"{directory}/cgroup.controllers") or "").split())
    control = f"{directory}/cgroup.subtree_control"
    enabled = frozenset((_files.read_optional(control) or "").split())
    is_root = not os.path.exists(f"{directory}/cgroup.type")
    busy = not is_root and bool(_files.read_optional(f"{directory}/cgroup.procs"))
    may_enable = not busy and _files.writable(control)
    usable = frozenset(c for c in wanted & available if c in enabled or may_enable)
    refused = []
    for controller in sorted(wanted - usable):
        if controller not in available:
            file, why = (
                f"{directory}/cgroup.controllers",
                "the controller is not handed down to this group",
            )
            remedy = (
                f"as root: echo +{controller} into cgroup.subtree_control of each group above it "
                f"(systemd: Delegate={controller}), or hand in another group with cgroup="
            )
        elif busy:
            file, why = (
                f"{directory}/cgroup.procs",
                "the group holds processes and so cannot limit children",
            )
            remedy = (
                "move its processes into a child group first, start this one with "
                "systemd-run --scope -p Delegate=yes, or hand in an empty group with cgroup="
            )
        else:
            file, why = control, "this user may not enable the controller"
            remedy = f"as root: chown {control} to this user"
        refused.append(Missing(controller=controller, file=file, why=why, remedy=remedy))
    return Candidate(directory, usable, tuple(refused))
