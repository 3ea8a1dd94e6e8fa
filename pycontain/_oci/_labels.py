# SPDX-License-Identifier: Apache-2.0
"""What the container's process is to the kernel's security modules from its exec on."""

from __future__ import annotations

import errno
import os

from pycontain._native import Op, OpKind
from pycontain.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Process

APPARMOR = "/sys/module/apparmor/parameters/enabled"
SELINUX = "/sys/fs/selinux/enforce"


def label_ops(process: Process) -> list[tuple[Op, str]]:
    """Return the ops that set a process's profile or label, and what they are about.

    Raises:
        UnsupportedError: The kernel has no such module.
    """
    rows = []
    if profile := process.apparmor_profile:
        _need(APPARMOR, "process.apparmorProfile", "AppArmor")
        own = os.path.exists("/proc/self/attr/apparmor/exec")  # beside other modules, Linux 5.8
        path = "/self/attr/apparmor/exec" if own else "/self/attr/exec"
        text = f"exec {profile}".encode()
        rows.append((Op(OpKind.SYSCTL, path, text), f"process.apparmorProfile: {profile}"))
    if label := process.selinux_label:
        _need(SELINUX, "process.selinuxLabel", "SELinux")
        op = Op(OpKind.SYSCTL, "/self/attr/exec", label.encode())
        rows.append((op, f"process.selinuxLabel: {label}"))
    return rows


def _need(file: str, field: str, name: str) -> None:
    if not os.path.exists(file):
        raise UnsupportedError(
            errno.EOPNOTSUPP, f"{field}: this kernel has no {name}: leave it empty"
        )
