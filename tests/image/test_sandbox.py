# SPDX-License-Identifier: Apache-2.0
"""A sandbox of an image looks like the image, and runs as the image says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import pytest

import pycontain
from _archives import SYMLINK, archive, entry
from _box import warm
from _boxes import Add, add, busybox, store_path
from _trees import differences, snapshot
from pycontain import (
    AsyncSandbox,
    ConfigError,
    ImageConfigError,
    InvalidReferenceError,
    PlatformError,
    RegistryError,
    Sandbox,
    SandboxClosedError,
    SpawnError,
    StoreError,
    images,
)
from pycontain._configure import let_go
from pycontain._unpack import open_store

__all__ = ["add", "busybox", "store_path", "warm"]

pytestmark = pytest.mark.requires("overlay")


def sh(script: str, **options: Any) -> str:
    done = pycontain.run(["sh", "-c", script], text=True, **options)
    assert done.returncode == 0, done
    return str(done.stdout)


def test_it_has_the_images_files_and_nothing_else(add: Add) -> None:
    add("box")
    assert sh("ls /", image="box").split() == [
        *("bin", "dev", "etc", "home", "proc", "root", "tmp"),
    ]
    assert sh("cat /etc/hosts", image="box").startswith("127.0.0.1\tlocalhost sandbox\n")
    assert sh("cat /etc/hostname", image="box", hostname="name") == "name\n"


def test_layers_cover_delete_and_keep(add: Add) -> None:
    first = archive(
        entry("d/kept", data=b"1"), entry("d/gone", data=b"1"), entry("d/new", data=b"1")
    )
    second = archive(entry("d/.wh.gone"), entry("d/new", data=b"2"), entry("e/x", data=b"2"))
    third = archive(
        entry("e/.wh..wh..opq"), entry("e/y", data=b"3"), entry("l", kind=SYMLINK, link="d")
    )
    add("box", first, second, third)
    assert sh("cd /l; ls; cat kept new; ls /e", image="box") == "kept\nnew\n12y\n"


CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "working directory": ({"working_dir": "/made/here"}, {}, "pwd", "/made/here\n"),
    "another one": ({"working_dir": "/made/here"}, {"cwd": "/etc"}, "pwd", "/etc\n"),
    "environment": ({"env": ("A=1", "PATH=/bin")}, {}, "echo $A $PATH", "1 /bin\n"),
    "more of it": ({"env": ("A=1", "B=1")}, {"env": {"B": "2"}}, "echo $A $B", "1 2\n"),
    "volume": ({"volumes": ("/data/v",)}, {}, "touch /data/v/x; ls /data/v", "x\n"),
    "home of root": ({}, {}, "echo $HOME", "/root\n"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_commands_run_as_the_configuration_says(add: Add, name: str) -> None:
    config, options, script, output = CONFIGS[name]
    add("box", **config)
    assert sh(script, image="box", **options) == output


HOSTILE_PATHS: dict[str, tuple[dict[str, Any], str]] = {
    "working directory through a link": ({"working_dir": "/out/made"}, "/etc/made"),
    "working directory with dots": ({"working_dir": "/up/up/made"}, "/made"),
    "volume through a link": ({"volumes": ("/out/made",)}, "/etc/made"),
    "volume with dots": ({"volumes": ("/up/up/made",)}, "/made"),
}
LINKS = archive(
    entry("out", SYMLINK, link="/etc"),
    entry("up", SYMLINK, link="../../../../../../../.."),
    entry("loop", SYMLINK, link="loop"),
    entry("host", SYMLINK, link="/proc/1/root/tmp"),
    entry("file", data=b"x"),
)


@pytest.mark.parametrize("name", HOSTILE_PATHS)
def test_directories_are_made_in_the_root(add: Add, name: str) -> None:
    """Whatever links the image has on the way (CVE-2026-55686, CVE-2022-23648)."""
    config, made = HOSTILE_PATHS[name]
    add("box", LINKS, **config)
    assert sh(f"test -d {made} && echo made", image="box") == "made\n"
    assert not os.path.lexists(made)


@pytest.mark.parametrize(
    "path, step",
    [
        *(("/file", "MKDIR"), ("/file/x", "MKDIR"), ("/loop", "MKDIR"), ("/host/x", "MKDIR")),
        ("/proc/self/fd/7", "CWD"),
    ],
)
def test_working_directories_that_are_none(add: Add, path: str, step: str) -> None:
    add("box", LINKS, working_dir=path)
    with pytest.raises(SpawnError, match=path) as caught:
        pycontain.run(["true"], image="box")
    assert caught.value.step == step


USERS = {
    "": "uid=0(root) gid=0(root)",
    "alice": "uid=1234(alice) gid=1235(alice) groups=2000(devs)",
    "1234": "uid=1234(alice) gid=1235(alice) groups=2000(devs)",
    "alice:devs": "uid=1234(alice) gid=2000(devs)",
    "77": "uid=77 gid=0(root)",
    "77:78": "uid=77 gid=78",
}


@pytest.mark.requires("rootrange")
@pytest.mark.parametrize("where", ["config", "sandbox", "command"])
@pytest.mark.parametrize("user", [user for user in USERS if user])
def test_the_user_is_the_images(add: Add, user: str, where: str) -> None:
    add("box", user=user if where == "config" else "")
    with Sandbox("box", user=user if where == "sandbox" else None) as sandbox:
        done = sandbox.run(["id"], user=user if where == "command" else None, text=True)
    assert done.stdout.strip() == USERS[user]


def test_without_a_user_it_is_root_without_power(add: Add) -> None:
    add("box")
    assert sh("id", image="box").strip() == USERS[""]
    assert "CapEff:\t0000000000000000" in sh("cat /proc/self/status", image="box")


def test_a_user_that_the_image_does_not_have(add: Add) -> None:
    add("box", user="bob")
    with pytest.raises(ImageConfigError, match="'bob' not found in the root's /etc/passwd"):
        pycontain.run(["id"], image="box")


def test_what_is_written_is_gone(add: Add, store_path: str) -> None:
    add("box", archive(entry("file", data=b"old")))
    script = "rm /bin/ls; echo new > /file; mkdir /d; cat /file"
    assert sh(script, image="box") == "new\n"
    assert sh("cat /file; test -e /bin/ls; test -e /d || echo no", image="box") == "oldno\n"


@pytest.mark.parametrize("profile", ["default", "build", "nested"])
def test_the_stores_layers_cannot_be_changed(add: Add, store_path: str, profile: str) -> None:
    """Whatever its user 0 may do with the root that it sees."""
    add("box", archive(entry("d/file", data=b"old")))
    script = (
        "true; echo new > /d/file; chmod 0 /d /bin; chown 7 /d/file; rm -rf /etc /root; "
        "mount -o remount,rw /; mount --bind / /home; umount -l /; mv /d /e; ln -f /bin/busybox /l"
    )
    sh("true", image="box")
    before = snapshot(f"{store_path}/layers")
    with Sandbox("box", profile=profile, user=0) as sandbox:
        sandbox.run(["busybox", "sh", "-c", script.replace("; ", "; busybox ")])
        assert sandbox.diff()
        assert differences(before, snapshot(f"{store_path}/layers")) == []
    assert differences(before, snapshot(f"{store_path}/layers")) == []


def test_read_only(add: Add) -> None:
    add("box", volumes=("/data",))
    done = pycontain.run(["touch", "/x", "/etc/x"], image="box", read_only=True, text=True)
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize("count", [70, 200])
def test_many_layers(add: Add, count: int) -> None:
    add("box", *(archive(entry(f"f/{i}", data=b"%d" % i)) for i in range(count)))
    assert sh(f"cat /f/0 /f/{count - 1}; ls /f | wc -l", image="box") == f"0{count - 1}{count}\n"


def test_the_same_layer_twice(add: Add) -> None:
    again = archive(entry("a", data=b"1"))
    add("box", again, archive(entry(".wh.a")), again)
    assert sh("cat /a", image="box") == "1"


def test_an_image_in_use_is_kept(add: Add) -> None:
    add("box", archive(entry("file", data=b"kept")))
    with Sandbox("box") as sandbox:
        images.remove("box")
        images.prune()
        assert sandbox.run(["cat", "/file"]).stdout == b"kept"
    images.prune()
    assert images.df().layers == 0


def test_a_layer_that_was_removed_is_unpacked_again(add: Add, store_path: str) -> None:
    add("box", archive(entry("file", data=b"text")))
    assert sh("cat /file", image="box") == "text"
    let_go()
    for name in os.listdir(f"{store_path}/layers"):
        os.rename(f"{store_path}/layers/{name}", f"{store_path}/trash/{name}")
    assert sh("cat /file", image="box") == "text"
    open_store().empty_trash()


def test_a_name_may_stand_for_another_image_later(add: Add) -> None:
    add("box", archive(entry("file", data=b"one")))
    assert sh("cat /file", image="box") == "one"
    add("box", archive(entry("file", data=b"two")))
    assert sh("cat /file", image="box") == "two"


WRONG: Mapping[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no reference": ({"image": "UPPER/case"}, InvalidReferenceError, "UPPER"),
    "no text": ({"image": 5}, ConfigError, "image: 5 is not a reference"),
    "two roots": ({"image": "box", "rootfs": "/"}, ConfigError, "give one of the two"),
    "platform of nothing": ({"platform": "linux/amd64"}, ConfigError, "of which image"),
    "another platform": ({"image": "box", "platform": "linux/arm64"}, PlatformError, "amd64"),
    "nobody's": ({"image": "127.0.0.1:1/none/such"}, RegistryError, "127.0.0.1:1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_image_that_cannot_be_used_is_said_to_be(add: Add, name: str) -> None:
    options, kind, text = WRONG[name]
    add("box")
    with pytest.raises(kind, match=text):
        pycontain.run(["true"], **options)


def test_a_store_that_others_may_write_to_is_refused(add: Add, store_path: str) -> None:
    add("box")
    os.chmod(store_path, 0o777)
    with pytest.raises(StoreError, match="others may write"):
        images.list()


def test_an_event_loop_goes_on_while_an_image_is_fetched(add: Add) -> None:
    add("box")

    async def main() -> tuple[list[str], int]:
        order: list[str] = []

        async def tick() -> None:
            await asyncio.sleep(0)
            order.append("tick")

        async def start() -> int:
            async with AsyncSandbox("box", user=7) as sandbox:
                order.append("started")
                return int((await sandbox.run(["id", "-u"], text=True)).stdout)

        user, _ = await asyncio.gather(start(), tick())
        return order, user

    assert asyncio.run(main()) == (["tick", "started"], 7)


def test_what_is_wrong_with_an_image_is_said_when_it_is_needed(add: Add) -> None:
    with pytest.raises(ConfigError, match="memory"):
        AsyncSandbox("box", memory="much")
    sandbox = AsyncSandbox("Box")
    with pytest.raises(SandboxClosedError, match="not been started"):
        _ = sandbox.enforcement
    with pytest.raises(InvalidReferenceError):
        asyncio.run(sandbox.start())


def test_one_command_of_an_image_in_an_event_loop(add: Add) -> None:
    add("box")
    done = asyncio.run(pycontain.run_async(["cat", "/etc/hostname"], image="box", text=True))
    assert done.stdout == "sandbox\n"
