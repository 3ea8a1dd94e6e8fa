# SPDX-License-Identifier: Apache-2.0
"""The control groups of one container: `cgroupsPath` and `resources` of a configuration.

Where (`_path`, `_homes`), what each controller is told (`_memory`, `_cpu`, `_cpuset`, `_io`,
`_others`, `_devices`, all of them by `_resources`), what is read back (`_stats`, `_oom`), the group
itself (`_group`), and how it is made (`_create`). Files are read, written and removed by
`pycontain._cgroup`.
"""

from ._create import create, load
from ._group import Cgroup

__all__ = ["Cgroup", "create", "load"]
