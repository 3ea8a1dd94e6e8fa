# SPDX-License-Identifier: Apache-2.0
"""An image's way to a root: pulled from a registry on loopback and unpacked, by each in its way.

The image is Debian with Python, one layer, gzip.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from _docker_registry import run as run_registry
from benchmarks.measure import Samples
from benchmarks.programs import KEPT, Case, Place, interleave, program

# In a program of ours: its interpreter has started, and has imported what it needs.
PULL = """
os.environ |= {"PYCONTAIN_STORE": sys.argv[3], "PYCONTAIN_LAYERS": sys.argv[4]}
from pycontain import _pull, images
start = time.perf_counter()
images.pull(sys.argv[1])
"""
INFLATE = """
from pycontain._image._decompress import decompress
blob = open(sys.argv[2], "rb", buffering=0)
start = time.perf_counter()
for piece in decompress(iter(lambda: blob.read(1 << 18), b""), "gzip", total_max=1 << 40, what="x"):
    pass
"""
UNPACK = """
from pycontain._layers import Extraction
target = os.open(sys.argv[3], os.O_RDONLY)
source = open(sys.argv[2], "rb", buffering=0)
start = time.perf_counter()
with Extraction(target) as extraction:
    while piece := source.read(1 << 20):
        extraction.write(piece)
    extraction.finish()
"""
INDEX = """
from pycontain._layers import Indexing
source = open(sys.argv[2], "rb", buffering=0)
archive = open(sys.argv[3] + "/layer.tar", "x+b", buffering=0)
index = open(sys.argv[3] + "/index", "xb")
start = time.perf_counter()
with Indexing(index.fileno(), archive.fileno()) as indexing:
    while piece := source.read(1 << 20):
        archive.write(piece)
        indexing.grown()
    indexing.finish()
"""


def _skopeo_umoci(place: Place) -> list[list[str]]:
    layout = f"{place.folder}/layout:x"
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{place.name}"]
    unpack = ["umoci", "raw", "unpack", "--image", layout, f"{place.folder}/root"]
    return [[*copy, f"oci:{layout}"], unpack]


def _storage(name: str) -> Case:
    def commands(place: Place) -> list[list[str]]:
        storage = ["--root", f"{place.folder}/root", "--runroot", f"{place.folder}/run"]
        return [[name, *storage, "pull", "-q", "--tls-verify=false", place.name]]

    return commands


def _command(place: Place) -> list[list[str]]:
    store = f"PYCONTAIN_STORE={place.folder}/store"
    return [["env", store, sys.executable, "-m", "pycontain", "pull", place.name]]


PULLS: dict[str, Case] = {
    "decompressor": program(INFLATE),
    "pycontain": program(PULL, "erofs"),
    "pycontain, directories": program(PULL, "directory"),
    "pycontain, the command": _command,
    "skopeo and umoci": _skopeo_umoci,
    "podman": _storage("podman"),
    "buildah": _storage("buildah"),
}
UNPACKS: dict[str, Case] = {
    "pycontain": program(INDEX),
    "pycontain, directories": program(UNPACK),
    "GNU tar": lambda place: [["tar", "-xpf", str(place.file), "-C", str(place.folder)]],
}


@functools.cache
def archive() -> Path:
    """Return the archive of Debian with Python, made once."""
    path = KEPT / "python.tar"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        private = ("unshare", "--mount", "--propagation", "private", "--")
        make = ("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm")
        partial = path.with_suffix(".partial.tar")
        subprocess.run([*private, *make, partial], check=True, capture_output=True)
        partial.rename(path)
    return path


def layout(folder: Path) -> str:
    """Make an OCI layout with the image; return what tools call it."""
    image = f"{folder}/layout:x"
    _must("umoci", "init", "--layout", f"{folder}/layout")
    _must("umoci", "new", "--image", image)
    _must("umoci", "raw", "add-layer", "--image", image, str(archive()))
    return image


def _must(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def pushed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a registry with the image; yield its name there, and the file of its layer."""
    image = layout(folder)
    blobs = (folder / "layout/blobs/sha256").iterdir()
    layer = max(blobs, key=lambda path: path.stat().st_size)
    with run_registry(folder / "registry") as address:
        name = f"{address}/bench/python:1"
        copy = ("skopeo", "copy", "-q", "--dest-tls-verify=false")
        _must(*copy, f"oci:{image}", f"docker://{name}")
        yield name, layer


def pull(work: Path) -> dict[str, Samples]:
    """Pull and unpack the image, again and again, each time into nothing."""
    folder = work / "pull"
    folder.mkdir()
    with pushed(folder) as (name, layer):
        return interleave(PULLS, name, layer, folder)


def unpack(work: Path) -> dict[str, Samples]:
    """Unpack the layer, which is not compressed."""
    return interleave(UNPACKS, "", archive(), work / "unpack")
