# SPDX-License-Identifier: Apache-2.0
"""Manifests and indexes (OCI image-spec manifest.md, image-index.md; Docker's schema 2).

Any of them can be stored and copied. What can be run is a question of its own:
`Manifest.check_image`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pycontain.errors import LimitExceededError, ManifestError, UnsupportedImageError

from . import _media
from ._descriptor import Descriptor
from ._digest import Digest, verify
from ._json import Object, dumps, loads

MANIFEST_MAX: Final = 4 << 20
LAYERS_MAX: Final = 1000
ENTRIES_MAX: Final = 10_000
# How deep indexes may stand in indexes.
INDEX_DEPTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image for one platform, or another artifact.

    Attributes:
        raw: Its bytes, which the digest is about.
        media_type: What it is.
        config: The configuration.
        layers: The layers, the lowest first.
        annotations: Free for all.
        subject: What this is about, in referrers.
        artifact_type: What an artifact is.
    """

    raw: bytes = field(repr=False)
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def digest(self) -> Digest:
        """The sha256 digest of its bytes."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """What refers to it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What it is made of; a configuration or layer that stands twice, once."""
        return _once((self.config, *self.layers))

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: Iterable[Descriptor],
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Return a new OCI manifest; the same arguments give the same bytes."""
        layers = tuple(layers)
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": _media.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if annotations:
            value["annotations"] = dict(annotations)
        return cls(
            raw=dumps(value),
            media_type=_media.OCI_MANIFEST,
            config=config,
            layers=layers,
            annotations=annotations or {},
        )

    def check_image(self) -> None:
        """Check that it is an image whose layers can be unpacked.

        Raises:
            UnsupportedImageError: It is another artifact, has no layers, or some of another type.
        """
        if self.config.media_type not in _media.CONFIGS:
            kind = self.artifact_type or self.config.media_type
            raise _media.unsupported(kind, "artifact, which is not a container image")
        if not self.layers:
            raise UnsupportedImageError("the image has no layers, so there is nothing to run")
        for layer in self.layers:
            _media.layer_type(layer.media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Manifests for several platforms.

    Attributes:
        raw: Its bytes, which the digest is about.
        media_type: What it is.
        manifests: Its entries, the preferred first; some may be of unknown types.
        annotations: Free for all.
        subject: What this is about, in referrers.
        artifact_type: What an artifact is.
    """

    raw: bytes = field(repr=False)
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def digest(self) -> Digest:
        """The sha256 digest of its bytes."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """What refers to it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """Its entries; one that stands twice, once."""
        return _once(self.manifests)

    @classmethod
    def build(
        cls, manifests: Iterable[Descriptor], annotations: Mapping[str, str] | None = None
    ) -> Index:
        """Return a new OCI index; the same arguments give the same bytes."""
        manifests = tuple(manifests)
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": _media.OCI_INDEX,
            "manifests": [entry.to_json() for entry in manifests],
        }
        if annotations:
            value["annotations"] = dict(annotations)
        return cls(
            raw=dumps(value),
            media_type=_media.OCI_INDEX,
            manifests=manifests,
            annotations=annotations or {},
        )


def parse(
    raw: bytes, *, media_type: str = "", expected: Digest | None = None, what: str = ""
) -> Manifest | Index:
    """Return the manifest or index that bytes are.

    Args:
        raw: The bytes.
        media_type: What a Content-Type or a descriptor says they are, parameters and all.
        expected: The digest they must have.
        what: What they are, for errors.

    Raises:
        DigestMismatchError: They are others than expected.
        ManifestError: They break the specification, or say of themselves to be something else.
        LimitExceededError: There are too many.
        UnsupportedImageError: Of schema 1, or neither a manifest nor an index.
    """
    if expected is not None:
        verify(raw, expected)
    what = what or ("manifest" if expected is None else f"manifest {expected}")
    value = loads(raw, what, limit=MANIFEST_MAX)
    kind = _kind(value, _media.normalise(media_type))
    common: dict[str, Any] = {
        "raw": raw,
        "media_type": kind,
        "annotations": value.text_map("annotations"),
        "subject": _descriptor(value, "subject"),
        "artifact_type": value.text("artifactType"),
    }
    if kind in _media.INDEXES:
        return Index(manifests=_descriptors(value, "manifests", ENTRIES_MAX), **common)
    config = _descriptor(value, "config")
    if config is None:
        raise value.wrong("config", "missing")
    return Manifest(config=config, layers=_descriptors(value, "layers", LAYERS_MAX), **common)


def _kind(value: Object, announced: str) -> str:
    """Return the media type, which two sides may state and the fields must not contradict.

    A document that is a manifest to one reader and an index to another is an attack
    (CVE-2021-41190).
    """
    if value.values.get("schemaVersion") == 1 or value.has("fsLayers"):
        raise _media.unsupported(_media.SCHEMA_1, "manifest")
    is_index = value.has("manifests")
    if is_index and (value.has("layers") or value.has("config")):
        raise ManifestError(f"{value.where}: both 'manifests' and 'layers' or 'config' are there")
    if value.integer("schemaVersion") != 2:
        raise value.wrong("schemaVersion", "not 2")
    own = value.text("mediaType")
    generic = announced in {"", "application/json", "text/plain", "application/octet-stream"}
    if own and not generic and own != announced:
        raise ManifestError(f"{value.where}: announced as {announced!r}, but says {own[:160]!r}")
    kind = own or ("" if generic else announced)
    kind = kind or (_media.OCI_INDEX if is_index else _media.OCI_MANIFEST)
    if kind not in _media.INDEXES | _media.MANIFESTS:
        raise _media.unsupported(kind, "manifest")
    if is_index != (kind in _media.INDEXES):
        raise ManifestError(f"{value.where}: {kind!r} does not fit what it holds")
    return kind


def _once(blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the first descriptor for each digest and type."""
    found: dict[tuple[Digest, str], Descriptor] = {}
    for blob in blobs:
        found.setdefault((blob.digest, blob.media_type), blob)
    return tuple(found.values())


def _descriptor(value: Object, name: str) -> Descriptor | None:
    found = value.object(name)
    return None if found is None else Descriptor.parse(found)


def _descriptors(value: Object, name: str, limit: int) -> tuple[Descriptor, ...]:
    rows = value.values.get(name)
    if isinstance(rows, list) and len(rows) > limit:
        raise LimitExceededError(
            f"{value.where}: {len(rows)} {name} are more than the limit of {limit}",
            limit=name,
            allowed=limit,
        )
    return tuple(Descriptor.parse(row) for row in value.objects(name))
