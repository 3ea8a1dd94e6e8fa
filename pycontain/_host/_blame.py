# SPDX-License-Identifier: Apache-2.0
"""Who refused: from the call that failed and the host's facts to a cause.

Sources: user_namespaces(7), seccomp(2), clone(2), mount_too_revealing() of fs/namespace.c,
Documentation/admin-guide/sysctl/user.rst, and https://gitlab.com/apparmor/apparmor/-/wikis/
unprivileged_userns_restriction.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from pycontain import _remedies, _syscalls
from pycontain._calls import MACHINE, Call
from pycontain._capabilities import NUMBERS
from pycontain._cause import BlockedBy, Cause

from ._facts import Facts
from ._primitives import CLONE_NEW, Primitive

_REFUSALS: Final = (errno.EPERM, errno.EACCES)
_NO_ROOM: Final = (errno.ENOSPC, errno.EUSERS)
_USERNS_CLONE: Final = "kernel.unprivileged_userns_clone"
_APPARMOR_USERNS: Final = "kernel.apparmor_restrict_unprivileged_userns"

NO_PROCFS: Final = Cause(
    BlockedBy.MASKED_PROC, "no procfs is mounted on /proc", "mount -t proc proc /proc"
)


class Failure(NamedTuple):
    """How a primitive failed.

    Attributes:
        primitive: Which.
        call: The call that failed.
        path: The file that it was about, if any.
        errno: With which error number; 0: a signal ended the program.
        answered: Whether the kernel itself answers such calls, as far as that can be told.
    """

    primitive: Primitive
    call: Call
    path: str
    errno: int
    answered: bool | None

    @property
    def said(self) -> str:
        """The call and the error, in words."""
        said = os.strerror(self.errno) if self.errno else "the end by SIGSYS"
        return f"{self.call.name}{f' of {self.path}' if self.path else ''}: {said}"


def blame(failure: Failure, facts: Facts) -> Cause:
    """Return why a primitive failed: the first rule that knows."""
    found = (rule(failure, facts) for rule in _RULES)
    return next((cause for cause in found if cause is not None), _unknown(failure, facts))


def _by_a_filter(failure: Failure, facts: Facts) -> Cause | None:
    """A filter answered in the kernel's place: the kernel says something else, or must know it."""
    since = _syscalls.first_kernel(str(failure.call.name), MACHINE)
    known = facts.kernel >= since and failure.errno == errno.ENOSYS
    if failure.errno and not (facts.filtered and (failure.answered is False or known)):
        return None
    option, doubt = failure.primitive.option, ""
    if failure.errno == errno.ENOSYS and option:  # a kernel that was built without says the same
        if facts.config is not None and option not in facts.config:
            return None
        if facts.config is None:
            doubt = f", unless it was built without CONFIG_{option}"
    return Cause(
        BlockedBy.OUTER_SECCOMP,
        f"a filter around this process answers in the kernel's place ({failure.said}){doubt}",
        _remedies.container(facts.container, "seccomp"),
    )


def _by_the_version(failure: Failure, facts: Facts) -> Cause | None:
    since = _syscalls.first_kernel(str(failure.call.name), MACHINE)
    if failure.errno != errno.ENOSYS:
        since = failure.primitive.since
    if facts.kernel >= since or failure.errno in _NO_ROOM:
        return None
    needed, running = ".".join(map(str, since)), ".".join(map(str, facts.kernel))
    return Cause(
        BlockedBy.KERNEL_VERSION,
        f"{failure.primitive.name} needs Linux {needed}, this is {running}",
        f"run Linux {needed} or later{_or(failure.primitive)}",
    )


def _or(primitive: Primitive) -> str:
    return f"; {primitive.otherwise}" if primitive.otherwise else ""


