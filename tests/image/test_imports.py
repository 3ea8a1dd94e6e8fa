# SPDX-License-Identifier: Apache-2.0
"""Images can be handled without the C extension and without other packages."""

from __future__ import annotations

import subprocess
import sys

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
