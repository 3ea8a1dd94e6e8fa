# SPDX-License-Identifier: Apache-2.0
"""Platforms are spelled, matched and chosen as containerd does."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import pytest

from pycontain import ConfigError, LimitExceededError, PlatformError
from pycontain._image import _media
from pycontain._image._config import ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest
from pycontain._image._platform import Platform, local_platform, runnable, x86_64_level
from pycontain._image._select import select

SPELLINGS = {
    "linux/amd64": "linux/amd64",
    "Linux/X86_64": "linux/amd64",
    "linux/x86-64/v1": "linux/amd64",
    "linux/amd64/v3": "linux/amd64/v3",
    "linux/aarch64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
    "linux/arm64/8": "linux/arm64",
    "linux/arm64/9": "linux/arm64/v9",
    "linux/arm64/v8.2": "linux/arm64/v8.2",
    "linux/armhf": "linux/arm/v7",
    "linux/armel": "linux/arm/v6",
    "linux/arm": "linux/arm/v7",
    "linux/arm/6": "linux/arm/v6",
    "linux/i386": "linux/386",
    "macos/arm64": "darwin/arm64",
    "arm64": "linux/arm64",
    "linux/riscv64": "linux/riscv64",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings(text: str) -> None:
    assert str(Platform.parse(text)) == SPELLINGS[text]


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/é", None])
def test_no_platform(text: str) -> None:
    with pytest.raises(ConfigError, match="OS/ARCHITECTURE"):
        Platform.parse(text)


VECTORS = {
    "amd64": "amd64",
    "amd64/v4": "amd64/v4 amd64/v3 amd64/v2 amd64",
    "386": "386",
    "arm": "arm/v7 arm/v6 arm/v5",
    "arm/v8": "arm/v8 arm/v7 arm/v6 arm/v5",
    "arm/v5": "arm/v5",
    "arm64": "arm64",
    "arm64/v8.2": "arm64/v8.2 arm64/v8.1 arm64",
    "arm64/v9": (
        "arm64/v9 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64"
    ),
    "arm64/v9.1": (
        "arm64/v9.1 arm64/v9 "
        "arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64"
    ),
    "arm64/v9x": "arm64/v9x",
    "amd64/v999999": "amd64/v999999",
    "riscv64": "riscv64",
}  # fmt: skip


@pytest.mark.parametrize("text", VECTORS)
def test_what_runs(text: str) -> None:
    found = runnable(Platform.parse(f"linux/{text}"))
    assert " ".join(str(platform).removeprefix("linux/") for platform in found) == VECTORS[text]


@pytest.mark.parametrize(
    "text, last", [("amd64/v2", "386"), ("arm64", "arm/v5"), ("arm64/v9.1", "arm/v5")]
)
def test_narrow_relatives_come_last_and_on_demand(text: str, last: str) -> None:
    wide = runnable(Platform.parse(f"linux/{text}"))
    narrow = runnable(Platform.parse(f"linux/{text}"), narrow=True)
    assert narrow[: len(wide)] == wide
    assert str(narrow[-1]) == f"linux/{last}"


V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    "flags, level",
    [("", 1), (V2, 2), (V3, 3), (V4, 4), (V4.replace("movbe", ""), 2), (V4.replace("cx16", ""), 1)],
)
def test_levels_of_x86_64(flags: str, level: int) -> None:
    assert x86_64_level(flags.split()) == level


def test_this_machine() -> None:
    found = local_platform()
    assert found.os == "linux"
    assert found == Platform(os="linux", architecture=os.uname().machine, variant=found.variant)


class Images:
    """Indexes, manifests and configurations, by digest."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.read: list[Digest] = []

    def add(self, media_type: str, raw: bytes, platform: str | None = None) -> Descriptor:
        digest = Digest.of(raw)
        self.blobs[digest] = raw
        parsed = None if platform is None else Platform.parse(platform)
        return Descriptor(media_type=media_type, digest=digest, size=len(raw), platform=parsed)

    def image(self, name: str, platform: str | None = None, own: str = "linux/amd64") -> Descriptor:
        """Add a manifest; its entry is for a platform, its configuration for its own."""
        made = ImageConfig.new(Platform.parse(own), author=name)
        config = self.add(_media.OCI_CONFIG, made.raw)
        return self.add(_media.OCI_MANIFEST, Manifest.build(config, []).raw, platform)

    def index(self, entries: Sequence[Descriptor]) -> Descriptor:
        return self.add(_media.OCI_INDEX, Index.build(entries).raw)

    def load(self, descriptor: Descriptor) -> bytes:
        self.read.append(descriptor.digest)
        return self.blobs[descriptor.digest]

    def chosen(self, entries: Sequence[Descriptor], platform: str) -> str:
        """Return the name of the image that is chosen."""
        found = select(Index.build(entries), self.load, platform=Platform.parse(platform))
        return ImageConfig.parse(self.blobs[found.config.digest]).author


@pytest.fixture
def images() -> Images:
    return Images()


