# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""Files of a sandbox from outside: what was planted leads nowhere, blocks and floods nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _box import PROBE, started
from pycontain import Bind, ConfigError, FilesError, Sandbox, SandboxClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "/etc/passwd"


def sh(sb: Sandbox, script: str) -> None:
    sb.run(["sh", "-c", f"cd /tmp && {script}"], check=True, timeout=20)


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20, 3_000_001])
def test_what_is_written_is_read_again(size: int, sb: Sandbox) -> None:
    data = os.urandom(size)
    assert sb.files.write_bytes("/tmp/file", data) == size
    assert sb.files.read_bytes("/tmp/file") == data
    assert sb.run(["wc", "-c", "/tmp/file"]).stdout.split()[0] == str(size).encode()


def test_writing_replaces_what_was_there(sb: Sandbox) -> None:
    sb.files.write_text("/tmp/file", "a long text")
    sb.files.write_text("/tmp/file", "short \u00e9")
    assert sb.files.read_text("/tmp/file") == "short \u00e9"


def test_what_is_made_belongs_to_the_default_user(sb: Sandbox) -> None:
    sb.files.write_bytes("/tmp/deep/er/file", b"x")
    sb.files.mkdir("/tmp/made", 0o700)
    listing = sb.run(
        ["stat", "-c", "%u %g %a", "/tmp/deep", "/tmp/deep/er/file", "/tmp/made"], text=True
    )
    assert listing.stdout.split("\n")[:-1] == ["1000 1000 755", "1000 1000 644", "1000 1000 700"]
    sb.run(["sh", "-c", "echo more >> /tmp/deep/er/file; rm -r /tmp/deep /tmp/made"], check=True)


@pytest.mark.parametrize("mode", ["rb", "wb", "xb", "ab"])
def test_the_modes_of_open(mode: str, sb: Sandbox) -> None:
    sb.files.write_bytes("/tmp/file", b"old")
    if mode == "xb":
        with pytest.raises(FilesError) as caught:
            sb.files.open("/tmp/file", mode)
        assert caught.value.errno == errno.EEXIST
        sb.files.remove("/tmp/file")
    with sb.files.open("/tmp/file", mode) as file:
        if mode == "rb":
            assert file.read() == b"old"
        else:
            file.write(b"new")
    assert sb.files.read_bytes("/tmp/file") == {"rb": b"old", "ab": b"oldnew"}.get(mode, b"new")


@pytest.mark.parametrize("mode", ["r", "w", "r+b", "", "rb+", "wbx"])
def test_a_mode_that_is_unknown_is_an_error(mode: str, sb: Sandbox) -> None:
    with pytest.raises(FilesError, match="mode"):
        sb.files.open("/tmp/file", mode)


