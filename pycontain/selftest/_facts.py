# SPDX-License-Identifier: Apache-2.0
"""What a sandbox should be, for comparison with what is seen inside."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pycontain import Sandbox, _capabilities
from pycontain.enforcement import Control
from pycontain.profile import Profile

Object = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What should be seen inside.

    Attributes:
        profile: The policy.
        uid: Of the program that looks.
        ids: How many there are inside.
        capabilities: The program's, as a mask.
        bounding: Those of the bounding set.
        enforcement: What the sandbox claims.
        namespaces: The host's, by name: what /proc/self/ns shows.
        secrets: Device and inode of files of the host that no process inside may stand for.
    """

    profile: Profile
    uid: int
    ids: int
    capabilities: int
    bounding: int
    enforcement: Mapping[str, Control]
    namespaces: Mapping[str, str]
    secrets: frozenset[Object]


NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def facts_of(sandbox: Sandbox, profile: Profile, uid: int) -> Facts:
    """Return what should be seen inside a sandbox by a user."""
    kept = _capabilities.mask(profile.capabilities)
    single = "one id" in sandbox.enforcement["namespace user"].by
    return Facts(
        profile=profile,
        uid=uid,
        ids=1 if single else 1 << 16,
        capabilities=kept if uid == 0 else 0,
        bounding=kept,
        enforcement=sandbox.enforcement,
        namespaces={name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES},
        secrets=secrets(),
    )


def secrets() -> frozenset[Object]:
    """Return our interpreter and the extension: what CVE-2019-5736 would overwrite."""
    paths = {sys.executable, "/proc/self/exe"}
    rows = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths |= {row[row.index("/") :] for row in rows if "python" in row or "pycontain" in row}
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue  # a mapping of something that was deleted
        found.add((os.major(status.st_dev) << 32 | os.minor(status.st_dev), status.st_ino))
    return frozenset(found)
