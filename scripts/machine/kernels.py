# SPDX-License-Identifier: Apache-2.0
"""Kernels: those installed here, and Debian's, downloaded without touching this host's apt."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from machine.images import BUILD, KEYRING, MIRROR
from machine.shell import UnavailableError, call

# Debian's suite with a kernel of that version. What comes after sid's is not in Debian yet.
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "sid"}
DEFAULT = "6.1"
# Drivers of hardware that no machine of ours has: most of the bytes.
BULK = r"kernel/(sound|drivers/(gpu|media|infiniband|iio|staging|scsi|usb|net/(ethernet|wireless)))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel: its image, its modules (lib/modules/VERSION) and its version."""

    image: Path
    modules: Path
    version: str


def get(name: str = DEFAULT) -> Kernel:
    """Return a kernel by the name of SUITES, the path of its image, or an installed one's version.

    Raises:
        UnavailableError: There is none, or it cannot be downloaded.
    """
    if "/" in name:
        return _beside(Path(name).resolve())
    for image in sorted(Path("/boot").glob(f"vmlinuz-{name}*")):
        if re.match(rf"vmlinuz-{re.escape(name)}\b", image.name):
            return _beside(image)
    if name not in SUITES:
        raise UnavailableError(f"no kernel {name!r}: a path, or one of {', '.join(SUITES)}")
    folder = BUILD / "kernels" / name
    if not folder.exists():
        _download(SUITES[name], folder)
    return _beside(next(folder.glob("boot/vmlinuz-*")))


def _beside(image: Path) -> Kernel:
    """Return the kernel of an image, with the modules of the same root directory."""
    version = image.name.removeprefix("vmlinuz-")
    for lib in (image.parents[1] / "lib", image.parents[1] / "usr/lib", Path("/lib")):
        modules = lib / "modules" / version
        if (modules / "modules.dep").exists() and image.exists():
            return Kernel(image=image, modules=modules, version=version)
    raise UnavailableError(f"{image}: no such kernel, or no modules {version} of it")


def _download(suite: str, folder: Path) -> None:
    print(f"vm: downloading the kernel of {suite}", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=BUILD) as name:
        work = Path(name)
        options = _private_apt(work, suite)
        call("apt-get", *options, "update")
        for package in _packages_of_the_kernel(options):
            call("apt-get", *options, "download", package, cwd=work)
        for archive in work.glob("*.deb"):
            call("dpkg-deb", "--extract", archive, work / "root")
        _arrange(work / "root")
        (work / "root").rename(folder)


def _arrange(root: Path) -> None:
    """Give what was unpacked the form of an installed kernel, without what no machine needs."""
    (modules,) = (*root.glob("lib/modules/*"), *root.glob("usr/lib/modules/*"))
    for path in list(modules.glob("kernel/**")):
        if re.fullmatch(BULK, str(path.relative_to(modules))):
            shutil.rmtree(path)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    call("depmod", "-b", root, modules.name)
    image = root / "boot" / f"vmlinuz-{modules.name}"
    if not image.exists():
        # Linux 7 of Debian has it beside the modules.
        image.parent.mkdir(exist_ok=True)
        (modules / "vmlinuz").rename(image)


def _private_apt(work: Path, suite: str) -> list[str]:
    """Return options for apt with sources, lists and state of its own; signatures are checked."""
    for name in ("lists/partial", "cache/archives/partial", "etc/parts"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
    settings = {
        "Dir::Etc": work / "etc",
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": work / "etc/parts",
        "Dir::State": work,
        "Dir::State::Status": work / "status",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["-qq", *(f"-o{key}={value}" for key, value in settings.items())]


def _packages_of_the_kernel(options: list[str]) -> list[str]:
    """Return what carries the image and the modules, from linux-image-amd64 on."""
    todo, found = ["linux-image-amd64"], list[str]()
    while todo:
        package = todo.pop()
        said = call("apt-cache", *options, "depends", "--important", package)
        names = re.findall(r"Depends: (linux-(?:image|modules|binary)-\S+)", said)
        todo += [name for name in names if name not in found]
        found += names
    if not found:
        raise UnavailableError("linux-image-amd64 depends on no kernel")
    return sorted(set(found))
