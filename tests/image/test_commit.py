# SPDX-License-Identifier: Apache-2.0
"""What a sandbox has changed, and the image that is made of it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from _archives import DIRECTORY, archive, directory, entry, symlink
from _box import warm
from _boxes import Add, add, add_box, busybox, store_at
from _docker_registry import run as docker_registry
from _trees import differences
from _views import merged, plain, tool
from pycontain import (
    AsyncSandbox,
    Bind,
    ConfigError,
    ImageConfigError,
    ImageNotFoundError,
    InvalidReferenceError,
    LayerError,
    Sandbox,
    StoreError,
    Tmpfs,
    UnsupportedError,
    images,
)
from pycontain._image._use import uses
from pycontain._layers import LayerReport, Packing
from pycontain._runtime import Runtime
from pycontain._unpack import open_store
from pycontain.config import Mount
from pycontain.images import Image

__all__ = ["add", "busybox", "warm"]

pytestmark = [pytest.mark.requires("overlay"), pytest.mark.usefixtures("box")]

BELOW = archive(
    directory("tmp", mode=0o1777),
    directory("d"),
    entry("d/file", data=b"old"),
    directory("d/sub"),
    entry("d/sub/x", data=b"x"),
    entry("d/sub/y", data=b"y"),
    symlink("link", "d"),
)


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory, busybox: bytes) -> Iterator[str]:
    """A store for all tests here, with an image "box"."""
    with store_at(str(tmp_path_factory.mktemp("commit") / "store")) as path:
        add_box("box", busybox, BELOW)
        yield path


@pytest.fixture
def box(store_path: str) -> Iterator[str]:
    """The image's name; all others are gone after the test."""
    yield "box"
    for image in images.list():
        if image.name != "box:latest":
            images.remove(image.name)
    uses().let_go()
    assert os.listdir(f"{store_path}/ingest") == []


def do(sandbox: Sandbox, script: str) -> str:
    """Run a script of busybox."""
    done = sandbox.run(["sh", "-c", f"set -e; {script}"], text=True)
    assert done.returncode == 0, done
    return str(done.stdout)


def changes(sandbox: Sandbox) -> list[str]:
    return [f"{change.kind[0].upper()} {change.path}" for change in sandbox.diff()]


CHANGES: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", []),
    "a file is made": ("echo > /d/new", ["A /d/new"]),
    "a file is written": ("echo > /d/file", ["M /d/file"]),
    "a file is replaced": ("echo > /n; busybox mv /n /d/file", ["M /d/file"]),
    "a file is removed": ("rm /d/file", ["D /d/file"]),
    "a new file is removed": ("echo > /n; rm /n", []),
    "a directory is made": ("mkdir -p /n/m; echo > /n/m/f", ["A /n", "A /n/m", "A /n/m/f"]),
    "a directory is removed": ("rm -r /d", ["D /d"]),
    "a mode": ("busybox chmod 700 /d", ["M /d"]),
    "the root's mode": ("busybox chmod 711 /", ["M /"]),
    "made anew": (
        "rm -r /d/sub; mkdir /d/sub; echo > /d/sub/x; echo > /d/sub/z",
        ["D /d/sub/y", "M /d/sub/x", "A /d/sub/z"],
    ),
    "made anew, below": ("rm -r /d; mkdir -p /d/sub", ["D /d/file", "D /d/sub/x", "D /d/sub/y"]),
    "a directory for a file": ("rm /d/file; mkdir /d/file", ["M /d/file"]),
    "a file for a directory": ("rm -r /d/sub; echo > /d/sub", ["M /d/sub"]),
    "links": (
        "busybox ln -s x /s; echo > /a; busybox ln /a /b; rm /link; busybox ln -s y /link",
        ["A /a", "A /b", "M /link", "A /s"],
    ),
    "a fifo": ("busybox mkfifo /f", ["A /f"]),
    "odd names": ("echo > $'/d/a\\nb'; echo > $'/d/\\xff'", ["A /d/a\nb", "A /d/\udcff"]),
}


