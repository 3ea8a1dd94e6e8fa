# SPDX-License-Identifier: Apache-2.0
"""Platforms: what an image is for, and what a machine can run (github.com/containerd/platforms)."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pycontain.errors import ConfigError

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
}
# What each level of x86-64 adds, as /proc/cpuinfo spells it (x86-64 psABI, 3.1.1; abm is LZCNT).
_X86_64_LEVELS: Final = {
    2: frozenset(("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")),
    3: frozenset(("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")),
    4: frozenset(("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
}
_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def _normalise(architecture: str, variant: str) -> tuple[str, str]:
    """Return the one spelling of an architecture and its variant (database.go)."""
    given, variant = architecture.lower(), variant.lower()
    name = _ARCHITECTURES.get(given, given)
    match name:
        case "amd64" if variant == "v1":
            variant = ""
        case "arm64" if variant in {"8", "v8", "v8.0"}:
            variant = ""
        case "arm64" if variant in {"9", "9.0", "v9.0"}:
            variant = "v9"
        case "arm" if given == "armhf":
            variant = "v7"
        case "arm" if given == "armel":
            variant = "v6"
        case "arm":
            variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        case "386":
            variant = ""
    return name, variant


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Platform:
    """Operating system and processor, in their normal spelling.

    Attributes:
        os: Such as "linux"; "unknown" for what is not to be run.
        architecture: In Go's names: "amd64", "arm64", "riscv64".
        variant: Such as "v3" of amd64; "" is the least of an architecture.
        os_version: Of Windows only.
        os_features: What the image needs of it.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Normalise the spelling."""
        architecture, variant = _normalise(self.architecture, self.variant)
        name = self.os.lower()
        object.__setattr__(self, "os", {"macos": "darwin"}.get(name, name))
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "variant", variant)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Return what a text such as "linux/arm64", "linux/amd64/v3" or "arm64" says.

        Raises:
            ConfigError: It is no platform.
        """
        parts = text.split("/") if isinstance(text, str) else []
        if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise ConfigError(f"platform: {text!r} is not OS/ARCHITECTURE[/VARIANT]")
        if len(parts) == 1:
            parts = ["linux", *parts]
        return cls(os=parts[0], architecture=parts[1], variant=parts[2] if parts[2:] else "")

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part)

    def runs(self, image: Platform) -> bool:
        """Tell whether this is the image's platform, with all features that it needs."""
        return (self.os, self.architecture, self.variant) == (
            image.os,
            image.architecture,
            image.variant,
        ) and set(image.os_features) <= set(self.os_features)


def x86_64_level(flags: Iterable[str]) -> int:
    """Return the level of x86-64 that a processor with these flags of /proc/cpuinfo has."""
    have = frozenset(flags)
    level = 1
    for number, needed in _X86_64_LEVELS.items():
        if not needed <= have:
            break
        level = number
    return level


@functools.cache
def local_platform() -> Platform:
    """Return what this machine is, with the level of its processor."""
    machine = os.uname().machine
    variant = ""
    if machine == "x86_64":
        rows = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        flags = next((row.partition(":")[2] for row in rows if row.startswith("flags")), "")
        variant = f"v{x86_64_level(flags.split())}"
    elif match := re.fullmatch(r"armv([5-8]).*", machine):
        machine, variant = "arm", f"v{match[1]}"
    return Platform(os="linux", architecture=machine, variant=variant)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 4 else None


def _arm64_variants(variant: str) -> list[str]:
    """Return the lesser variants; 9.0 left the line at 8.5, so 9.x can do what 8.(x+5) can."""
    major_text, _, minor_text = (variant or "v8").removeprefix("v").partition(".")
    major, minor = _number(major_text), _number(minor_text or "0") or 0
    found = []
    if major == 9:
        found = [f"v9.{lesser}" if lesser else "v9" for lesser in reversed(range(minor))]
        major, minor = 8, minor + 5
        found.append(f"v8.{minor}")
    if major == 8:
        found += [f"v8.{lesser}" if lesser else "" for lesser in reversed(range(minor))]
    return found


def runnable(platform: Platform, *, narrow: bool = False) -> tuple[Platform, ...]:
    """Return what can run on a platform, the best first.

    Args:
        platform: The machine's, or the one that was asked for.
        narrow: Also the 32-bit relatives, which not every kernel runs.
    """
    number = _number(platform.variant.removeprefix("v"))
    variants: list[str] = []
    relatives: list[Platform] = []
    match platform.architecture:
        case "amd64":
            variants = [f"v{lesser}" for lesser in range((number or 1) - 1, 0, -1)]
            relatives = [replace(platform, architecture="386", variant="")]
        case "arm":
            variants = [f"v{lesser}" for lesser in range((number or 0) - 1, 4, -1)]
        case "arm64":
            variants = _arm64_variants(platform.variant)
            relatives = list(runnable(replace(platform, architecture="arm", variant="v8")))
    found = [platform, *(replace(platform, variant=variant) for variant in variants)]
    return tuple(found + relatives if narrow else found)


def place(image: Platform, wanted: Iterable[Platform]) -> tuple[int, int] | None:
    """Return how good an image's platform is among those wanted, less is better; None: not at all.

    The first wanted one that it fits, then the more of the features that it uses.
    """
    for number, platform in enumerate(wanted):
        if platform.runs(image):
            return number, -len(image.os_features)
    return None
