# SPDX-License-Identifier: Apache-2.0
"""Bring `linux.resources` into force, each controller in the hierarchy that carries it."""

from __future__ import annotations

from pycontain._cgroup._dir import Dir
from pycontain._record import NamedTuple

from . import _cpu, _cpuset, _io, _memory, _others
from ._write import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pycontain._oci._spec import Resources


class Controller(NamedTuple):
    """What a controller is asked for, and how it is told."""

    asked: Callable[[Resources], str]
    apply: Callable[[Resources, Dir], None]


# By their v2 names, or v1's where v2 has none.
_CONTROLLERS: Mapping[str, Controller] = {
    "cpuset": Controller(_cpuset.asked, _cpuset.apply),
    "cpu": Controller(_cpu.asked, _cpu.apply),
    "memory": Controller(_memory.asked, _memory.apply),
    "pids": Controller(_others.asked_pids, _others.apply_pids),
    "io": Controller(_io.asked, _io.apply),
    "hugetlb": Controller(_others.asked_hugetlb, _others.apply_hugetlb),
    "net_cls": Controller(_others.asked_net_cls, _others.apply_net_cls),
    "net_prio": Controller(_others.asked_net_prio, _others.apply_net_prio),
    "rdma": Controller(_others.asked_rdma, _others.apply_rdma),
}


def controllers(resources: Resources) -> frozenset[str]:
    """Return the controllers that the resources need. Raises ConfigError."""
    asked = (name for name, controller in _CONTROLLERS.items() if controller.asked(resources))
    return frozenset(asked) | _others.unified_controllers(resources)


def asked(resources: Resources) -> str:
    """Return the first field that needs a group, "" if none does."""
    found = (controller.asked(resources) for controller in _CONTROLLERS.values())
    unified = (f"unified[{key!r}]" for key in resources.unified)
    return next(filter(None, (*found, *unified)), "")


def apply(resources: Resources, find: Callable[[str], Dir | None], why: str) -> None:
    """Write all that is given.

    Args:
        resources: The container's, or those of an update.
        find: Returns the group with a controller ("": the v2 group).
        why: Why there is none where there is none.

    Raises:
        ConfigError: A value that cannot be right.
        UnsupportedError: A controller that is needed is absent, or the kernel refused a value.
    """
    for name, controller in _CONTROLLERS.items():
        field = controller.asked(resources)
        if not field:
            continue
        group = find(name)
        if group is None:
            raise unsupported(
                field,
                f"the {name} controller is not available{why}",
                "see /proc/cgroups and, on cgroup v2, cgroup.controllers; or leave the field out",
            )
        controller.apply(resources, group)
    _others.apply_unified(resources, find(""))