# Without directories of the layers that are removed, or another takes whose place.
ANYWHERE = (
    *("nothing", "a file is made", "a file is written", "a file is replaced", "a file is removed"),
    *("a new file is removed", "a directory is made", "a mode", "the root's mode", "links"),
    *("a fifo", "odd names"),
)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ANYWHERE else pytest.param(name, marks=pytest.mark.requires("tmpfs_xattrs"))
        for name in CHANGES
    ],
)
def test_changes_are_told(name: str) -> None:
    script, expected = CHANGES[name]
    with Sandbox("box") as sandbox:
        do(sandbox, script)
        assert changes(sandbox) == expected


@pytest.mark.requires("tmpfs_xattrs")
def test_changes_over_many_layers(add: Add) -> None:
    many = [archive(entry(f"m/{i}"), entry(f"m/.wh.{i - 1}")) for i in range(20)]
    add("base", BELOW, *many)
    with Sandbox("base") as sandbox:
        do(sandbox, "rm -r /m; mkdir /m; echo > /m/0")
        assert changes(sandbox) == ["D /m/19", "A /m/0"]


@pytest.mark.requires("rootrange")
def test_an_owner_is_a_change() -> None:
    with Sandbox("box", profile="build") as sandbox:
        do(sandbox, "busybox chown 5:6 /d; busybox chown 7 /d/file")
        assert changes(sandbox) == ["M /d", "M /d/file"]


def test_what_a_directory_becomes(rootfs: Path) -> None:
    with Sandbox(rootfs=rootfs, user=0) as sandbox:
        do(sandbox, "echo > /new; rm /bin/ls")
        assert changes(sandbox) == ["D /bin/ls", "A /new"]
        with pytest.raises(UnsupportedError, match=r"no image.*import_rootfs"):
            sandbox.commit("new")


def test_the_hosts_user_land_has_no_layer() -> None:
    with Sandbox() as sandbox:
        with pytest.raises(UnsupportedError, match="no writable layer"):
            sandbox.diff()
        with pytest.raises(UnsupportedError, match="no image"):
            sandbox.commit("new")


def test_what_is_not_the_roots(add: Add, tmp_path: Path) -> None:
    add("base", BELOW, volumes=("/volume",))
    (tmp_path / "shown").mkdir()
    mounts: list[Mount] = [Bind(tmp_path / "shown", "/shown", read_only=False), Tmpfs("/quick")]
    with Sandbox("base", mounts=mounts, user=0) as sandbox:
        do(
            sandbox,
            "for d in /shown /quick /volume /dev/shm; do echo > $d/x; done; "
            "rm /etc/hosts; echo > /x",
        )
        assert changes(sandbox) == ["A /x"]
        sandbox.commit("new")
    with Sandbox("new") as sandbox:
        script = "test -e /shown || test -e /quick || ls /volume /dev/shm"
        assert do(sandbox, script) == "/dev/shm:\n\n/volume:\n"


