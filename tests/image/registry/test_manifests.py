# SPDX-License-Identifier: Apache-2.0
"""Manifests, tags and referrers from registries, good and bad."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from _fake_registry import Answer, Fake, Request, chunked, descriptor_of
from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest
from pycontain._image._registry._client import Client
from pycontain.errors import (
    DigestMismatchError,
    InvalidDigestError,
    InvalidReferenceError,
    LimitExceededError,
    ManifestError,
    RegistryError,
    RegistryNotFoundError,
    UnsupportedImageError,
)

Connect = Callable[..., Client]
CONFIG = descriptor_of(b"{}", _media.OCI_CONFIG)
LAYER = descriptor_of(b"layer", _media.OCI_LAYER)
IMAGE = Manifest.build(CONFIG, [LAYER])
OTHER = Manifest.build(CONFIG, [LAYER], {"a": "b"})
INDEX = Index.build([IMAGE.descriptor, OTHER.descriptor])
TAG = "/v2/a/b/manifests/v1"


def document(raw: bytes, media_type: str = _media.OCI_MANIFEST, *more: tuple[str, str]) -> Answer:
    return Answer(200, (("Content-Type", media_type), *more), raw)


def digest_header(value: object) -> tuple[str, str]:
    return "Docker-Content-Digest", str(value)


@pytest.mark.parametrize("found", [IMAGE, INDEX], ids=["manifest", "index"])
@pytest.mark.parametrize("by_digest", [False, True])
@pytest.mark.parametrize("announced", ["", "text/plain", "{}; charset=utf-8", "{}"])
def test_manifest(
    fake: Fake, connect: Connect, found: Manifest | Index, by_digest: bool, announced: str
) -> None:
    wanted = found.digest if by_digest else "v1"
    answer = document(found.raw, announced.format(found.media_type), digest_header(found.digest))
    fake.behave = lambda r: answer if r.path == f"/v2/a/b/manifests/{wanted}" else Answer()
    repository = connect(fake.address).repository("a/b")
    assert repository.manifest(wanted) == found
    assert repository.resolve(wanted) == found.descriptor
    accept = fake.requests[-1].headers["accept"]
    assert accept == ", ".join(_media.ACCEPT)


OCI_NULL = b'{"schemaVersion":2,"config":null,"layers":[]}'


@pytest.mark.parametrize(
    "wanted, answer, error, text",
    [
        ("v1", Answer(404), RegistryNotFoundError, "has no a/b:v1"),
        (IMAGE.digest, Answer(404), RegistryNotFoundError, f"has no a/b@{IMAGE.digest}"),
        (IMAGE.digest, document(OTHER.raw), DigestMismatchError, "a/b@sha256:.* was expected"),
        (
            "v1",
            document(OTHER.raw, _media.OCI_MANIFEST, digest_header(IMAGE.digest)),
            DigestMismatchError,
            "a/b:v1: content of digest",
        ),
        ("v1", document(IMAGE.raw, _media.OCI_INDEX), ManifestError, "announced as"),
        ("v1", document(IMAGE.raw, _media.DOCKER_MANIFEST), ManifestError, "announced as"),
        (
            "v1",
            document(b'{"schemaVersion":2,"manifests":[],"layers":[]}'),
            ManifestError,
            "both 'manifests' and",
        ),
        (
            "v1",
            document(b'{"schemaVersion":1,"fsLayers":[]}', f"{_media.SCHEMA_1}+prettyjws"),
            UnsupportedImageError,
            "push the image again",
        ),
        ("v1", document(b"", "text/html"), ManifestError, "JSON"),
        ("v1", document(b"<html>"), ManifestError, "JSON"),
        ("v1", document(OCI_NULL), ManifestError, "config: missing"),
        ("v1", document(b"[" * 10**5), LimitExceededError, "nested deeper"),
        (
            "v1",
            Answer(200, (), b" " * (5 << 20)),
            LimitExceededError,
            "a/b:v1: the manifest has more than 4194304 bytes",
        ),
        (
            "v1",
            Answer(
                200, (("Transfer-Encoding", "chunked"),), chunked(itertools.repeat(b" " * 9999)), -1
            ),
            LimitExceededError,
            "more than 4194304",
        ),
    ],
)  # fmt: skip
def test_bad_manifests(
    fake: Fake,
    connect: Connect,
    wanted: str | Digest,
    answer: Answer,
    error: type[Exception],
    text: str,
) -> None:
    fake.behave = lambda _: answer
    with pytest.raises(error, match=text) as caught:
        connect(fake.address).repository("a/b").manifest(wanted)
    assert fake.address in str(caught.value)


@pytest.mark.parametrize(
    "wanted, error, text",
    [
        ("sha256:../../x", InvalidDigestError, "invalid digest"),
        (f"sha256:{'0' * 63}", InvalidDigestError, "invalid digest"),
        (f"sha256:{'A' * 64}", InvalidDigestError, "invalid digest"),
        (f"md5:{'0' * 32}", UnsupportedImageError, "unsupported digest algorithm 'md5'"),
        (f"blake3:{'0' * 64}", UnsupportedImageError, "unsupported digest algorithm 'blake3'"),
        ("../../x", InvalidReferenceError, "invalid tag"),
        ("v1?x", InvalidReferenceError, "invalid tag"),
        ("v1\r\nX-Evil", InvalidReferenceError, "invalid tag"),
        ("", InvalidReferenceError, "invalid tag"),
    ],
)
def test_what_cannot_be_asked_for(
    fake: Fake, connect: Connect, wanted: str, error: type[Exception], text: str
) -> None:
    repository = connect(fake.address).repository("a/b")
    calls: list[Callable[[], object]] = [
        lambda: repository.manifest(wanted),
        lambda: repository.resolve(wanted),
        lambda: repository.push_manifest(IMAGE.raw, IMAGE.media_type, tag=wanted),
    ]
    for call in calls:
        with pytest.raises(error, match=text):
            call()
    assert fake.requests == []


def test_digest_as_text(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: document(OTHER.raw)
    with pytest.raises(DigestMismatchError):
        connect(fake.address).repository("a/b").manifest(str(IMAGE.digest))


def test_anything_can_be_copied(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: document(b"whatever", "application/x; a=b")
    raw = connect(fake.address).repository("a/b").raw_manifest("v1")
    assert raw == ("application/x", b"whatever")


DIGEST = digest_header(IMAGE.digest)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(Answer(405), id="not allowed"),
        pytest.param(document(IMAGE.raw), id="no digest"),
        pytest.param(document(IMAGE.raw, "", DIGEST), id="no type"),
        pytest.param(
            Answer(200, (DIGEST, ("Content-Type", _media.OCI_MANIFEST)), length=-1), id="no length"
        ),
        pytest.param(
            document(IMAGE.raw, _media.OCI_MANIFEST, digest_header("sha256:../../etc/passwd")),
            id="a path",
        ),
        pytest.param(
            document(IMAGE.raw, _media.OCI_MANIFEST, digest_header("blake3:" + "0" * 64)),
            id="an unknown algorithm",
        ),
    ],
)
def test_head_that_says_too_little(fake: Fake, connect: Connect, head: Answer) -> None:
    answers = {"HEAD": head, "GET": document(IMAGE.raw)}
    fake.behave = lambda r: answers[r.method] if r.path == TAG else Answer()
    assert connect(fake.address).repository("a/b").resolve("v1") == IMAGE.descriptor
    assert len(fake.asked("GET", TAG)) == 1


@pytest.mark.parametrize("status", [404, 400])
def test_head_that_refuses(fake: Fake, connect: Connect, status: int) -> None:
    fake.behave = lambda _: Answer(status)
    with pytest.raises(RegistryError, match="a/b:v1") as caught:
        connect(fake.address).repository("a/b").resolve("v1")
    assert caught.value.status == status


# Tags.


class Tags:
    """A registry with tags, which pages as it likes."""

    def __init__(self, count: int, *, page: int = 400, link: str = "relative") -> None:
        self.tags = [f"v{number:05}" for number in range(count)]
        self.page = page
        self.link = link

    def __call__(self, request: Request) -> Answer:
        if not request.path.endswith("/tags/list"):
            return Answer()
        query = parse_qs(urlsplit(request.target).query)
        last = query.get("last", [""])[0] if self.link != "deaf" else ""
        left = [tag for tag in self.tags if tag > last]
        count = min(self.page, int(query["n"][0])) if self.link != "deaf" else len(left)
        body = json.dumps({"name": "a/b", "tags": left[:count]}).encode()
        following = f"/v2/a/b/tags/list?last={left[count - 1]}&n={count}" if left[count:] else ""
        base = {"relative": "", "absolute": f"http://{request.headers['host']}"}.get(self.link)
        shown = following and base is not None
        link = (("Link", f'<{base}{following}>; rel="next"'),) if shown else ()
        return Answer(200, link, body)


@pytest.mark.parametrize(
    "registry",
    [
        pytest.param(Tags(0), id="none"),
        pytest.param(Tags(3), id="one page"),
        pytest.param(Tags(2500), id="links"),
        pytest.param(Tags(900, link="absolute"), id="absolute links"),
        pytest.param(Tags(2000, page=1000, link="none"), id="full pages, but no links"),
        pytest.param(Tags(2500, link="deaf"), id="all at once"),
    ],
)
def test_tags(fake: Fake, connect: Connect, registry: Tags) -> None:
    fake.behave = registry
    assert list(connect(fake.address).repository("a/b").tags()) == registry.tags


def test_strange_tags(fake: Fake, connect: Connect) -> None:
    tags = ["ok", "../../x", "", "a b", "-x", "x" * 129, "new\nline", "ok"]
    fake.behave = lambda _: Answer(body=json.dumps({"tags": tags}).encode())
    assert list(connect(fake.address).repository("a/b").tags()) == ["ok"]


def page_of(request: Request, link: str) -> Answer:
    number = int(request.query.get("page", ["0"])[0])
    link = link.format(next=number + 1, same=number)
    return Answer(200, (("Link", f"<{link}>;rel=next"),), b'{"tags": ["v%d"]}' % number)


@pytest.mark.parametrize(
    "link, text",
    [
        ("http://127.0.0.2:1/x", "at another host, which is not followed"),
        ("file:///etc/passwd", "no address"),
    ],
)
def test_bad_links(fake: Fake, connect: Connect, link: str, text: str) -> None:
    fake.behave = lambda r: page_of(r, link)
    with pytest.raises(RegistryError, match=text):
        list(connect(fake.address).repository("a/b").tags())


def test_links_in_a_circle(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda r: page_of(r, "?page={same}")
    assert list(connect(fake.address).repository("a/b").tags()) == ["v0"]
    assert len(fake.requests) < 6


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": 7}', b'{"tags": [7]}', b'{"tags": null}x'])
def test_bad_lists(fake: Fake, connect: Connect, body: bytes) -> None:
    fake.behave = lambda _: Answer(body=body)
    with pytest.raises(RegistryError, match="tags"):
        list(connect(fake.address).repository("a/b").tags())


# -- referrers

SUBJECT = IMAGE.digest
API = f"/v2/a/b/referrers/{SUBJECT}"
FALLBACK = f"/v2/a/b/manifests/sha256-{SUBJECT.hex}"


def signature(number: int, kind: str = "application/x.signature") -> Descriptor:
    raw = b"signature %d" % number
    return Descriptor(
        media_type=_media.OCI_MANIFEST,
        digest=Digest.of(raw),
        size=len(raw),
        annotations={"n": str(number)},
        artifact_type=kind,
    )


ENTRIES = [signature(0), signature(1, "application/x.sbom"), signature(2)]


def index_answer(entries: list[Descriptor], *headers: tuple[str, str]) -> Answer:
    return document(Index.build(entries).raw, _media.OCI_INDEX, *headers)


@pytest.mark.parametrize("kind, numbers", [("", [0, 1, 2]), ("application/x.sbom", [1])])
@pytest.mark.parametrize("fallback", [False, True], ids=["by the API", "by the tag"])
def test_referrers(
    fake: Fake, connect: Connect, kind: str, numbers: list[int], fallback: bool
) -> None:
    path = FALLBACK if fallback else API
    fake.behave = lambda r: index_answer(ENTRIES) if r.path == path else Answer(404)
    found = connect(fake.address).repository("a/b").referrers(SUBJECT, kind)
    assert list(found) == [ENTRIES[number] for number in numbers]


def test_no_referrers(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: Answer(404)
    assert connect(fake.address).repository("a/b").referrers(SUBJECT) == ()


def test_pages_of_referrers(fake: Fake, connect: Connect) -> None:
    def behave(request: Request) -> Answer:
        number = int(request.query.get("page", ["0"])[0])
        link = (("Link", f'<?page={number + 1}>; rel="next"'),) if number < 2 else ()
        return index_answer([ENTRIES[number]], *link)

    fake.behave = behave
    assert list(connect(fake.address).repository("a/b").referrers(SUBJECT)) == ENTRIES


@pytest.mark.parametrize(
    "answer, error",
    [
        (index_answer(ENTRIES, ("Link", "<>; rel=next")), RegistryError),
        (document(IMAGE.raw), ManifestError),
        (document(b"{}", _media.OCI_INDEX), ManifestError),
        (Answer(500), RegistryError),
    ],
)
def test_bad_referrers(
    fake: Fake, connect: Connect, answer: Answer, error: type[Exception]
) -> None:
    fake.behave = lambda r: answer if r.path == API else Answer(404)
    with pytest.raises(error):
        connect(fake.address).repository("a/b").referrers(SUBJECT)