# What the index offers, what is wanted, which is taken.
CHOICES: dict[str, tuple[list[str], str, str]] = {
    "exact": (["linux/arm64", "linux/amd64"], "linux/amd64", "1"),
    "highest level": (["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], "linux/amd64/v3", "2"),
    "level below": (["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v3", "1"),
    "no level asked for": (["linux/amd64/v2", "linux/amd64"], "linux/amd64", "1"),
    "first of equals": (["linux/amd64", "linux/amd64/v1"], "linux/amd64", "0"),
    "arm of old": (["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v7", "1"),
    "arm64 of new": (["linux/arm64/v8", "linux/arm64/v9"], "linux/arm64/v9.2", "1"),
    "spelling": (["linux/aarch64/8"], "linux/arm64", "0"),
}


@pytest.mark.parametrize("offered, wanted, taken", CHOICES.values(), ids=CHOICES)
def test_choice(images: Images, offered: list[str], wanted: str, taken: str) -> None:
    entries = [images.image(str(number), text) for number, text in enumerate(offered)]
    assert images.chosen(entries, wanted) == taken
    assert len(images.read) == 1


MISMATCHES: dict[str, tuple[list[str], str]] = {
    "level too high": (["linux/amd64/v3"], "linux/amd64/v2"),
    "another architecture": (["linux/arm64", "linux/s390x"], "linux/amd64"),
    "another system": (["windows/amd64"], "linux/amd64"),
    "32 bits": (["linux/386"], "linux/amd64"),
}


@pytest.mark.parametrize("offered, wanted", MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_names_what_is_offered(images: Images, offered: list[str], wanted: str) -> None:
    entries = [images.image(text, text) for text in offered]
    with pytest.raises(PlatformError, match=f"for {', '.join(offered)}; name one by") as caught:
        images.chosen(entries, wanted)
    assert (caught.value.wanted, caught.value.offered) == (wanted, tuple(offered))


def test_an_index_with_nothing_to_run(images: Images) -> None:
    entry = images.image("x")
    attestation = Descriptor(
        media_type=entry.media_type,
        digest=entry.digest,
        size=entry.size,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    )
    unknown = images.add("application/x", b"{}")
    of_nothing = images.image("y", "unknown/unknown")
    with pytest.raises(PlatformError, match="no platform at all"):
        images.chosen([attestation, unknown, of_nothing], "linux/amd64")
    assert images.read == []


def test_entries_that_do_not_say_come_last_and_are_asked(images: Images) -> None:
    silent = images.image("silent", own="linux/arm64")
    another = images.image("another", own="linux/amd64")
    said = images.image("said", "linux/amd64")
    assert images.chosen([silent, another, said], "linux/amd64") == "said"
    assert images.chosen([silent, another], "linux/amd64") == "another"
    with pytest.raises(PlatformError, match="for linux/arm64, linux/amd64"):
        images.chosen([silent, another], "linux/s390x")


def test_features(images: Images) -> None:
    def needs(name: str, *features: str) -> Descriptor:
        entry = images.image(name)
        platform = Platform(os="linux", architecture="amd64", os_features=features)
        return Descriptor(
            media_type=entry.media_type, digest=entry.digest, size=entry.size, platform=platform
        )

    entries = [needs("none"), needs("a", "a"), needs("b", "b")]
    assert images.chosen(entries, "linux/amd64") == "none"
    wanted = Platform(os="linux", architecture="amd64", os_features=("a",))
    found = select(Index.build(entries), images.load, platform=wanted)
    assert ImageConfig.parse(images.blobs[found.config.digest]).author == "a"


def test_indexes_in_indexes(images: Images) -> None:
    inner = images.index([images.image("arm", "linux/arm64"), images.image("deep", "linux/amd64")])
    entries = [images.index([inner])]
    assert images.chosen(entries, "linux/amd64") == "deep"
    for _ in range(100):
        entries = [images.index(entries)]
    with pytest.raises(LimitExceededError, match="more than 4 indexes"):
        images.chosen(entries, "linux/amd64")


def test_many_indexes_are_not_all_read(images: Images) -> None:
    entries = [images.index([images.image(str(n), "linux/arm64")]) for n in range(200)]
    with pytest.raises(LimitExceededError, match="more than 100"):
        images.chosen(entries, "linux/amd64")
    assert len(images.read) == 100


def test_one_manifest_for_another_platform(images: Images) -> None:
    entry = images.image("x", own="linux/arm64")
    manifest = Manifest.build(
        images.add(_media.OCI_CONFIG, images.blobs[_config_of(images, entry)]), []
    )
    platform = Platform.parse("linux/amd64/v2")
    with pytest.raises(PlatformError, match=r"h.io/x has nothing for linux/amd64/v2: it is for"):
        select(manifest, images.load, platform=platform, what="h.io/x")
    assert select(manifest, images.load, platform=Platform.parse("linux/arm64")) == manifest


def test_a_manifest_that_does_not_say_is_for_all(images: Images) -> None:
    config = images.add(_media.OCI_CONFIG, b'{"rootfs":{"type":"layers","diff_ids":[]}}')
    artifact = images.add("application/x", b"{}")
    for manifest in (Manifest.build(config, []), Manifest.build(artifact, [])):
        assert select(manifest, images.load) == manifest


def _config_of(images: Images, entry: Descriptor) -> Digest:
    value: dict[str, Any] = json.loads(images.blobs[entry.digest])
    return Digest.parse(value["config"]["digest"])
