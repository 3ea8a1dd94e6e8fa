# SPDX-License-Identifier: Apache-2.0
"""The controllers with a file or two: pids, hugetlb, net_cls, net_prio, rdma; and `unified`.

Sources: cgroup-v1/pids.rst, hugetlb.rst, net_cls.rst, net_prio.rst, rdma.rst; cgroup-v2.rst.
"""

from __future__ import annotations

from pycontain import _os as os
from pycontain.errors import ConfigError

from ._write import Setting, or_max, put, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import Resources


def asked_pids(resources: Resources) -> str:
    """Return the field that needs the controller, "" if none does. As in runc, 0 is none."""
    return "pids.limit" if resources.pids_limit else ""


def apply_pids(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    if resources.pids_limit:
        put(group, Setting("pids.max", or_max(resources.pids_limit), "pids.limit"))


def asked_hugetlb(resources: Resources) -> str:
    """Return the field that needs the controller, "" if none does."""
    return "hugepageLimits" if resources.hugepage_limits else ""


def apply_hugetlb(resources: Resources, group: Dir) -> None:
    """Write what is given, for pages in use and, since Linux 5.7, for those reserved.

    Raises:
        ConfigError: No such size of page on this machine.
        UnsupportedError: Refused by the kernel.
    """
    file = "max" if group.is_v2 else "limit_in_bytes"
    for size, limit in resources.hugepage_limits:
        field = f"hugepageLimits[{size}]"
        used, reserved = f"hugetlb.{size}.{file}", f"hugetlb.{size}.rsvd.{file}"
        if "/" in size or not os.path.exists(f"{group.path}/{used}"):
            raise ConfigError(f"linux.resources.{field}: this machine has no pages of that size")
        for name in (used, reserved):
            if os.path.exists(f"{group.path}/{name}"):
                put(group, Setting(name, str(limit), field))


def asked_net_cls(resources: Resources) -> str:
    """Return the field that needs the controller, "" if none does. As in runc, 0 is none."""
    return "network.classID" if resources.network_class_id else ""


def apply_net_cls(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    text = str(resources.network_class_id)
    put(group, Setting("net_cls.classid", text, "network.classID"))


def asked_net_prio(resources: Resources) -> str:
    """Return the field that needs the controller, "" if none does."""
    return "network.priorities" if resources.network_priorities else ""


def apply_net_prio(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    for name, priority in resources.network_priorities:
        field = f"network.priorities[{name}]"
        put(group, Setting("net_prio.ifpriomap", f"{name} {priority}", field))


def asked_rdma(resources: Resources) -> str:
    """Return the field that needs the controller, "" if none does."""
    return "rdma" if resources.rdma else ""


def apply_rdma(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    for device, (handles, objects) in resources.rdma.items():
        limits = {"hca_handle": handles, "hca_object": objects}
        words = [f"{key}={value}" for key, value in limits.items() if value is not None]
        if words:
            put(group, Setting("rdma.max", " ".join((device, *words)), f"rdma[{device}]"))


# What a group is, and who is in it, is not for a configuration to say.
_UNIFIED_CORE = ("cgroup.max.", "cgroup.pressure")


def unified_controllers(resources: Resources) -> frozenset[str]:
    """Return the controllers whose files `unified` names.

    Raises:
        ConfigError: A key is not the name of a file of a controller.
    """
    for key in resources.unified:
        controller, dot, _ = key.partition(".")
        core = controller == "cgroup" and not key.startswith(_UNIFIED_CORE)
        if "/" in key or not dot or not controller or core:
            raise ConfigError(
                f"linux.resources.unified[{key!r}]: must be the name of a controller's file, such "
                "as memory.high"
            )
    return frozenset(key.partition(".")[0] for key in resources.unified) - {"cgroup"}


def apply_unified(resources: Resources, group: Dir | None) -> None:
    """Write what is given, line by line, as these files are written (cgroup-v2.rst, "Format").

    Args:
        resources: The container's.
        group: Its v2 group.

    Raises:
        UnsupportedError: Refused by the kernel, or the file's controller is not v2's.
    """
    for key, text in resources.unified.items():
        field = f"unified[{key!r}]"
        if group is None:
            raise unsupported(field, "no cgroup v2 here", "use the fields of its own")
        if not os.path.exists(f"{group.path}/{key}"):
            controller = key.partition(".")[0]
            raise unsupported(
                field,
                f"{group.path} has no such file: the {controller} controller is v1's or is not "
                "handed down, or the kernel is too old",
                "use cgroup v2 for the controller, or the fields of its own",
            )
        for line in text.split("\n") if text else [""]:
            put(group, Setting(key, line, field))
