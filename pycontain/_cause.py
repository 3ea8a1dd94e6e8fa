# SPDX-License-Identifier: Apache-2.0
"""Why this host refuses something, and what would change that."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class BlockedBy(StrEnum):
    """What stands in the way."""

    SYSCTL = "sysctl"
    APPARMOR = "AppArmor"
    SELINUX = "SELinux"
    OUTER_SECCOMP = "outer seccomp"
    OUTER_CAPABILITIES = "outer capabilities"
    OUTER_NAMESPACE = "outer namespace"
    MASKED_PROC = "masked proc"
    CHROOT = "chroot"
    LIMITS = "limits"
    CGROUPS = "cgroups"
    CONFIGURATION = "configuration"
    KERNEL_CONFIG = "kernel config"
    KERNEL_VERSION = "kernel version"
    UNKNOWN = "unknown"


class Cause(NamedTuple):
    """Why something failed, by evidence that was looked for when it had failed.

    Attributes:
        blocked_by: What stands in the way.
        why: The evidence, in a sentence without a period.
        remedy: What to do about it, the same.
        file: The content of a file that the remedy asks for, such as an AppArmor profile.
    """

    blocked_by: BlockedBy
    why: str
    remedy: str
    file: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is more than a guess."""
        return self.blocked_by is not BlockedBy.UNKNOWN

    def __str__(self) -> str:
        """Say it in a line."""
        return f"blocked by {self.blocked_by}: {self.why}; {self.remedy}"
