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

    from ._create import create

__all__ = ["Cgroup", "create", "load"]


def __getattr__(name: str) -> Any:
    """Import `create` when it is asked for: most commands of a runtime do without it (PEP 562)."""
    if name != "create":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._create import create  # noqa: PLC0415

    return create
