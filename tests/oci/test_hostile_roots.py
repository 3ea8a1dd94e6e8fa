# SPDX-License-Identifier: Apache-2.0
"""Roots and volumes that somebody has prepared: nothing of the host is reached or changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain.errors import ContainerError, PycontainError, SpawnError
from pycontain.oci import container_ids, parse_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _containers import Containers

pytestmark = pytest.mark.requires("root", "busybox")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """Return a directory of the host that must stay as it is."""
    path = tmp_path / "outside"
    for name in ("proc", "sys", "dev", "tmp", "deep/er"):
        (path / name).mkdir(parents=True)
    (path / "secret").write_text("secret\n")
    before = fingerprint(path)
    yield path
    assert fingerprint(path) == before


def fingerprint(path: Path) -> str:
    """Return a sum over names, modes, owners and contents."""
    found = hashlib.sha256()
    for place, directories, files in os.walk(path):
        directories.sort()
        for name in sorted([*directories, *files]):
            item = Path(place, name)
            status = item.lstat()
            found.update(f"{item} {status.st_mode} {status.st_uid} {status.st_gid}\n".encode())
            if item.is_file() and not item.is_symlink():
                found.update(item.read_bytes())
    return found.hexdigest()


def replace(root: Path, name: str) -> Path:
    """Return a path of a root at which nothing is any more."""
    path = root / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


TARGETS: dict[str, Callable[[Path], str]] = {
    "absolute": str,
    "upwards": lambda outside: "../../../../../../../../../.." + str(outside),
    "magic": lambda outside: f"/proc/self/root{outside}",
    "dangling": lambda outside: f"{outside}/absent",
    "of itself": lambda outside: "loop",
}


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "tmp", "dev/pts", "made/here"])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_links_in_place_of_mount_points(
    containers: Containers, outside: Path, name: str, target: Callable[[Path], str]
) -> None:
    def edit(config: dict[str, Any]) -> None:
        row = {"type": "tmpfs", "source": "tmpfs"}
        config["mounts"] += [{**row, "destination": "/tmp"}, {**row, "destination": "/made/here"}]
        if name == "dev/pts":
            config["mounts"] = [row for row in config["mounts"] if row["destination"] != "/dev"]

    bundle = containers.bundle("true", edit=edit)
    link = replace(bundle / "rootfs", name)
    text = target(outside)
    link.symlink_to(link.name if text == "loop" else text)
    before = Path("/proc/self/mountinfo").read_text()
    with contextlib.suppress(SpawnError):
        containers.run_bundle(bundle)
    assert Path("/proc/self/mountinfo").read_text() == before
    assert container_ids(containers.state) == []


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_in_place_of_the_kernel_s_views_is_refused(
    containers: Containers, name: str
) -> None:
    bundle = containers.bundle("true")
    replace(bundle / "rootfs", name).symlink_to("/etc")
    with pytest.raises(SpawnError, match=rf"MOUNT failed.*on /{name}"):
        containers.create(bundle)


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "tmp"])
@pytest.mark.parametrize("kind", ["file", "fifo", "socket"])
def test_no_directory_in_place_of_a_mount_point(
    containers: Containers, name: str, kind: str
) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})

    bundle = containers.bundle("true", edit=edit)
    path = replace(bundle / "rootfs", name)
    if kind == "file":
        path.write_text("")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            directory = os.open(path.parent, os.O_PATH)
            sock.bind(f"/proc/self/fd/{directory}/{name}")
            os.close(directory)
    with pytest.raises(SpawnError, match=f"MOUNT failed.*{name}.*Not a directory"):
        containers.create(bundle)


def own_dev(config: dict[str, Any]) -> None:
    """Leave /dev to the image, where things may be planted."""
    config["mounts"] = [
        row for row in config["mounts"] if not row["destination"].startswith("/dev")
    ]


PLANTED: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("planted\n"),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "another device": lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
    "a fifo": os.mkfifo,
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_planted_devices_are_not_used(
    containers: Containers, plant: Callable[[Path], object]
) -> None:
    def edit(config: dict[str, Any]) -> None:
        own_dev(config)
        config["linux"]["maskedPaths"] = ["/etc/passwd"]

    bundle = containers.bundle("stat", "-c", "%t:%T", "/etc/passwd", edit=edit)
    plant(replace(bundle / "rootfs", "dev/null"))
    with pytest.raises(SpawnError, match=r"NODE failed \('device /dev/null'\): File exists"):
        containers.create(bundle)
    content = (bundle / "rootfs/etc/passwd").read_text()
    assert content.startswith("root:")


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_masks_are_the_host_s_null(containers: Containers, plant: Callable[[Path], object]) -> None:
    """CVE-2025-31133: what covers a file comes from the host, whatever the image has."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["maskedPaths"] = ["/etc/passwd", "/planted"]

    bundle = containers.bundle("stat", "-Lc", "%t:%T", "/etc/passwd", "/planted", edit=edit)
    plant(bundle / "rootfs/planted")
    assert set(containers.run_bundle(bundle).output.split()) == {"1:3"}


CONSOLES: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link outwards": lambda path: path.symlink_to("../../../../../../etc/hostname"),
    "a file": lambda path: path.write_text("planted\n"),
    "a fifo": os.mkfifo,
    "a directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("plant", CONSOLES.values(), ids=CONSOLES)
