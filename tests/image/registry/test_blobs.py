# SPDX-License-Identifier: Apache-2.0
"""Blobs from a registry that misbehaves: what was announced is yielded, or an error says why."""

from __future__ import annotations

import gzip
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from _fake_registry import Answer, Fake, Request, Watch, chunked, descriptor_of
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest, Verifier
from pycontain._image._registry._client import Client
from pycontain.errors import (
    DigestMismatchError,
    ImageError,
    RateLimitedError,
    RegistryError,
    RegistryNotFoundError,
    SizeMismatchError,
)

DATA = bytes(range(256)) * 4096  # 1 MiB
SIZE = len(DATA)
OTHER = DATA[:-1] + b"x"
CHUNKED = (("Transfer-Encoding", "chunked"),)
BLOB = Descriptor(media_type="application/octet-stream", digest=Digest.of(DATA), size=SIZE)
PATH = f"/v2/a/b/blobs/{BLOB.digest}"
Connect = Callable[..., Client]


def ranged(request: Request) -> int:
    """Return where the client wants to begin."""
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", "bytes=0-"))
    assert match
    return int(match[1])


def partial(start: int, end: int = SIZE, total: int | str = SIZE, data: bytes = DATA) -> Answer:
    """Return a part, as it should be."""
    return Answer(206, (("Content-Range", f"bytes {start}-{end - 1}/{total}"),), data[start:end])


def serve(fake: Fake, *answers: Answer | Callable[[Request], Answer]) -> None:
    """Give the answers for the blob one after the other, the last one for ever."""
    left = list(answers)

    def behave(request: Request) -> Answer:
        if request.path != PATH:
            return Answer(200 if request.path == "/v2/" else 404)
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(request) if callable(answer) else answer

    fake.behave = behave


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(body=DATA), id="whole"),
        pytest.param(Answer(200, CHUNKED, chunked([DATA]), -1), id="chunked"),
        pytest.param(Answer(body=DATA, length=-1), id="until the connection ends"),
        # As some storage is configured: the header is a lie, the bytes are right.
        pytest.param(Answer(200, (("Content-Encoding", "gzip"),), DATA), id="encoded in name only"),
    ],
)
def test_content(fake: Fake, connect: Connect, answer: Answer) -> None:
    serve(fake, answer)
    blob = connect(fake.address).repository("a/b").blob(BLOB)
    assert b"".join(blob) == DATA
    assert fake.asked("GET", PATH)[0].headers["accept-encoding"] == "identity"


ENDLESS = itertools.repeat(DATA)


@pytest.mark.parametrize(
    "answer, error, text",
    [
        pytest.param(Answer(body=DATA[:-1]), SizeMismatchError, "has 1048575 bytes", id="short"),
        pytest.param(
            Answer(200, CHUNKED, chunked([DATA[:-1]]), -1),
            SizeMismatchError,
            "has 1048575 bytes where 1048576 were announced",
            id="short, chunked",
        ),
        pytest.param(Answer(body=DATA + b"x"), SizeMismatchError, "has 1048577", id="long"),
        pytest.param(
            Answer(200, CHUNKED, chunked([DATA, b"x"]), -1),
            SizeMismatchError,
            "more than the announced 1048576",
            id="long, chunked",
        ),
        pytest.param(
            Answer(200, CHUNKED, chunked(ENDLESS), -1),
            SizeMismatchError,
            "more than the announced",
            id="endless, chunked",
        ),
        pytest.param(
            Answer(body=ENDLESS, length=-1), SizeMismatchError, "more than", id="endless"
        ),
        pytest.param(
            Answer(body=DATA, length=10**18), SizeMismatchError, "has 1000000000", id="huge"
        ),
        pytest.param(Answer(body=OTHER), DigestMismatchError, "was expected", id="other"),
        pytest.param(
            Answer(200, (("Content-Encoding", "gzip"),), gzip.compress(DATA), -1),
            SizeMismatchError,
            "Content-Encoding 'gzip'",
            id="compressed on the way",
        ),
        pytest.param(partial(0), RegistryError, "answered 206", id="a part that nobody wanted"),
        pytest.param(Answer(204), RegistryError, "answered 204 No Content", id="nothing"),
        pytest.param(Answer(404), RegistryNotFoundError, "has no blob", id="not found"),
        pytest.param(Answer(418), RegistryError, "answered 418", id="refused"),
        pytest.param(Answer(999), RegistryError, "answered 999", id="an unknown status"),
        pytest.param(
            Answer(500, (), b'{"errors":[{"code":"UNKNOWN","message":"\x1b[2Jboo"}]}'),
            RegistryError,
            "answered 500",
            id="broken",
        ),
        pytest.param(Answer(429), RateLimitedError, "rate limited by 127.0.0.1", id="limited"),
        pytest.param(
            Answer(200, CHUNKED, [b"zz\r\n"], -1), RegistryError, "broke", id="no chunk at all"
        ),
        pytest.param(
            Answer(body=DATA[:99], length=SIZE, cut=True), RegistryError, "broke", id="cut for ever"
        ),
        pytest.param(Answer(raw=b"\0" * 100), RegistryError, "broke", id="not HTTP"),
        pytest.param(
            Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), RegistryError, "broke",
            id="a long header",
        ),
        pytest.param(
            Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200), RegistryError, "broke",
            id="many headers",
        ),
        pytest.param(
            Answer(raw=itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
            RegistryError,
            "a head of more than 1048576 bytes",
            id="an endless head",
        ),
    ],
)  # fmt: skip
def test_bad_content(
    fake: Fake, connect: Connect, answer: Answer, error: type[Exception], text: str
) -> None:
    serve(fake, answer)
    repository = connect(fake.address).repository("a/b")
    received: list[bytes] = []
    with pytest.raises(error, match=re.escape(text)) as caught:
        received.extend(repository.blob(BLOB))
    assert sum(map(len, received)) <= SIZE
    assert str(caught.value).isprintable()
    assert len(fake.requests) <= 8


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda r: partial(ranged(r)), id="a part"),
        pytest.param(lambda r: partial(ranged(r), total="*"), id="a part of something"),
        pytest.param(
            lambda r: partial(ranged(r), min(ranged(r) + 99_999, SIZE)), id="a small part"
        ),
        pytest.param(lambda _: Answer(body=DATA), id="all of it"),
        pytest.param(
            lambda r: partial(7) if "range" in r.headers else Answer(body=DATA), id="another part"
        ),
        pytest.param(
            lambda r: Answer(206, (), b"x") if "range" in r.headers else Answer(body=DATA),
            id="a part of no place",
        ),
        pytest.param(
            lambda r: Answer(416) if "range" in r.headers else Answer(body=DATA), id="no parts"
        ),
    ],
)
def test_taken_up(fake: Fake, connect: Connect, second: Callable[[Request], Answer]) -> None:
    serve(fake, Answer(body=DATA[:300_000], length=SIZE, cut=True), second, second)
    blob = connect(fake.address).repository("a/b").blob(BLOB)
    assert b"".join(blob) == DATA
    assert ranged(fake.asked("GET", PATH)[1]) == 300_000