BAD_PATHS: list[Any] = ["", "relative", "/a/../b", "/a\0b", 5, None, b"/tmp", "/" + "a" * 5000]


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path)[:12])
@pytest.mark.parametrize("what", ["read_bytes", "list", "mkdir", "remove", "get", "put"])
def test_a_path_that_cannot_be_right_is_a_config_error(
    what: str, path: Any, sb: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("")
    with pytest.raises((ConfigError, TypeError)):  # noqa: PT012
        if what == "get":
            sb.files.get(path, tmp_path / "target")
        elif what == "put":
            sb.files.put(tmp_path / "source", path)
        else:
            getattr(sb.files, what)(path)
    assert os.listdir(tmp_path) == ["source"]


PLANTED = {
    "final link": ("ln -s /etc/passwd trap", "/tmp/trap"),
    "relative link": ("ln -s ../etc/passwd trap", "/tmp/trap"),
    "link above the root": ("ln -s ../../../../../../etc/passwd trap", "/tmp/trap"),
    "parent link": ("ln -s /etc trap", "/tmp/trap/passwd"),
    "root of a process": ("ln -s /proc/self/root/etc trap", "/tmp/trap/passwd"),
    "cwd of PID 1": ("ln -s /proc/1/cwd/etc trap", "/tmp/trap/passwd"),
    "root of PID 1": ("ln -s /proc/1/root trap", "/tmp/trap/etc/passwd"),
    "descriptor": ("ln -s /proc/self/fd/3 trap", "/tmp/trap"),
    "control socket": ("ln -s /proc/1/fd/3 trap", "/tmp/trap"),
    "dangling link": ("ln -s /tmp/nowhere trap", "/tmp/trap"),
    "loop": ("ln -s trap trap", "/tmp/trap"),
    "no plant, magic": ("true", "/proc/self/root/etc/passwd"),
    "no plant, exe": ("true", "/proc/1/exe"),
}


@pytest.mark.parametrize("script, path", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("what", ["read", "write", "append", "list", "get", "put", "mkdir"])
def test_a_planted_link_is_refused(
    what: str, script: str, path: str, sb: Sandbox, tmp_path: Path
) -> None:
    sh(sb, script)
    (tmp_path / "source").write_text("put")
    before = Path(SECRET).read_bytes()
    actions: dict[str, Callable[[], object]] = {
        "read": lambda: sb.files.read_bytes(path),
        "write": lambda: sb.files.write_bytes(path, b"x"),
        "append": lambda: sb.files.open(path, "ab"),
        "list": lambda: sb.files.list(path),
        "get": lambda: sb.files.get(path, tmp_path / "target"),
        "put": lambda: sb.files.put(tmp_path / "source", path),
        "mkdir": lambda: sb.files.mkdir(path + "/new"),
    }
    with pytest.raises(FilesError) as caught:
        actions[what]()
    assert caught.value.errno in (errno.ELOOP, errno.EACCES, errno.ENOTDIR)
    assert Path(SECRET).read_bytes() == before
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize(
    "path", [path for name, (_, path) in PLANTED.items() if "loop" not in name]
)
def test_a_link_that_is_followed_on_request_ends_inside(path: str, sb: Sandbox) -> None:
    sh(sb, next(script for script, planted in PLANTED.values() if planted == path))
    try:
        data = sb.files.read_bytes(path, follow_symlinks=True)
    except FilesError as error:
        assert error.errno in (errno.ELOOP, errno.ENOENT, errno.EACCES, errno.EXDEV)  # noqa: PT017
    else:
        assert data == sb.run(["cat", "/etc/passwd"]).stdout
        assert data != Path(SECRET).read_bytes()


def test_removing_a_link_leaves_what_it_names(sb: Sandbox, tmp_path: Path) -> None:
    sh(sb, "echo kept > kept; ln -s kept link; mkdir d; ln -s d dlink")
    sb.files.remove("/tmp/link")
    sb.files.remove("/tmp/dlink")
    sb.files.remove("/tmp/d")
    assert [entry.name for entry in sb.files.list("/tmp")] == ["kept"]


def test_removing_a_directory_that_is_not_empty_is_an_error(sb: Sandbox) -> None:
    sh(sb, "mkdir d; touch d/f")
    with pytest.raises(FilesError) as caught:
        sb.files.remove("/tmp/d")
    assert caught.value.errno == errno.ENOTEMPTY


SPECIAL = {
    "fifo": ("mkfifo special", errno.EINVAL),
    "directory": ("mkdir special", errno.EISDIR),
    "socket": (f"{PROBE} socket special", errno.EINVAL),
}
PLACES = {"/dev/null": errno.EINVAL, "/dev/full": errno.EINVAL, "/dev/tty": errno.EINVAL, "/dev/ptmx": errno.ELOOP,
          "/dev/pts/ptmx": errno.EINVAL, "/proc": errno.EISDIR}  # fmt: skip


@pytest.mark.parametrize(
    "script, path, number",
    [(script, "/tmp/special", number) for script, number in SPECIAL.values()]
    + [("true", path, number) for path, number in PLACES.items()],
    ids=[*SPECIAL, *PLACES],
)
@pytest.mark.parametrize("what", ["read", "write", "get"])
def test_what_is_no_file_is_refused_without_waiting_for_it(
    what: str, script: str, path: str, number: int, sb: Sandbox, tmp_path: Path
) -> None:
    sh(sb, script)
    if what == "get" and number == errno.EISDIR:
        return
    with pytest.raises(FilesError) as caught:  # noqa: PT012
        if what == "read":
            sb.files.read_bytes(path)
        elif what == "write":
            sb.files.write_bytes(path, b"x")
        else:
            sb.files.get(path, tmp_path / "target")
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]
    assert os.listdir(tmp_path) == []


def test_a_tree_with_something_else_in_it_is_refused(sb: Sandbox, tmp_path: Path) -> None:
    for number, script in enumerate(
        ("mkfifo t/x", "ln -s /etc/passwd t/x", "mkdir -p t/d; mkfifo t/d/x")
    ):
        sh(sb, f"rm -rf t; mkdir t; {script}")
        with pytest.raises(FilesError):
            sb.files.get("/tmp/t", tmp_path / str(number))
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


SIZES = {
    "sparse": "truncate -s 100G file",
    "a byte too much": "head -c 1001 /dev/zero > file",
}


@pytest.mark.parametrize("script", SIZES.values(), ids=SIZES)
def test_more_than_the_limit_is_an_error_not_memory(
    script: str, sb: Sandbox, tmp_path: Path
) -> None:
    sh(sb, script)
    with pytest.raises(FilesError) as caught:
        sb.files.read_bytes("/tmp/file", limit=1000)
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(FilesError) as caught:
        sb.files.get("/tmp/file", tmp_path / "target", limit=1000)
    assert caught.value.errno == errno.EFBIG


def test_the_limit_of_a_tree_is_that_of_its_sum(sb: Sandbox, tmp_path: Path) -> None:
    sh(sb, "mkdir t; for i in 1 2 3; do head -c 400 /dev/zero > t/$i; done")
    with pytest.raises(FilesError) as caught:
        sb.files.get("/tmp/t", tmp_path / "a", limit=1000)
    assert caught.value.errno == errno.EFBIG
    sb.files.get("/tmp/t", tmp_path / "b", limit=1200)


def test_a_file_of_exactly_the_limit_is_read(sb: Sandbox) -> None:
    sh(sb, "head -c 1000 /dev/zero > file")
    assert sb.files.read_bytes("/tmp/file", limit=1000) == bytes(1000)


def test_a_file_that_grows_ends_at_the_limit(sb: Sandbox, tmp_path: Path) -> None:
    with started(sb, PROBE, "grow", "/tmp/file"):
        with contextlib.suppress(FilesError):
            assert len(sb.files.read_bytes("/tmp/file", limit=1 << 20)) <= 1 << 20
        with contextlib.suppress(FilesError):
            sb.files.get("/tmp/file", tmp_path / "target", limit=1 << 20)
        assert (tmp_path / "target").stat().st_size <= 1 << 20


NAMES = [
    b"new\nline",
    b"\xff\xfe",
    b"\x1b[2J",
    b"-rf",
    b" ",
    b"a" * 255,
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"%s%n",
    b"*",
    b"'\"\\",
]


def test_names_of_any_bytes_are_listed_and_copied(sb: Sandbox, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        sb.files.write_bytes(os.fsdecode(b"/tmp/t/" + name), str(number).encode())
    listed = sb.files.list("/tmp/t")
    assert sorted(os.fsencode(entry.name) for entry in listed) == sorted(NAMES)
    assert {entry.kind for entry in listed} == {"file"}
    sb.files.get("/tmp/t", tmp_path / "t")
    assert sorted(os.listdir(os.fsencode(tmp_path / "t"))) == sorted(NAMES)
    sb.files.put(tmp_path / "t", "/tmp/u")
    script = 'cd /tmp/t; for f in *; do cmp -- "$f" "/tmp/u/$f" || exit 1; done'
    assert sb.run(["sh", "-c", script]).returncode == 0


@pytest.mark.parametrize("name", [b"new\nline", b"\x1b[2J", b"\xff"])
def test_hostile_names_are_escaped_in_errors(name: bytes, sb: Sandbox) -> None:
    with pytest.raises(FilesError) as caught:
        sb.files.read_bytes(os.fsdecode(b"/tmp/" + name))
    assert str(caught.value).isprintable()


def test_a_list_tells_kinds_and_sizes(sb: Sandbox) -> None:
    sh(sb, "mkdir d; echo 1234 > f; ln -s f l; mkfifo p; chmod 4711 f")
    found = {entry.name: (entry.kind, entry.mode) for entry in sb.files.list("/tmp")}
    kinds = {name: kind for name, (kind, _) in found.items()}
    assert kinds == {"d": "directory", "f": "file", "l": "link", "p": "fifo"}
    assert found["f"][1] == 0o4711


MODES = [0o4755, 0o2755, 0o1777, 0o6711, 0o000, 0o200, 0o444]


@pytest.mark.parametrize("mode", MODES, ids=oct)
def test_only_permission_bits_are_copied_out(mode: int, sb: Sandbox, tmp_path: Path) -> None:
    sh(sb, f"mkdir t; echo hello > t/f; chmod {mode:o} t/f")
    sb.files.get("/tmp/t/f", tmp_path / "f")
    status = (tmp_path / "f").stat()
    assert stat.S_IMODE(status.st_mode) == (mode & 0o777) | 0o600
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6700, 0o600, 0o755])
def test_only_permission_bits_are_copied_in(mode: int, sb: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "f").chmod(mode)
    sb.files.put(tmp_path / "f", "/tmp/f")
    assert sb.run(["stat", "-c", "%a", "/tmp/f"], text=True).stdout == f"{mode & 0o777:o}\n"


