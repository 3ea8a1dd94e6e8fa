# SPDX-License-Identifier: Apache-2.0
"""Control groups: where to make them, limits, counters, and the end of a sandbox's processes.

Files only: discovery (`_hierarchy`), the choice of a place (`_place*`), this process as an owner
(`_owner`, `_state`), what dead ones left (`_records`, `_sweep`, `_collected`, `_holders`), limits
(`_limits`, `_controls`), counters (`_counters`), the end (`_remove`), on top of them the groups of
a sandbox (`_tree`, `_build`) and of a command (`_command`), and those of other processes' sandboxes
(`_observe`). And a conversation: this process's scope of systemd's (`_scope`, `_systemd`, `_dbus`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._affinity import check_affinity
    from ._command import CommandGroup
    from ._counters import Reading
    from ._cpus import parse_cpuset
    from ._hierarchy import Hierarchy, Host, detect
    from ._limits import Limits
    from ._owner import Owner, current_owner
    from ._place import Places, find
    from ._place_v2 import Missing
    from ._records import OwnerRecord
    from ._sweep import Sweep, owners, sweep
    from ._tree import SandboxTree

__all__ = [
    "CommandGroup",
    "Hierarchy",
    "Host",
    "Limits",
    "Missing",
    "Owner",
    "OwnerRecord",
    "Places",
    "Reading",
    "SandboxTree",
    "Sweep",
    "check_affinity",
    "current_owner",
    "detect",
    "find",
    "owners",
    "parse_cpuset",
    "sweep",
]

# Imported when they are asked for: the OCI runtime starts often, and needs a few modules only.
_LATE = {
    "check_affinity": "._affinity",
    "CommandGroup": "._command",
    "Reading": "._counters",
    **dict.fromkeys(("Hierarchy", "Host", "detect"), "._hierarchy"),
    "Limits": "._limits",
    "parse_cpuset": "._cpus",
    **dict.fromkeys(("Owner", "current_owner"), "._owner"),
    **dict.fromkeys(("Places", "find"), "._place"),
    "Missing": "._place_v2",
    "OwnerRecord": "._records",
    **dict.fromkeys(("Sweep", "owners", "sweep"), "._sweep"),
    "SandboxTree": "._tree",
}


def __getattr__(name: str) -> Any:
    """Import the module that has a name of this package (PEP 562)."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - not needed by who imports a module of this package

    value = globals()[name] = getattr(importlib.import_module(_LATE[name], __name__), name)
    return value
