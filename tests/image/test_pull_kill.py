# SPDX-License-Identifier: Apache-2.0
"""A pull may be killed at any point: nothing is half visible, and the next one heals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import _docker_registry
import pycontain
from _archives import FILE, archive, directory, entry
from _box import warm
from _boxes import add_box, busybox, store_at
from pycontain import images
from pycontain._configure import let_go
from pycontain._erofs import VARIABLE
from pycontain._unpack import open_store

__all__ = ["busybox", "warm"]

pytestmark = pytest.mark.requires("overlay", "docker_registry")

POINTS = 12
LAYERS = (
    archive(directory("d", mode=0o751), entry("d/gone"), entry("big", FILE, os.urandom(3 << 20))),
    archive(entry("d/.wh.gone"), entry("d/new", FILE, b"new")),  # d is as below
)
PULL = """
import itertools, os, signal, sys, threading
from pycontain import images
number, calls = int(sys.argv[2]), itertools.count()

def count(frame, event, function):
    if event in ("c_call", "c_return") and function.__module__ in ("posix", "fcntl"):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

threading.setprofile(count)
sys.setprofile(count)
images.pull(sys.argv[1])
sys.setprofile(None)
print(next(calls))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, busybox: bytes) -> Iterator[str]:
    """An image on a registry."""
    folder = tmp_path_factory.mktemp("kill")
    with _docker_registry.run(folder) as address, store_at(f"{folder}/store"):
        name = f"{address}/to/kill:1"
        add_box(name, busybox, *LAYERS)
        images.push(name)
        yield name


def pull(name: str, kill_at: int) -> tuple[int, str]:
    """Pull in a process that kills itself before or after its system call of that number."""
    command = [sys.executable, "-c", PULL, name, str(kill_at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode, done.stdout


def check_healed(name: str) -> None:
    """Pull it in this process, and use it."""
    images.pull(name)
    show = ["sh", "-c", "ls /d; stat -c %a /d; cat /d/new; stat -c %s /big"]
    shown = pycontain.run(show, image=name, text=True, check=True).stdout
    assert shown == f"new\n751\nnew{3 << 20}\n"


def check_empty(store: Path) -> None:
    images.remove(images.list()[0].name)
    images.prune()
    for folder in ("blobs/sha256", "ingest", "layers", "leases", "names", "trash"):
        assert os.listdir(store / folder) == []


@pytest.mark.parametrize(
    "form", ["directory", pytest.param("erofs", marks=pytest.mark.requires("erofs"))]
)
def test_killed_at_several_points(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv(VARIABLE, form)
    with store_at(f"{tmp_path}/whole"):
        total = int(pull(image, -1)[1])
    killed = 0
    for point in range(POINTS):
        path = tmp_path / f"{point}"
        with store_at(str(path)):
            status, _ = pull(image, total * point // POINTS)
            killed += status != 0
            store = open_store()
            assert store.check() == []
            assert status == 0 or images.list() == [] or point == POINTS - 1
            check_healed(image)
            assert store.check() == []
            assert store.usage().erofs_layers == (3 if form == "erofs" else 0)
            check_empty(path)
        let_go()
    assert killed > POINTS / 2
