# SPDX-License-Identifier: Apache-2.0
"""Archives that the kernel unpacks before it starts /init.

cpio of the kind "newc": https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import lzma
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from machine.shell import UnavailableError

# What it takes to mount the disks, to overlay the root and to talk to the host.
MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "erofs", "ext4", "overlay")
# Others need it without saying so in modules.dep; newer kernels have it built in or not at all.
EARLY = ("crc32c_generic",)
DIRECTORY, PROGRAM, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644


def pack(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return an archive of (path, mode, content); parents come before what is in them."""
    out = bytearray()
    for number, (name, mode, body) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        path = name.encode() + b"\0"
        header = (number, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in header) + path
        out += bytes(-len(out) % 4) + body
        out += bytes(-len(out) % 4)
    return bytes(out)


def base(modules: Path) -> bytes:
    """Return the archive with a shell and with the modules, named so that they sort in order.

    `modules` is lib/modules/VERSION, after depmod.
    """
    busybox = shutil.which("busybox")
    if not busybox:
        raise UnavailableError("no busybox")
    entries = [(name, DIRECTORY, b"") for name in ("bin", "dev", "modules")]
    entries.append(("bin/busybox", PROGRAM, Path(busybox).read_bytes()))
    for number, path in enumerate(_in_order(modules)):
        body = path.read_bytes()
        if path.suffix == ".xz":
            body = lzma.decompress(body)
        entries.append((f"modules/{number:02}-{_name(path.name)}", FILE, body))
    return pack(entries)


def _in_order(folder: Path) -> list[Path]:
    """Return the files of the wanted modules and of what they need, in the order to load them.

    What is no module is taken to be built in; not every kernel's package says so.
    """
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    paths = {_name(path): path for path in needs}
    order: dict[str, None] = {}

    def visit(path: str) -> None:
        for other in reversed(needs[path]):
            visit(other)
        order[path] = None

    for name in (*EARLY, *MODULES):
        if name in paths:
            visit(paths[name])
    return [folder / path for path in order]


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")
