# SPDX-License-Identifier: Apache-2.0
"""Bring device rules into force: v1's files, or a program for the v2 group."""

from __future__ import annotations

import errno

from pycontain import _native
from pycontain import _os as os
from pycontain._cgroup import _files
from pycontain.errors import UnsupportedError

from ._device_rules import DEFAULT, Key, check, exceptions, keys
from ._write import Setting, put, refused, remedy, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import DeviceRule

_FIELD = "devices"
NOT_ENFORCED = (
    "linux.resources.devices is not in force: only root of the host may bound devices; without it, "
    "none can be made, and those of the host keep their permissions"
)


def enforceable() -> bool:
    """Tell whether this process may bound devices: not in a user namespace, nor without root."""
    maps = (_files.read_optional("/proc/self/uid_map") or "").split()
    return os.geteuid() == 0 and maps == ["0", "0", "4294967295"]


def apply(rules: Sequence[DeviceRule], v1: Dir | None, v2: Dir | None) -> None:
    """Allow what the rules say and what every container may do, and nothing else.

    Args:
        rules: Of the configuration, the last that matches deciding.
        v1: The group in a v1 hierarchy with the devices controller.
        v2: The v2 group, which decides where there is no such hierarchy.

    Raises:
        ConfigError: A rule that cannot be right, or that v1 cannot express.
        UnsupportedError: The kernel refused, or there is neither group.
    """
    check(rules)
    if v1 is not None:
        _write_v1(rules, v1)
    elif v2 is not None:
        _attach((*rules, *DEFAULT), v2)
    else:
        raise unsupported(
            _FIELD,
            "the devices controller is not available: there is no group",
            "let this process make groups (see docs/cgroups.md)",
        )


def _write_v1(rules: Sequence[DeviceRule], group: Dir) -> None:
    wanted = exceptions(rules, DEFAULT)
    plain, other = ("allow", "deny") if wanted.allow else ("deny", "allow")
    put(group, Setting(f"devices.{plain}", "a", _FIELD))
    setting = Setting(f"devices.{other}", "", _FIELD)
    try:
        fd = os.open(f"{group.path}/{setting.file}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise refused(group, setting, error) from error
    try:
        for key, access in wanted.rows.items():
            rule = f"{key} {''.join(sorted(access))}"
            try:
                os.write(fd, rule.encode())  # the kernel takes one in each call
            except OSError as error:
                # What every container has, the group above it may not have to give.
                if error.errno != errno.EPERM or not _is_default(key):
                    raise refused(group, setting._replace(text=rule), error) from error
    finally:
        os.close(fd)


def _is_default(key: Key) -> bool:
    return any(key in keys(rule) for rule in DEFAULT)


def _attach(rules: tuple[DeviceRule, ...], group: Dir) -> None:
    from . import _device_program  # noqa: PLC0415 - v1 does without it

    program = _device_program.assemble(rules)
    try:
        fd = os.open(group.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _native.attach_device_program(fd, program)
        finally:
            os.close(fd)
    except OSError as error:
        advice = {
            errno.EPERM: "run with CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN)",
            errno.EINVAL: "use a kernel with CONFIG_CGROUP_BPF",
        }.get(error.errno or 0, remedy(error))
        text = f"linux.resources.{_FIELD}: cannot attach a device program to {group.path}"
        raise UnsupportedError(error.errno, f"{text}: {error.strerror}: {advice}") from error
