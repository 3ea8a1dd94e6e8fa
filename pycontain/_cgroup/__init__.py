# SPDX-License-Identifier: Apache-2.0
"""Control groups: where to make them, limits, counters, and the end of a sandbox's processes.

Files only: discovery (`_hierarchy`), the choice of a place (`_place*`), this process as an owner
(`_owner`, `_state`), what dead ones left (`_records`, `_sweep`, `_collected`, `_holders`), limits
(`_limits`, `_controls`), counters (`_counters`), the end (`_remove`), on top of them the groups of
a sandbox (`_tree`, `_build`) and of a command (`_command`), and those of other processes' sandboxes
(`_observe`). And a conversation: this process's scope of systemd's (`_scope`, `_systemd`, `_dbus`).
"""

from ._affinity import check_affinity
from ._command import CommandGroup
from ._counters import Reading
from ._hierarchy import Hierarchy, Host, detect
from ._limits import Limits, parse_cpuset
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
