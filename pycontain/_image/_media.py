# SPDX-License-Identifier: Apache-2.0
"""Media types: what a blob is (OCI image-spec media-types.md; Docker manifest v2, schema 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pycontain.errors import UnsupportedImageError

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD: Final = f"{OCI_LAYER}+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = f"{DOCKER_LAYER}.gzip"
SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1"

INDEXES: Final = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS: Final = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS: Final = frozenset((OCI_CONFIG, DOCKER_CONFIG))
# What to accept from a registry, the preferred first.
ACCEPT: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)

_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

Compression: TypeAlias = Literal["none", "gzip", "zstd", "bzip2", "xz"]

_LAYERS: dict[str, Compression | None] = {
    OCI_LAYER: None,
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    _NONDISTRIBUTABLE: None,
    f"{_NONDISTRIBUTABLE}+gzip": "gzip",
    f"{_NONDISTRIBUTABLE}+zstd": "zstd",
    DOCKER_LAYER: None,
    DOCKER_LAYER_GZIP: "gzip",
    f"{DOCKER_LAYER}.zstd": "zstd",
    _DOCKER_FOREIGN: None,
    f"{_DOCKER_FOREIGN}.gzip": "gzip",
    f"{_DOCKER_FOREIGN}.zstd": "zstd",
}

_SUFFIXES: Final[dict[Compression, str]] = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}

MAGIC_MAX: Final = 6
_MAGIC: Final[dict[Compression, bytes]] = {
    "gzip": b"\x1f\x8b",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
}

_UNSUPPORTED = (
    ("+encrypted", "an encrypted layer, for which there are no keys here"),
    (SCHEMA_1, "from before 2017; push the image again with a newer client"),
    ("application/vnd.cncf.helm", "a Helm chart"),
    ("application/vnd.erofs.layer", "a layer in EROFS form"),
    ("application/vnd.in-toto", "an attestation"),
    ("application/vnd.wasm", "a WebAssembly module"),
    ("application/wasm", "a WebAssembly module"),
    (OCI_EMPTY, "an artifact with nothing in it to run"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerType:
    """What a layer's media type says.

    Attributes:
        compression: None: not said, so look at the first bytes (`sniff`). Docker's type for
            uncompressed layers has been used for compressed ones.
        foreign: Not to be pushed, and perhaps to be fetched from elsewhere.
    """

    compression: Compression | None
    foreign: bool


def normalise(media_type: str) -> str:
    """Return the type without parameters, in lower case (RFC 9110, 8.3.1)."""
    return media_type.partition(";")[0].strip().lower()


def is_layer(media_type: str) -> bool:
    """Tell whether it is a type of layers that can be unpacked."""
    return media_type in _LAYERS


def layer_type(media_type: str) -> LayerType:
    """Return what a layer's media type says.

    Raises:
        UnsupportedImageError: Not a layer that can be unpacked.
    """
    if media_type not in _LAYERS:
        raise unsupported(media_type, "layer")
    foreign = media_type.startswith((_NONDISTRIBUTABLE, _DOCKER_FOREIGN))
    return LayerType(compression=_LAYERS[media_type], foreign=foreign)


def oci_layer(media_type: str, head: bytes) -> str:
    """Return the OCI type of a layer.

    Args:
        media_type: Its type, OCI's or Docker's.
        head: Its first `MAGIC_MAX` bytes, for a type that does not say how it is compressed.

    Raises:
        UnsupportedImageError: Not a layer that can be unpacked, or compressed as none may be.
    """
    kind = layer_type(media_type)
    compression = kind.compression or sniff(head)
    if compression not in _SUFFIXES:
        raise unsupported(f"{media_type} ({compression})", "layer")
    return (_NONDISTRIBUTABLE if kind.foreign else OCI_LAYER) + _SUFFIXES[compression]


def unsupported(media_type: str, role: str) -> UnsupportedImageError:
    """Return an error that says what a thing is, as it is not what it should be."""
    for mark, noun in _UNSUPPORTED:
        if mark in media_type:
            return UnsupportedImageError(f"unsupported {role} ({media_type!r}): {noun}")
    return UnsupportedImageError(f"unsupported {role}: the media type {media_type[:160]!r}")


def sniff(head: bytes) -> Compression:
    """Return how content is compressed, from its first `MAGIC_MAX` bytes or more."""
    for name, start in _MAGIC.items():
        if head.startswith(start):
            return name
    magic = head[:4]
    # A frame, or a skippable frame before one (RFC 8878, 3.1).
    if magic == b"\x28\xb5\x2f\xfd" or (magic[1:] == b"\x2a\x4d\x18" and 0x50 <= magic[0] < 0x60):
        return "zstd"
    return "none"
