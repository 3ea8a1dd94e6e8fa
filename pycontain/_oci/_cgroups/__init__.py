# SPDX-License-Identifier: Apache-2.0
"""The control groups of one container: `cgroupsPath` and `resources` of a configuration.

Where (`_path`, `_homes`), what each controller is told (`_memory`, `_cpu`, `_cpuset`, `_io`,
`_others`, `_devices`, all of them by `_resources`), what is read back (`_stats`, `_oom`), the group
itself (`_group`), and how it is made (`_create`). Files are read, written and removed by
`pycontain._cgroup`.
"""

from __future__ import annotations

from ._group import Cgroup, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._create import Plan, create, plan_groups, remove_planned

__all__ = ["Cgroup", "Plan", "create", "load", "plan_groups", "remove_planned"]


def __getattr__(name: str) -> Any:
    """Import what makes groups when it is asked for: most commands of a runtime make none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _create  # noqa: PLC0415

    return getattr(_create, name)
