# SPDX-License-Identifier: Apache-2.0
"""Who refused, on hosts that cannot be had here: security modules, old kernels, other builds."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from pycontain._calls import Call
from pycontain._capabilities import ALL, NUMBERS
from pycontain._host import PRIMITIVES, Facts
from pycontain._host._blame import Failure, blame
from pycontain._host._primitives import Caller
from pycontain.host import BlockedBy

BY_NAME = {primitive.name: primitive for primitive in PRIMITIVES}
HOST: dict[str, Any] = {"kernel": (6, 8, 0), "uid": 1000, "capabilities": 0}
RESTRICTED = {"kernel.apparmor_restrict_unprivileged_userns": "1"}
NO_USERNS = {"kernel.unprivileged_userns_clone": "0"}
LSM = ("lockdown", "capability", "landlock", "yama", "bpf")


def failure(name: str, call: str, number: int, *, answered: bool | None = None) -> Failure:
    """Return how a primitive fails in the last call of a name."""
    program = BY_NAME[name].program(Caller(1000, 1000, clone3=True))
    calls = [each for each in program if each.name == call] or [Call(call, ())]
    return Failure(BY_NAME[name], calls[-1], "", number, answered)


CASES: dict[str, tuple[Failure, dict[str, Any], BlockedBy, str, str]] = {
    "AppArmor's rule for user namespaces": (
        failure("network namespace", "ioctl", errno.EPERM),
        {"sysctls": RESTRICTED, "executable": "/usr/bin/python3.12"},
        *(BlockedBy.APPARMOR, "apparmor_restrict_unprivileged_userns is 1", "apparmor_parser -r"),
    ),
    "AppArmor's rule, at the clone": (
        failure("user namespace", "clone3", errno.EACCES),
        {"sysctls": RESTRICTED},
        *(BlockedBy.APPARMOR, "without a profile", "/etc/apparmor.d/pycontain"),
    ),
    "the profile of a container": (
        failure("mount namespace", "mount", errno.EACCES),
        {"apparmor": "docker-default", "container": "docker"},
        *(BlockedBy.APPARMOR, "docker-default", "docker run --security-opt apparmor=unconfined"),
    ),
    "Debian's sysctl": (
        failure("user namespace", "clone3", errno.EPERM),
        {"sysctls": NO_USERNS},
        *(BlockedBy.SYSCTL, "unprivileged_userns_clone is 0", "unprivileged_userns_clone=1"),
    ),
    "Debian's sysctl does not bind root": (
        failure("user namespace", "clone3", errno.EPERM),
        {"sysctls": NO_USERNS, "capabilities": ALL, "uid": 0},
        *(BlockedBy.UNKNOWN, "no sysctl", "dmesg"),
    ),
    "SELinux": (
        failure("user namespace", "clone3", errno.EACCES),
        {"selinux": True},
        *(BlockedBy.SELINUX, "enforces", "audit2allow"),
    ),
    "a filter of a unit": (
        failure("user namespace", "clone3", errno.EPERM, answered=False),
        {"filtered": True},
        *(BlockedBy.OUTER_SECCOMP, "clone3", "RestrictNamespaces=no"),
    ),
    "a filter that is not it": (
        failure("user namespace", "clone3", errno.EPERM, answered=True),
        {"filtered": True, "modules": LSM},
        *(BlockedBy.UNKNOWN, "no seccomp filter that is known to do this; security modules: yama,",
          "dmesg"),
    ),
    "ENOSYS of a filter": (
        failure("clone3", "clone3", errno.ENOSYS),
        {"filtered": True, "container": "podman"},
        *(BlockedBy.OUTER_SECCOMP, "Function not implemented", "podman run"),
    ),
    "ENOSYS of a filter or of a build": (
        failure("Landlock", "landlock_create_ruleset", errno.ENOSYS, answered=False),
        {"filtered": True},
        *(BlockedBy.OUTER_SECCOMP, "unless it was built without CONFIG_SECURITY_LANDLOCK",
          "seccomp"),
    ),
    "ENOSYS of a build, below a filter": (
        failure("seccomp filter", "seccomp", errno.ENOSYS, answered=False),
        {"filtered": True, "config": {"SECURITY_LANDLOCK": "y"}},
        *(BlockedBy.KERNEL_CONFIG, "without CONFIG_SECCOMP_FILTER", "CONFIG_SECCOMP_FILTER"),
    ),
    "a procfs that is read-only": (
        failure("procfs", "mount", errno.EPERM),
        {"proc": False},
        *(BlockedBy.MASKED_PROC, "no whole procfs outside", "systempaths=unconfined"),
    ),
    "ENOSYS of an old kernel": (
        failure("openat2", "openat2", errno.ENOSYS),
        {"kernel": (5, 4, 0), "filtered": True},
        *(BlockedBy.KERNEL_VERSION, "needs Linux 5.6, this is 5.4.0", "run Linux 5.6"),
    ),
    "ENOSYS of a build": (
        failure("seccomp filter", "seccomp", errno.ENOSYS),
        {"config": {}},
        *(BlockedBy.KERNEL_CONFIG, "without CONFIG_SECCOMP_FILTER", "CONFIG_SECCOMP_FILTER"),
    ),
    "overlayfs of an old kernel": (
        failure("overlay", "mount", errno.EPERM),
        {"kernel": (5, 10, 200)},
        *(BlockedBy.KERNEL_VERSION, "overlay needs Linux 5.11, this is 5.10.200", "5.11"),
    ),
    "a module that is not there": (
        failure("overlay", "mount", errno.ENODEV),
        {"config": {"OVERLAY_FS": "m"}},
        *(BlockedBy.KERNEL_CONFIG, "CONFIG_OVERLAY_FS=m", "modprobe overlay"),
    ),
    "a build without user namespaces": (
        failure("user namespace", "clone3", errno.EINVAL),
        {"config": {"NET_NS": "y"}},
        *(BlockedBy.KERNEL_CONFIG, "without CONFIG_USER_NS", "CONFIG_USER_NS"),
    ),
    "Landlock that is switched off": (
        failure("Landlock", "landlock_create_ruleset", errno.EOPNOTSUPP),
        {},
        *(BlockedBy.KERNEL_CONFIG, "not switched on at boot", "lsm=landlock"),
    ),
    "32 user namespaces in each other": (
        failure("nested user namespace", "clone3", errno.ENOSPC),
        {"sysctls": {"user.max_user_namespaces": "100"}},
        *(BlockedBy.LIMITS, "user.max_user_namespaces = 100", "less deep"),
    ),
    "processes": (
        failure("pid namespace", "clone3", errno.EAGAIN),
        {},
        *(BlockedBy.LIMITS, "temporarily unavailable", "RLIMIT_NPROC"),
    ),
    "keys": (
        failure("session keyring", "keyctl", errno.EDQUOT),
        {},
        *(BlockedBy.LIMITS, "quota", "kernel.keys.maxkeys"),
    ),
    "Kubernetes": (
        failure("procfs", "mount", errno.EPERM),
        {"masks": ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/bus"),
         "container": "kubernetes"},
        *(BlockedBy.MASKED_PROC, "/proc/acpi, /proc/kcore, /proc/keys, ...", "procMount: Unmasked"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("failed, facts, by, why, remedy", CASES.values(), ids=CASES)
def test_who_it_is(
    failed: Failure, facts: dict[str, Any], by: BlockedBy, why: str, remedy: str
) -> None:
    cause = blame(failed, Facts(**{**HOST, **facts}))
    assert cause.blocked_by is by
    assert why in cause.why
    assert remedy in cause.remedy
    assert cause.remedy in str(cause)
    assert not cause.remedy.endswith(".")


def test_the_profile_is_for_this_program() -> None:
    failed, facts, *_ = CASES["AppArmor's rule for user namespaces"]
    file = blame(failed, Facts(**{**HOST, **facts})).file
    assert "profile pycontain /usr/bin/python3.12 flags=(unconfined) {" in file
    assert "  userns," in file


def test_the_facts_of_this_process() -> None:
    facts = Facts.gather()
    assert facts.mapped
    assert facts.proc
    assert not facts.chrooted
    assert facts.has(NUMBERS["CAP_SYS_ADMIN"]) == (facts.uid == 0)
