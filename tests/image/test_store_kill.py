# SPDX-License-Identifier: Apache-2.0
"""A process may be killed at any point: nothing half visible, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from _images import add_image, tar
from pycontain._image._reference import Reference
from pycontain._image._store import Store

LAYERS = (tar({"a": b"first"}), tar({"b": b"second"}))
REFERENCE = Reference.parse("x")


def add(store: Store) -> None:
    """Do all that a pull does, as far as the store is concerned."""
    with store.lease() as lease:
        manifest = add_image(store, lease, LAYERS)
        config = store.config(manifest)
        with store.spool(lease) as spool:
            spool.write(b"of unknown digest")
            spool.commit()
        for diff_id, chain_id in zip(config.diff_ids, config.chain_ids, strict=True):
            with store.build_layer(lease, diff_id, chain_id) as building:
                if building.path is not None:
                    Path(building.path, "file").write_text("x")
                    building.commit(diff_id, size=1)
        store.tag(REFERENCE, manifest.descriptor)


def replace(store: Store) -> None:
    """Take it away and collect."""
    store.untag(REFERENCE)
    store.gc(partial_age_s=-1)


def killed_at(number: int, work: Callable[[Store], None], path: str) -> bool:
    """Work in a process that kills itself before or after one of its system calls.

    Even numbers are before, odd ones after. Returns False if it ended before that.
    """
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in {0, -signal.SIGKILL}
        return status != 0
    calls = 0

    def count(_frame: FrameType, event: str, function: object) -> None:
        nonlocal calls
        if event not in {"c_call", "c_return"}:
            return
        if getattr(function, "__module__", "") in {"posix", "fcntl"}:
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1

    try:
        sys.setprofile(count)
        work(Store(path))
    except BaseException:  # noqa: BLE001 - nothing of it may go on in the parent's tests
        os._exit(1)
    os._exit(0)


def visible(store: Store) -> dict[str, int]:
    folders = ("blobs/sha256", "layers", "names")
    return {folder: len(os.listdir(f"{store.path}/{folder}")) for folder in folders}


@pytest.mark.slow
@pytest.mark.parametrize("work", [add, replace])
def test_killed_at_each_system_call(tmp_path: Path, work: Callable[[Store], None]) -> None:
    number = 0
    path = str(tmp_path / "store")
    if work is replace:
        add(Store(path))
    while killed_at(number, work, path):
        number += 1
        store = Store(path)
        assert store.check() == []
        if work is replace:
            add(store)
            assert visible(store) == {"blobs/sha256": 5, "layers": 2, "names": 1}
        elif number % 5 == 0:
            store.gc()
            assert store.check() == []
    assert number > 60
    store = Store(path)
    add(store)
    assert visible(store)["names"] == 1
    assert store.check() == []
    store.untag(REFERENCE)
    store.gc(partial_age_s=-1)
    assert visible(store) == {"blobs/sha256": 0, "layers": 0, "names": 0}
    for folder in ("ingest", "leases", "trash"):
        assert os.listdir(f"{path}/{folder}") == []


WORKER = """
import random, sys
from pathlib import Path
from _images import blob
from pycontain._image._store import Store

path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chosen = random.Random(seed)
store = Store(path)
for _ in range(rounds):
    number = chosen.randrange(8)
    data = bytes([number]) * (20_000 + number)
    with store.lease() as lease, store.ingest(lease, blob(data)) as writer:
        while not writer.complete and writer.offset < len(data):
            writer.write(data[writer.offset :][: chosen.randrange(1, 5000)])
            sys.stdout.write(".")
            sys.stdout.flush()
        if not writer.complete:
            writer.commit()
    sys.stdout.write("!")
    sys.stdout.flush()
    if chosen.random() < 0.2:
        store.gc(partial_age_s=-1 if chosen.random() < 0.5 else 1000)
"""


def worker(path: str, seed: int, rounds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, path, str(seed), str(rounds)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
    )


@pytest.mark.slow
def test_many_processes_killed_at_random(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    chosen = random.Random(5)
    running = [worker(path, seed, 10_000) for seed in range(4)]
    for seed in range(4, 24):
        victim = running.pop(0)
        assert victim.stdout is not None
        assert victim.stdout.read(chosen.randrange(1, 60)) != b""
        victim.kill()
        victim.communicate()
        assert Store(path).check() == []
        running.append(worker(path, seed, 10_000))
    for victim in running:
        victim.kill()
        victim.communicate()
    last = worker(path, 99, 30)
    out, _ = last.communicate()
    assert (last.returncode, out.count(b"!")) == (0, 30)
    store = Store(path)
    assert store.check() == []
    store.gc(partial_age_s=-1)
    for folder in ("blobs/sha256", "ingest", "leases", "trash"):
        assert os.listdir(f"{path}/{folder}") == []
