# SPDX-License-Identifier: Apache-2.0
"""What this runtime can do on this host (runtime-spec, features.md), asked of what does it."""

from __future__ import annotations

import os

from pycontain import _cgroup, _native
from pycontain._capabilities import NAMES
from pycontain._seccomp import FLAGS
from pycontain._seccomp._oci import ACTIONS, ARCHITECTURES, OPS

from ._labels import has_apparmor, has_selinux
from ._options import KNOWN
from ._parse_linux import NAMESPACES
from ._resctrl import find_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST, NEWEST = "1.0.0", "1.3.0"
"""Versions of the specification whose configurations are taken."""
_HOOKS = (
    *("prestart", "createRuntime", "createContainer"),
    *("startContainer", "poststart", "poststop"),
)
_FILES = {"network": "net", "mount": "mnt"}  # of /proc/self/ns, where the names differ


def features() -> dict[str, Any]:
    """Return the features as `features` prints them."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": list(_HOOKS),
        "mountOptions": sorted(KNOWN),
        "linux": {
            "namespaces": [name for name in NAMESPACES if _has_namespace(name)],
            "capabilities": list(NAMES[: _last_capability() + 1]),
            "cgroup": _groups(),
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "mountExtensions": {"idmap": {"enabled": _can_idmap()}},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"enabled": False},
            "netDevices": {"enabled": True},
        },
        "annotations": _of_this_host(),
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    }


def _of_this_host() -> dict[str, str]:
    """Return what the fields above do not tell, which are about the runtime alone."""
    facts = {
        "apparmor": has_apparmor(),
        "selinux": has_selinux(),
        "resctrl": bool(find_mount()),
    }
    return {f"pycontain.host.{name}": str(there).lower() for name, there in facts.items()}


def _has_namespace(name: str) -> bool:
    return os.path.exists(f"/proc/self/ns/{_FILES.get(name, name)}")


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return min(int(file.read()), len(NAMES) - 1)


def _groups() -> dict[str, bool]:
    host = _cgroup.detect()
    systemd = os.path.isdir("/run/systemd/system")
    return {
        "v1": bool(host.v1),
        "v2": host.v2 is not None,
        "systemd": systemd,
        "systemdUser": systemd,
        "rdma": True,
    }


def _seccomp() -> dict[str, Any]:
    return {
        "enabled": os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        "actions": list(ACTIONS),
        "operators": list(OPS),
        "archs": [name for name, machine in ARCHITECTURES.items() if machine],
        "knownFlags": list(FLAGS),
        "supportedFlags": list(FLAGS),
    }


def _can_idmap() -> bool:
    return all(map(_native.available, (_native.Probe.OPEN_TREE, _native.Probe.MOUNT_SETATTR)))
