# SPDX-License-Identifier: Apache-2.0
"""Bundles: those of a sandbox run with other runtimes too."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from _oci_command import PROGRAM
from pycontain import Bind, Overlay, Sandbox, Tmpfs, _seccomp
from pycontain._oci._copy import Copy
from pycontain.errors import ConfigError
from pycontain.oci import Bundle

# Hidden from a client that refuses a hierarchy of version 2 beside those of version 1 (crun).
ONE_VERSION = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory that the ids of a bundle can reach."""
    for path in (tmp_path, *tmp_path.parents):
        if path == Path("/tmp"):
            break
        path.chmod(path.stat().st_mode | 0o111)
    return tmp_path


@pytest.mark.requires("root", "cgroup")
@pytest.mark.parametrize("program", ["crun", "runc", "pycontain-runtime"])
@pytest.mark.parametrize("root", ["userland", "copied", "shown"])
def test_a_sandbox_as_a_bundle_runs(folder: Path, rootfs: Path, program: str, root: str) -> None:
    path = str(PROGRAM) if program == PROGRAM.name else shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    shown = folder / "shown"
    shown.mkdir()
    shown.joinpath("file").write_text("content\n")
    roots: dict[str, dict[str, Any]] = {
        "userland": {},
        "copied": {"rootfs": rootfs},
        "shown": {"rootfs": rootfs, "read_only": True},
    }
    mounts: list[Bind | Tmpfs | Overlay] = [Bind(shown, "/tmp/shown"), Tmpfs("/tmp/own", size="1M")]
    if root == "shown":  # where nothing can be made, mount points must be there
        mounts = [Tmpfs("/tmp", size="1M")]
    script = (
        "id -u; hostname; grep -c . /tmp/shown/file; grep -E '^(Seccomp|NoNewPrivs):' "
        "/proc/self/status; echo $WORD; pwd; touch /file 2>/dev/null; echo $?"
    )
    sandbox = Sandbox(
        **roots[root], mounts=mounts, hostname="box", env={"WORD": "said"}, cwd="/tmp", memory="64M"
    )
    sandbox.to_bundle(folder / "bundle", ["sh", "-c", script])
    name = f"pycontain-bundle-{os.getpid()}"
    where = ("--root", f"{folder}/state", "run", "--bundle", f"{folder}/bundle")
    command = [path, *where, name]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", ONE_VERSION, "sh", *command],
        input="",  # crun gives the container's user what it is given, /dev/null as well
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.split()
    assert lines[:2] == ["1000", "box"], done.stderr
    if root != "shown":
        assert lines[2] == "1"
    assert lines[-7:] == ["NoNewPrivs:", "1", "Seccomp:", "2", "said", "/tmp", "1"]


def test_a_bundle_is_a_valid_configuration(folder: Path) -> None:
    Sandbox(network="host", pids=7, cpus=1.5).to_bundle(folder / "b")
    bundle = Bundle(folder / "b")
    assert bundle.config.process is not None
    assert bundle.config.process.args == ("sh",)
    kinds = {namespace.type for namespace in bundle.config.linux.namespaces}
    assert kinds == {"user", "mount", "pid", "ipc", "uts", "cgroup"}
    assert bundle.config.linux.resources.pids_limit == 7
    assert bundle.config.linux.resources.cpu.quota == 150_000
    rules = _seccomp.from_oci(bundle.config.linux.seccomp or {})
    assert rules.rules


@pytest.mark.parametrize(
    "options, name",
    [
        ({"wall_limit": 1}, "wall_limit"),
        ({"cpu_limit": 1}, "cpu_limit"),
        ({"output_limit": 1}, "output_limit"),
        ({"audit": True}, "audit"),
        ({"mounts": [Overlay(("/usr",), "/x")]}, "mounts: an Overlay"),
    ],
)
def test_what_a_bundle_cannot_express_is_named(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name} cannot be expressed in a bundle"):
        Sandbox(**options).to_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Sandbox().to_bundle(tmp_path)


@pytest.mark.requires("root")
def test_layers_are_copied_as_overlayfs_shows_them(tmp_path: Path) -> None:
    low, high, target = (tmp_path / name for name in ("low", "high", "target"))
    for path in (low, high, target):
        path.mkdir()
    for name in ("kept", "gone", "replaced", "dir/below", "opaque/below"):
        low.joinpath(name).parent.mkdir(exist_ok=True)
        low.joinpath(name).write_text(name)
    os.link(low / "kept", low / "link")
    low.joinpath("to-dir").symlink_to("/etc")
    os.mknod(high / "gone", stat.S_IFCHR, 0)
    high.joinpath("replaced").mkdir()
    high.joinpath("opaque").mkdir()
    os.setxattr(high / "opaque", "trusted.overlay.opaque", b"y")
    high.joinpath("to-dir").mkdir()
    high.joinpath("to-dir/passwd").write_text("inside")
    os.chmod(high / "to-dir/passwd", 0o4755)
    copy = Copy(str(target), 1000)
    copy.add(str(low))
    copy.add(str(high))
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert found == [
        *("dir", "dir/below", "kept", "link", "opaque", "replaced", "to-dir", "to-dir/passwd"),
    ]
    assert os.path.samefile(target / "kept", target / "link")
    passwd = target.joinpath("to-dir/passwd").lstat()
    assert (passwd.st_uid, stat.S_IMODE(passwd.st_mode)) == (1000, 0o4755)
