# SPDX-License-Identifier: Apache-2.0
"""Generated archives, each from a number: whatever they hold, nothing outside the root changes.

PYCONTAIN_ARCHIVES is how many there are; the whole number is 10,000.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from _authors import LIMITS, Author
from _trees import names, snapshot
from pycontain._layers import Extraction, empty
from pycontain.errors import ImageError

COUNT = int(os.environ.get("PYCONTAIN_ARCHIVES", "150"))
BATCH = 25


def unpack(data: bytes, target: int, parents: list[int]) -> bool:
    """Return whether the archive was taken; an error of any other kind is a failure."""
    try:
        with Extraction(target, parents=parents, limits=LIMITS) as extraction:
            extraction.write(data)
            extraction.finish()
    except ImageError:
        return False
    return True


def check_kinds(root: Path) -> None:
    """No device but whiteouts, and no set-id file of somebody else."""
    for name in names(root):
        try:
            found = (root / name).lstat()
        except PermissionError:  # of the archive's own making, and none for root
            assert os.geteuid()
            continue
        assert not stat.S_ISBLK(found.st_mode)
        assert not stat.S_ISCHR(found.st_mode) or found.st_rdev == 0
        assert found.st_uid == os.geteuid()


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_nothing_outside_changes(tmp_path: Path, first: int) -> None:
    canary = tmp_path / "canary"
    (canary / "a/b").mkdir(parents=True)
    (canary / "link").symlink_to("a")
    (canary / "a/victim").write_text("intact")
    (canary / "etc").mkdir()
    work = canary / "work"
    work.mkdir()
    before = snapshot(canary)
    del before["work"]
    taken = 0
    work_fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    for seed in range(first, first + BATCH):
        fds = []
        for name in ("root", "lower"):
            (work / name).mkdir()
            fds.append(os.open(work / name, os.O_RDONLY | os.O_DIRECTORY))
        unpack(Author(-seed - 1, os.fsencode(canary)).archive(), fds[1], [])
        taken += unpack(Author(seed, os.fsencode(canary)).archive(), fds[0], [fds[1]])
        check_kinds(work)
        for fd in fds:
            os.close(fd)
        empty(work_fd)
        after = snapshot(canary)
        del after["work"]
        assert after == before, seed
    os.close(work_fd)
    assert 0 < taken < BATCH
