# SPDX-License-Identifier: Apache-2.0
"""Containers that end with their test."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from _box import warm
from _containers import Containers
from _oci_command import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["containers", "runtime", "small_rootfs", "warm"]
APPLETS = frozenset(
    (
        *("busybox", "cat", "chown", "cut", "df", "echo", "env", "find", "grep", "head"),
        *("hostname", "id"),
        *("ionice", "ip", "ls", "mkdir", "mount", "ps", "pwd", "readlink", "sh", "sleep", "sort"),
        *("stat", "stty", "touch", "true", "tty", "umount", "uname", "usleep", "wc"),
    )
)


@pytest.fixture(scope="session")
def small_rootfs(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with few programs, of which each container has a copy of its own."""
    root = tmp_path_factory.mktemp("small")
    root.chmod(0o755)
    shutil.copytree(rootfs, root, symlinks=True, dirs_exist_ok=True, ignore=_others)
    return root


def _others(directory: str, names: list[str]) -> set[str]:
    return set(names) - APPLETS if os.path.basename(directory) == "bin" else set()


@pytest.fixture
def containers(tmp_path: Path, small_rootfs: Path) -> Iterator[Containers]:
    """Return what makes bundles and containers."""
    made = Containers(tmp_path, small_rootfs)
    yield made
    made.close()


@pytest.fixture
def runtime(tmp_path: Path, rootfs: Path) -> Iterator[Runtime]:
    """Return the command, with a state directory that is empty again at the end."""
    made = Runtime(tmp_path, rootfs)
    try:
        yield made
    finally:
        made.clean()
