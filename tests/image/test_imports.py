# SPDX-License-Identifier: Apache-2.0
"""Images can be handled without the C extension and without other packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PROGRAM = """
import sys

for name in ("pycontain._nsbind", "urllib3", "isal", "backports", "cffi", "_cffi_backend"):
    sys.modules[name] = None

import importlib
import pkgutil

import pycontain._image

names = [found.name for found in pkgutil.iter_modules(pycontain._image.__path__)]
for name in names:
    importlib.import_module(f"pycontain._image.{name}")
print(*names)
"""


def test_imported_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert {"_digest", "_manifest", "_reference"} <= set(done.stdout.split())


WITHOUT = """
import sys

for name in ("urllib3", "isal", "backports"):
    sys.modules[name] = None

from pycontain import UnsupportedError, images

assert images.list() == []
images.import_rootfs(sys.argv[1], "made:here")
print(len(images.list()))
try:
    images.pull("localhost:1/busybox")
except UnsupportedError as error:
    print(error)
"""


@pytest.mark.requires("userns")
def test_only_registries_need_the_other_packages(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, tmp_path / "root.tar"],
        env={**os.environ, "PYCONTAIN_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    said = "registries need the package urllib3: pip install 'pycontain[images]'"
    assert done.stdout.splitlines() == ["1", said]
