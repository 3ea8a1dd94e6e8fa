# SPDX-License-Identifier: Apache-2.0
"""Memory: cgroup-v1/memory.rst; cgroup-v2.rst, "Memory Interface Files"."""

from __future__ import annotations

from pycontain._cgroup import _files
from pycontain.errors import ConfigError

from ._write import NO_LIMIT, Setting, or_max, put, put_all, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import Memory, Resources

_BOTH_V1 = "memory.memsw.limit_in_bytes"


def asked(resources: Resources) -> str:
    """Return the first field that needs the controller, "" if none does.

    As in runc, a limit of 0 is none.
    """
    memory = resources.memory
    limits = {
        "limit": memory.limit,
        "reservation": memory.reservation,
        "swap": memory.swap,
        "kernel": memory.kernel,
        "kernelTCP": memory.kernel_tcp,
        "disableOOMKiller": memory.disable_oom_killer,
    }
    fields = [name for name, value in limits.items() if value]
    if memory.swappiness is not None:
        fields.append("swappiness")
    return f"memory.{fields[0]}" if fields else ""


def apply(resources: Resources, group: Dir) -> None:
    """Write what is given.

    Raises:
        ConfigError: More is in use than the limit allows, and the configuration asked to look.
        UnsupportedError: Refused by the kernel.
    """
    memory = resources.memory
    if memory.check_before_update:
        _check_usage(memory, group)
    if group.is_v2:
        _apply_v2(memory, group)
    else:
        _apply_v1(memory, group)


def _check_usage(memory: Memory, group: Dir) -> None:
    file = "memory.current" if group.is_v2 else "memory.usage_in_bytes"
    usage = _files.number(_files.read(f"{group.path}/{file}")) or 0
    for field, limit in (("limit", memory.limit), ("swap", memory.swap)):
        if limit is not None and 0 < limit <= usage:
            raise ConfigError(
                f"linux.resources.memory.{field}: {limit} is not more than what is in use "
                f"({usage}), which checkBeforeUpdate refuses"
            )


def _apply_v1(memory: Memory, group: Dir) -> None:
    limits = []
    both = memory.swap
    if memory.limit:
        limits.append(Setting("memory.limit_in_bytes", str(memory.limit), "memory.limit"))
        if memory.limit == NO_LIMIT and not both and _accounts_swap_v1(group):
            both = NO_LIMIT  # the limit with swap may not be below the one without
    if both and _swap_to_limit(_accounts_swap_v1(group), unlimited=both == NO_LIMIT):
        limits.append(Setting(_BOTH_V1, str(both), "memory.swap"))
    put_all(group, limits)
    others = (
        ("memory.soft_limit_in_bytes", memory.reservation, "reservation"),
        ("memory.kmem.limit_in_bytes", memory.kernel, "kernel"),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp, "kernelTCP"),
    )
    for file, limit, field in others:
        if limit:
            put(group, Setting(file, str(limit), f"memory.{field}"))
    if memory.swappiness is not None:
        text = str(memory.swappiness)
        put(group, Setting("memory.swappiness", text, "memory.swappiness"))
    if memory.disable_oom_killer is not None:
        text = str(int(memory.disable_oom_killer))
        put(group, Setting("memory.oom_control", text, "memory.disableOOMKiller"))


def _accounts_swap_v1(group: Dir) -> bool:
    return _files.read_optional(f"{group.path}/{_BOTH_V1}") is not None


def _swap_to_limit(accounted: bool, *, unlimited: bool) -> bool:
    """Tell whether a limit of swap is to be written: without any swap there is nothing to limit."""
    if accounted:
        return True
    if unlimited or len((_files.read_optional("/proc/swaps") or "").splitlines()) <= 1:
        return False
    raise unsupported(
        "memory.swap",
        "this kernel does not account swap to groups",
        "boot with swapaccount=1, or switch swap off (swapoff -a)",
    )


def _apply_v2(memory: Memory, group: Dir) -> None:
    for field, value in (("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)):
        if value:
            raise unsupported(f"memory.{field}", "cgroup v2 has no such limit", "leave it out")
    if memory.swappiness is not None:
        raise unsupported("memory.swappiness", "cgroup v2 has no such setting", "leave it out")
    if memory.disable_oom_killer:
        raise unsupported("memory.disableOOMKiller", "cgroup v2 cannot do that", "leave it out")
    swap = _swap_v2(memory, group)
    file = "memory.swap.max"
    accounted = _files.read_optional(f"{group.path}/{file}") is not None
    if swap is not None and _swap_to_limit(accounted, unlimited=swap == NO_LIMIT):
        put(group, Setting(file, or_max(swap), "memory.swap"))
    if memory.limit:
        put(group, Setting("memory.max", or_max(memory.limit), "memory.limit"))
    if memory.reservation:
        put(group, Setting("memory.low", or_max(memory.reservation), "memory.reservation"))


def _swap_v2(memory: Memory, group: Dir) -> int | None:
    """Return the limit of swap alone; the configuration has that of memory and swap together."""
    if not memory.swap:
        return NO_LIMIT if memory.limit == NO_LIMIT else None
    if memory.swap == NO_LIMIT:
        return NO_LIMIT
    limit = memory.limit or _files.number(_files.read(f"{group.path}/memory.max"))
    if limit is None or limit == NO_LIMIT:
        raise ConfigError(
            "linux.resources.memory.swap: unable to set swap limit without memory limit"
        )
    if memory.swap < limit:
        raise ConfigError(
            f"linux.resources.memory.swap: {memory.swap} is memory and swap together, and so "
            f"cannot be below the limit of memory ({limit})"
        )
    return memory.swap - limit
