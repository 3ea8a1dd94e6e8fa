# SPDX-License-Identifier: Apache-2.0
"""Platforms: what an image is for (github.com/containerd/platforms)."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
