# SPDX-License-Identifier: Apache-2.0
"""What can be done when the kernel refuses a control group."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.EBUSY: "more is in use than the limit allows, or processes are in a group that is to "
    "have children: end something first",
    errno.EINVAL: "the kernel does not accept this value here: the same file of the parent group "
    "shows what it allows",
    errno.EACCES: "chown the file to this user, or hand in a writable group with cgroup=",
    errno.EPERM: "chown the file to this user, or hand in a writable group with cgroup=",
    errno.EROFS: "mount the hierarchy writable",
    errno.ENOENT: "the group has been removed, or the kernel is too old for this file",
    errno.ENODEV: "the group has been removed, or the device is absent",
    errno.ENOSPC: "the parent group has no CPUs or memory nodes to give (cpuset)",
    errno.EAGAIN: "the parent allows no further group: see its cgroup.max.depth and "
    "cgroup.max.descendants",
    errno.EOPNOTSUPP: "the group is threaded: choose one whose cgroup.type is domain",
    errno.ERANGE: "the value is out of the kernel's range",
}


def remedy(number: int | None) -> str:
    """Return what can be done about a refusal with this errno."""
    return _REMEDIES.get(number or 0, "see the kernel's documentation of the file")
