# SPDX-License-Identifier: Apache-2.0
"""OCI runtimes: a bundle each, with the same namespaces, limits, filter and mounts."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.runners.base import Runner
from benchmarks.runners.commands import captured
from benchmarks.site import MEMORY, PIDS, hierarchies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.site import Site

CLONE_NEWNS = 0x20000
MS_BIND = 4096
MS_PRIVATE_REC = 1 << 18 | 16384
MNT_DETACH = 2
ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


STEPS = ("create", "start", "state", "delete")


def mount(target: str, kind: str, *options: str) -> dict[str, object]:
    """Return an entry of the configuration's mounts."""
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def configuration(site: Site, program: str, cgroup: str) -> dict[str, object]:
    """Return config.json (OCI runtime specification 1.0)."""
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    namespaces = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 1000, "gid": 1000},
            "args": [f"/bin/{program}"],
            "env": ["PATH=/bin", "HOME=/tmp"],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {
                kind: [] for kind in ("bounding", "effective", "inheritable", "permitted")
            },
        },
        "root": {"path": site.root, "readonly": True},
        "hostname": "sandbox",
        "mounts": [
            mount("/proc", "proc"),
            mount("/dev", "tmpfs", "nosuid", "mode=755", "size=64k"),
            mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666"),
            mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=64m"),
            mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", "size=64m"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            "uidMappings": ids,
            "gidMappings": ids,
            "cgroupsPath": cgroup,
            "resources": {"memory": {"limit": MEMORY}, "pids": {"limit": PIDS}},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": [ARCHITECTURES[platform.machine()]],
                "syscalls": [{"names": list(site.allowed), "action": "SCMP_ACT_ALLOW"}],
            },
        },
    }


class OciRuntime(Runner):
    """The commands that all runtimes share."""

    #: Global options before the command.
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._serial = itertools.count()
        self._local = threading.local()
        self._base = Path(site.work, f"{self.name}-{os.getpid()}")
        self._base.mkdir()
        self._command = (self.program or "", *self.options, "--root", f"{self._base}/state")

    def _bundle(self, program: str) -> str:
        """Return a bundle with a cgroup of its own."""
        bundle = self._base / f"bundle-{next(self._serial)}-{program}"
        bundle.mkdir()
        cgroup = f"/{self.site.name}/{self.name}-{os.getpid()}-{bundle.name}"
        config = configuration(self.site, program, cgroup)
        (bundle / "config.json").write_text(json.dumps(config))
        return str(bundle)

    def _name(self) -> str:
        return f"{self.site.name}-{os.getpid()}-{next(self._serial)}"

    def run(self, program: str) -> bytes:
        bundle = getattr(self._local, program, None)  # one per thread: a cgroup holds one container
        if bundle is None:
            bundle = self._bundle(program)
            setattr(self._local, program, bundle)
        return captured([*self._command, "run", "--bundle", bundle, self._name()])

    def step(self, wanted: str) -> float:
        """Lead a container through its life; return the seconds that one of STEPS took."""
        name, bundle = self._name(), getattr(self._local, "true", None) or self._bundle("true")
        self._local.true = bundle
        took = {}
        for step in STEPS:
            if step == "delete":
                self._ended(name)
            command = [*self._command, step, *(("--bundle", bundle) * (step == "create")), name]
            start = time.perf_counter()
            # Not captured: the container keeps the streams open.
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            took[step] = time.perf_counter() - start
        return took[wanted]

    def _ended(self, name: str) -> None:
        while b"stopped" not in captured([*self._command, "state", name]):
            time.sleep(0.001)

    @contextlib.contextmanager
    def hold(self) -> Iterator[str]:
        name = self._name()
        # Not captured: the container keeps the streams open.
        # Without a keyring: a user may have 200 (/proc/sys/kernel/keys/maxkeys), runc then fails.
        options = ("--detach", "--no-new-keyring", "--bundle", self._bundle("hold"))
        subprocess.run(
            [*self._command, "run", *options, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        try:
            yield name
        finally:
            captured([*self._command, "delete", "--force", name])

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        with self.hold() as name:
            yield lambda program: captured([*self._command, "exec", name, f"/bin/{program}"])


class Runc(OciRuntime):
    """The reference runtime."""

    name = "runc"
    program = "runc"
    asked = "run of a bundle: all namespaces, 64 Ki ids, seccomp by names, memory and pids limits"


class Crun(OciRuntime):
    """The runtime in C."""

    name = "crun"
    program = "crun"
    asked = Runc.asked
    options = ("--cgroup-manager=cgroupfs",)

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        hide_unified()
        self._null = own_null()


class PycontainRuntime(OciRuntime):
    """Ours, as a command."""

    name = "pycontain-runtime"
    program = str(Path(sys.executable).with_name(name))
    asked = Runc.asked


class PodmanRuntime(Runner):
    """`podman run` with one of the runtimes: what an engine's user waits for."""

    asked = "podman run --rm --network none --read-only, and a runtime; podman's own filter"
    program = "podman"
    runtime: ClassVar[type[OciRuntime]]

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        own_mounts()
        if self.runtime is Crun:
            hide_unified()
        base = Path(site.work, f"p{os.getpid()}")  # it wants short names
        places = [f"--{name}={base / name}" for name in ("root", "runroot", "tmpdir")]
        own = ("--cgroup-manager=cgroupfs", "--events-backend=file", "--storage-driver=overlay")
        runtime = f"--runtime={shutil.which(self.runtime.program or '')}"
        # Its own limits are higher than root may have here.
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        group = f"--cgroup-parent=/{site.name}/{self.name}"
        how = ("--rm", "--network=none", "--read-only", "--read-only-tmpfs=false")
        words = (*how, *limits, group, f"--memory={MEMORY}", f"--pids-limit={PIDS}", "--rootfs")
        self._command = ["podman", *places, *own, runtime, "run", *words, f"{site.root}:O"]

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or cls.runtime.missing()

    def run(self, program: str) -> bytes:
        return captured([*self._command, f"/bin/{program}"])


class PodmanPycontain(PodmanRuntime):
    """Podman with ours."""

    name = "podman_pycontain"
    runtime = PycontainRuntime


class PodmanCrun(PodmanRuntime):
    """Podman with crun."""

    name = "podman_crun"
    runtime = Crun


class PodmanRunc(PodmanRuntime):
    """Podman with runc."""

    name = "podman_runc"
    runtime = Runc


def own_mounts() -> None:
    """Enter a mount namespace whose mounts nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_PRIVATE_REC, None):
        raise OSError(ctypes.get_errno(), "private mount namespace")


def own_null() -> tempfile.TemporaryDirectory[str]:
    """Cover /dev/null with a node of our own: crun chowns what it is given for the user.

    Returns:
        Where the node is, as long as it is needed.
    """
    own_mounts()
    folder = tempfile.TemporaryDirectory(dir="/dev", prefix="pycontain-bench-")
    node = Path(folder.name, "null")
    os.mknod(node, stat.S_IFCHR, Path("/dev/null").stat().st_rdev)
    node.chmod(0o666)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(node), b"/dev/null", None, MS_BIND, None):
        raise OSError(ctypes.get_errno(), "mount")
    return folder


def hide_unified() -> None:
    """Take a hybrid machine's v2 hierarchy out of this process's view, in a mount namespace.

    With a controller on it crun refuses to run.
    """
    found = hierarchies()
    if "" not in found or len(found) == 1:
        return
    own_mounts()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(found[""][0].encode(), MNT_DETACH):
        raise OSError(ctypes.get_errno(), "umount2")