@pytest.mark.requires("tmpfs_xattrs")
def test_the_image_runs_as_it_was_left(add: Add) -> None:
    add("base", BELOW, cmd=("cat", "/d/file"))
    with Sandbox("base") as sandbox:
        do(sandbox, "echo new > /d/file; rm -r /d/sub; mkdir /d/sub; echo z > /d/sub/z")
        made = sandbox.commit("registry.example/new:2")
        assert do(sandbox, "cat /d/file") == "new\n"  # it goes on
    assert images.inspect("registry.example/new:2") == made
    with Sandbox("registry.example/new:2") as sandbox:
        assert do(sandbox, "cat /d/file; ls /d/sub") == "new\nz\n"
        assert sandbox.run(made.config.arguments()).stdout == b"new\n"
        do(sandbox, "rm /d/sub/z")
        sandbox.commit("registry.example/new:2")  # a name moves on
    with Sandbox("registry.example/new:2") as sandbox:
        assert do(sandbox, "ls /d/sub") == ""
        assert len(images.inspect("registry.example/new:2").config.diff_ids) == 4


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {"cmd": ("c",), "entrypoint": ("e",), "env": ("A=1", "B=1"), "user": "u"}),
    "cmd": ({"cmd": ["x", "y"]}, {"cmd": ("x", "y"), "entrypoint": ("e",)}),
    "no cmd": ({"cmd": None}, {"cmd": None}),
    "entrypoint": ({"entrypoint": ["x"]}, {"cmd": None, "entrypoint": ("x",)}),
    "both": ({"entrypoint": ["x"], "cmd": ["y"]}, {"cmd": ("y",), "entrypoint": ("x",)}),
    "env": ({"env": {"B": "2", "C": "3"}}, {"env": ("A=1", "B=2", "C=3")}),
    "labels": ({"labels": {"l": "2", "m": "="}}, {"labels": {"k": "1", "l": "2", "m": "="}}),
    "user": ({"user": "5:6", "working_dir": "/w"}, {"user": "5:6", "working_dir": "/w"}),
    "ports": ({"exposed_ports": ["80/tcp"], "stop_signal": 15}, {"stop_signal": 15}),
    "author": ({"author": "me", "comment": "why"}, {"author": "me"}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_configuration_is_the_old_one_with_changes(add: Add, name: str) -> None:
    options, expected = OPTIONS[name]
    old = {"cmd": ("c",), "entrypoint": ("e",), "env": ("A=1", "B=1"), "user": "0"}
    add("base", BELOW, **old, labels={"k": "1", "l": "1"})
    with Sandbox("base") as sandbox:
        made = sandbox.commit("new", **options).config
    shown = {key: getattr(made, key) for key in expected}
    assert shown == {**expected, **({"user": "0"} if expected.get("user") == "u" else {})}
    assert made.created is not None
    *_, last = made.history
    assert (last.created_by, last.created) == ("pycontain commit", made.created)
    assert (last.author, last.comment) == (options.get("author", ""), options.get("comment", ""))


MISTAKES: dict[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "name": ("UPPER", {}, InvalidReferenceError, "UPPER"),
    "digest": (f"a@sha256:{'0' * 64}", {}, ConfigError, "digest"),
    "option": ("new", {"cdm": ["x"]}, TypeError, "cdm"),
    "user": ("new", {"user": "a:b:c"}, ImageConfigError, "User"),
    "volume": ("new", {"volumes": ["/../x"]}, ImageConfigError, "Volumes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    text, options, kind, words = MISTAKES[name]
    with Sandbox("box") as sandbox, pytest.raises(kind, match=words):
        sandbox.commit(text, **options)
    assert [image.name for image in images.list()] == ["box:latest"]


def test_a_date_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with Sandbox("box") as sandbox, pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        sandbox.commit("new")


EVERYTHING = (
    "mkdir /n; for i in c a b; do echo $i > /n/$i; done; busybox chmod 4711 /n/a; "
    "busybox ln /n/a /n/hard; busybox ln -s a /n/s; busybox mkfifo /n/f; echo > $'/n/\\xff\\n'; "
    "busybox dd if=/dev/zero of=/n/sparse bs=1 seek=1M count=1 2>/dev/null; "
    "rm /d/file; rm -r /d/sub; mkdir /d/sub; busybox chmod 700 /d/sub; echo > /d/sub/z; "
    "busybox touch -d @5 /n/c; busybox touch -d @7 /n"
)


@pytest.mark.requires("tmpfs_xattrs")
def test_the_same_content_is_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it was written, and in whichever order."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    made = []
    for first, second in [("a", "b"), ("b", "a")]:
        with Sandbox("box") as sandbox:
            do(sandbox, f"mkdir /o; echo > /o/{first}; echo > /o/{second}; {EVERYTHING}")
            made.append(sandbox.commit("new"))
            assert sandbox.commit("new") == made[-1]
    assert made[0].digest == made[1].digest
    assert made[0].config.created is not None
    assert made[0].config.created.timestamp() == 1_000_000_000


@pytest.mark.requires("root", "rootrange", "tmpfs_xattrs", "skopeo", "umoci", "docker_registry")
def test_others_see_the_same_tree(tmp_path: Path) -> None:
    """From our archive and through a registry."""
    with Sandbox("box", profile="build", output_limit="64M") as sandbox:
        do(sandbox, f"{EVERYTHING}; busybox chown 7:8 /n/b; busybox chmod 2750 /d")
        sandbox.commit("new")
        ours = merged(sandbox)
    images.save("new", f"oci:{tmp_path / 'layout'}")
    with docker_registry(tmp_path / "registry") as address:
        images.push("new", f"{address}/a/new:1")
        tool(
            *("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false"),
            *(f"docker://{address}/a/new:1", f"oci:{tmp_path / 'copy'}:new"),
        )
    for layout, name in [("layout", "docker.io/library/new:latest"), ("copy", "new")]:
        bundle = tmp_path / f"{layout}-bundle"
        tool("umoci", "unpack", "--image", f"{tmp_path / layout}:{name}", bundle)
        theirs = plain(bundle / "rootfs")
        for own in (".", "etc", "etc/hosts", "etc/hostname"):  # the sandbox's own
            theirs.pop(own, None)
            ours.pop(own, None)
        assert differences(theirs, ours) == []
        hard, a = ((bundle / "rootfs/n" / name).stat().st_ino for name in ("hard", "a"))
        assert hard == a


# What a hostile program leaves for whoever commits it.


@pytest.mark.parametrize("script", ["echo > /n/.wh.x", "mkdir /n/.wh.d", "echo > /n/.wh..wh..opq"])
def test_names_of_markers(store_path: str, script: str) -> None:
    with Sandbox("box") as sandbox:
        do(sandbox, f"mkdir /n; {script}")
        with pytest.raises(LayerError, match=r"begins with '\.wh\.'"):
            sandbox.commit("new")
        do(sandbox, "rm -r /n")
        sandbox.commit("new")
    assert not os.listdir(f"{store_path}/ingest")


LISTENER = r"""
#include <sys/socket.h>
#include <sys/un.h>
int main(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/s" };
	return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name);
}
"""


@pytest.mark.requires("gcc")
def test_sockets_are_left_out(tmp_path: Path) -> None:
    program = tmp_path / "listener"
    (tmp_path / "listener.c").write_text(LISTENER)
    tool("gcc", "-static", "-o", program, tmp_path / "listener.c")
    with Sandbox("box", mounts=[Bind(program, "/listener")]) as sandbox:
        assert sandbox.run(["/listener"]).returncode == 0
        assert changes(sandbox) == ["A /s"]
        sandbox.commit("new")
    with Sandbox("new") as sandbox:
        assert do(sandbox, "test -e /s || echo no") == "no\n"


def test_devices_that_are_deletions_cannot_be_made_inside() -> None:
    with Sandbox("box", profile="build") as sandbox:
        assert do(sandbox, "busybox mknod /d/file c 0 0 2>&1 || echo no").endswith("no\n")
        do(sandbox, "rm /d/file")
        assert do(sandbox, "busybox mknod /d/file c 0 0 2>&1 || echo no").endswith("no\n")
        assert changes(sandbox) == ["D /d/file"]


@pytest.mark.parametrize("name", ["opaque", "redirect", "metacopy", "whiteout"])
def test_attributes_of_overlayfs_mean_nothing(add: Add, name: str) -> None:
    """An image's own, on what the sandbox then changes."""
    attribute = {f"SCHILY.xattr.user.overlay.{name}": "y"}
    add("base", BELOW, archive(entry("d", DIRECTORY, pax=attribute), entry("e", pax=attribute)))
    with Sandbox("base") as sandbox:
        do(sandbox, "busybox chmod 700 /d /e")
        sandbox.commit("new")
    with Sandbox("new") as sandbox:
        assert do(sandbox, "ls /d; ls /e") == "file\nsub\n/e\n"


def test_deep_and_closed_directories() -> None:
    with Sandbox("box") as sandbox:
        do(
            sandbox,
            "cd /home; for i in 0 1 2 3 4 5 6 7 8 9; do mkdir -p d/d/d/d/d; cd d/d/d/d/d; done; "
            "echo x > f; busybox chmod 0 f .; busybox chmod 0 /home",
        )
        sandbox.commit("new")
    with Sandbox("new", profile="build", user=0) as sandbox:
        assert do(sandbox, f"cat /home{'/d' * 50}/f") == "x\n"


def test_without_room_nothing_is_left(store_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(os.listdir(f"{store_path}/blobs/sha256"))
    with Sandbox("box") as sandbox:
        do(sandbox, "busybox dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null")
        write = os.write

        def full(fd: int, data: Any) -> int:
            if len(data) > 1 << 16:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StoreError, match="full"):
                sandbox.commit("new")
        assert sorted(os.listdir(f"{store_path}/blobs/sha256")) == before
        assert os.listdir(f"{store_path}/ingest") == []
        sandbox.commit("new")


def test_an_image_whose_base_is_gone(add: Add) -> None:
    add("base", BELOW, archive(entry("e")))
    with Sandbox("base") as sandbox:
        images.remove("base")
        do(sandbox, "echo > /x; test -e /e")
        with pytest.raises(ImageNotFoundError, match="missing blob"):
            sandbox.commit("new")
        assert changes(sandbox) == ["A /x"]


# While commands run.


@pytest.fixture
def busy() -> Iterator[Sandbox]:
    """A sandbox with a command that keeps changing two files, both always the same."""
    with Sandbox("box", memory="64M") as sandbox:
        loop = "i=0; while :; do i=$((i+1)); echo $i > /a; busybox cp /a /b; done"
        process = sandbox.popen(["sh", "-c", loop])
        do(sandbox, "while ! test -s /b; do :; done")
        yield sandbox
        process.kill()
        process.wait()


@pytest.mark.requires("cgroup_memory")
def test_processes_are_stopped_meanwhile(busy: Sandbox) -> None:
    busy.commit("new")
    seen = do(busy, "cat /a")
    do(busy, f"while test \"$(cat /a)\" = '{seen.strip()}'; do :; done")  # and go on


@pytest.mark.requires("cgroup_memory")
def test_a_paused_sandbox_stays_paused(busy: Sandbox) -> None:
    busy.pause()
    busy.commit("new")
    assert busy.diff()
    before = busy.files.read_bytes("/a")
    assert busy.files.read_bytes("/a") == before
    assert busy.runtime.paused
    busy.resume()


def test_a_tree_that_changes_all_the_time(box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be paused: it is an image, or an error that says why not."""

    def refuse(runtime: Runtime) -> bool:
        raise UnsupportedError(errno.EOPNOTSUPP, "no control group")

    monkeypatch.setattr(Runtime, "pause", refuse)
    with Sandbox(box) as sandbox:
        loop = "while :; do busybox mv /a /b; busybox ln -s / /a; rm /a; busybox mv /b /a; done"
        do(sandbox, "mkdir /a; echo inside > /a/file")
        process = sandbox.popen(["sh", "-c", loop])
        for _ in range(10):
            try:
                sandbox.commit("new")
            except LayerError as error:
                assert "changed while it was read" in str(error)  # noqa: PT017
            assert {change.path for change in sandbox.diff()} <= {"/a", "/b", "/a/file", "/b/file"}
        process.kill()
        process.wait()
        do(sandbox, "rm -rf /a /b")
        sandbox.commit("new")


def commits_at_once(sandbox: Sandbox) -> list[Image]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(sandbox.commit, (f"n:{number}" for number in range(4))))


def test_commits_at_once() -> None:
    with Sandbox("box", memory="max", pids="max") as sandbox:
        do(sandbox, "echo x > /x")
        assert len({made.config.diff_ids for made in commits_at_once(sandbox)}) == 1
    assert open_store().check() == []


@pytest.mark.requires("cgroup_memory")
def test_all_of_several_commits_find_the_processes_stopped(
    busy: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, stopped = Packing.finish, []

    def look(packing: Packing) -> LayerReport:
        stopped.append(busy.runtime.paused)
        return finish(packing)

    monkeypatch.setattr(Packing, "finish", look)
    commits_at_once(busy)
    assert stopped == [True] * 4
    assert not busy.runtime.paused


def test_from_an_event_loop() -> None:

    async def main() -> tuple[str, list[str]]:
        async with AsyncSandbox("box") as sandbox:
            await sandbox.run(["touch", "/new"])
            found = [change.path for change in await sandbox.diff()]
            made = await sandbox.commit("new", cmd=["ls", "/new"])
            return made.name, found

    assert asyncio.run(main()) == ("new:latest", ["/new"])
    with Sandbox("new") as sandbox:
        assert do(sandbox, "ls /new") == "/new\n"
