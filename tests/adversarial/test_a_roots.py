# SPDX-License-Identifier: Apache-2.0
"""A: the set-up against a root and volumes that an adversary filled, and goes on changing."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycontain
from _attackers import (
    MOUNT,
    SECRET,
    Call,
    mount_points,
    rounds,
    run_inside,
    run_outside,
    snapshot,
    swapped,
)
from _box import settles
from pycontain import Bind, Overlay, PycontainError, Sandbox, SpawnError, Tmpfs
from pycontain.selftest._programs import Result

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory of the host with a secret, which no sandbox is given."""
    folder = tmp_path / "outside"
    for name in ("sys/kernel", "self", "pts", "shm", "d"):
        (folder / name).mkdir(parents=True)
    (folder / "secret").write_text(SECRET)
    (folder / "sys/kernel/core_pattern").write_text("core")
    for path in folder.rglob("*"):
        path.chmod(0o777)
    return folder


@pytest.fixture
def hostile(rootfs: Path, tmp_path: Path) -> Path:
    """Return a root of one's own with programs, to fill."""
    root = tmp_path / "hostile"
    root.mkdir(mode=0o755)
    shutil.copytree(rootfs / "bin", root / "bin", symlinks=True)
    return root


LINKS = {
    "absolute": "{outside}",
    "relative": "../outside",
    "above": "../../../../../../..{outside}",
    "dangling": "{outside}/new",
    "root of a process": "/proc/self/root{outside}",
    "working directory": "/proc/self/cwd",
}
NAMES = ("proc", "sys", "dev", "tmp", "etc", "home")


