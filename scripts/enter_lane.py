# SPDX-License-Identifier: Apache-2.0
"""Prepare a mount namespace for one lane, optionally become an ordinary user, run the command.

    unshare --mount --propagation private -- python3 scripts/enter_lane.py [OPTIONS] -- COMMAND...

Started by root in a mount namespace of its own, as `scripts/lanes.py` does. Nothing outside that
namespace changes: no user is created and no permission is widened on the real file system.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import stat
import sys
import tempfile
from pathlib import Path

MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000
MNT_DETACH = 2
SEARCH, READ = 0o001, 0o004  # for others; for the owner, six bits higher
NAME = "pycontain-test"
# Far above what a distribution hands out, and 64 Ki of them.
SUBIDS = "1500000000:65536"
CGROUP = Path("/sys/fs/cgroup")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, as the system call does."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [os.fsencode(text) for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(target: str) -> None:
    """Unmount lazily, as the system call does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def blocked(path: Path, uid: int) -> Path | None:
    """Return the first directory on the way to `path` that the user may not search."""
    for part in (*reversed(path.parents), path):
        wanted = SEARCH | READ if part == path else SEARCH
        status = part.stat()
        if status.st_uid == uid:
            wanted <<= 6
        if stat.S_ISDIR(status.st_mode) and status.st_mode & wanted != wanted:
            return part
    return None


def expose(paths: list[Path], uid: int) -> None:
    """Make each directory reachable for the user by covering those that bar the way.

    A covered directory becomes an empty tmpfs in which only the wanted paths are bound, so that
    nothing else in it (a home directory, say) becomes readable.
    """
    while barriers := {barrier for path in paths if (barrier := blocked(path, uid))}:
        barrier = min(barriers, key=lambda path: len(path.parts))
        wanted = [path for path in paths if path.is_relative_to(barrier)]
        if barrier in wanted:
            wanted += barrier.iterdir()
            wanted.remove(barrier)
        links = {path: path.readlink() for path in wanted if path.is_symlink()}
        handles = {path: os.open(path, os.O_PATH) for path in wanted if path not in links}
        mount("tmpfs", barrier, "tmpfs", data="mode=755,size=1m")
        for path, target in links.items():
            path.symlink_to(target)
        for path, handle in handles.items():
            bind(path, handle)


def bind(path: Path, handle: int) -> None:
    """Bind what `handle` refers to at `path`, which is made."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        path.mkdir(mode=0o755, exist_ok=True)
    else:
        path.touch()
    mount(f"/proc/self/fd/{handle}", path, flags=MS_BIND | MS_REC)
    os.close(handle)


def grant_ids(uid: int) -> None:
    """Give the user a name and a range of subordinate ids, in this mount namespace only."""
    for path, line in (
        ("/etc/passwd", f"{NAME}:x:{uid}:{uid}::/nonexistent:/bin/sh"),
        ("/etc/group", f"{NAME}:x:{uid}:"),
        ("/etc/subuid", f"{NAME}:{SUBIDS}"),
        ("/etc/subgid", f"{NAME}:{SUBIDS}"),
    ):
        with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as copy:
            copy.write(Path(path).read_text() + line + "\n")
            copy.flush()
            os.fchmod(copy.fileno(), 0o644)
            mount(copy.name, path, flags=MS_BIND)


def open_fuse() -> None:
    """Let everybody open /dev/fuse, as udev does (50-udev-default.rules), which not all hosts have.

    The node is another one, in this mount namespace only.
    """
    if not Path("/dev/fuse").exists() or Path("/dev/fuse").stat().st_mode & 0o006 == 0o006:
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        mount("tmpfs", folder, "tmpfs", data="mode=755,size=4k")
        node = Path(folder, "fuse")
        os.mknod(node, stat.S_IFCHR, Path("/dev/fuse").stat().st_rdev)
        node.chmod(0o666)
        mount(str(node), "/dev/fuse", flags=MS_BIND)
        unmount(folder)


def delegate(uid: int) -> None:
    """Move to a group of cgroup v2 within one that the user owns, as systemd's Delegate=yes does.

    The group above ours can thus hand its controllers to groups that the user makes.
    """
    top = CGROUP / NAME
    top.mkdir(exist_ok=True)
    enable_controllers(CGROUP)
    enable_controllers(top)
    ours = top / "runner"
    ours.mkdir(exist_ok=True)
    (ours / "cgroup.procs").write_text("0")
    files = Path("/sys/kernel/cgroup/delegate").read_text().split()
    for group in (top, ours):
        os.chown(group, uid, uid)
        for name in files:
            if (group / name).exists():
                os.chown(group / name, uid, uid)


def enable_controllers(group: Path) -> None:
    """Let the groups below have every controller that this one has."""
    names = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))


def become(uid: int) -> None:
    """Drop every privilege for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int, help="run as this ordinary user")
    parser.add_argument("--subids", action="store_true", help="with 64 Ki subordinate ids")
    parser.add_argument("--delegate", action="store_true", help="in a cgroup v2 of the user's own")
    parser.add_argument("--need", type=Path, action="append", default=[], help="must be readable")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    # A system under systemd has shared mounts: what leaks out of a sandbox then shows up here.
    mount("none", "/", flags=MS_REC | MS_SHARED)
    if options.uid is not None:
        here = Path.cwd()
        expose([path.resolve() for path in options.need], options.uid)
        open_fuse()
        if options.subids:
            grant_ids(options.uid)
        if options.delegate:
            delegate(options.uid)
        os.chdir(here)
        become(options.uid)
        unreadable = [path for path in options.need if not os.access(path, os.R_OK | os.X_OK)]
        if unreadable:
            sys.exit(f"uid {options.uid} cannot read {', '.join(map(str, unreadable))}")
    os.execvp(options.command[0], options.command)  # noqa: S606


if __name__ == "__main__":
    main()
