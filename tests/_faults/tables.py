# SPDX-License-Identifier: Apache-2.0
"""What a fault may do, apart from making an exception of ours: each exception here has its reason.

Sites are those of `page.Call.site`.
"""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Mapping
from types import MappingProxyType

ERRNOS = (
    *(errno.ENOMEM, errno.EMFILE, errno.EPERM, errno.ENOSPC),
    *(errno.EINTR, errno.EAGAIN),
)

NEVER_FAILS: Mapping[str, str] = MappingProxyType(
    {
        "init umask": "umask(2): always succeeds",
        "command umask": "umask(2): always succeeds",
        "init getuid": "getuid(2): always successful",
        "init getgid": "getgid(2): always successful",
        "init geteuid": "geteuid(2): always successful",
        "init getegid": "getegid(2): always successful",
        "init setfsuid": "setfsuid(2): returns no error",
        "init setfsgid": "setfsgid(2): returns no error",
        "init wait4": "wait4(2): with WNOHANG and valid arguments only ECHILD",
        "init sched_yield": "sched_yield(2): always succeeds",
        "parent rt_sigprocmask": "rt_sigprocmask(2): only EFAULT and EINVAL",
        "parent read": "read(2) of a blocking pipe of ours: only EINTR",
        "parent waitid": "waitid(2): of a child of ours only EINTR",
    }
)
"""Sites that are left out, with the page that says why."""

OPTIONAL: Mapping[str, str] = MappingProxyType(
    {
        "parent close": "the descriptor is closed whatever close(2) returns",
        "helper close": "as above",
        "helper read": "who holds a new user namespace ends early: told, if it is too early",
        "helper close_range": "who holds a new user namespace holds copies for a moment, and dies",
        "child close": "as above",
        "init close": "as above",
        "command close": "as above",
        "parent pidfd_send_signal": "who is to be killed ends with its socket or pipe, too",
        "parent munmap": "address space is lost, which nobody can do anything about",
        "init munmap": "as above",
        "init ppoll": "asked again",
        "init read": "the signal stays pending, and children are looked for all the same",
        "init recvmsg": "the message stays queued, and is asked for again",
        "init sendmsg": "sent again",
        "init statx": "what cannot be told counts as a foreign file, where nothing is made",
        "init fcntl:406": "F_DUPFD_CLOEXEC: of a volume that cannot be kept nothing is said",
        "init fstatfs": "nothing is said of whether this volume is full",
        "parent open_tree:probe": "asks only whether the call exists",
        "parent mount_setattr:probe": "as above",
    }
)
"""Sites whose failure need not be told."""

MAY_END: Mapping[str, str] = MappingProxyType(
    {"init ppoll": "ppoll(2): of two valid descriptors only ENOMEM; else PID 1 ends, and is missed"}
)
"""Sites whose failure may end a living sandbox."""

PYTHON_ERRNOS = (errno.ENOMEM, errno.EMFILE, errno.EPERM, errno.ENOSPC)
"""Python asks again after EINTR (PEP 475)."""

PYTHON_OPTIONAL: Mapping[str, str] = MappingProxyType(
    {
        "*>between>*": "made ahead of time, else when it is needed",
        "*>_readable stat": "what cannot be looked at is masked",
        "*>current_owner>run>*": "what dead owners left is swept by the next program",
        "*>current_owner>runtime_directory*": "as above",
        "kill_all>kill>_kill_processes>*": "PID 1 kills, and else the whole sandbox ends",
        "kill_all>kill>_kill_group>*": "as above",
        "__exit__>close>kill>*": "PID 1 is killed by its pidfd, whatever becomes of the groups",
        "__aexit__>close>kill>*": "as above",
        "_on_death>_reap>kill>*": "as above",
        "*>_measure>usage>*": "a counter that cannot be read is None in the usage",
        "*>_sealed_init memfd_create": "asked again without MFD_EXEC, as for an older kernel",
    }
)
"""Patterns of calls from Python whose failure need not be told."""

PYTHON_NEVER_FAILS: Mapping[str, str] = MappingProxyType(
    {
        "* set_blocking": "fcntl(2): F_GETFL and F_SETFL of a descriptor of ours",
        "* rmdir": "rmdir(2) of a control group: only EBUSY and ENOENT",
        "*>read_some read": "read(2) of a pipe of ours: none of these",
        "*>check_ready read": "read(2) of a socket of ours: none of these",
    }
)
"""Patterns of calls from Python that are left out, with the reason."""


def matches(site: str, table: Mapping[str, str]) -> bool:
    """Whether a pattern of the table stands for the site."""
    return any(fnmatch.fnmatchcase(site, pattern) for pattern in table)


_KILL = "looked again, and what cannot be found ends with the whole sandbox"
_SEARCH = {
    f"init {name}": _KILL for name in ("kill", "nanosleep", "openat", "getdents64", "readlinkat")
}
_AUDIT = {
    "init ioctl:40082104": "SECCOMP_IOCTL_NOTIF_SET_FLAGS: only makes answers quicker",
    "init ioctl:c0502100": "SECCOMP_IOCTL_NOTIF_RECV: asked again",
    "init ioctl:c0182101": "SECCOMP_IOCTL_NOTIF_SEND: sent again",
    "init openat": "the caller's name is not told, the call is",
}
OPTIONAL_IN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"kill": _SEARCH, "async": {**_SEARCH, "parent sendmsg": _KILL}, "audited": _AUDIT}
)
"""The same in one scenario."""

OPTIONAL_WITH: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("parent sendmsg", errno.EINTR): "sent again",
        ("parent sendmsg", errno.EAGAIN): "sent again, when there is room",
        ("parent ppoll", errno.EINTR): "asked again",
        ("parent ppoll", errno.EAGAIN): "asked again",
        ("parent write", errno.EINTR): "written again",
        ("helper read", errno.EINTR): "asked again",
        ("init openat2", errno.EAGAIN): "openat2(2): a rename raced, try again",
        ("command openat2", errno.EAGAIN): "openat2(2): a rename raced, try again",
    }
)
"""The same for one errno."""
