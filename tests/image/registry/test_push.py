# SPDX-License-Identifier: Apache-2.0
"""Uploads to registries that do it in their own ways, or fail half-way."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest

from _fake_registry import Answer, Fake, Request, Watch, descriptor_of
from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._json import dumps
from pycontain._image._manifest import Index, Manifest, parse
from pycontain._image._registry import _uploads
from pycontain._image._registry._client import Client
from pycontain._image._registry._credentials import Credentials
from pycontain._image._registry._events import Uploading
from pycontain.errors import (
    DigestMismatchError,
    RateLimitedError,
    RegistryError,
    SizeMismatchError,
)

Connect = Callable[..., Client]
DATA = bytes(range(256)) * 4096 * 3  # 3 MiB
BLOB = descriptor_of(DATA)
PART = 1 << 20
ALICE = Credentials(username="alice", password="s3cret")


def source() -> BinaryIO:
    return io.BytesIO(DATA)


@dataclass
class Uploads:
    """A registry that takes uploads.

    Attributes:
        blobs: What it has.
        location: Where it sends clients to; {} is the session's number.
        script: Answers to the next requests that carry content, None for doing them.
        largest: The longest body that it takes.
    """

    fake: Fake
    blobs: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)
    location: str = "/v2/a/b/blobs/uploads/{}?_state=x%2F%3D"
    script: list[Callable[[Request, str], Answer] | None] = field(default_factory=list)
    mounts: set[str] = field(default_factory=set)
    least: str = ""
    largest: int = 1 << 40
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.fake.behave = self

    def __call__(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if "/uploads/" not in request.path:
            found = self.blobs.get(name)
            if request.method == "PUT":
                return Answer(201)
            return Answer(404) if found is None else Answer(200, length=len(found))
        return self.upload(request, name)

    def upload(self, request: Request, name: str) -> Answer:
        match request.method, name in self.sessions:
            case "POST", _:
                return self.begin(request)
            case _, False:
                return Answer(404)
            case "DELETE", _:
                del self.sessions[name]
                return Answer(204)
            case "GET", _:
                return self.accepted(name, 204)
        return self.take(request, name)

    def take(self, request: Request, name: str) -> Answer:
        if len(request.body) > self.largest:
            return Answer(413)
        if (request.body or request.method == "PATCH") and self.script:
            step = self.script.pop(0)
            if step is not None:
                return step(request, name)
        return self.receive(request, name)

    def begin(self, request: Request) -> Answer:
        if request.query.get("from", [""])[0] in self.mounts:
            self.blobs[request.query["mount"][0]] = DATA
            return Answer(201)
        name = f"s{next(self.numbers)}"
        self.sessions[name] = b""
        return self.accepted(name, 202)

    def receive(self, request: Request, name: str) -> Answer:
        if request.method == "PATCH":
            start, _, end = request.headers["content-range"].partition("-")
            expected = int(end) - int(start) + 1
            if int(start) != len(self.sessions[name]) or expected != len(request.body):
                return Answer(416)
        self.sessions[name] += request.body
        if request.method == "PATCH":
            return self.accepted(name, 202)
        digest = request.query["digest"][0]
        data = self.sessions.pop(name)
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            return Answer(400, (), b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[digest] = data
        return Answer(201)

    def accepted(self, name: str, status: int) -> Answer:
        length = len(self.sessions[name])
        headers = [("Location", self.location.format(name)), ("Range", f"0-{max(length - 1, 0)}")]
        if self.least:
            headers.append(("OCI-Chunk-Min-Length", self.least))
        return Answer(status, tuple(headers))

    def count(self, method: str) -> int:
        return sum(r.method == method and "/uploads/" in r.path for r in self.fake.requests)


@pytest.fixture
def uploads(fake: Fake) -> Uploads:
    return Uploads(fake)


def push(client: Client, **options: object) -> bool:
    return client.repository("a/b").push_blob(BLOB, source, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "location",
    [
        "/v2/a/b/blobs/uploads/{}?_state=x%2F%3D",
        "/v2/a/b/blobs/uploads/{}",
        "{}?a=b",
        "http://HOST/v2/a/b/blobs/uploads/{}",
    ],
)
@pytest.mark.parametrize("part_size", [None, PART, 700_001])
def test_push(connect: Connect, uploads: Uploads, location: str, part_size: int | None) -> None:
    uploads.location = location.replace("HOST", uploads.fake.address)
    if not location.startswith(("/", "http")):
        uploads.location = f"/v2/a/b/blobs/uploads/{location}"
    client = connect(uploads.fake.address)
    assert push(client, part_size=part_size) is True
    assert uploads.blobs == {str(BLOB.digest): DATA}
    assert uploads.count("PATCH") == (-(-len(DATA) // part_size) if part_size else 0)
    assert push(client) is False
    assert uploads.count("POST") == 1


def test_progress(connect: Connect, uploads: Uploads, watch: Watch) -> None:
    push(connect(uploads.fake.address))
    sent = [event.sent for event in watch.events if isinstance(event, Uploading)]
    assert sent == [PART, 2 * PART, 3 * PART]
    assert str(watch.events[0]) == f"{BLOB.digest}: {PART} of {len(DATA)} bytes sent"


@pytest.mark.parametrize(
    "candidates, sessions", [(["x/y"], 0), (["no/such", "x/y"], 1), (["a/b", "x/y"], 0)]
)
def test_mount(connect: Connect, uploads: Uploads, candidates: list[str], sessions: int) -> None:
    uploads.mounts = {"x/y"}
    assert push(connect(uploads.fake.address), mount_from=candidates) is False
    assert uploads.count("POST") == sessions + 1
    assert uploads.sessions == {}


def test_no_mount(connect: Connect, uploads: Uploads) -> None:
    assert push(connect(uploads.fake.address), mount_from=["x/y", "z"]) is True
    assert uploads.blobs
    assert uploads.count("PUT") == 1
    assert uploads.sessions == {}


def test_too_long_for_one_request(
    connect: Connect, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uploads, "PART", PART)
    uploads.largest = 2 << 20
    assert push(connect(uploads.fake.address))
    assert (uploads.count("PUT"), uploads.count("PATCH")) == (2, 3)
    assert uploads.sessions == {}


def test_least_part(connect: Connect, uploads: Uploads) -> None:
    uploads.least = str(2 << 20)
    assert push(connect(uploads.fake.address), part_size=1000)
    assert uploads.count("PATCH") == 2


def keep_half(uploads: Uploads, answer: Answer) -> Callable[[Request, str], Answer]:
    def step(request: Request, name: str) -> Answer:
        uploads.sessions[name] += request.body[: len(request.body) // 2]
        return answer

    return step


def lose(uploads: Uploads, answer: Answer) -> Callable[[Request, str], Answer]:
    def step(_: Request, name: str) -> Answer:
        del uploads.sessions[name]
        return answer

    return step


def finish(uploads: Uploads, answer: Answer) -> Callable[[Request, str], Answer]:
    def step(request: Request, name: str) -> Answer:
        uploads.receive(request, name)
        return answer

    return step


HANG_UP = Answer(raw=b"HTTP/1.1")


@pytest.mark.parametrize(
    "broken", [Answer(503), Answer(404), HANG_UP], ids=["503", "404", "hangs up"]
)
@pytest.mark.parametrize("step", [keep_half, lose, finish])
@pytest.mark.parametrize("part_size", [None, PART])
def test_breaks(
    connect: Connect,
    uploads: Uploads,
    watch: Watch,
    step: Callable[[Uploads, Answer], Callable[[Request, str], Answer]],
    broken: Answer,
    part_size: int | None,
) -> None:
    uploads.script = [None, step(uploads, broken)] if part_size else [step(uploads, broken)]
    assert push(connect(uploads.fake.address), part_size=part_size)
    assert uploads.blobs == {str(BLOB.digest): DATA}
    assert watch.slept == [0.5]


def test_a_part_in_the_wrong_place(connect: Connect, uploads: Uploads) -> None:
    """The registry knows best how much it has."""
    uploads.script = [None, lambda _, name: swallow(uploads, name)]
    assert push(connect(uploads.fake.address), part_size=PART)
    assert uploads.blobs == {str(BLOB.digest): DATA}


def swallow(uploads: Uploads, name: str) -> Answer:
    uploads.sessions[name] = uploads.sessions[name][:-1000]
    return Answer(416)


def test_breaks_for_ever(connect: Connect, uploads: Uploads, watch: Watch) -> None:
    uploads.script = [lambda *_: Answer(502)] * 99
    with pytest.raises(RegistryError, match="answered 502 Bad Gateway for upload of sha256:"):
        push(connect(uploads.fake.address))
    assert len(watch.slept) == 4


def test_rate_limit(connect: Connect, uploads: Uploads, watch: Watch) -> None:
    uploads.script = [lambda *_: Answer(429, (("Retry-After", "7"),))] * 99
    with pytest.raises(RateLimitedError):
        push(connect(uploads.fake.address))
    assert watch.slept == [7] * 4


@pytest.mark.parametrize(
    "change, text",
    [
        ({"location": ""}, "does not say where to send"),
        ({"location": "file:///{}"}, "no address"),
        ({"largest": 10}, "answered 413"),
    ],
)
def test_bad_registries(
    connect: Connect, uploads: Uploads, change: dict[str, object], text: str
) -> None:
    for name, value in change.items():
        setattr(uploads, name, value)
    with pytest.raises(RegistryError, match=text):
        push(connect(uploads.fake.address))


def test_a_registry_that_got_something_else(connect: Connect, uploads: Uploads) -> None:
    other = Descriptor(media_type="x", digest=Digest.of(b"other"), size=len(DATA))
    with pytest.raises(RegistryError, match=r"answered 400 .*DIGEST_INVALID"):
        connect(uploads.fake.address).repository("a/b").push_blob(other, source)


def test_source_that_is_too_short(connect: Connect, uploads: Uploads) -> None:
    longer = Descriptor(media_type="x", digest=BLOB.digest, size=len(DATA) + 1)
    with pytest.raises(SizeMismatchError, match="ends after 3145728 of 3145729 bytes"):
        connect(uploads.fake.address).repository("a/b").push_blob(longer, source)


def test_source_that_fails(connect: Connect, uploads: Uploads, watch: Watch) -> None:
    def fail() -> BinaryIO:
        raise OSError(errno.EIO, "disk on fire")

    with pytest.raises(OSError, match="disk on fire") as caught:
        connect(uploads.fake.address).repository("a/b").push_blob(BLOB, fail)
    assert not isinstance(caught.value, RegistryError)
    assert watch.slept == []


def test_credentials_stay_here(connect: Connect, uploads: Uploads, storage: Fake) -> None:
    """A location at another host is used, but gets no credentials."""

    def behave(request: Request) -> Answer:
        if "authorization" not in request.headers:
            return Answer(401, (("WWW-Authenticate", "Basic"),))
        return uploads(request)

    uploads.fake.behave = behave
    uploads.location = f"{storage.url}/{{}}"
    storage.behave = lambda _: Answer(201)
    assert push(connect(uploads.fake.address, credentials=ALICE))
    assert storage.requests[0].body == DATA
    assert storage.secrets() == []


# -- manifests

CONFIG = descriptor_of(b"{}", _media.OCI_CONFIG)
IMAGE = Manifest.build(CONFIG, [])


def about(subject: Descriptor, artifact_type: str = "") -> bytes:
    return dumps(
        {
            "schemaVersion": 2,
            "mediaType": _media.OCI_MANIFEST,
            **({"artifactType": artifact_type} if artifact_type else {}),
            "config": CONFIG.to_json(),
            "layers": [],
            "subject": subject.to_json(),
            "annotations": {"a": "b"},
        }
    )


@pytest.mark.parametrize("tag", ["v1", None])
def test_manifest(fake: Fake, connect: Connect, tag: str | None) -> None:
    fake.behave = lambda _: Answer(201, (("Docker-Content-Digest", str(IMAGE.digest)),))
    repository = connect(fake.address).repository("a/b")
    assert repository.push_manifest(IMAGE.raw, IMAGE.media_type, tag=tag) == IMAGE.digest
    (request,) = fake.asked("PUT", f"/v2/a/b/manifests/{tag or IMAGE.digest}")
    assert request.body == IMAGE.raw
    assert request.headers["content-type"] == _media.OCI_MANIFEST


def test_manifest_of_a_type_that_cannot_be_sent(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: Answer(201)
    with pytest.raises(RegistryError, match="characters that cannot be sent"):
        connect(fake.address).repository("a/b").push_manifest(b"{}", "application/x\r\nX-Evil: 1")
    assert not [r for r in fake.requests if r.method == "PUT"]


def test_manifest_stored_differently(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: Answer(201, (("Docker-Content-Digest", str(BLOB.digest)),))
    with pytest.raises(DigestMismatchError, match="stored sha256:"):
        connect(fake.address).repository("a/b").push_manifest(IMAGE.raw, IMAGE.media_type)


def test_manifest_refused(fake: Fake, connect: Connect) -> None:
    body = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}'
    fake.behave = lambda r: Answer(400, (), body) if r.method == "PUT" else Answer()
    with pytest.raises(RegistryError, match=r"400 .*upload of a/b:v1 \(MANIFEST_BLOB_UNKNOWN"):
        connect(fake.address).repository("a/b").push_manifest(IMAGE.raw, IMAGE.media_type, tag="v1")


@pytest.mark.parametrize(
    "kind, listed_as", [("application/x", "application/x"), ("", _media.OCI_CONFIG)]
)
def test_what_is_about_another(fake: Fake, connect: Connect, kind: str, listed_as: str) -> None:
    """Without an API for referrers, we keep the list; nothing stands in it twice."""
    kept: dict[str, bytes] = {}

    def behave(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if request.method == "PUT":
            kept[name] = request.body
            return Answer(201)
        if name not in kept:
            return Answer(404)
        return Answer(200, (("Content-Type", _media.OCI_INDEX),), kept[name])

    fake.behave = behave
    repository = connect(fake.address).repository("a/b")
    raw = about(IMAGE.descriptor, kind)
    for _ in range(2):
        repository.push_manifest(raw, _media.OCI_MANIFEST)
    other = about(IMAGE.descriptor, "application/y")
    repository.push_manifest(other, _media.OCI_MANIFEST)
    index = parse(kept[f"sha256-{IMAGE.digest.hex}"])
    assert isinstance(index, Index)
    assert [(e.digest, e.artifact_type, e.annotations) for e in index.manifests] == [
        (Digest.of(raw), listed_as, {"a": "b"}),
        (Digest.of(other), "application/y", {"a": "b"}),
    ]
    assert [e.digest for e in repository.referrers(IMAGE.digest)] == [
        Digest.of(raw),
        Digest.of(other),
    ]


def test_a_registry_that_lists_referrers(fake: Fake, connect: Connect) -> None:
    fake.behave = lambda _: Answer(201, (("OCI-Subject", str(IMAGE.digest)),))
    repository = connect(fake.address).repository("a/b")
    repository.push_manifest(about(IMAGE.descriptor), _media.OCI_MANIFEST)
    assert [r.method for r in fake.requests if "manifests" in r.path] == ["PUT"]