def _by_the_build(failure: Failure, facts: Facts) -> Cause | None:
    """The kernel does not know a call, a file system or a kind of namespace."""
    option = failure.primitive.option
    clones = failure.call.name in ("clone", "clone3", "unshare")
    absent = failure.errno in (errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP)
    if not absent and not (failure.errno == errno.EINVAL and clones):
        return None
    if failure.primitive.name == "Landlock":
        why = "Landlock is built in, but not switched on at boot" if absent else failure.said
        return Cause(BlockedBy.KERNEL_CONFIG, why, _remedies.LANDLOCK)
    built = None if facts.config is None else facts.config.get(option, "n")
    why = {None: failure.said, "n": f"this kernel was built without CONFIG_{option}"}.get(
        built, f"CONFIG_{option}={built}, and yet {failure.said}"
    )
    name = str(failure.call.words[2]) if failure.call.name == "mount" else ""
    remedy = _remedies.module(option, name) if name else f"run a kernel with CONFIG_{option}"
    return Cause(BlockedBy.KERNEL_CONFIG, why, remedy + _or(failure.primitive))


def _by_a_limit(failure: Failure, facts: Facts) -> Cause | None:
    if failure.errno in _NO_ROOM:
        return _namespace_limit(failure, facts)
    if failure.errno == errno.EAGAIN:
        return Cause(BlockedBy.LIMITS, failure.said, _remedies.PROCESSES)
    if failure.errno in (errno.EMFILE, errno.ENFILE):
        return Cause(
            BlockedBy.LIMITS, failure.said, "raise the limit of open files (ulimit -n, fs.file-max)"
        )
    if failure.errno == errno.EDQUOT:
        return Cause(
            BlockedBy.LIMITS, failure.said, _remedies.sysctl("kernel.keys.maxkeys", "2000")
        )
    return None


def _namespace_limit(failure: Failure, facts: Facts) -> Cause:
    """One of the limits of user.rst, ours or of a user namespace around us, or 32 in each other."""
    kinds = _kinds(failure.call)
    limits = {f"user.max_{kind}_namespaces": 0 for kind in kinds}
    limits = {name: int(facts.sysctls.get(name, "-1")) for name in limits}
    closed = [name for name, value in limits.items() if value == 0]
    if closed:
        return Cause(BlockedBy.LIMITS, f"{closed[0]} is 0", _remedies.sysctl(closed[0], "15000"))
    shown = ", ".join(f"{name} = {value}" for name, value in limits.items())
    return Cause(
        BlockedBy.LIMITS,
        f"as many as are allowed exist already ({shown}), or a user namespace around this one "
        "allows fewer, or there are 32 in each other",
        "close sandboxes, raise the limit there, or start this process less deep",
    )


def _kinds(call: Call) -> list[str]:
    word = call.words[0]
    flags = word if isinstance(word, int) else 0
    if isinstance(word, bytes):  # struct clone_args
        flags = int.from_bytes(word[:8], "little")
    return [kind for kind, flag in CLONE_NEW.items() if flags & flag]


def _no_user_namespace(failure: Failure, facts: Facts) -> Cause | None:
    """create_user_ns() said no."""
    if "user" not in (_kinds(failure.call) if failure.call.name in ("clone", "clone3") else ()):
        return None
    if facts.sysctls.get(_USERNS_CLONE) == "0" and not facts.has(NUMBERS["CAP_SYS_ADMIN"]):
        return Cause(
            BlockedBy.SYSCTL, f"{_USERNS_CLONE} is 0", _remedies.sysctl(_USERNS_CLONE, "1")
        )
    if not facts.mapped:
        return Cause(
            BlockedBy.OUTER_NAMESPACE,
            f"this user ({facts.uid}) has no id in the user namespace around this process "
            "(/proc/self/uid_map)",
            "map it there, or start this process as a user who has one",
        )
    if facts.chrooted:
        return Cause(
            BlockedBy.CHROOT,
            "this process is in a chroot(2), where no user namespaces are made",
            "start it outside, or let pivot_root(2), as containers do, take chroot's place",
        )
    return None


def _no_id_map(failure: Failure, facts: Facts) -> Cause | None:
    """Who maps the root of the namespace around needs CAP_SETFCAP there (Linux 5.12)."""
    if not re.search(r"/[ug]id_map$", failure.path):
        return None
    if facts.uid == 0 and not facts.has(NUMBERS["CAP_SETFCAP"]):
        return Cause(
            BlockedBy.OUTER_CAPABILITIES,
            "root maps its own id only with CAP_SETFCAP, which this process does not have",
            _remedies.capabilities(facts.container, "CAP_SETFCAP")
            + ", or run it as an ordinary user",
        )
    return None


