# SPDX-License-Identifier: Apache-2.0
"""Descriptors: typed references from one blob to another (OCI image-spec descriptor.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pycontain.errors import InvalidDigestError, UnsupportedImageError

from ._digest import Digest, verify
from ._json import Object
from ._platform import Platform

REF_NAME: Final = "org.opencontainers.image.ref.name"
# BuildKit marks so what is about an image, among the images of an index.
REFERENCE_TYPE: Final = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a blob is, which bytes it has and how many.

    Attributes:
        media_type: What it is; may be unknown here.
        digest: Of its bytes.
        size: Their number.
        annotations: Free for all.
        platform: Of an index's entry.
        urls: Where else it may be; not to be asked unless the caller wants to.
        data: The bytes themselves, already verified.
        artifact_type: What an artifact's manifest is about.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    data: bytes | None = field(default=None, repr=False)
    artifact_type: str = ""

    @classmethod
    def parse(cls, value: Object) -> Descriptor:
        """Return the descriptor that a JSON object is.

        Raises:
            ManifestError: A field is missing or wrong.
            UnsupportedImageError: A digest of an unknown algorithm.
            DigestMismatchError, SizeMismatchError: `data` is not what the digest says.
        """
        size = value.integer("size")
        if size is None or size < 0:
            raise value.wrong("size", f"{size} is no size" if size else "missing")
        digest = parse_digest(value, "digest")
        data = _data(value)
        if data is not None:
            verify(data, digest, size)
        platform = value.object("platform")
        return cls(
            media_type=value.text("mediaType"),
            digest=digest,
            size=size,
            annotations=value.text_map("annotations"),
            platform=None if platform is None else parse_platform(platform),
            urls=value.texts("urls") or (),
            data=data,
            artifact_type=value.text("artifactType"),
        )

    @property
    def is_attestation(self) -> bool:
        """Whether it is about another entry of its index and not to be run."""
        unknown = self.platform is not None and self.platform.os == "unknown"
        return unknown or REFERENCE_TYPE in self.annotations

    def to_json(self) -> dict[str, Any]:
        """Return the object that `parse` reads."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform is not None:
            value["platform"] = platform_json(self.platform)
        if self.urls:
            value["urls"] = list(self.urls)
        if self.data is not None:
            value["data"] = base64.b64encode(self.data).decode()
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        return value


def parse_digest(value: Object, name: str) -> Digest:
    """Return the digest in a field. Raises `value.error`, or UnsupportedImageError."""
    try:
        return Digest.parse(value.text(name))
    except InvalidDigestError as error:
        raise value.wrong(name, str(error)) from None
    except UnsupportedImageError as error:
        raise UnsupportedImageError(f"{value.where}: {name}: {error}") from None


def parse_platform(value: Object) -> Platform:
    """Return the platform that a JSON object is. Raises `value.error`."""
    return Platform(
        os=value.text("os"),
        architecture=value.text("architecture"),
        variant=value.text("variant"),
        os_version=value.text("os.version"),
        os_features=value.texts("os.features") or (),
    )


def platform_json(platform: Platform) -> dict[str, Any]:
    """Return the object that `parse_platform` reads."""
    fields = {
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
    }
    return {name: value for name, value in fields.items() if value}


def _data(value: Object) -> bytes | None:
    if not value.has("data"):
        return None
    try:
        return base64.b64decode(value.text("data"), validate=True)
    except (binascii.Error, ValueError):
        raise value.wrong("data", "not base64") from None
