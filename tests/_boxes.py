# SPDX-License-Identifier: Apache-2.0
"""Images with busybox, in a store of their own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from _images import add_image
from pycontain import StoreError
from pycontain._configure import let_go
from pycontain._image._manifest import Manifest
from pycontain._image._reference import Reference
from pycontain._unpack import open_store

Add: TypeAlias = Callable[..., Manifest]


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A layer with busybox, and accounts."""
    root = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "etc", "root", "home/alice"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    programs = (
        "cat",
        "echo",
        "env",
        "false",
        "id",
        "ls",
        "mkdir",
        "pwd",
        "rm",
        "sh",
        "stat",
        "test",
    )
    for name in (*programs, "touch", "true"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nalice:x:1234:1235::/home/alice:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nalice:x:1235:\ndevs:x:2000:alice\n")
    (root / "etc/hosts").symlink_to("/no/such/place")
    owners = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0"]
    made = subprocess.run(
        ["tar", "-C", root, "-c", *owners, "."], stdout=subprocess.PIPE, check=True
    )
    return made.stdout


@contextlib.contextmanager
def store_at(path: str) -> Iterator[str]:
    """Let the images be in a store of this path until the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYCONTAIN_STORE", path)
        yield path
        with contextlib.suppress(StoreError):
            store = open_store()
            for name in store.names():
                store.untag(name.reference)
            let_go()
            store.gc()  # its files may be of ids that only the library can remove


@pytest.fixture(autouse=True)
def store_path(tmp_path: Path) -> Iterator[str]:
    with store_at(str(tmp_path / "store")) as path:
        yield path


def add_box(
    name: str, busybox: bytes, *layers: bytes, platform: str = "linux/amd64", **config: Any
) -> Manifest:
    """Put an image over busybox into the store."""
    store = open_store()
    with store.lease() as lease:
        manifest = add_image(store, lease, [busybox, *layers], platform=platform, **config)
        store.tag(Reference.parse(name), manifest.descriptor)
    return manifest


@pytest.fixture
def add(busybox: bytes) -> Add:
    """Return a function that puts an image over busybox into the store."""

    def add(name: str, *layers: bytes, **options: Any) -> Manifest:
        return add_box(name, busybox, *layers, **options)

    return add
