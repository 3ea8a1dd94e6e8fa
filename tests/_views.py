# SPDX-License-Identifier: Apache-2.0
"""The files of an image as its users see them: a sandbox's, and those of other tools."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from _trees import Node, snapshot
from pycontain import Sandbox


def merged(sandbox: Sandbox) -> dict[str, Node]:
    """Return what is in the root, as the sandbox sees it."""
    script = "cd /; busybox tar -c $(ls -A / | busybox grep -vE '^(dev|proc)$')"
    data = sandbox.run(["sh", "-c", script], user=0, check=True).stdout
    kinds = {
        tarfile.REGTYPE: "file",
        tarfile.DIRTYPE: "directory",
        tarfile.SYMTYPE: "symlink",
        tarfile.FIFOTYPE: "fifo",
        tarfile.LNKTYPE: "file",
    }
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            content = member.linkname if member.issym() else ""
            if file := (None if member.issym() else tar.extractfile(member)):
                content = file.read().hex()
            found[member.name] = Node(
                kind=kinds[member.type],
                mode=member.mode,
                owner=(member.uid, member.gid),
                mtime_ns=int(member.mtime) * 10**9,
                content=content,
            )
    return found


def plain(root: Path) -> dict[str, Node]:
    """Return the same of a directory of the host."""
    return {
        name: Node(
            kind=node.kind,
            mode=node.mode,
            owner=node.owner,
            mtime_ns=node.mtime_ns // 10**9 * 10**9,
            content=(root / name).read_bytes().hex() if node.kind == "file" else node.content,
        )
        for name, node in snapshot(root).items()
    }


def tool(*arguments: str | Path) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
