# SPDX-License-Identifier: Apache-2.0
"""What a container's process and its mounts are to the kernel's security modules."""

from __future__ import annotations

import errno
import os

from pycontain._native import Op, OpKind
from pycontain.errors import ConfigError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Process

_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_SELINUX = "/sys/fs/selinux"


def has_apparmor() -> bool:
    """Whether the kernel uses AppArmor, which may be built in and off."""
    try:
        with open(_APPARMOR, encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether the kernel uses SELinux."""
    return os.path.exists(f"{_SELINUX}/enforce")


def label_ops(process: Process) -> list[tuple[Op, str]]:
    """Return the ops that set what a process is from its exec on, and what they are about.

    Raises:
        ConfigError: It is no label of the policy.
        UnsupportedError: The kernel has no such module.
    """
    rows = []
    if profile := process.apparmor_profile:
        if not has_apparmor():
            raise _absent("process.apparmorProfile", "AppArmor")
        own = os.path.exists("/proc/self/attr/apparmor/exec")  # beside other modules, Linux 5.8
        path = "/self/attr/apparmor/exec" if own else "/self/attr/exec"
        text = f"exec {profile}".encode()
        rows.append((Op(OpKind.SYSCTL, path, text), f"process.apparmorProfile: {profile}"))
    if process.selinux_label:
        rows.append(_selinux_op(process, "exec"))
    return rows


def keyring_ops(process: Process) -> list[tuple[Op, str]]:
    """Return the ops, and what they are about, by which a process may use the keyring made next.

    Raises as `label_ops`.
    """
    return [_selinux_op(process, "keycreate")] if process.selinux_label else []


def _selinux_op(process: Process, attribute: str) -> tuple[Op, str]:
    label = process.selinux_label
    check_label("process.selinuxLabel", label)
    op = Op(OpKind.SYSCTL, f"/self/attr/{attribute}", label.encode())
    return op, f"process.selinuxLabel: {label}"


def check_label(field: str, label: str) -> None:
    """Check that SELinux knows a label.

    Raises:
        ConfigError: It is no label of the policy, or none is loaded.
        UnsupportedError: The kernel has no SELinux.
    """
    if not has_selinux():
        raise _absent(field, "SELinux")
    try:
        fd = os.open(f"{_SELINUX}/context", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, label.encode())  # security_check_context(3)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EFBIG}:
            raise ConfigError(f"{field}: {label!r} is no label of the loaded policy") from None
        # Who may not ask is told when it is set.


def _absent(field: str, name: str) -> UnsupportedError:
    return UnsupportedError(
        errno.EOPNOTSUPP, f"{field}: this kernel has no {name}, or it is off: leave it empty"
    )
