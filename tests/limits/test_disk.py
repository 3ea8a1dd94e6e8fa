# SPDX-License-Identifier: Apache-2.0
"""Everything that can be written inside is bounded, in bytes and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pycontain
from _bombs import KIB, MIB, Once, bomb, truth
from pycontain import Bind, Overlay, Reason, Tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pycontain import Sandbox

HOST = {"rootfs": None}
X = Tmpfs("/x", size=MIB, inodes=200)


class Place(NamedTuple):
    """A folder that can be written, the options of its sandbox, and its bounds."""

    folder: str
    options: dict[str, Any]
    bytes: int
    inodes: int


SMALL: dict[str, Any] = {"disk": MIB, "inodes": 200}
PLACES = {
    "the layer of a root": Place("/tmp", SMALL, MIB, 200),
    "the host's own root": Place("/tmp", {**SMALL, **HOST}, MIB, 200),
    "a home in the host's root": Place("/home/sandbox", {**SMALL, **HOST}, MIB, 200),
    "a tmpfs": Place("/x", {"mounts": [X]}, MIB, 200),
    "shared memory": Place("/dev/shm", {}, 64 * MIB, 4096),
}
# Who is user 0 inside can write these too.
PLACES_OF_ROOT = {
    "the root itself": Place("/", {**SMALL, "user": 0}, MIB, 200),
    "an overlay": Place(
        "/x", {**SMALL, "user": 0, "mounts": [Overlay(("/usr/share/doc",), "/x")]}, MIB, 200
    ),
    "devices": Place("/dev", {"user": 0}, 64 * KIB, 64),
}
ROOT = pytest.mark.requires("rootrange")
CASES = [
    *(pytest.param(place, id=name) for name, place in PLACES.items()),
    *(pytest.param(place, id=name, marks=ROOT) for name, place in PLACES_OF_ROOT.items()),
]


@pytest.mark.parametrize("place", CASES)
def test_bytes_end_where_they_should_and_not_much_before(place: Place, once: Once) -> None:
    done = once("fill", place.folder, **place.options)

    assert (done.reason, done.returncode) == (Reason.DISK_FULL, 3)
    assert truth(done)["refused"] == "ENOSPC"
    assert place.bytes - 256 * KIB <= truth(done)["bytes"] <= place.bytes


@pytest.mark.parametrize("kind", ["files", "directories", "symlinks", "links"])
@pytest.mark.parametrize("place", CASES)
def test_files_of_any_kind_end_where_they_should(place: Place, kind: str, once: Once) -> None:
    done = once("entries", place.folder, kind, **place.options)

    assert (done.reason, done.returncode) == (Reason.DISK_FULL, 3)
    assert truth(done)["refused"] == "ENOSPC"
    # A tmpfs counts names, so that links too have an end (shmem_link() in mm/shmem.c).
    assert 0 < truth(done)["bytes"] < place.inodes


@pytest.mark.parametrize(
    "options",
    [
        {},
        HOST,
        {**HOST, "read_only": True},
        {"profile": "judge"},
        pytest.param({"user": 0}, marks=ROOT),
        pytest.param({**HOST, "user": 0}, marks=ROOT),
        pytest.param({**HOST, "profile": "build"}, marks=ROOT),
        pytest.param({**HOST, "profile": "compat"}, marks=ROOT),
        pytest.param({**HOST, "profile": "nested", "user": 0}, marks=ROOT),
    ],
    ids=str,
)
def test_every_file_system_that_can_be_written_is_bounded(
    options: dict[str, Any], once: Once, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "lower").mkdir()
    mounts = [X, Overlay((tmp_path / "lower",), "/o"), Bind(tmp_path, "/b", read_only=False)]
    found = {row["path"]: row for row in truth(once("writable", **options, mounts=mounts))}

    assert found.pop("/b")["bytes"] > 0  # the caller's own disk
    assert {"/x", "/dev/shm"} <= found.keys()
    found.pop("/dev/mqueue", None)  # bounded by RLIMIT_MSGQUEUE
    for row in found.values():
        assert 0 < row["bytes"] <= 64 * MIB, row
        assert 0 < row["inodes"] <= 16384, row


def test_what_is_written_by_one_command_counts_for_the_next(box: Callable[..., Sandbox]) -> None:
    with box(disk=MIB) as sb:
        half = sb.run(bomb("memory", "file", 700 * KIB, "/tmp"), timeout=60)
        more = sb.run(["dd", "if=/dev/zero", "of=/tmp/more", "bs=64k", "count=8"], timeout=60)
        sb.run(["sh", "-c", "rm /tmp/*"], check=True)
        again = sb.run(bomb("memory", "file", 700 * KIB, "/tmp"), timeout=60)

    assert (half.reason, half.returncode) == (Reason.EXITED, 0)
    assert (more.reason, more.returncode) == (Reason.DISK_FULL, 1)
    assert (again.reason, again.returncode) == (Reason.EXITED, 0)


def test_files_api_cannot_write_more_either(box: Callable[..., Sandbox]) -> None:
    with box(disk=MIB) as sb:
        with pytest.raises(OSError, match="No space left on device"):
            sb.files.write_bytes("/tmp/a", bytes(2 * MIB))
        sb.run(["sh", "-c", "rm -f /tmp/*"], check=True)
        sb.files.write_bytes("/tmp/a", bytes(500 * KIB))
        assert len(sb.files.read_bytes("/tmp/a")) == 500 * KIB


@pytest.mark.parametrize("disk", ["8K", "1M", "200M"])
def test_the_size_asked_for_is_the_size_inside(disk: str, box_options: dict[str, Any]) -> None:
    done = pycontain.run(["df", "-k", "/tmp"], **box_options, disk=disk, text=True, timeout=60)
    wanted = {"8K": 8, "1M": 1024, "200M": 200 * 1024}[disk]

    assert int(done.stdout.splitlines()[-1].split()[1]) == wanted