def test_trees_go_in_and_come_out(sb: Sandbox, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("a/b/c", "a/d", "e"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name * 1000)
    (source / "empty").mkdir()
    sb.files.put(source, "/tmp/tree")
    sb.files.get("/tmp/tree", tmp_path / "target")
    for folder in (source, tmp_path / "target"):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        assert names == ["a", "a/b", "a/b/c", "a/d", "e", "empty"]
    assert (tmp_path / "target/a/b/c").read_text() == "a/b/c" * 1000


REFUSED = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "link to a directory": lambda path: path.symlink_to("/etc"),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("deep", [False, True])
def test_what_is_no_file_is_not_put(
    deep: bool, make: Callable[[Path], object], sb: Sandbox, tmp_path: Path
) -> None:
    source = tmp_path / "tree/item" if deep else tmp_path / "item"
    source.parent.mkdir(exist_ok=True)
    make(source)
    with pytest.raises((FilesError, OSError)):
        sb.files.put(tmp_path / "tree" if deep else source, "/tmp/x")
    assert not sb.run(["sh", "-c", "cat /tmp/x /tmp/x/*"]).stdout


def test_getting_to_a_name_that_exists_is_refused(sb: Sandbox, tmp_path: Path) -> None:
    sh(sb, "mkdir t; echo hello > f")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "file").write_text("kept")
    for source in ("/tmp/t", "/tmp/f"):
        for target in ("link", "file"):
            with pytest.raises(FileExistsError):
                sb.files.get(source, tmp_path / target)
    assert (tmp_path / "file").read_text() == "kept"
    assert not (tmp_path / "outside").exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read", "write", "get tree", "list", "put"])
