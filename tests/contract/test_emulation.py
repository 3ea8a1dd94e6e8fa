# SPDX-License-Identifier: Apache-2.0
"""Programs of another architecture run where that was asked for, and change nothing of the host."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pycontain
from _archives import archive, entry
from _box import warm
from _boxes import Add, add, busybox, store_path
from _elves import elf
from pycontain import Bind, ConfigError, PlatformError, Sandbox, SpawnError, UnsupportedError
from pycontain._contract._architectures import BY_NAME, magic_and_mask
from pycontain._contract._machine import Handler, Machine
from pycontain._emulation import prepare

__all__ = ["add", "busybox", "store_path", "warm"]

# It writes "emulated" and a newline, and ends.
CODE = (
    struct.pack(
        "<8I",
        *(0xD2800020, 0x100000E1, 0xD2800122, 0xD2800808, 0xD4000001),  # x0, x1, x2, x8; svc
        *(0xD2800000, 0xD2800BA8, 0xD4000001),  # x0, x8; svc
    )
    + b"emulated\n"
)
PROGRAM = elf(machine=183, code=CODE)
ARM64: dict[str, Any] = {"platform": "linux/arm64", "emulate": True, "user": 0}

live = pytest.mark.requires("emulation", "x86_64")


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, Any]:
    """Return options that show the program as /srv/p."""
    tmp_path.chmod(0o755)
    (tmp_path / "p").write_bytes(PROGRAM)
    (tmp_path / "p").chmod(0o755)
    return {"mounts": [Bind(tmp_path, "/srv")]}


def host_entries() -> list[str]:
    path = Path("/proc/sys/fs/binfmt_misc")
    return sorted(os.listdir(path)) if path.is_dir() else []


@live
@pytest.mark.requires("tmpfs_binds")
@pytest.mark.parametrize("profile", ["default", "judge", "build", "nested", "compat"])
def test_it_runs_in_each_profile_and_the_host_is_as_before(
    profile: str, shown: dict[str, Any]
) -> None:
    before = host_entries()
    done = pycontain.run(["/srv/p"], profile=profile, **shown, **ARM64)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"emulated\n", b"")
    assert host_entries() == before


@live
@pytest.mark.requires("tmpfs_binds")
def test_it_is_said(shown: dict[str, Any]) -> None:
    with Sandbox(**shown, **ARM64) as sandbox:
        said = sandbox.enforcement["emulation"]
        assert said.in_force
        assert "qemu-aarch64" in said.by
        for _ in range(2):
            assert sandbox.run(["/srv/p"]).stdout == b"emulated\n"
        # Of this machine as well, and without anything that could be written to.
        script = "/srv/p; cat /proc/sys/fs/binfmt_misc/register; echo $?"
        assert sandbox.run(["sh", "-c", script]).stdout == b"emulated\n1\n"


@live
@pytest.mark.requires("tmpfs_binds")
def test_only_who_asked_has_it(shown: dict[str, Any]) -> None:
    def others() -> None:
        with pytest.raises(PlatformError, match=r"is for arm64, this host is .*emulate=True"):
            pycontain.run(["/srv/p"], user=0, **shown)

    others()
    with Sandbox(**shown, **ARM64) as sandbox:
        others()
        assert sandbox.run(["/srv/p"]).stdout == b"emulated\n"
    others()
    with Sandbox(**shown, **ARM64) as one, Sandbox(**shown, **ARM64) as other:
        assert one.run(["/srv/p"]).stdout == other.run(["/srv/p"]).stdout == b"emulated\n"
    assert asyncio.run(pycontain.run_async(["/srv/p"], **shown, **ARM64)).returncode == 0


@live
@pytest.mark.requires("overlay")
def test_an_image_of_another_platform(add: Add) -> None:
    add(
        "box",
        archive(entry("bin/p", data=PROGRAM, mode=0o755)),
        platform="linux/arm64",
        cmd=("p",),
    )
    with pytest.raises(PlatformError, match="is for arm64"):
        pycontain.run(["p"], image="box", platform="linux/arm64")
    asked: dict[str, Any] = {"platform": "linux/arm64", "emulate": True}
    for _ in range(2):
        assert pycontain.run(["p"], image="box", **asked).stdout == b"emulated\n"
    with Sandbox("box", **asked) as sandbox:
        assert sandbox.run(["p"]).stdout == b"emulated\n"


@live
@pytest.mark.requires("single_id")
def test_with_one_id_it_is_user_0_that_can(shown: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="give user=0"):
        pycontain.run(["/srv/p"], **shown, **{**ARM64, "user": 1000})


OWN = {"amd64": "linux/amd64", "arm64": "linux/arm64"}[Machine.here().platform.architecture]


def test_nothing_is_emulated_that_runs_by_itself() -> None:
    done = pycontain.run(["true"], platform=OWN, emulate=True)
    assert done.returncode == 0
    with Sandbox(platform=OWN, emulate=True) as sandbox:
        assert "emulation" not in sandbox.enforcement


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no platform": ({"emulate": True}, "which platform"),
    "platform alone": ({"platform": "linux/arm64"}, "Only an image has a platform"),
    "unknown": (
        {"platform": "linux/vax", "emulate": True},
        "no QEMU for vax; known are 386, amd64",
    ),
    "no text": ({"platform": 64, "emulate": True}, "is not OS/ARCHITECTURE"),
}


@pytest.mark.parametrize("options, said", WRONG.values(), ids=WRONG)
def test_what_cannot_be_right(options: dict[str, Any], said: str) -> None:
    make: Callable[..., Any] = Sandbox
    with pytest.raises(ConfigError, match=said):
        make(**options)


def old(*handlers: Handler) -> Machine:
    return Machine(platform=Machine.here().platform, kernel=(6, 6, 0), handlers=handlers)


def handler(*, fixed: bool) -> Handler:
    magic, mask = magic_and_mask(BY_NAME["riscv64"])
    path = "/usr/bin/qemu-riscv64-static"
    return Handler(
        name="qemu-riscv64", interpreter=path, fixed=fixed, magic=magic, mask=mask, offset=0
    )


def test_an_older_kernel_has_the_hosts_entries_only() -> None:
    emulation = prepare("riscv64", old(handler(fixed=True)))
    assert emulation.entry == b""
    assert "the host's own binfmt_misc entry qemu-riscv64" in emulation.control.by


@pytest.mark.parametrize("handlers", [(), (handler(fixed=False),)], ids=["none", "not fixed"])
def test_without_them_the_remedy_is_told(handlers: tuple[Handler, ...]) -> None:
    with pytest.raises(UnsupportedError, match=r"no entry for riscv64.*register qemu-riscv64"):
        prepare("riscv64", old(*handlers))


def test_a_qemu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    new = Machine(platform=Machine.here().platform, kernel=(6, 7, 0))
    with pytest.raises(UnsupportedError, match="install qemu-user-static"):
        prepare("arm64", new)
    (tmp_path / "qemu-aarch64").write_bytes(elf(interpreter=b"/lib/ld.so\0"))
    (tmp_path / "qemu-aarch64").chmod(0o755)
    with pytest.raises(UnsupportedError, match="which is not static"):
        prepare("arm64", new)


@live
@pytest.mark.requires("rootrange")
def test_a_qemu_that_the_sandbox_may_not_open_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "qemu-aarch64-static").write_bytes(elf())
    (hidden / "qemu-aarch64-static").chmod(0o755)
    monkeypatch.setenv("PATH", f"{hidden}:{os.environ['PATH']}")
    with pytest.raises(SpawnError, match="may not execute QEMU") as caught:
        pycontain.run(["true"], **ARM64)
    assert (caught.value.step, caught.value.errno) == ("BINFMT", errno.EACCES)