def _no_procfs(failure: Failure, facts: Facts) -> Cause | None:
    """A procfs may not show what the one outside hides (mount_too_revealing)."""
    if failure.errno == errno.ENOENT and failure.path.startswith("/proc/"):
        return NO_PROCFS
    if failure.errno == errno.EROFS and failure.path.startswith("/proc/"):
        remedy = _remedies.container(facts.container, "proc")
        return Cause(BlockedBy.MASKED_PROC, "the procfs on /proc is read-only", remedy)
    if failure.call.name != "mount" or failure.call.words[2] != "proc":
        return None
    if not facts.masks and facts.proc:
        return None
    why = "there is no whole procfs outside, and a new one would show more"
    if facts.masks:
        shown = ", ".join(facts.masks[:3]) + (", ..." if len(facts.masks) > 3 else "")
        why = f"/proc outside is covered at {shown}, and a new one would show what that hides"
    return Cause(BlockedBy.MASKED_PROC, why, _remedies.container(facts.container, "proc"))


def _by_memfd_noexec(failure: Failure, facts: Facts) -> Cause | None:
    if failure.primitive.name != "sealed program" or facts.sysctls.get("vm.memfd_noexec") != "2":
        return None
    return Cause(BlockedBy.SYSCTL, "vm.memfd_noexec is 2", _remedies.sysctl("vm.memfd_noexec", "0"))


def _by_apparmor(failure: Failure, facts: Facts) -> Cause | None:
    if facts.apparmor:
        remedy, file = _remedies.apparmor(facts.executable)
        if facts.container:
            remedy, file = _remedies.container(facts.container, "apparmor"), ""
        return Cause(
            BlockedBy.APPARMOR,
            f"AppArmor confines this process by the profile {facts.apparmor} ({failure.said})",
            remedy,
            file,
        )
    if facts.sysctls.get(_APPARMOR_USERNS, "0") == "0":
        return None
    return Cause(
        BlockedBy.APPARMOR,
        f"AppArmor takes the capabilities from user namespaces of programs without a profile "
        f"({_APPARMOR_USERNS} is 1; {failure.said})",
        *_remedies.apparmor(facts.executable),
    )


def _by_selinux(failure: Failure, facts: Facts) -> Cause | None:
    if not facts.selinux:
        return None
    return Cause(
        BlockedBy.SELINUX,
        f"SELinux enforces a policy ({failure.said})",
        "as root: ausearch -m avc -ts recent shows the rule; audit2allow -M pycontain makes a "
        "module of it, semodule -i pycontain.pp loads it",
    )


def _refused(rule: Callable[[Failure, Facts], Cause | None]) -> Callable[..., Cause | None]:
    """A rule for those who may not."""

    def only(failure: Failure, facts: Facts) -> Cause | None:
        return rule(failure, facts) if failure.errno in _REFUSALS else None

    return only


def _unknown(failure: Failure, facts: Facts) -> Cause:
    """Say what it is not."""
    excluded = ["no sysctl", "no AppArmor profile", "no SELinux policy"]
    if failure.answered:
        excluded.append("no seccomp filter")
    others = [name for name in facts.modules if name not in ("capability", "landlock", "lockdown")]
    modules = f"; security modules: {', '.join(others)}" if others else ""
    return Cause(
        BlockedBy.UNKNOWN,
        f"{failure.said}; {', '.join(excluded)} that is known to do this{modules}",
        "look for it in the kernel's log (dmesg, journalctl -k) and in what is around this process",
    )


_RULES: Final = (
    _by_a_filter,
    _by_the_version,
    _by_the_build,
    _by_a_limit,
    _no_procfs,
    _refused(_no_user_namespace),
    _refused(_no_id_map),
    _refused(_by_memfd_noexec),
    _refused(_by_apparmor),
    _refused(_by_selinux),
)
