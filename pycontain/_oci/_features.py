# SPDX-License-Identifier: Apache-2.0
"""What this runtime can do on this host (runtime-spec, features.md), asked of what does it."""

from __future__ import annotations

import os

from pycontain._capabilities import NAMES

from ._parse_linux import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST, NEWEST = "1.0.0", "1.3.0"
_HOOKS = (
    *("prestart", "createRuntime", "createContainer"),
    *("startContainer", "poststart", "poststop"),
)
_FILES = {  # of /proc/self/ns, by the specification's names
    "network": "net",
    "mount": "mnt",
    **{name: name for name in ("pid", "ipc", "uts", "user", "cgroup", "time")},
}


def features() -> dict[str, Any]:
    """Return the features as `features` prints them."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": list(_HOOKS),
        "linux": {
            "namespaces": [
                name for name in NAMESPACES if os.path.exists(f"/proc/self/ns/{_FILES[name]}")
            ],
            "capabilities": list(NAMES[: _last_capability() + 1]),
            "seccomp": {
                "enabled": os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
            },
        },
    }


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())
