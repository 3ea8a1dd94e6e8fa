# SPDX-License-Identifier: Apache-2.0
"""An image of what a container has changed: 2,000 new files of 100 MB, and some 1,400 removed.

The image below is Debian with Python, in each one's store before. The change is made by the same
program; what counts is only `commit`, which reads the writable layer and keeps it, not compressed,
with a digest. buildah's storage also has the new layer as a directory afterwards, ready to be
shown; `pycontain, and ready` has it so, too. Only pycontain waits until the disk has all.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import pulling
from benchmarks.measure import Samples
from benchmarks.programs import Case, Place, interleave, program

NAME = "localhost/bench:base"
CHANGE = """
import os, random, shutil, sys
root, seed = sys.argv[1], sys.argv[2]
draw = random.Random(seed)
for number in range(2000):
    folder = f"{root}/srv/{number // 100}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{number}", "wb") as file:
        file.write(draw.randbytes(50000))
shutil.rmtree(f"{root}/usr/share/doc")
for folder, _, files in os.walk(f"{root}/usr/share/perl"):
    for name in files:
        os.unlink(f"{folder}/{name}")
"""
OURS = f"""
os.environ |= {{"PYCONTAIN_STORE": f"{{sys.argv[2]}}/store"}}
import pycontain
from pycontain._root import image_root
folder = Path(sys.argv[3])
program = ["python3", "-c", {CHANGE!r}, "", folder.name]
with pycontain.Sandbox(sys.argv[1], user=0, disk="1G", memory="2G") as sandbox:
    sandbox.run(program, check=True)
    start = time.perf_counter()
    image = sandbox.commit(f"localhost/bench:{{folder.name}}")
    if sys.argv[4] == "ready":
        image_root(image.name)
"""
BUILDAH = f"""
import subprocess
folder, storage = Path(sys.argv[3]), f"{{sys.argv[2]}}/buildah"
def buildah(*arguments):
    places = ("--root", f"{{storage}}/root", "--runroot", f"{{storage}}/run")
    done = subprocess.run(["buildah", *places, *arguments], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()
name = folder.name
buildah("from", "--pull-never", "--name", name, sys.argv[1])
root = buildah("mount", name)
subprocess.run([sys.executable, "-c", {CHANGE!r}, root, name], check=True)
start = time.perf_counter()
buildah("commit", "-q", "--disable-compression", name, f"localhost/bench:{{name}}")
"""


def _buildah(place: Place) -> list[list[str]]:
    # Its mounts stay otherwise.
    private = ["unshare", "--mount", "--propagation", "private", "--"]
    return [[*private, *command] for command in program(BUILDAH)(place)]


COMMITS: dict[str, Case] = {
    "pycontain": program(OURS, "as it is"),
    "pycontain, and ready": program(OURS, "ready"),
    "buildah": _buildah,
}

PREPARE = """
import os, sys
os.environ |= {"PYCONTAIN_STORE": sys.argv[1] + "/store"}
from pycontain import images
images.load("oci:" + sys.argv[2], sys.argv[3])
"""


def commit(work: Path) -> dict[str, Samples]:
    """Change containers of the image, again and again, each time otherwise, and commit them."""
    folder = work / "commit"
    folder.mkdir()
    image = pulling.layout(folder)

    def run(*command: str) -> str:
        # buildah calls the image after the layout's path, which has to be a name.
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        return done.stdout.strip()

    run(sys.executable, "-c", PREPARE, str(folder), image, NAME)
    buildah = ("buildah", "--root", f"{folder}/buildah/root", "--runroot", f"{folder}/buildah/run")
    run(*buildah, "tag", run(*buildah, "pull", "-q", "oci:layout:x"), NAME)
    return interleave(COMMITS, NAME, folder, folder / "runs")