@pytest.mark.parametrize(
    "second, error, text",
    [
        pytest.param(
            lambda r: partial(ranged(r), total=SIZE + 1),
            SizeMismatchError,
            "has 1048577 bytes",
            id="of something larger",
        ),
        pytest.param(
            lambda r: partial(ranged(r), SIZE + 9, "*"),
            SizeMismatchError,
            "has 1048585",
            id="too far",
        ),
        pytest.param(
            lambda r: partial(ranged(r), data=OTHER),
            DigestMismatchError,
            "expected",
            id="of another",
        ),
        pytest.param(
            lambda _: Answer(206, (("Content-Range", "bytes 99-1/2"),)),
            RegistryError,
            "answered 206",
            id="parts only",
        ),
    ],
)
def test_badly_taken_up(
    fake: Fake,
    connect: Connect,
    second: Callable[[Request], Answer],
    error: type[Exception],
    text: str,
) -> None:
    serve(fake, Answer(body=DATA[:300_000], length=SIZE, cut=True), second)
    with pytest.raises(error, match=text):
        list(connect(fake.address).repository("a/b").blob(BLOB))


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: a/b\r\nLink: <x>\r\n\r\ncontent"
SCRAPS = (
    *(b"\r\n", b"\n", b"\0", b":", b" ", b"\xff", b"-1", b"99999999999999999999", b"HTTP/9.9 "),
    *(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Location: //\r\n"),
    *(b"301", b"401", b"206", b"100", b"WWW-Authenticate: Bearer realm=x\r\n", b"\r\n\r\n"),
)


def garbled(chance: random.Random) -> bytes:
    """Return a response with some pieces replaced, left out or repeated."""
    data = GOOD
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data))
        end = min(len(data), start + chance.randrange(12))
        data = data[:start] + chance.choice((b"", data[start:end] * 2, *SCRAPS)) + data[end:]
    return data


def test_garbled_answers(fake: Fake, connect: Connect, watch: Watch) -> None:
    """It is the content, or an error of ours; never anything else."""
    chance = random.Random(5)
    blob = descriptor_of(b"content")
    fake.behave = lambda r: Answer() if r.path == "/v2/" else Answer(raw=garbled(chance))
    repository = connect(fake.address, timing=watch.timing(attempts=1)).repository("a/b")
    outcomes = set()
    for _ in range(400):
        try:
            assert b"".join(repository.blob(blob)) == b"content"
            outcomes.add("content")
        except ImageError as error:
            outcomes.add(type(error).__name__)
    assert {"content", "ConnectionFailedError", "SizeMismatchError"} < outcomes


def test_what_is_there_is_not_fetched_again(fake: Fake, connect: Connect) -> None:
    serve(fake, lambda r: partial(ranged(r)))
    verifier = Verifier(BLOB.digest, BLOB.size)
    verifier.update(DATA[:700_000])
    blob = connect(fake.address).repository("a/b").blob(BLOB, verifier)
    assert b"".join(blob) == DATA[700_000:]
    assert len(fake.asked("GET", PATH)) == 1