def test_names_that_are_swapped_all_the_time_never_lead_outside(
    what: str, box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "d/f").write_text("secret")
    (tmp_path / "source").write_text("put")
    # The links name a directory that exists on the host under that very path, and not inside.
    with box() as sb:
        sh(
            sb,
            f"mkdir -p d x/t/d; echo inside > d/f; echo inside > x/t/d/f; ln -s {outside}/d e; ln -s {outside}/d x/t/e",
        )
        with (
            started(sb, PROBE, "swap", "/tmp/d", "/tmp/e"),
            started(sb, PROBE, "swap", "/tmp/x/t/d", "/tmp/x/t/e"),
        ):
            deadline, rounds = time.monotonic() + 0.6, 0
            while time.monotonic() < deadline:
                rounds += 1
                with contextlib.suppress(FilesError, OSError):
                    if what == "read":
                        assert sb.files.read_bytes("/tmp/d/f") == b"inside\n"
                    elif what == "write":
                        sb.files.write_bytes("/tmp/d/new", b"x")
                    elif what == "list":
                        assert {entry.name for entry in sb.files.list("/tmp/d")} <= {"f", "new"}
                    elif what == "put":
                        sb.files.put(tmp_path / "source", "/tmp/d/put")
                    else:
                        sb.files.get("/tmp/x", tmp_path / f"got{rounds}")
    assert rounds > 5
    assert sorted(os.listdir(outside)) == ["d"]
    assert os.listdir(outside / "d") == ["f"]
    for path in tmp_path.glob("got*/**/f"):
        assert path.read_text() in ("inside\n", "")


def test_the_volume_of_the_caller_is_reached_too(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    with box(mounts=[Bind(tmp_path, "/v", read_only=False)]) as sb:
        sb.files.write_bytes("/v/file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
    assert (tmp_path / "file").stat().st_uid == os.geteuid()


def test_a_read_only_volume_stays_as_it_is(box: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with box(mounts=[Bind(tmp_path, "/v")]) as sb:
        for action in (
            lambda: sb.files.write_bytes("/v/file", b"x"),
            lambda: sb.files.write_bytes("/v/new", b"x"),
            lambda: sb.files.mkdir("/v/new"),
            lambda: sb.files.remove("/v/file"),
        ):
            with pytest.raises(FilesError) as caught:
                action()
            assert caught.value.errno == errno.EROFS
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk_is_an_error(box: Callable[..., Sandbox]) -> None:
    with box(disk="1M") as sb:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            sb.files.write_bytes("/tmp/file", bytes(2 << 20))
        sb.files.remove("/tmp/file")
        sb.files.write_bytes("/tmp/file", b"x")


def test_a_deep_tree_is_refused_without_recursing_to_death(sb: Sandbox, tmp_path: Path) -> None:
    sh(sb, "i=0; while [ $i -lt 600 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done")
    with pytest.raises(FilesError):
        sb.files.get("/tmp/d", tmp_path / "d")


def test_a_closed_sandbox_has_no_files(box: Callable[..., Sandbox]) -> None:
    with box() as sb:
        files = sb.files
    with pytest.raises(SandboxClosedError):
        files.read_bytes("/tmp/a")
