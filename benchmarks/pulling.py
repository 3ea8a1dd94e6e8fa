# SPDX-License-Identifier: Apache-2.0
"""An image's way to a root: pulled from a registry on loopback and unpacked, by each in its way.

The image is Debian with Python, one layer, gzip. All directories are new, and nothing is removed
before the end: an ext4 without a journal does not use inodes again that were freed lately, and
looks for others for a long time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _docker_registry import run as run_registry
from benchmarks.measure import Samples

KEPT = Path(__file__).resolve().parents[1] / "build/bench"
TURNS = 3  # each takes some 3 GB
PROLOGUE = "import io, os, sys, time\nfrom pathlib import Path\n"
EPILOGUE = "print(time.perf_counter() - start)\n"
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
archive = open(sys.argv[3] + "/layer.tar", "xb", buffering=0)
index = open(sys.argv[3] + "/index", "xb")
start = time.perf_counter()
with Indexing(index.fileno()) as indexing:
    while piece := source.read(1 << 20):
        archive.write(piece)
        indexing.write(piece)
    indexing.finish()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a case is given: the image's name on the registry, a file, and a new directory."""

    name: str
    file: Path
    folder: Path


Case = Callable[[Place], list[list[str]]]


def program(source: str, *arguments: str) -> Case:
    """Return a case that is a program of ours, which says itself how long it took."""
    text = PROLOGUE + source + EPILOGUE
    start = [sys.executable, "-c", text]
    return lambda place: [[*start, place.name, str(place.file), str(place.folder), *arguments]]


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


def _once(commands: list[list[str]]) -> tuple[float, float]:
    """Return how many seconds it took, and the largest set of one process in MB."""
    largest, start, told = 0, time.perf_counter(), None
    for command in commands:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            output, errors = process.stdout.read(), process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(errors.decode(errors="replace").strip().splitlines()[-1])
        largest = max(largest, usage.ru_maxrss)
        if command[0] == sys.executable and command[1] == "-c":
            told = float(output)
    return time.perf_counter() - start if told is None else told, largest / 1024


def _interleave(cases: dict[str, Case], name: str, file: Path, work: Path) -> dict[str, Samples]:
    results = {case: Samples() for case in cases}
    order = random.Random(3)
    for turn in range(TURNS):
        for case in order.sample(list(cases), len(cases)):
            samples = results[case]
            if samples.failure:
                continue
            folder = work / f"{turn}{list(cases).index(case)}"  # podman wants short paths
            folder.mkdir(parents=True)
            try:
                seconds, rss = _once(cases[case](Place(name=name, file=file, folder=folder)))
            except (OSError, RuntimeError) as error:
                samples.failure = str(error)
                continue
            samples.seconds.append(seconds)
            samples.extra["rss_mb"] = max(rss, samples.extra.get("rss_mb", 0.0))
    for samples in results.values():
        samples.extra["turns"] = list(samples.seconds)
    return results


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


@contextlib.contextmanager
def pushed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a registry with the image; yield its name there, and the file of its layer."""
    layout = folder / "layout"
    umoci = functools.partial(subprocess.run, check=True, capture_output=True)
    umoci(["umoci", "init", "--layout", layout])
    umoci(["umoci", "new", "--image", f"{layout}:x"])
    umoci(["umoci", "raw", "add-layer", "--image", f"{layout}:x", archive()])
    layer = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    with run_registry(folder / "registry") as address:
        name = f"{address}/bench/python:1"
        copy = ("skopeo", "copy", "-q", "--dest-tls-verify=false")
        umoci([*copy, f"oci:{layout}:x", f"docker://{name}"])
        yield name, layer


def pull(work: Path) -> dict[str, Samples]:
    """Pull and unpack the image, again and again, each time into nothing."""
    folder = work / "pull"
    folder.mkdir()
    with pushed(folder) as (name, layer):
        return _interleave(PULLS, name, layer, folder)


def unpack(work: Path) -> dict[str, Samples]:
    """Unpack the layer, which is not compressed."""
    return _interleave(UNPACKS, "", archive(), work / "unpack")
