# SPDX-License-Identifier: Apache-2.0
"""What to do about a failed step: (step, errno) -> a sentence, without a period at its end."""

from __future__ import annotations

import errno
import os

from . import _remedies
from .errors import SpawnError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ._cause import Cause

ANY: Final = 0
# Of this process, which would be in the way of whatever looks for the cause.
_SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR))

_NO_MOUNT_POINT: Final = (
    "The mount point is missing in a read-only root or inside another mount of yours, where "
    "nothing is made; make it there first"
)

_NO_DESCRIPTORS: Final = (
    "The open file limit is reached (RLIMIT_NOFILE); raise it or close sandboxes"
)

HINTS: Final[dict[tuple[str, int], str]] = {
    ("CLONE", errno.EPERM): (
        "Unprivileged user namespaces are off. See /proc/sys/user/max_user_namespaces, "
        "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns; in "
        "a container, allow clone with CLONE_NEWUSER in its seccomp profile"
    ),
    ("CLONE", errno.ENOSPC): (
        "A limit of /proc/sys/user/max_*_namespaces is reached; raise it or close sandboxes"
    ),
    ("CLONE", errno.EAGAIN): _remedies.PROCESSES,
    **dict.fromkeys(
        [(step, errno.ENOSPC) for step in ("ROOT", "MKDIR", "SYMLINK", "FILE", "BIND", "OVERLAY")],
        "The root itself does not fit: give it more with disk= and inodes=",
    ),
    ("CLONE_NAMESPACES", errno.ENOSPC): (
        "A limit of /proc/sys/user/max_*_namespaces is reached; raise it or close sandboxes"
    ),
    ("CLONE_NAMESPACES", errno.EAGAIN): _remedies.PROCESSES,
    **dict.fromkeys(
        [("EXEC", errno.E2BIG), ("EXEC", errno.ENOMEM), ("START", errno.ENOMEM)],
        "Give more memory=, or fewer arguments: they count too",
    ),
    ("JOIN_CGROUP", errno.EACCES): (
        "The cgroup is not writable for this user; delegate it (systemd: Delegate=yes)"
    ),
    ("KEEPER", ANY): (
        "The process that starts sandboxes in the systemd scope is gone: was the scope stopped?"
    ),
    ("AFFINITY", errno.EINVAL): (
        "The cpuset that this process is in does not have these processors: see Cpus_allowed_list "
        "in /proc/self/status"
    ),
    ("SOCKETPAIR", errno.EMFILE): _NO_DESCRIPTORS,
    ("STDIO", errno.EMFILE): _NO_DESCRIPTORS,
    ("OPEN_TREE", errno.ENOENT): "The directory was removed after the sandbox was configured",
    ("IDMAP", errno.EINVAL): (
        "This file system cannot be idmapped; copy the directory to ext4, xfs, btrfs or, from "
        "Linux 6.3 on, tmpfs"
    ),
    ("EXEC_INIT", errno.EACCES): _remedies.MEMFD,
    ("ID_MAP", errno.EPERM): (
        "The user id cannot be mapped; an LSM or an outer container forbids it"
    ),
    ("SOURCE", errno.ENOENT): "The path does not exist on the host",
    ("SOURCE", errno.EACCES): "The caller may not read this path",
    ("ROOT", errno.EPERM): (
        "A user namespace may not mount tmpfs here; an LSM or an outer container forbids it"
    ),
    ("OVERLAY", errno.EPERM): _remedies.OVERLAY_VERSION,
    ("OVERLAY", errno.EACCES): (
        "The sandbox's ids may not read the layers, and an idmapped mount, by which they could, "
        "needs Linux 5.12"
    ),
    ("OVERLAY", errno.ENODEV): _remedies.OVERLAY_MODULE,
    ("OVERLAY", errno.EINVAL): (
        "The root's file system cannot be an overlay layer; use read_only=True or copy it"
    ),
    ("MKDIR", errno.ENOTDIR): "A file is in the way where a directory is needed",
    ("BIND", errno.EXDEV): _NO_MOUNT_POINT,
    ("TMPFS", errno.EXDEV): _NO_MOUNT_POINT,
    ("OVERLAY", errno.EXDEV): _NO_MOUNT_POINT,
    ("PROC", errno.EXDEV): _NO_MOUNT_POINT,
    ("MKDIR", errno.EXDEV): _NO_MOUNT_POINT,
    ("BIND", errno.ENOENT): (
        "The mount point is missing and the root is read-only; make it in the root first"
    ),
    ("BIND", errno.ENOTDIR): (
        "A directory is shown on a directory, a file on a file; something else is there"
    ),
    ("BIND", errno.EINVAL): (
        "A directory is shown on a directory, a file on a file; something else is there"
    ),
    ("BIND", errno.EROFS): (
        "The mount point is missing and the root is read-only; make it in the root first"
    ),
    ("DEVICE", errno.ENODEV): "The host's /dev does not hold the character device that it should",
    ("TMPFS", errno.ELOOP): (
        "The root has a symbolic link where a directory is needed; such a root is refused"
    ),
    ("TMPFS", errno.ENOTDIR): (
        "The root has a file where a directory is needed; such a root is refused"
    ),
    ("PROC", errno.ELOOP): "The root has a symbolic link at /proc; such a root is refused",
    ("PROC", errno.ENOTDIR): "The root has a file at /proc; such a root is refused",
    ("PROC", errno.EPERM): (
        "A fresh procfs needs an unmasked /proc outside; in a container, unmask it (docker: "
        "--security-opt systempaths=unconfined)"
    ),
    ("LOOPBACK", errno.EPERM): (
        "The network namespace was made without its capabilities, as AppArmor's userns rule does"
    ),
    ("BINFMT", errno.ENODEV): _remedies.BINFMT_MODULE,
    ("BINFMT", errno.EPERM): _remedies.BINFMT_VERSION,
    ("BINFMT", errno.EACCES): "The sandbox's user may not execute QEMU, or an LSM forbids it",
    ("PTY", errno.ENOENT): "The sandbox has no /dev/pts",
    ("START", errno.EAGAIN): "The sandbox's process limit is reached",
    ("START", errno.EACCES): (
        "The command's cgroup may not be joined from the sandbox's user namespace"
    ),
    ("USER", errno.EINVAL): (
        "This id is not mapped; only root or a user with /etc/subuid and newuidmap has more "
        "than one"
    ),
    ("USER", errno.EPERM): (
        "This id is not mapped; only root or a user with /etc/subuid and newuidmap has more "
        "than one"
    ),
    ("CWD", errno.ENOENT): "The working directory does not exist inside",
    ("CWD", errno.ENOTDIR): "The working directory is not a directory",
    ("CWD", errno.ELOOP): (
        "The working directory leads through a magic link such as /proc/self/fd, which is refused"
    ),
    ("CWD", errno.EACCES): "The user may not enter the working directory",
    ("SECCOMP", errno.EINVAL): (
        "The kernel has no seccomp filters (CONFIG_SECCOMP_FILTER) or refused the program"
    ),
    ("LISTENER", errno.EBUSY): (
        "Another filter around the sandbox has the only seccomp listener; leave out audit=True"
    ),
    ("LISTENER", errno.EOPNOTSUPP): (
        "The filter refuses sendmsg, which hands the listener over; leave out audit=True"
    ),
    ("EXEC", errno.ENOEXEC): "Not a program of this machine, or a script without a #! line",
    ("EXEC", errno.E2BIG): (
        "Arguments and environment are too large for the kernel (execve(2), ARG_MAX)"
    ),
    ("EXEC", errno.ENOMEM): "The memory limit leaves no room for the program",
    ("RECEIVE", errno.EMFILE): "PID 1 has no room for more descriptors",
}


def hint(step: str, number: int) -> str | None:
    """Return the remedy for a failed step, or None."""
    return HINTS.get((step, number)) or HINTS.get((step, ANY))


def _cause(step: str, number: int) -> Cause | None:
    try:
        from . import _host  # noqa: PLC0415 - only failures need it

        return _host.cause_of_step(step, number)
    except (OSError, ImportError):  # without descriptors nothing can be loaded
        return None


def spawn_error(step: str, number: int, path: str | None = None) -> SpawnError:
    """Return the exception for a failed step, with who stands in the way if that can be seen.

    What fails for want of a primitive is tried again in a throw-away child (`_host`), which takes
    some milliseconds; so the remedy is for what this host refuses, and not for all that might be.
    """
    cause = None if number in _SHORTAGES else _cause(step, number)
    advice = hint(step, number)
    if cause is not None and (advice is None or cause.is_known):
        advice = f"It is {cause}"
    return SpawnError(step, number, os.strerror(number), path, advice, cause)


def refused(step: str, error: OSError) -> SpawnError:
    """Return the exception for a call of ours that the kernel refused."""
    return spawn_error(step, error.errno or 0, error.filename)
