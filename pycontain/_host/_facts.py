# SPDX-License-Identifier: Apache-2.0
"""Evidence: what this host says of itself. It is read when something has failed, and not before."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from pycontain._contract._machine import parse_kernel

SYSCTLS: Final = (
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.keys.maxkeys",
    "vm.memfd_noexec",
    *(
        f"user.max_{name}_namespaces"
        for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
    ),
)
_EMPTY: Final = frozenset(("/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd"))
_CONTAINERS: Final = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host says.

    Attributes:
        kernel: Its version.
        uid: The caller's effective user id.
        capabilities: The caller's effective ones, a bit each.
        filtered: A seccomp filter is in force for the caller.
        sysctls: Those of SYSCTLS that there are.
        apparmor: The profile that confines the caller; empty: none does.
        selinux: SELinux enforces its policy.
        modules: The security modules, as far as that can be read.
        mapped: The caller's ids exist in its user namespace.
        chrooted: The caller's root is not that of its mount namespace.
        proc: Whether a procfs is mounted on /proc, and writable.
        masks: Mount points below /proc that hide something.
        container: docker, podman, kubernetes or what systemd calls it; empty: none that is known.
        config: The options of the kernel's build, "y" or "m"; None: they cannot be read.
        processes: The soft limit RLIMIT_NPROC; -1: none.
        executable: What runs this program, for a profile that is about it.
    """

    kernel: tuple[int, int, int]
    uid: int
    capabilities: int = (1 << 41) - 1
    filtered: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    apparmor: str = ""
    selinux: bool = False
    modules: tuple[str, ...] = ()
    mapped: bool = True
    chrooted: bool = False
    proc: bool = True
    masks: tuple[str, ...] = ()
    container: str = ""
    config: Mapping[str, str] | None = None
    executable: str = sys.executable

    @classmethod
    def gather(cls) -> Facts:
        """Read them."""
        status = _fields("/proc/self/status")
        mounts = _mounts()
        points = [mount.point for mount in mounts]
        release = os.uname().release
        return cls(
            kernel=parse_kernel(release),
            uid=os.geteuid(),
            capabilities=int(status.get("CapEff", "0"), 16),
            filtered=status.get("Seccomp") == "2",
            sysctls=_sysctls(),
            apparmor=_apparmor(),
            selinux=_read("/sys/fs/selinux/enforce") == "1",
            modules=tuple(filter(None, _read("/sys/kernel/security/lsm").split(","))),
            mapped=_maps("uid_map", os.geteuid()) and _maps("gid_map", os.getegid()),
            chrooted=_chrooted(points),
            proc=any(_is_whole_proc(mount) for mount in mounts),
            masks=tuple(filter(_is_mask, points)),
            container=_container(),
            config=_config(release),
            executable=os.path.realpath(sys.executable or "/usr/bin/python3"),
        )

    def has(self, capability: int) -> bool:
        """Tell whether the caller has a capability in effect."""
        return bool(self.capabilities >> capability & 1)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip().rstrip("\0")
    except OSError:
        return ""


def _fields(path: str) -> dict[str, str]:
    rows = (row.partition(":") for row in _read(path).splitlines())
    return {name: value.strip() for name, _, value in rows}


def _sysctls() -> Mapping[str, str]:
    values = {name: _read(f"/proc/sys/{name.replace('.', '/')}") for name in SYSCTLS}
    return MappingProxyType({name: value for name, value in values.items() if value})


def _apparmor() -> str:
    """Return the name of the profile; the second file is other modules' too."""
    if _read("/sys/module/apparmor/parameters/enabled") != "Y":
        return ""
    label = _read("/proc/self/attr/apparmor/current") or _read("/proc/self/attr/current")
    name = re.sub(r" \(\w+\)$", "", label)
    return "" if name == "unconfined" else name


class _Mount(NamedTuple):
    point: str
    options: str
    kind: str


def _mounts() -> list[_Mount]:
    """Return what is mounted, as far as this process can see it (proc_pid_mountinfo(5))."""
    lines = (line.partition(" - ") for line in _read("/proc/self/mountinfo").splitlines())
    rows = ((left.split(" "), right.split(" ")) for left, _, right in lines)
    return [_Mount(left[4], left[5], right[0]) for left, right in rows if len(left) > 5]


def _is_whole_proc(mount: _Mount) -> bool:
    return mount.point == "/proc" and mount.kind == "proc" and "ro" not in mount.options.split(",")


def _is_mask(point: str) -> bool:
    """Tell whether a mount hides something of /proc: below some points there never is anything."""
    return point.startswith("/proc/") and point not in _EMPTY


def _maps(kind: str, number: int) -> bool:
    """Tell whether an id exists in our user namespace; 65534 stands for those that do not."""
    path = f"/proc/self/{kind}"
    rows = [row.split() for row in _read(path).splitlines()]
    known = any(int(row[0]) <= number < int(row[0]) + int(row[2]) for row in rows)
    return known or not os.path.exists(path)


def _chrooted(points: list[str]) -> bool:
    """Tell whether our root is another than our mount namespace's.

    A directory shows it by itself; of a mount point, only a process that is not in it can tell.
    """
    if points and "/" not in points:
        return True
    own = _root_of("self")
    others = (_root_of(pid) for pid in ("1", str(os.getppid())))
    return any(other[0] == own[0] and other != own for other in others if other)


def _root_of(pid: str) -> tuple[str, ...]:
    """Return the mount namespace of a process, and the mount and the inode of its root."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/mnt")
        fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        mount = _fields(f"/proc/self/fdinfo/{fd}").get("mnt_id", "")
        return namespace, mount, str(os.fstat(fd).st_ino)
    finally:
        os.close(fd)


def _container() -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    found = (kind for path, kind in _CONTAINERS.items() if os.path.exists(path))
    return next(found, "") or _read("/run/systemd/container")


def _config(release: str) -> Mapping[str, str] | None:
    for path, opener in (("/proc/config.gz", gzip.open), (f"/boot/config-{release}", open)):
        with contextlib.suppress(OSError, EOFError), opener(path, "rb") as file:
            rows = re.findall(rb"^CONFIG_(\w+)=([ym])$", file.read(), re.MULTILINE)
            return MappingProxyType({name.decode(): value.decode() for name, value in rows})
    return None
