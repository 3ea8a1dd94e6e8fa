# SPDX-License-Identifier: Apache-2.0
"""Retries, redirects, warnings, and finding out how a registry is to be spoken to."""

from __future__ import annotations

import email.utils
import socket
from collections.abc import Callable

import pytest

from _fake_registry import Answer, Fake, Request, Watch, descriptor_of
from pycontain._image._registry._client import Client
from pycontain._image._registry._events import RegistryWarning, Waiting
from pycontain._image._registry._retry import retry_after
from pycontain.errors import (
    InvalidReferenceError,
    RateLimitedError,
    RegistryError,
    RegistryNotFoundError,
)

Connect = Callable[..., Client]
BLOB = descriptor_of(b"content")
PATH = f"/v2/a/b/blobs/{BLOB.digest}"
CONTENT = Answer(body=b"content")


def fetch(client: Client) -> bytes:
    return b"".join(client.repository("a/b").blob(BLOB))


def serve(fake: Fake, *answers: Answer) -> None:
    left = list(answers)

    def behave(request: Request) -> Answer:
        if not request.path.startswith("/v2/a/"):
            return Answer()
        return left.pop(0) if len(left) > 1 else left[0]

    fake.behave = behave


NOW = 1.7e9


@pytest.mark.parametrize(
    "header, seconds",
    [
        ("37", 37),
        (" 0 ", 0),
        ("1000000000", 1e9),
        ("9" * 4000, 1e18 - 1),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_waits_as_long_as_the_registry_asks(
    fake: Fake, connect: Connect, watch: Watch, status: int
) -> None:
    serve(fake, Answer(status, (("Retry-After", "37"),)), CONTENT)
    assert fetch(connect(fake.address)) == b"content"
    assert watch.slept == [37]
    (event,) = watch.events
    assert isinstance(event, Waiting)
    problem = f"rate limited by {fake.address}"
    problem = problem if status == 429 else f"{fake.address} answered {status}"
    assert str(event) == f"{problem}, waiting 37 s (attempt 1 of 5)"


def test_waits_longer_each_time(fake: Fake, connect: Connect, watch: Watch) -> None:
    serve(fake, Answer(503))
    with pytest.raises(RegistryError, match="answered 503 Service Unavailable"):
        fetch(connect(fake.address))
    assert watch.slept == [0.5, 1, 2, 4]
    assert len(fake.asked("GET", PATH)) == 5


@pytest.mark.parametrize("asked", ["121", "1000000000", "9" * 100])
def test_does_not_wait_for_ever(fake: Fake, connect: Connect, watch: Watch, asked: str) -> None:
    serve(fake, Answer(429, (("Retry-After", asked), ("RateLimit-Remaining", "0;w=21600"))))
    with pytest.raises(RateLimitedError, match="more than the 120 s") as caught:
        fetch(connect(fake.address))
    assert watch.slept == []
    assert caught.value.retry_after == float(asked[:18])
    assert "ratelimit-remaining: 0;w=21600" in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 416, 451, 501])
def test_no_other_attempt(fake: Fake, connect: Connect, watch: Watch, status: int) -> None:
    serve(fake, Answer(status, (("Retry-After", "1"),)), CONTENT)
    with pytest.raises(RegistryError):
        fetch(connect(fake.address))
    assert watch.slept == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(fake: Fake, storage: Fake, connect: Connect, status: int) -> None:
    serve(fake, Answer(status, (("Location", f"{storage.url}/blob?signature=x"),)))
    storage.behave = lambda _: CONTENT
    assert fetch(connect(fake.address)) == b"content"


@pytest.mark.parametrize(
    "location, text",
    [
        ("", "answered 302"),
        (PATH, "more than 10 times"),
        (f"{PATH}?x", "more than 10 times"),
        ("file:///etc/passwd", "that is no address to go to"),
        ("//", "more than 10 times"),
        ("http://x:99999/", "no address"),
        ("http://[::1/", "no address"),
        ("gopher://127.0.0.1/", "no address"),
        ("http://\xe4/", "no address"),
        ("http://127.0.0.1:1/", r"127.0.0.1:1\) cannot be reached: Connection refused"),
    ],
)
def test_bad_redirect(fake: Fake, connect: Connect, location: str, text: str) -> None:
    headers = (("Location", location),) if location else ()
    serve(fake, Answer(302, headers))
    with pytest.raises(RegistryError, match=text) as caught:
        fetch(connect(fake.address))
    assert str(caught.value).isprintable()
    assert len(fake.asked("GET", PATH)) <= 11


