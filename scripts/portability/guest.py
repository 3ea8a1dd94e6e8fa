# SPDX-License-Identifier: Apache-2.0
"""Run each image here, as the user that this is, and print what came of it as JSON.

    python -m portability.guest FOLDER NAME...

FOLDER has the archives and the workloads, which each image sees as /srv.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pycontain
from portability.recipes import RECIPES
from pycontain import Bind, PycontainError, images
from pycontain.config import SandboxOptions


def run(folder: Path, name: str) -> dict[str, Any]:
    """Return the digest of an image's output, or the sentence that says why there is none."""
    recipe = RECIPES[name]
    more: SandboxOptions = {"disk": "256M", "mounts": [Bind(folder, "/srv")]}
    if recipe.platform != RECIPES["busybox"].platform:
        more |= {"platform": recipe.platform, "emulate": True}
    try:
        images.import_rootfs(folder / f"{name}.tar", name, platform=recipe.platform, cmd=recipe.cmd)
        result = pycontain.run(recipe.cmd, image=name, timeout=300, **more)
    except PycontainError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip()[-300:]
        return {"error": f"status {result.returncode} ({result.reason}): {said}"}
    return {"digest": hashlib.sha256(result.stdout).hexdigest(), "bytes": len(result.stdout)}


def main(folder: str, *names: str) -> int:
    """Print a line for each image as soon as it is known."""
    os.environ["PATH"] += f":{folder}"  # where QEMU is
    with tempfile.TemporaryDirectory() as store:
        os.environ["PYCONTAIN_STORE"] = store
        for name in names:
            row = {"image": name, "uid": os.getuid(), **run(Path(folder), name)}
            print(json.dumps(row), flush=True)
            images.remove(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
