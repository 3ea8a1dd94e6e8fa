# SPDX-License-Identifier: Apache-2.0
"""What a machine offers to programs: processor, kernel, and who else's programs it runs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pycontain._image._platform import Platform, local_platform
from pycontain._seccomp import Filter
from pycontain.errors import ConfigError

from ._architectures import NARROW
from ._script import HEAD

_BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
_HEX_MAX: Final = 2 * HEAD
Kernel = tuple[int, int, int]


def parse_kernel(release: str) -> Kernel:
    """Return the numbers of a kernel's release, such as 6.1.0-18-amd64.

    Raises:
        ConfigError: It has none.
    """
    match = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", release, re.ASCII)
    if not match:
        raise ConfigError(f"kernel: {release!r} is no release such as 5.10")
    return int(match[1]), int(match[2]), int(match[3] or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A program that runs foreign ones, registered in binfmt_misc.

    Attributes:
        name: Of the entry.
        interpreter: The program.
        fixed: It was opened when it was registered (flag F), so it is found from any root.
        magic, mask, offset: Which files it is for.
    """

    name: str
    interpreter: str
    fixed: bool
    magic: bytes
    mask: bytes
    offset: int

    def takes(self, head: bytes) -> bool:
        """Tell whether it is for a file that begins so."""
        part = head[self.offset : self.offset + len(self.magic)]
        pairs = zip(part, self.magic, self.mask, strict=False)
        return len(part) == len(self.magic) and all(a & m == b & m for a, b, m in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, as far as it matters to a program that is to run on it.

    Attributes:
        platform: Its processor, with the level of x86-64.
        kernel: Its Linux.
        narrow: Programs of its 32-bit relative run, which is a profile's affair too.
        handlers: What its binfmt_misc runs foreign programs with.
        emulated: Architectures that a sandbox emulates itself.
    """

    platform: Platform
    kernel: Kernel
    narrow: bool = False
    handlers: tuple[Handler, ...] = ()
    emulated: frozenset[str] = frozenset()

    @classmethod
    def here(cls) -> Machine:
        """Return this machine."""
        return replace(_here(), handlers=handlers())

    @classmethod
    def of(cls, platform: str, kernel: str) -> Machine:
        """Return another machine, such as one of "linux/amd64/v2" with "4.18".

        Raises:
            ConfigError: No platform, or no kernel.
        """
        return cls(platform=Platform.parse(platform), kernel=parse_kernel(kernel))

    def under(self, rules: Filter) -> Machine:
        """Return this machine as programs under a seccomp filter find it."""
        relative = NARROW.get(self.platform.architecture, "")
        return replace(self, narrow={"386": "i386"}.get(relative, relative) in rules.secondary)

    @property
    def level(self) -> int:
        """The level of x86-64; 0: another processor."""
        if self.platform.architecture != "amd64":
            return 0
        number = self.platform.variant.removeprefix("v")
        return int(number) if number.isdecimal() else 1

    def runs(self, architecture: str) -> bool:
        """Tell whether the kernel itself runs programs of an architecture."""
        own = self.platform.architecture
        if architecture == own:
            return True
        return self.narrow and NARROW.get(own) == architecture

    def emulates(self, architecture: str, head: bytes) -> bool:
        """Tell whether something runs a foreign program in a sandbox, by its first bytes."""
        return architecture in self.emulated or any(
            handler.fixed and handler.takes(head) for handler in self.handlers
        )

    def __str__(self) -> str:
        """Name processor and kernel."""
        return f"{self.platform}, Linux {'.'.join(map(str, self.kernel))}"


@functools.cache
def _here() -> Machine:
    return Machine(platform=local_platform(), kernel=parse_kernel(os.uname().release))


def handlers() -> tuple[Handler, ...]:
    """Return what this machine runs foreign programs with; none where that cannot be read."""
    try:
        if (_BINFMT / "status").read_text(encoding="ascii").strip() != "enabled":
            return ()
        names = sorted(os.listdir(_BINFMT))
    except OSError:
        return ()
    found = []
    for name in names:
        if name not in ("register", "status"):
            with contextlib.suppress(OSError, ValueError):
                text = (_BINFMT / name).read_text(encoding="utf-8", errors="surrogateescape")
                found.append(parse_handler(name, text))
    return tuple(found)


def parse_handler(name: str, text: str) -> Handler:
    """Return an entry of binfmt_misc that goes by a file's beginning.

    Raises:
        ValueError: It is off, or goes by something else.
    """
    state, *rows = text.splitlines()
    fields = dict(row.partition(" ")[::2] for row in rows)
    if state != "enabled" or "magic" not in fields or len(fields["magic"]) > _HEX_MAX:
        raise ValueError(name)
    magic = bytes.fromhex(fields["magic"])
    mask = bytes.fromhex(fields.get("mask", "")[:_HEX_MAX])
    return Handler(
        name=name,
        interpreter=fields.get("interpreter", ""),
        fixed="F" in fields.get("flags:", ""),
        magic=magic,
        mask=mask or b"\xff" * len(magic),
        offset=int(fields.get("offset", "0")),
    )