def test_redirect_that_has_expired(fake: Fake, storage: Fake, connect: Connect) -> None:
    """What breaks off at the storage is taken up at the registry, which says where it is now."""
    places = iter(("first", "second"))
    fake.behave = lambda r: (
        Answer(307, (("Location", f"{storage.url}/{next(places)}"),))
        if r.path == PATH
        else Answer()
    )
    tail = Answer(206, (("Content-Range", "bytes 3-6/7"),), b"tent")
    first = Answer(body=b"con", length=7, cut=True)
    storage.behave = lambda r: first if r.path == "/first" else tail
    assert fetch(connect(fake.address)) == b"content"
    assert [r.path for r in storage.requests] == ["/first", "/second"]


def test_what_was_signed_is_not_shown(fake: Fake, storage: Fake, connect: Connect) -> None:
    serve(fake, Answer(307, (("Location", f"http://user:pw@{storage.address}/x?signature=s3"),)))
    storage.behave = lambda _: Answer(500)
    with pytest.raises(RegistryError) as caught:
        fetch(connect(fake.address))
    assert "s3" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert storage.secrets() == []


def test_nothing_there(connect: Connect, watch: Watch) -> None:
    """What never answered is not waited for."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RegistryError, match="cannot be reached: Connection refused"):
            fetch(connect(address))
    assert watch.slept == []


def test_unknown_host(connect: Connect) -> None:
    with pytest.raises(RegistryError, match=r"registry\.invalid: unknown host"):
        fetch(connect("registry.invalid"))


def test_warnings(fake: Fake, connect: Connect, watch: Watch) -> None:
    headers = (
        ("Warning", '299 - "gone \\"soon\\"\x1b[0m"'),
        ("Warning", '199 - "other"'),
        ("Warning", "garbage"),
    )
    serve(fake, Answer(headers=headers, body=b"content"))
    client = connect(fake.address)
    fetch(client)
    fetch(client)
    expected = RegistryWarning(registry=fake.address, text='gone "soon" [0m')
    assert watch.events == [expected]
    assert str(expected) == f'warning of {fake.address}: gone "soon" [0m'


def test_requests(fake: Fake, connect: Connect) -> None:
    serve(fake, CONTENT)
    fetch(connect(fake.address))
    (request,) = fake.asked("GET", PATH)
    assert request.headers["user-agent"].startswith("pycontain/")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == fake.address


@pytest.mark.parametrize(
    "name", ["", "nohost", "a/b", "x:99999", "reg ister.io", "u@h.io", "h.io/"]
)
def test_no_registry(name: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Client(name)


@pytest.mark.parametrize("name", ["", "UPPER", "a/../b", "a:tag", "/a", "a//b", "a?b", "a" * 300])
def test_no_repository(name: str) -> None:
    with Client("localhost:5000") as client, pytest.raises(InvalidReferenceError):
        client.repository(name)


def test_the_error_a_registry_names(fake: Fake, connect: Connect) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}'
    serve(fake, Answer(404, (), body))
    with pytest.raises(RegistryNotFoundError) as caught:
        fetch(connect(fake.address))
    assert (caught.value.code, caught.value.status) == ("NAME_UNKNOWN", 404)
    assert caught.value.registry == fake.address
    assert str(caught.value).endswith("(NAME_UNKNOWN: no such thing)")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[" * 60_000,
        b"{}",
        b'{"errors":[]}',
        b'{"errors":[7]}',
        b'{"errors":[{"code":7,"message":{}}]}',
        b'{"errors":[{"message":"\\ud800"}]}',
        b"x" * 100_000,
    ],
)
def test_errors_in_no_form(fake: Fake, connect: Connect, body: bytes) -> None:
    serve(fake, Answer(404, (), body))
    with pytest.raises(RegistryNotFoundError, match="has no blob") as caught:
        fetch(connect(fake.address))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
