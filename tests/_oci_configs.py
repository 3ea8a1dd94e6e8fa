# SPDX-License-Identifier: Apache-2.0
"""Configurations of containers for tests, and places in them."""

from __future__ import annotations

import copy
from typing import Any

KINDS = ("pid", "network", "mount", "ipc", "uts", "cgroup")


def config(**changes: Any) -> dict[str, Any]:
    """Return a small configuration; `changes` are its fields at the top."""
    document: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": kind} for kind in KINDS]},
    }
    return {**document, **changes}


def with_value(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a copy with another value at a place such as `linux/namespaces/0/type`."""
    changed = copy.deepcopy(document)
    *parents, last = place.split("/")
    inner: Any = changed
    for name in parents:
        if isinstance(inner, list):
            while len(inner) <= int(name):
                inner.append({})
            inner = inner[int(name)]
        else:
            follows = [*parents[parents.index(name) + 1 :], last]
            inner = inner.setdefault(name, [] if follows[0].isdecimal() else {})
    if isinstance(inner, list):
        inner[int(last) :] = [value]
    else:
        inner[last] = value
    return changed
