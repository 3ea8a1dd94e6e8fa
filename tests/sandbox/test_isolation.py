# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""Namespaces, mounts and what can be seen and written inside."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, private_mounts, python, started
from pycontain import Bind, Overlay, Sandbox, Tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
DEFAULT = ALL[:-1]
CANNOT_BE_SHARED = {"user", "mnt", "pid"}


def inside(result: pycontain.Result) -> dict[str, str]:
    return dict(line.split() for line in result.stdout.decode().splitlines())


def outside() -> dict[str, str]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_a_namespace_is_new(name: str, box_options: dict[str, Any]) -> None:
    done = pycontain.run([PROBE, "namespaces"], **box_options, namespaces=ALL)
    assert inside(done)[name] != outside()[name]


def test_the_time_namespace_is_new_only_when_asked_for(sb: Sandbox) -> None:
    found = inside(sb.run([PROBE, "namespaces"]))
    assert {name for name in ALL if found[name] != outside()[name]} == set(DEFAULT)


@pytest.mark.parametrize("name", [name for name in ALL if name not in CANNOT_BE_SHARED])
def test_a_namespace_can_be_shared(name: str, box: Callable[..., Sandbox]) -> None:
    with box(namespaces=tuple(other for other in DEFAULT if other != name)) as sb:
        found = inside(sb.run([PROBE, "namespaces"]))
    if name != "cgroup":  # each command has one of its own, by which it is found
        assert found[name] == outside()[name]


