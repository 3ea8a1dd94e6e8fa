# SPDX-License-Identifier: Apache-2.0
"""Boot a machine, let it run one command, take in what it says."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Self

from machine import images, initramfs, kernels
from machine.images import BUILD
from machine.kernels import Kernel

HERE = Path(__file__).resolve().parent
MEMORY_MIB = 3072
CPUS = 2
# The init of each kind of machine, and what it wants to hear from the kernel's command line.
KINDS = {
    "bare": ("/run/vm/bare.sh", ""),
    # SELinux, for which a test has a policy, instead of AppArmor.
    "selinux": ("/run/vm/bare.sh", "security=selinux"),
    "systemd": ("/lib/systemd/systemd", "systemd.wants=vm-job.service systemd.mask=getty@tty1"),
}
PORTS = ("output", "report", "status")
OF_THE_GUEST = ("bare.sh", "job.sh", "vm-job.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What machines share: a kernel, disks to read, and a folder for what they write."""

    kernel: Kernel
    disks: tuple[Path, ...]
    trees: tuple[Path, ...]
    folder: Path


@contextmanager
def equip(kernel: str) -> Iterator[Equipment]:
    """Get the kernel and make the disks; they are gone afterwards, but for those worth keeping.

    Raises:
        UnavailableError: This host cannot have a machine.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    _sweep()
    found = kernels.get(kernel)
    root = images.root()
    with TemporaryDirectory(prefix="run-", dir=BUILD) as name, _locked(Path(name)) as folder:
        bulk = (rf"^{kernels.BULK}/.+", r"^(build|source)$")
        modules = images.tree(found.modules, folder / "modules", without=bulk)
        trees = images.trees()
        disks = [images.tree(path, folder / f"tree{i}") for i, path in enumerate(trees)]
        yield Equipment(
            kernel=found, disks=(root, modules, *disks), trees=tuple(trees), folder=folder
        )


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold a lock on the folder, which tells the living from what a killed run left."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)


def _sweep() -> None:
    for folder in BUILD.glob("run-*"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)


class Machine:
    """A running machine. Use it as a context manager: it is off at the end, in any case."""

    def __init__(
        self,
        equipment: Equipment,
        kind: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        interactive: bool = False,
    ) -> None:
        """Boot; the command runs as root, in the current directory, with the environment `env`.

        An interactive machine has this terminal for a console, and the command has the console.
        """
        self._folder = Path(mkdtemp(prefix=f"{kind}-", dir=equipment.folder))
        scratch = images.scratch(self._folder / "scratch")
        job = _job(kind, equipment.trees, command, env, interactive=interactive)
        initrd = self._folder / "initrd"
        initrd.write_bytes(initramfs.base(equipment.kernel.modules) + job)
        words = _qemu(kind)
        words += ["-kernel", str(equipment.kernel.image), "-initrd", str(initrd)]
        root, modules, *trees = equipment.disks
        for number, disk in enumerate((root, modules, scratch, *trees)):
            access = "cache=unsafe" if disk is scratch else "readonly=on"
            words += ["-drive", f"if=none,id=disk{number},format=raw,file={disk},{access}"]
            words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        for number, name in enumerate(PORTS, start=1):
            words += ["-chardev", f"file,id={name},path={self._folder / name}"]
            words += ["-device", f"virtserialport,chardev={name},nr={number}"]
        console = "mon:stdio" if interactive else f"file:{self._folder / 'console'}"
        # The machine must not outlive us, even if we are killed.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words, "-serial", console],
            stdin=None if interactive else subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Switch the machine off, as if by pulling the plug."""
        self._process.kill()
        self._process.wait()

    def off(self) -> bool:
        """Tell whether the machine has ended."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait until the machine has ended."""
        self._process.wait()

    def said(self, where: str) -> str:
        """Return what came through one of PORTS, or on the "console", so far."""
        try:
            return (self._folder / where).read_text(errors="replace")
        except FileNotFoundError:
            return ""


def _accelerator() -> str:
    """Return KVM where the processor offers it, else emulation with all cores."""
    # Without these, /dev/kvm may exist all the same, and a machine hang in it.
    able = {"vmx", "svm"} & set(Path("/proc/cpuinfo").read_text().split())
    return "kvm" if able and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg,thread=multi"


def _qemu(kind: str) -> list[str]:
    # The timer's check panics if the emulation of it is late.
    quiet = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off no_timer_check"
    return [
        *("qemu-system-x86_64", "-name", f"pycontain-{kind}", "-nodefaults", "-no-user-config"),
        *("-machine", "q35", "-accel", _accelerator(), "-cpu", "max"),
        *("-smp", str(CPUS), "-m", str(MEMORY_MIB), "-display", "none", "-no-reboot"),
        *("-append", f"{quiet} {KINDS[kind][1]}", "-device", "virtio-serial-pci"),
    ]


def _job(
    kind: str,
    trees: Sequence[Path],
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    interactive: bool,
) -> bytes:
    """Return the archive that tells the machine what to do."""
    script = ["#!/bin/sh", *(f"export {name}={shlex.quote(env[name])}" for name in sorted(env))]
    script += [f"cd {shlex.quote(str(Path.cwd()))}", f"exec {shlex.join(command)}", ""]
    entries = [
        ("init", initramfs.PROGRAM, (HERE / "init.sh").read_bytes()),
        ("vm", initramfs.DIRECTORY, b""),
        ("vm/init", initramfs.FILE, f"{KINDS[kind][0]}\n".encode()),
        ("vm/trees", initramfs.FILE, "".join(f"{tree}\n" for tree in trees).encode()),
        ("vm/command", initramfs.PROGRAM, "\n".join(script).encode()),
        *((f"vm/{name}", initramfs.PROGRAM, (HERE / name).read_bytes()) for name in OF_THE_GUEST),
    ]
    if interactive:
        entries.append(("vm/interactive", initramfs.FILE, b""))
    return initramfs.pack(entries)