@pytest.mark.parametrize("size", [0, SIZE], ids=["empty", "there already"])
def test_nothing_to_fetch(fake: Fake, connect: Connect, size: int) -> None:
    blob = descriptor_of(DATA[:size])
    verifier = Verifier(blob.digest, blob.size)
    verifier.update(DATA[:size])
    assert list(connect(fake.address).repository("a/b").blob(blob, verifier)) == []
    assert fake.requests == []


def test_content_in_the_descriptor(fake: Fake, connect: Connect) -> None:
    blob = replace(BLOB, data=DATA)
    assert b"".join(connect(fake.address).repository("a/b").blob(blob)) == DATA
    assert fake.requests == []


def test_connection_breaks_for_ever(fake: Fake, connect: Connect) -> None:
    """However often the connection breaks: as long as it brings something, it goes on."""
    step = 3 * SIZE // 20
    data = DATA * 4
    blob = Descriptor(media_type="x", digest=Digest.of(data), size=len(data))

    def behave(request: Request) -> Answer:
        if not request.path.startswith("/v2/a/b/blobs/"):
            return Answer()
        start = ranged(request)
        rest = data[start : start + 8 * step]
        head = (("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}"),)
        status = 206 if "range" in request.headers else 200
        return Answer(status, head, rest, len(data) - start, cut=True)

    fake.behave = behave
    assert b"".join(connect(fake.address).repository("a/b").blob(blob)) == data


def test_nothing_left_open_when_left_early(fake: Fake, connect: Connect) -> None:
    serve(fake, Answer(body=itertools.repeat(DATA), length=SIZE))
    blob = connect(fake.address).repository("a/b").blob(BLOB)
    assert next(blob)
    blob.close()  # type: ignore[attr-defined]
    assert list(blob) == []


def test_a_server_that_stops(fake: Fake, connect: Connect) -> None:
    given_up = threading.Event()

    def silence() -> Iterator[bytes]:
        yield DATA[:1000]
        given_up.wait(60)

    serve(fake, lambda _: Answer(body=silence(), length=SIZE))
    with pytest.raises(RegistryError, match="stopped answering"):
        list(connect(fake.address, idle=0.05).repository("a/b").blob(BLOB))
    given_up.set()


@pytest.mark.parametrize("in_head", [False, True], ids=["the body", "the head"])
def test_a_server_that_trickles(fake: Fake, connect: Connect, watch: Watch, in_head: bool) -> None:
    """Each byte comes in time, all of them never would."""
    allowed = threading.Semaphore(0)

    def clock() -> float:  # each look at it brings a byte, and takes a while
        allowed.release()
        watch.time += 2
        return watch.time

    def trickle() -> Iterator[bytes]:
        while allowed.acquire(timeout=60):
            yield b"x"

    def behave(_: Request) -> Answer:
        if in_head:
            return Answer(raw=itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], trickle()))
        return Answer(body=trickle(), length=SIZE)

    serve(fake, behave)
    timing = watch.timing(clock=clock, attempts=1)
    with pytest.raises(RegistryError, match="stopped answering"):
        list(connect(fake.address, timing=timing).repository("a/b").blob(BLOB))
    for _ in range(99):
        allowed.release()  # until it notices that nobody listens


@pytest.mark.parametrize(
    "urls, allowed, text",
    [
        ((), True, "has no blob"),
        (("http://{}/x",), False, "fetched from elsewhere .* has to be allowed"),
        (("file:///etc/passwd", "ftp://x/y", "data:,x"), True, "has to be allowed"),
        (("http://{}/missing",), True, "has no blob"),
        (("http://{}/login",), True, "has no blob"),
    ],
)
def test_foreign_blob_refused(
    fake: Fake,
    storage: Fake,
    connect: Connect,
    urls: tuple[str, ...],
    allowed: bool,
    text: str,
) -> None:
    serve(fake, Answer(404))
    challenge = (("WWW-Authenticate", 'Basic realm="x"'),)
    storage.behave = lambda r: Answer(401, challenge) if r.path == "/login" else Answer(404)
    blob = replace(BLOB, urls=tuple(url.format(storage.address) for url in urls))
    repository = connect(fake.address).repository("a/b")
    with pytest.raises(RegistryError, match=text):
        list(repository.blob(blob, foreign_urls=allowed))
    assert storage.secrets() == []
    assert bool(storage.requests) == (allowed and "http://{}" in "".join(urls))


def test_foreign_blob(fake: Fake, storage: Fake, connect: Connect) -> None:
    serve(fake, Answer(404))
    storage.behave = lambda r: Answer(body=DATA) if r.path == "/there" else Answer(404)
    urls = tuple(f"{storage.url}/{path}" for path in ("missing", "there"))
    repository = connect(fake.address).repository("a/b")
    assert b"".join(repository.blob(replace(BLOB, urls=urls), foreign_urls=True)) == DATA