def test_the_network_of_the_host_can_be_shared(box: Callable[..., Sandbox]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, box(network="host") as sb:
        assert inside(sb.run([PROBE, "namespaces"]))["net"] == outside()["net"]

        def answer() -> None:
            server.accept()[0].close()

        server.settimeout(20)
        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        assert sb.run(["nc", "127.0.0.1", str(port)], timeout=20).returncode == 0
        thread.join()


def test_the_default_network_is_a_loopback_alone(sb: Sandbox) -> None:
    names = [
        line.split(":")[0].strip()
        for line in sb.run(["cat", "/proc/net/dev"], text=True).stdout.splitlines()[2:]
    ]
    assert names == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert sb.run(["nc", "127.0.0.1", str(server.getsockname()[1])]).returncode != 0
    script = "nc -l -p 5000 & until nc 127.0.0.1 5000; do sleep 0.01; done"
    assert sb.run(["sh", "-c", script], timeout=20).returncode == 0


def test_all_commands_of_a_sandbox_share_its_namespaces(sb: Sandbox) -> None:
    first, second = (inside(sb.run([PROBE, "namespaces"])) for _ in range(2))
    del first["cgroup"], second["cgroup"]
    assert first == second


def test_two_sandboxes_share_none(box: Callable[..., Sandbox]) -> None:
    with box() as first, box() as second:
        found = [inside(sandbox.run([PROBE, "namespaces"])) for sandbox in (first, second)]
    same = {name for name in DEFAULT if found[0][name] == found[1][name]}
    # The user namespace is made once for each mapping; a command's cgroup namespace is its own.
    assert same <= {"user", "cgroup"}


def test_host_names_are_those_of_the_sandbox(box: Callable[..., Sandbox]) -> None:
    before = socket.gethostname()
    with box(hostname="box-1.example") as sb:
        assert sb.run(["hostname"]).stdout == b"box-1.example\n"
    assert socket.gethostname() == before


def test_only_its_own_processes_are_visible(sb: Sandbox) -> None:
    listing = sb.run(["sh", "-c", "cd /proc; echo [0-9]*"], text=True).stdout.split()
    assert listing[0] == "1"
    assert len(listing) == 2


# Mounts.


def test_no_mount_of_ours_shows_on_the_host(box: Callable[..., Sandbox], tmp_path: Path) -> None:
    def lines() -> list[str]:
        return Path("/proc/self/mountinfo").read_text().splitlines()

    before = lines()
    with box(mounts=[Bind(tmp_path, "/v"), Tmpfs("/t")]) as sb, started(sb):
        assert lines() == before


def test_a_bind_is_read_only_unless_it_is_asked_to_be_writable(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    script = "echo x > /v/file; echo x > /v/new; rm /v/file; mkdir /v/d; chmod 777 /v/file; touch /v/file"
    with box(mounts=[Bind(tmp_path, "/v")]) as sb:
        assert sb.run(["sh", "-c", script], text=True).stderr.count("Read-only file system") == 6
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "kept"}


def test_what_is_written_to_a_writable_bind_belongs_to_the_caller(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o600)
    with box(mounts=[Bind(tmp_path, "/v", read_only=False)]) as sb:
        sb.run(
            ["sh", "-c", "cat /v/file; echo new > /v/file; mkdir /v/d; echo x > /v/d/f"], check=True
        )
    assert (tmp_path / "file").read_text() == "new\n"
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {os.geteuid()}


def test_a_single_file_can_be_bound(box: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with box(mounts=[Bind(tmp_path / "file", "/etc/deep/file")]) as sb:
        assert sb.run(["cat", "/etc/deep/file"]).stdout == b"content"


def test_set_id_bits_and_devices_of_a_bind_do_nothing(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    with box(
        mounts=[Bind(tmp_path, "/v", read_only=False), Tmpfs("/t"), Overlay(("/usr",), "/o")]
    ) as sb:
        for line in sb.run(["cat", "/proc/self/mountinfo"], text=True).stdout.splitlines():
            point, options = line.split()[4:6]
            if point.startswith(("/proc/", "/dev/")) and " devtmpfs " in line:
                continue  # single harmless devices
            assert "nosuid" in options.split(","), line
            if not point.startswith("/dev") and not point.startswith("/proc/"):
                assert "nodev" in options.split(","), line


SUBMOUNTS = """
    import os, subprocess, sys
    import pycontain
    folder, rootfs = sys.argv[1:3]
    for depth in ("a", "a/b"):
        os.makedirs(f"{folder}/{depth}", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", f"{folder}/{depth}"], check=True)
    open(f"{folder}/a/b/file", "w").close()
    if os.geteuid() == 0 and len(sys.argv) > 3:
        os.chown(f"{folder}/a/b/file", 0, 0)
    for read_only in (True, False):
        binds = [pycontain.Bind(folder, "/v", read_only=read_only)]
        done = pycontain.run(["sh", "-c", "for d in /v /v/a /v/a/b; do echo x > $d/new; done; ls /v/a/b; "
                              "umount /v/a/b; mount -o remount,rw /v/a"],
                             rootfs=rootfs, mounts=binds, text=True)
        print(done.stderr.count("Read-only file system"), done.stdout.split()[0], flush=True)
        print(sorted(os.listdir(f"{folder}/a")), sorted(os.listdir(f"{folder}/a/b")), flush=True)
"""


@pytest.mark.requires("userns", "tmpfs_binds")
def test_a_read_only_bind_is_so_in_all_that_is_mounted_below(rootfs: Path, tmp_path: Path) -> None:
    said = python(SUBMOUNTS, tmp_path, rootfs, prefix=private_mounts()).splitlines()
    assert said[:2] == ["3 file", "['b'] ['file']"]
    if os.geteuid() != 0 or said[2].startswith("0"):
        assert said[3] == "['b', 'new'] ['file', 'new']"


def test_a_later_mount_of_the_host_does_not_appear_inside(rootfs: Path, tmp_path: Path) -> None:
    code = """
        import os, subprocess, sys
        import pycontain
        folder, rootfs = sys.argv[1:]
        subprocess.run(["mount", "--make-rshared", "/"], check=True)
        with pycontain.Sandbox(rootfs=rootfs, mounts=[pycontain.Bind(folder, "/v")]) as sb:
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
            open(f"{folder}/late", "w").close()
            print(sb.run(["ls", "/v"]).stdout)
            print(sb.run(["cat", "/proc/self/mountinfo"], text=True).stdout.count(" shared:"))
    """
    assert python(code, tmp_path, rootfs, prefix=private_mounts()) == "b''\n0\n"


@pytest.mark.requires("tmpfs_binds")
def test_a_mount_point_of_any_name_is_in_nobodys_way(rootfs: Path, tmp_path: Path) -> None:
    code = """
        import os, subprocess, sys
        import pycontain
        folder, rootfs = sys.argv[1:]
        for name in ("\\r", "a\\x0bb", "\\x1c\\x85", " \\t\\n\\\\"):
            os.mkdir(f"{folder}/{name}")
            subprocess.run(["mount", "-t", "tmpfs", "none", f"{folder}/{name}"], check=True)
        binds = [pycontain.Bind(folder, "/v")]
        print(len(pycontain.run(["ls", "/v"], rootfs=rootfs, mounts=binds).stdout) > 0)
    """
    assert python(code, tmp_path, rootfs, prefix=private_mounts()) == "True\n"


LIMITED = {
    "tmpfs": ({"mounts": [Tmpfs("/x", size="1M", inodes=50)]}, "/x"),
    "root": ({"disk": "1M", "inodes": 200}, "/tmp"),
    "overlay": (
        {"disk": "1M", "inodes": 200, "mounts": [Overlay(("/usr/share/doc",), "/x")]},
        "/tmp",
    ),
    "shm": ({}, "/dev/shm"),
    "dev": ({}, "/dev"),
}


@pytest.mark.parametrize("options, where", LIMITED.values(), ids=LIMITED)
def test_no_more_bytes_than_the_limit_can_be_written(
    options: dict[str, Any], where: str, box: Callable[..., Sandbox]
) -> None:
    with box(**options) as sb:
        done = sb.run(["dd", "if=/dev/zero", f"of={where}/file", "bs=1M", "count=100"], text=True)
        assert done.returncode != 0
        assert "No space left" in done.stderr or "denied" in done.stderr
        size = sb.run(["sh", "-c", f"wc -c < {where}/file || echo 0"], text=True).stdout
        assert int(size.split()[-1]) <= (64 << 20 if where == "/dev/shm" else 1 << 20)


@pytest.mark.parametrize("options, where", list(LIMITED.values())[:3], ids=list(LIMITED)[:3])
def test_no_more_files_than_the_limit_can_be_made(
    options: dict[str, Any], where: str, box: Callable[..., Sandbox]
) -> None:
    with box(**options) as sb:
        script = f"i=0; while : > {where}/f$i; do i=$((i+1)); [ $i -gt 1000 ] && break; done"
        sb.run(["sh", "-c", script])
        count = len(sb.files.list(where))
    assert count < (50 if where == "/x" else 200)


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.update(
            f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns} {status.st_size}".encode()
        )
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()


def test_what_is_written_to_the_root_is_gone_and_the_host_unchanged(
    box: Callable[..., Sandbox], rootfs: Path
) -> None:
    before = digest(rootfs)
    with box(user="0" if os.geteuid() == 0 else None) as sb:
        sb.run(
            [
                "sh",
                "-c",
                "echo x > /tmp/new; echo x > /etc/passwd; rm -rf /bin/ls /var; mkdir /made",
            ]
        )
        sb.files.write_bytes("/etc/made", b"x")
        assert sb.run(["cat", "/etc/made"]).stdout == b"x"
        assert digest(rootfs) == before
    with box() as sb:
        assert sb.run(["ls", "/etc"], text=True).stdout.split() == ["group", "passwd"]
    assert digest(rootfs) == before


def test_a_read_only_root_is_read_only(rootfs: Path, probe: Path) -> None:
    before = digest(rootfs)
    for root in (rootfs, None):
        with Sandbox(rootfs=root, read_only=True) as sb:
            script = "touch /tmp/new /var/tmp/new; echo x > /dev/shm/works && cat /dev/shm/works"
            done = sb.run(["sh", "-c", script], text=True, cwd="/")
            assert done.stderr.count("Read-only") == (1 if root else 2)
            assert done.stdout == "x\n"
            for path in ("/tmp/new", "/etc/new", "/new"):
                with pytest.raises(pycontain.FilesError) as caught:
                    sb.files.write_bytes(path, b"")
                assert caught.value.errno == errno.EROFS
    assert digest(rootfs) == before


def test_an_overlay_shows_its_layers_topmost_first(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    for name in ("top", "bottom"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "both").write_text(name)
        (tmp_path / name / name).write_text("")
    with box(mounts=[Overlay((tmp_path / "top", tmp_path / "bottom"), "/o")]) as sb:
        assert sb.run(["sh", "-c", "cd /o; echo *; cat both"]).stdout == b"both bottom top\ntop"
        sb.files.write_bytes("/o/both", b"new")
        assert sb.run(["cat", "/o/both"]).stdout == b"new"
    assert (tmp_path / "top/both").read_text() == "top"
    assert digest(tmp_path)


def test_a_mount_over_a_mount_hides_it(box: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with box(mounts=[Bind(tmp_path, "/a"), Tmpfs("/a/in"), Bind("/usr", "/a/in/usr")]) as sb:
        sb.run(["sh", "-c", "echo x > /a/in/file; test -d /a/in/usr/bin"], check=True)
    assert os.listdir(tmp_path / "in") == []


def test_names_that_mount_options_would_split_are_plain_names(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    folder = tmp_path / "a,b:c\\d=e f\n"
    folder.mkdir()
    (folder / "file").write_text("content")
    target = "/v,w:x\\y=z \n"
    with box(mounts=[Bind(folder, target), Overlay((folder,), "/o,p:q")]) as sb:
        assert sb.run(["cat", f"{target}/file", "/o,p:q/file"]).stdout == b"content" * 2
    with Sandbox(rootfs=folder) as sb:
        assert sb.files.read_bytes("/file") == b"content"


ESCAPES = [
    "umount /", "umount -l /", "umount /proc", "mount -t tmpfs none /tmp", "mount --bind / /tmp",
    "mount -o remount,rw /", "mount -t proc none /tmp", "pivot_root . .", "chroot /tmp /bin/true",
    "mknod /tmp/d b 254 0", "mknod /tmp/c c 1 3", "hostname other", "unshare -U true", "unshare -m true",
    "nsenter -t 1 -m true", "echo 1 > /proc/sys/kernel/hostname", "echo b > /proc/sysrq-trigger",
    "echo 0 > /proc/sys/user/max_user_namespaces", "date -s 2001-01-01 2>&1 | grep -v not.permitted | grep -q set", "ip link add d type dummy",
]  # fmt: skip


@pytest.mark.parametrize("script", ESCAPES)
@pytest.mark.parametrize("user", [None, pytest.param("0", marks=pytest.mark.requires("rootrange"))])
def test_what_would_change_the_sandbox_is_refused(
    script: str, user: str | None, sb: Sandbox
) -> None:
    assert sb.run(["sh", "-c", script], user=user, timeout=20).returncode != 0
    assert sb.run(["hostname"]).stdout == b"sandbox\n"


# The host's own user land.


def test_nothing_of_anybody_is_in_the_default_root() -> None:
    own = {str(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)}
    skipped = " -o ".join(f"-path {prefix}" for prefix in own)
    folders = "/home /root /run /var /srv /mnt /media /opt /boot /sys"
    script = f"find {folders} -mindepth 1 \\( {skipped} \\) -prune -o -print 2>/dev/null"
    found = pycontain.run(["sh", "-c", script], text=True, timeout=60).stdout.split()

    above = {str(parent) for prefix in own for parent in Path(prefix).parents}
    assert sorted(set(found) - above - {"/home/sandbox", "/var/tmp"}) == []


def test_secrets_of_etc_are_not_in_the_default_root() -> None:
    done = pycontain.run(
        ["sh", "-c", "cat /etc/shadow /etc/gshadow /etc/sudoers /etc/ssh/*; ls /etc"], text=True
    )
    assert "shadow" not in done.stdout
    assert "ssh" not in done.stdout.replace("ssl", "")
    assert "hostname" in done.stdout


def test_the_default_root_cannot_be_written_where_it_is_the_hosts() -> None:
    done = pycontain.run(
        ["sh", "-c", "touch /usr/x /bin/x /lib/x /etc/ssl/certs/x; touch /tmp/a ~/a && echo home"],
        text=True,
    )
    assert done.stdout == "home\n"
    assert done.stderr.count("touch:") == 4


def test_the_interpreter_of_the_caller_runs_inside() -> None:

    done = pycontain.run(
        [sys.executable, "-c", "import sys, ssl, sqlite3; print(sys.prefix)"], text=True
    )
    assert done.stdout == f"{sys.prefix}\n", done.stderr


DEVICES = [
    "fd",
    "full",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
]


def test_dev_has_what_a_program_needs_and_no_more(sb: Sandbox) -> None:
    assert sb.run(["ls", "/dev"], text=True).stdout.split() == DEVICES
    script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; echo x > /dev/full"
    done = sb.run(["sh", "-c", script], text=True)
    assert done.stdout.split() == ["4", "4"]
    assert "No space left" in done.stderr