def test_a_planted_console(
    containers: Containers, tmp_path: Path, plant: Callable[[Path], object]
) -> None:
    """CVE-2025-52565."""

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [row for row in config["mounts"] if row["destination"] != "/dev"]
        config["process"]["terminal"] = True

    bundle = containers.bundle("true", edit=edit)
    shutil.rmtree(bundle / "rootfs/dev")
    (bundle / "rootfs/dev").mkdir()
    plant(bundle / "rootfs/dev/console")
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with contextlib.suppress(SpawnError, ContainerError):
            made = containers.create(bundle, console_socket=str(path))
            with listener.accept()[0] as connection:
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            assert os.isatty(fds[0])
            os.close(fds[0])
            made.delete(force=True)
    assert (bundle / "rootfs/etc/passwd").read_text().startswith("root:")


@pytest.mark.parametrize("plant", ["a fifo", "a file", "another device"])
def test_a_planted_terminal(containers: Containers, tmp_path: Path, plant: str) -> None:
    """Without a devpts of its own there is no terminal, whatever lies there."""

    def edit(config: dict[str, Any]) -> None:
        own_dev(config)
        config["process"]["terminal"] = True

    bundle = containers.bundle("true", edit=edit)
    (bundle / "rootfs/dev/pts").mkdir()
    PLANTED[plant](bundle / "rootfs/dev/pts/ptmx")
    with pytest.raises(SpawnError, match="CONSOLE failed"):
        containers.create(bundle, console_socket=str(tmp_path / "nobody"))


def test_a_root_that_is_a_link_itself(containers: Containers, tmp_path: Path) -> None:
    bundle = containers.bundle("ls", "/bin/busybox")
    (bundle / "rootfs").rename(bundle / "real")
    (bundle / "rootfs").symlink_to("real")
    assert containers.run_bundle(bundle).output == "/bin/busybox\n"


@pytest.mark.parametrize("number", [0, 3, 5, 8, 9, 20, 40])
@pytest.mark.parametrize("base", ["/proc/self/fd/{}", "/proc/self/fd/{}/..", "/proc/1/fd/{}"])
def test_no_directory_of_work_is_the_host_s(containers: Containers, number: int, base: str) -> None:
    """CVE-2024-21626."""

    def edit(config: dict[str, Any]) -> None:
        config["process"]["cwd"] = base.format(number)

    output = ""
    with contextlib.suppress(SpawnError):  # mostly
        output = containers.sh("ls; pwd", edit)
    assert "rootfs" not in output


def test_nothing_of_the_host_is_left_open(containers: Containers) -> None:
    script = """
        for pid in /proc/[0-9]*; do
            for link in $pid/exe $pid/root $pid/cwd $pid/fd/*; do readlink $link; done
        done | grep -v -e ^/$ -e ^/bin -e ^pipe -e /output -e ^/proc -e ^/dev/null
        true
    """
    with open(os.devnull, "r+b") as null:
        fd = null.fileno()
        container = containers.start("sleep", "1000", stdin=fd, stdout=fd, stderr=fd)
        process = parse_process({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]})
        with containers.output() as (output, text):
            assert container.exec(process, stdin=fd, stdout=output, stderr=fd).wait() == 0
    assert text() == ""


def test_a_volume_in_which_links_and_directories_take_turns(
    containers: Containers, outside: Path, tmp_path: Path
) -> None:
    """CVE-2021-30465: a mount point in a shared volume, while another container changes it."""
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "b").symlink_to("/" + "../" * 12 + str(outside).lstrip("/"))

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] += [
            {"destination": "/v", "type": "bind", "source": str(volume), "options": ["rbind"]},
            {"destination": "/v/a/deep", "type": "tmpfs", "source": "tmpfs"},
        ]

    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for first, second in (("a", "c"), ("b", "a"), ("a", "b"), ("c", "a")):
                with contextlib.suppress(OSError):
                    (volume / first).rename(volume / second)

    bundle = containers.bundle("cat", "/proc/self/mountinfo", edit=edit)
    before = Path("/proc/self/mountinfo").read_text()
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(25):
            try:
                output = containers.run_bundle(bundle).output
            except PycontainError:
                continue
            points = [line.split()[4] for line in output.splitlines()]
            assert any(point.endswith("/deep") for point in points)  # inside, wherever it is
    finally:
        over.set()
        thread.join()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_an_image_s_accounts_cannot_hold_us_up(containers: Containers) -> None:
    bundle = containers.bundle("true")
    os.mkfifo(replace(bundle / "rootfs", "etc/passwd"))
    assert containers.run_bundle(bundle).status == 0


def test_sysctls_are_written_to_no_file_of_the_image(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [row for row in config["mounts"] if row["destination"] != "/proc"]
        config["linux"]["sysctl"] = {"kernel.msgmax": "4321"}

    bundle = containers.bundle("true", edit=edit)
    planted = bundle / "rootfs/proc/sys/kernel/msgmax"
    planted.parent.mkdir(parents=True)
    planted.write_text("planted")
    containers.run_bundle(bundle)
    assert planted.read_text() == "planted"


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".", "..", "a\0b", "ü", "x" * 1100])
def test_ids_that_are_none(containers: Containers, name: str) -> None:
    bundle = containers.bundle("true")
    with pytest.raises((ValueError, PycontainError)):
        containers.create(bundle, name=name) if name else containers.load(name)
