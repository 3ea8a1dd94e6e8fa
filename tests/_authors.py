# SPDX-License-Identifier: Apache-2.0
"""Who writes archives of all kinds, each from a number."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from _archives import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    FILE,
    GNU,
    HARDLINK,
    SYMLINK,
    USTAR,
    V7,
    entry,
    extended,
    hardlink,
    old_sparse,
    pax_sparse,
    records,
    symlink,
)
from pycontain._layers import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits(entries=300, total_bytes=1 << 20, header_bytes=1 << 16, memory=1 << 20)

PARTS = (*(b"a", b"b", b"c", b"link", b"etc") * 3, b".", b"", b"..", b"n" * 90, b"\xff", b"x\ny")
MARKERS = (*(b".wh.a", b".wh.link", b".wh..wh..opq") * 3, b".wh..wh.plnk", b".wh.", b".wh...")
KINDS = (*(FILE, SYMLINK, DIRECTORY) * 4, HARDLINK, CHARACTER, BLOCK_DEVICE, FIFO)
XATTRS = ("user.k", "user.overlay.opaque", "trusted.overlay.redirect", "security.capability")


class Author:
    """Writes one archive. `outside` is where it would like to get."""

    def __init__(self, seed: int, outside: bytes) -> None:
        self.random = random.Random(seed)
        self.outside = outside
        self.paths = [b"a"]

    def path(self) -> bytes:
        """Return a new path, or one that there is already."""
        if self.random.random() < 0.3:
            return self.random.choice(self.paths)
        self.paths.append(self._path())
        return self.paths[-1]

    def _path(self) -> bytes:
        choose = self.random.choice
        parts = [choose(PARTS) for _ in range(self.random.choice((1, 1, 2, 2, 3, 5)))]
        if self.random.random() < 0.2:
            parts[-1] = choose(MARKERS)
        if self.random.random() < 0.03:
            parts.insert(0, choose((self.outside, b"..", b"../../..")))
        return choose((b"", b"", b"/", b"./")) + (b"/".join(parts) or b"a")

    def target(self) -> bytes:
        ways = (self.path, lambda: self.outside, lambda: b"../" * 9 + self.outside.lstrip(b"/"))
        return self.random.choice(ways)()

    def plain(self) -> bytes:
        kind = self.random.choice(KINDS)
        size = self.random.choice((0, 0, 5, 512, 700)) if kind == FILE else 0
        return entry(
            self.path()[:100],
            kind,
            self.random.randbytes(size),
            link=self.target()[:100],
            mode=self.random.choice((0o644, 0o755, 0, 0o7777)),
            mtime=self.random.choice((0, 1, 10**9, -1)),
            major=self.random.choice((0, 1, 1, 8)),
            minor=self.random.choice((0, 3, 3, 5)),
            magic=self.random.choice((USTAR, USTAR, GNU, V7)),
        )

    def with_records(self) -> bytes:
        values: dict[str, bytes | str] = {}
        if self.random.random() < 0.5:
            values["path"] = self.path()
        if self.random.random() < 0.3:
            values["linkpath"] = self.target()
        if self.random.random() < 0.3:
            values["size"] = str(self.random.choice((0, 0, 100, 512, 10**18)))
        if self.random.random() < 0.3:
            values[f"SCHILY.xattr.{self.random.choice(XATTRS)}"] = self.random.randbytes(20)
        if self.random.random() < 0.2:
            values["mtime"] = self.random.choice(("-1.5", "1e9", "99999999999999999999", ""))
        return extended(records(values), self.random.choice("xxxg")) + self.plain()

    def with_long_names(self) -> bytes:
        name = extended(self.path() + b"\0", "L", magic=GNU)
        link = extended(self.target() + b"\0", "K", magic=GNU)
        return self.random.choice((name, link, name + link)) + self.plain()

    def trap(self) -> bytes:
        """A link to the outside, and something that goes through it."""
        name = self.random.choice(PARTS[:4])
        first = symlink(name, self.target()[:100])
        if self.random.random() < 0.3:
            first += hardlink(b"h", name)
            name = b"h"
        return first + entry(name + b"/" + self.path()[:60], self.random.choice(KINDS), link=name)

    def sparse(self) -> bytes:
        parts = [(n * 600, self.random.randbytes(10)) for n in range(self.random.randrange(6))]
        size = self.random.choice((4000, 5000, 5000, 1 << 62))
        name = os.fsdecode(self.path()[:100])
        if self.random.random() < 0.5:
            return old_sparse("s", size, parts)
        version = self.random.choice(("0.0", "0.1", "1.0"))
        return pax_sparse(name.encode("ascii", "replace").decode(), size, parts, version)

    def archive(self) -> bytes:
        kinds: tuple[Callable[[], bytes], ...] = (
            *(self.plain,) * 6,
            *(
                self.trap,
                self.trap,
                self.trap,
                self.sparse,
                self.with_records,
                self.with_long_names,
            ),
        )
        data = b"".join(self.random.choice(kinds)() for _ in range(self.random.randrange(1, 8)))
        data += self.random.choice((END, END, END, END, b"", b"garbage"))
        return self._damaged(data) if self.random.random() < 0.15 else data

    def _damaged(self, data: bytes) -> bytes:
        if self.random.random() < 0.3:
            return data[: self.random.randrange(len(data))]
        changed = bytearray(data)
        for _ in range(self.random.randrange(1, 4)):
            changed[self.random.randrange(len(changed))] = self.random.randrange(256)
        return bytes(changed)