@pytest.mark.parametrize("text", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("name", NAMES)
def test_a1_a_name_of_the_root_that_is_a_link_leads_nowhere(
    name: str, text: str, hostile: Path, outside: Path
) -> None:
    (hostile / name).symlink_to(text.format(outside=outside))
    if text.startswith(("{outside}", "..")) and "new" not in text:
        assert (hostile / name / "secret").read_text() == SECRET or "../.." in text
    before = snapshot(outside)
    with contextlib.suppress(SpawnError):
        done = pycontain.run(
            ["sh", "-c", f"cat /{name}/secret; echo x > /{name}/new; cat /proc/self/status"],
            rootfs=hostile,
            text=True,
        )
        assert SECRET not in done.stdout
        assert "Name:" in done.stdout or name == "proc"
    assert snapshot(outside) == before


@pytest.mark.parametrize("name", NAMES)
def test_a1_a_name_of_the_root_that_is_a_file_stays_one(
    name: str, hostile: Path, outside: Path
) -> None:
    (hostile / name).write_text("a file")
    with contextlib.suppress(SpawnError):
        pycontain.run(["true"], rootfs=hostile)
    assert (hostile / name).read_text() == "a file"


def test_a2_no_mount_is_attached_through_a_link_in_a_volume(
    rootfs: Path, tmp_path: Path, outside: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "way").symlink_to(outside)
    before = snapshot(outside)
    for target in ("/v/way/new", "/v/way/d", "/v/way"):
        with (
            contextlib.suppress(SpawnError),
            Sandbox(
                rootfs=rootfs, mounts=[Bind(volume, "/v", read_only=False), Tmpfs(target)]
            ) as sandbox,
        ):
            sandbox.run(["sh", "-c", f"echo x > {target}/written"])
    assert snapshot(outside) == before
    assert os.listdir(volume) == ["way"]


def test_a2_a_volume_whose_parents_cannot_be_listed_works(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/c/f").write_text("content")
    for part in ("a", "a/b"):
        (tmp_path / part).chmod(0o711)
    mounts = (Bind(tmp_path / "a", "/v"), Tmpfs("/v/b/c"))
    done = pycontain.run(["ls", "/v/b/c"], rootfs=rootfs, mounts=mounts, text=True, check=True)
    assert done.stdout == ""
    assert (tmp_path / "a/b/c/f").read_text() == "content"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/v/d/x", "/v/d"])
def test_a3_names_that_are_swapped_during_starts_never_lead_outside(
    target: str, box: Callable[..., Sandbox], tmp_path: Path, outside: Path
) -> None:
    volume = tmp_path / "volume"
    (volume / "d/x").mkdir(parents=True)
    (outside / "x").mkdir()
    (volume / "e").symlink_to(outside)
    before, volume_bind = snapshot(outside), Bind(volume, "/v", read_only=False)
    starts = 0
    with swapped(volume / "d", volume / "e"):
        # The control: who resolves the name gets the one and the other.
        assert settles((volume / "d/secret").exists)
        assert settles(lambda: not (volume / "d/secret").exists())
        for _ in rounds():
            with (
                contextlib.suppress(SpawnError),
                box(mounts=[volume_bind, Tmpfs(target)]) as sandbox,
            ):
                starts += 1
                points = mount_points(sandbox)
                own = [point for point, _ in points if point.startswith(("/v", str(outside)))]
                assert sorted(own) in (
                    ["/v", "/v/d"],
                    ["/v", "/v/d/x"],
                    ["/v", "/v/e"],
                    ["/v", "/v/e/x"],
                )
                sandbox.run(["sh", "-c", f"echo x > {target}/written; cat /v/*/secret"])
    assert starts > 0
    assert snapshot(outside) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dev", "proc", "tmp"])
def test_a3_a_root_that_changes_during_starts_never_leads_outside(
    name: str, hostile: Path, tmp_path: Path, outside: Path
) -> None:
    (hostile / name).mkdir()
    (hostile / "link").symlink_to(outside)
    before, counts = snapshot(outside), {"started": 0, "refused": 0}
    with swapped(hostile / name, hostile / "link"):
        for _ in rounds():
            try:
                done = pycontain.run(["cat", f"/{name}/secret"], rootfs=hostile, text=True)
            except PycontainError:
                counts["refused"] += 1
            else:
                counts["started"] += 1
                assert SECRET not in done.stdout
    assert sum(counts.values()) > 5
    assert snapshot(outside) == before


@pytest.mark.parametrize("kind", ["file", "link", "fifo", "directory"])
def test_a4_masks_are_the_real_null_device(kind: str, hostile: Path, outside: Path) -> None:
    null = hostile / "dev/null"
    null.parent.mkdir()
    makers: dict[str, Callable[[], object]] = {
        "file": lambda: null.write_text(SECRET),
        "link": lambda: null.symlink_to(outside / "secret"),
        "fifo": lambda: os.mkfifo(null),
        "directory": null.mkdir,
    }
    makers[kind]()
    script = (
        "for f in /dev/null /proc/timer_list /proc/keys; do stat -Lc '%t:%T %F' $f; cat $f; done"
    )
    done = pycontain.run(["sh", "-c", script], rootfs=hostile, text=True, timeout=20)
    said = set(done.stdout.splitlines())
    assert "1:3 character special file" in said
    # Where only the host's root could read them they are left as they are.
    assert said <= {"1:3 character special file", "0:0 regular empty file"}
    assert (outside / "secret").read_text() == SECRET


def test_a5_a_terminal_is_ours_whatever_the_root_has_in_dev(hostile: Path) -> None:
    (hostile / "dev/pts").mkdir(parents=True)
    for name in ("console", "ptmx", "tty", "pts/0", "pts/ptmx"):
        (hostile / "dev" / name).write_text("planted")
    with Sandbox(rootfs=hostile) as sandbox:
        script = "tty; stat -c %F $(tty) /dev/ptmx /dev/pts/ptmx"
        with sandbox.popen(["sh", "-c", script], pty=True) as process:
            said = process.communicate(timeout=20)[0].split(b"\r\n")
    assert said[:2] == [b"/dev/pts/0", b"character special file"]
    assert b"regular file" not in said


def test_a6_a_false_proc_in_the_root_receives_nothing(hostile: Path) -> None:
    false = hostile / "proc"
    for name in ("self/uid_map", "self/gid_map", "self/setgroups", "self/oom_score_adj",
                 "self/attr/exec", "sys/user/max_user_namespaces", "sys/kernel/core_pattern",
                 "sysrq-trigger", "1/oom_score_adj"):  # fmt: skip
        (false / name).parent.mkdir(parents=True, exist_ok=True)
        (false / name).write_text("untouched")
        (false / name).chmod(0o666)
    before = snapshot(false)
    hosts = Path("/proc/sys/user/max_user_namespaces").read_text()
    done = pycontain.run(["cat", "/proc/sys/user/max_user_namespaces"], rootfs=hostile, text=True)
    assert done.stdout == "0\n"
    assert snapshot(false) == before
    assert Path("/proc/sys/user/max_user_namespaces").read_text() == hosts


def escape_from_chroot(secret: Path) -> tuple[Call, ...]:
    """What works where a program may chroot: keep the old root open, then walk up from it."""
    return (
        Call("openat", (-100, "/", 0, 0)),
        Call("mkdirat", (-100, "jail", 0o755), optional=True),
        Call("chroot", ("jail",)),
        Call("fchdir", (Result(0),)),
        *(Call("chdir", ("..",)) for _ in range(8)),
        Call("chroot", (".",)),
        Call("openat", (-100, str(secret), 0, 0)),
    )


def test_a8_root_that_may_chroot_gets_no_further_than_its_root(
    box: Callable[..., Sandbox], outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = escape_from_chroot(outside / "secret")
    monkeypatch.chdir(tmp_path)
    (control,) = run_outside(program, way="apart")
    assert control.last >= 0
    with box(profile="build", mounts=[MOUNT]) as sandbox:
        (found,) = run_inside(sandbox, program)
    assert str(found) == "ENOENT"
    assert len(found.results) == len(program)


def test_a11_set_id_programs_of_a_root_give_nothing(rootfs: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(rootfs, root, symlinks=True)
    own = root / "bin/su-id"
    shutil.copy(root / "bin/busybox", own)
    own.chmod(0o6755)
    assert own.stat().st_mode & 0o6000
    script = "ln -s /bin/su-id /tmp/id; /tmp/id -u; /tmp/id -g"
    for profile in ("default", "nested"):
        done = pycontain.run(
            ["sh", "-c", script], rootfs=root, profile=profile, user=1000, text=True
        )
        assert done.stdout.split() == ["1000", "1000"], done


XATTRS = {
    "redirect": "/../../outside",
    "redirect above": "../../outside",
    "metacopy": "",
    "opaque": "y",
    "origin": "x" * 20,
}


@pytest.mark.requires("overlay")
@pytest.mark.parametrize("space", ["user", "trusted"])
@pytest.mark.parametrize("name, value", XATTRS.items(), ids=XATTRS)
def test_a12_overlay_marks_in_a_layer_lead_nowhere(
    name: str, value: str, space: str, hostile: Path, outside: Path
) -> None:
    (hostile / "d").mkdir()
    (hostile / "d/f").write_text("inside")
    for path in (hostile / "d", hostile / "d/f"):
        try:
            os.setxattr(path, f"{space}.overlay.{name.split(maxsplit=1)[0]}", value.encode())
        except OSError:
            # Nobody can plant it here: this user, this file system.
            assert not os.listxattr(path)
    script = "cat /d/secret /d/f /o/d/secret /o/d/f; ls /d /o/d; echo x > /d/new"
    done = pycontain.run(
        ["sh", "-c", script], rootfs=hostile, mounts=[Overlay((hostile,), "/o")], text=True
    )
    assert SECRET not in done.stdout
    assert "pts" not in done.stdout
    assert not (outside / "new").exists()


FIELDS = {
    "a descriptor": "/proc/self/fd/3",
    "another root": "/proc/self/root/../..",
    "huge": "x" * 500_000,
    "NUL": "/a\0b",
    "escapes": "\x1b]0;owned\x07",
}


@pytest.mark.parametrize("value", FIELDS.values(), ids=FIELDS)
def test_a13_nothing_but_ids_is_taken_from_the_files_of_a_root(value: str, hostile: Path) -> None:
    (hostile / "etc").mkdir()
    (hostile / "etc/passwd").write_text(f"victim:x:1000:1000:{value}:{value}:{value}\n")
    (hostile / "etc/hostname").write_text(value)
    script = 'pwd; echo "$HOME"; uname -n; id -u; echo "${#SHELL}"'
    done = pycontain.run(["sh", "-c", script], rootfs=hostile, user="victim", text=True)
    assert done.stdout.splitlines() == ["/", "/tmp", "sandbox", "1000", "0"]


@pytest.mark.parametrize("count", [100, 500])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a14_many_volumes_start_or_are_refused_in_time(
    kind: str, count: int, rootfs: Path, tmp_path: Path
) -> None:
    mounts: list[Bind | Tmpfs] = [
        Tmpfs(f"/v/{number}", size="1M") if kind == "tmpfs" else Bind(tmp_path, f"/v/{number}")
        for number in range(count)
    ]
    begun = time.monotonic()
    refusable = contextlib.suppress(PycontainError) if count > 250 else contextlib.nullcontext()
    with refusable:
        done = pycontain.run(["ls", "/v"], rootfs=rootfs, mounts=mounts, text=True)
        assert len(done.stdout.split()) == count
    assert time.monotonic() - begun < 60
