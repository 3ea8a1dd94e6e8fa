# SPDX-License-Identifier: Apache-2.0
"""Control groups: where to make them, limits, counters, and the end of a sandbox's processes.

Files only: discovery (`_hierarchy`), the choice of a place (`_place`), this process as an owner
(`_owner`, `_state`, `_sweep`), limits (`_limits`, `_controls`), counters (`_counters`), the end
(`_remove`), and on top of them the groups of a sandbox (`_tree`, `_build`) and of a command
(`_command`).
"""

from ._command import CommandGroup
from ._counters import Reading
from ._hierarchy import Hierarchy, Host, detect
from ._limits import Limits, parse_cpuset
from ._owner import Owner, current_owner
from ._place import Missing, Places, find
from ._sweep import OwnerRecord, owners, sweep
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
    "current_owner",
    "detect",
    "find",
    "owners",
    "parse_cpuset",
    "sweep",
]
