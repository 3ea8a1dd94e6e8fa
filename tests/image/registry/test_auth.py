# SPDX-License-Identifier: Apache-2.0
"""Authentication against registries and token servers, good and bad."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest

from _fake_registry import Answer, Fake, Request, Watch, descriptor_of
from pycontain._image._registry._client import Client
from pycontain._image._registry._credentials import ANONYMOUS, Credentials
from pycontain.errors import RateLimitedError, RegistryError, UnauthorizedError

Connect = Callable[..., Client]
PASSWORD = "pa55:w0rd"
LOGIN = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
ALICE = Credentials(username="alice", password=PASSWORD)
BLOB = descriptor_of(b"content")
PATH = f"/v2/a/b/blobs/{BLOB.digest}"


def challenge(value: str, *more: str) -> Answer:
    return Answer(401, tuple(("WWW-Authenticate", v) for v in (value, *more)))


def fetch(client: Client, repository: str = "a/b") -> bytes:
    return b"".join(client.repository(repository).blob(BLOB))


@dataclass
class Tokens:
    """A registry with its token server, in one."""

    fake: Fake
    answer: Callable[[Request], Answer] | None = None
    scope: str | None = "repository:a/b:pull"
    good: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    life: int | None = None

    def __post_init__(self) -> None:
        self.fake.behave = self.behave

    def issue(self) -> dict[str, object]:
        token = f"token{next(self.numbers)}"
        self.good.add(token)
        return {"token": token} | ({} if self.life is None else {"expires_in": self.life})

    def behave(self, request: Request) -> Answer:
        if request.path == "/token":
            if self.answer:
                return self.answer(request)
            return Answer(body=json.dumps(self.issue()).encode())
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.good:
            return Answer(body=b"content")
        scope = "" if self.scope is None else f',scope="{self.scope}"'
        return challenge(f'Bearer realm="{self.fake.url}/token",service="a, \\"b\\""{scope}')

    @property
    def fetched(self) -> list[Request]:
        return [r for r in self.fake.requests if r.path == "/token"]


@pytest.fixture
def tokens(fake: Fake) -> Tokens:
    return Tokens(fake)


def test_basic(fake: Fake, connect: Connect) -> None:
    def behave(request: Request) -> Answer:
        known = request.headers.get("authorization") == LOGIN
        return Answer(body=b"content") if known else challenge('Digest realm="x"', 'BASIC realm=""')

    fake.behave = behave
    client = connect(fake.address, credentials=ALICE)
    assert fetch(client) == fetch(client) == b"content"
    assert len(fake.asked("GET", PATH)) == 3  # it is asked only once for the password


def test_token(connect: Connect, tokens: Tokens) -> None:
    client = connect(tokens.fake.address, credentials=ANONYMOUS)
    assert fetch(client) == fetch(client) == b"content"
    (asked,) = tokens.fetched
    assert asked.query == {"service": ['a, "b"'], "scope": ["repository:a/b:pull"]}
    assert "authorization" not in asked.headers


def test_token_with_password(connect: Connect, tokens: Tokens) -> None:
    assert fetch(connect(tokens.fake.address, credentials=ALICE))
    assert tokens.fetched[0].headers["authorization"] == LOGIN
    assert LOGIN not in [r.headers.get("authorization") for r in tokens.fake.asked("GET", PATH)]


def test_more_is_asked_for_when_the_registry_wants_more(connect: Connect, tokens: Tokens) -> None:
    tokens.scope = "repository:a/b:push repository:c:pull registry:catalog:*"
    client = connect(tokens.fake.address)
    assert fetch(client)
    assert tokens.fetched[-1].query["scope"] == [
        "registry:catalog:*",
        "repository:a/b:pull,push",
        "repository:c:pull",
    ]


@pytest.mark.parametrize(
    "life, kept_s", [(None, 60), (0, 60), (1, 60), (300, 300), (10**12, 86400)]
)
def test_expiry(
    connect: Connect, tokens: Tokens, watch: Watch, life: int | None, kept_s: float
) -> None:
    tokens.life = life
    client = connect(tokens.fake.address)
    fetch(client)
    watch.time += kept_s - 6
    fetch(client)
    assert len(tokens.fetched) == 1
    watch.time += 2
    fetch(client)
    assert len(tokens.fetched) == 2
    assert len(tokens.fake.asked("GET", PATH)) == 4  # none was made with an outdated token


def test_a_token_that_is_no_longer_good(connect: Connect, tokens: Tokens) -> None:
    client = connect(tokens.fake.address)
    fetch(client)
    tokens.good.clear()
    assert fetch(client) == b"content"
    assert len(tokens.fetched) == 2


def test_a_token_for_each_repository(connect: Connect, tokens: Tokens) -> None:
    tokens.scope = None
    client = connect(tokens.fake.address)
    fetch(client)
    fetch(client, "c")
    assert [r.query["scope"] for r in tokens.fetched] == [
        ["repository:a/b:pull"],
        ["repository:c:pull"],
    ]


def test_threads_share_a_token(connect: Connect, tokens: Tokens) -> None:
    client = connect(tokens.fake.address)
    together = threading.Barrier(8)

    def work(_: int) -> bytes:
        together.wait()
        return fetch(client)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [b"content"] * 8
    assert len(tokens.fetched) <= 8
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fetch(client), range(8)))
    assert len(tokens.fetched) <= 8


def test_refresh_token(connect: Connect, tokens: Tokens) -> None:
    def answer(_: Request) -> Answer:
        value = tokens.issue()
        value["access_token"] = value.pop("token")
        return Answer(body=json.dumps(value | {"refresh_token": "second"}).encode())

    tokens.answer = answer
    client = connect(tokens.fake.address, credentials=Credentials(identity_token="first"))
    fetch(client)
    tokens.good.clear()
    fetch(client)
    forms = [parse_qs(r.body.decode()) for r in tokens.fetched]
    assert [r.method for r in tokens.fetched] == ["POST", "POST"]
    assert forms[0] == {
        "grant_type": ["refresh_token"],
        "service": ['a, "b"'],
        "client_id": ["pycontain"],
        "scope": ["repository:a/b:pull"],
        "refresh_token": ["first"],
    }
    assert forms[1]["refresh_token"] == ["second"]


@pytest.mark.parametrize("status", [401, 404, 405])
def test_no_refresh_tokens_there(connect: Connect, tokens: Tokens, status: int) -> None:
    tokens.answer = lambda r: (
        Answer(status) if r.method == "POST" else Answer(body=json.dumps(tokens.issue()).encode())
    )
    credentials = Credentials(username="alice", identity_token="first")
    assert fetch(connect(tokens.fake.address, credentials=credentials))
    login = base64.b64encode(b"alice:first").decode()
    assert tokens.fetched[1].headers["authorization"] == f"Basic {login}"


def test_registry_token(connect: Connect, tokens: Tokens) -> None:
    tokens.good.add("mine")
    client = connect(tokens.fake.address, credentials=Credentials(registry_token="mine"))
    assert fetch(client)
    tokens.good.clear()
    with pytest.raises(UnauthorizedError, match="the token from the arguments is not accepted"):
        fetch(client)
    assert tokens.fetched == []


@pytest.mark.parametrize(
    "answer, error, text",
    [
        (Answer(body=b"{}"), UnauthorizedError, "holds no token"),
        (Answer(body=b"[]"), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": 7}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": ""}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "a\\r\\nX-Evil: 1"}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "a b"}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "\\u00e4"}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "a", "token": "b"}'), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "' + b"a" * 70_000), UnauthorizedError, "holds no token"),
        (Answer(body=b"[" * 60_000), UnauthorizedError, "holds no token"),
        (Answer(body=b'{"token": "a", "expires_in": "x"}'), UnauthorizedError, "holds no token"),
        (Answer(401), UnauthorizedError, "no credentials are known|log in"),
        (Answer(403, (), b'{"details":"no"}'), UnauthorizedError, "log in"),
        (Answer(429, (("Retry-After", "600"),)), RateLimitedError, "asks to wait 600 s"),
        (Answer(500), RegistryError, "answered 500"),
        (Answer(302, (("Location", "file:///etc/passwd"),)), RegistryError, "no address"),
        # A token that the registry does not take.
        (Answer(body=b'{"token": "bad"}'), UnauthorizedError, "no credentials are known"),
    ],
)
def test_bad_tokens(
    connect: Connect, tokens: Tokens, answer: Answer, error: type[Exception], text: str
) -> None:
    tokens.answer = lambda _: answer
    with pytest.raises(error, match=text):
        fetch(connect(tokens.fake.address))
    assert len(tokens.fake.requests) < 12


@pytest.mark.parametrize(
    "values, text",
    [
        ([], "nothing that could be read"),
        ([""], "nothing that could be read"),
        (["\x01\x02"], "nothing that could be read"),
        (['=,=,="""\\'], "nothing that could be read"),
        (["Negotiate abc==, NTLM"], r"\(negotiate, ntlm\)"),
        (["Bearer"], "no usable realm"),
        (['Bearer realm="'], "no usable realm"),
        (["Bearer " + "a" * 60_000], "no usable realm"),
        (["Bearer " + "a=b," * 10_000], "no usable realm"),
        (["x " * 30_000], "not known here"),
        (['Bearer realm="file:///etc/passwd"'], "no usable realm"),
        (['Bearer realm="http://"'], "no usable realm"),
        (['Bearer realm="http://x:99999/"'], "no usable realm"),
        (['Bearer realm="http://user@127.0.0.1/"'], "no usable realm"),
        (['Bearer realm="http://127.0.0.1/\x7f"'], "no usable realm"),
        (["Basic realm=x"], "are not accepted"),
    ],
)
def test_bad_challenges(fake: Fake, connect: Connect, values: list[str], text: str) -> None:
    fake.behave = lambda _: Answer(401, tuple(("WWW-Authenticate", v) for v in values))
    with pytest.raises(UnauthorizedError, match=text) as caught:
        fetch(connect(fake.address, credentials=ALICE))
    assert str(caught.value).isprintable()
    assert len(fake.requests) < 6


def test_challenges_without_end(connect: Connect, tokens: Tokens) -> None:
    """A registry that wants another scope each time gets a few."""
    wanted = itertools.count()
    tokens.good = set()

    def behave(request: Request) -> Answer:
        if request.path == "/token":
            return Answer(body=b'{"token": "x"}')
        tokens.scope = f"repository:r{next(wanted)}:pull"
        return tokens.behave(request)

    tokens.fake.behave = behave
    with pytest.raises(UnauthorizedError, match="asked 5 times"):
        fetch(connect(tokens.fake.address))
    assert len(tokens.fake.asked("GET", PATH)) == 5


@pytest.mark.parametrize(
    "credentials, text",
    [
        (ANONYMOUS, "no credentials are known for it; log in with `docker login`"),
        (ALICE, "the credentials from the arguments do not allow it"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_refused(
    connect: Connect, tokens: Tokens, status: int, credentials: Credentials, text: str
) -> None:
    """A registry does not tell what is private from what does not exist."""
    denied = b'{"errors":[{"code":"DENIED","message":"requested access\\nis denied"}]}'

    def behave(request: Request) -> Answer:
        answer = tokens.behave(request)
        if "authorization" in request.headers and answer.body == b"content":
            return Answer(status, tokens.behave(Request("GET", "/", {}, b"")).headers, denied)
        return answer

    tokens.fake.behave = behave
    with pytest.raises(UnauthorizedError) as caught:
        fetch(connect(tokens.fake.address, credentials=credentials))
    message = str(caught.value)
    assert message.startswith(f"{tokens.fake.address} has no ")
    assert "or does not let us at it (DENIED: requested access is denied)" in message
    assert text in message
    assert caught.value.code == "DENIED"
    assert caught.value.status == status


def test_credentials_stay_with_their_origin(fake: Fake, storage: Fake, connect: Connect) -> None:
    """Another host, or another port, gets none, nor when it asks for them."""
    where = f"{storage.url}/blob"

    def behave(request: Request) -> Answer:
        known = request.headers.get("authorization") == LOGIN
        return Answer(307, (("Location", where),)) if known else challenge("Basic")

    fake.behave = behave
    storage.behave = lambda r: Answer(body=b"content") if r.path == "/blob" else challenge("Basic")
    client = connect(fake.address, credentials=ALICE)
    assert fetch(client) == b"content"
    where = f"{storage.url}/private"
    with pytest.raises(UnauthorizedError, match="to which credentials are never sent"):
        fetch(client)
    assert len(storage.requests) == 2
    assert storage.secrets() == []


def test_credentials_of_a_redirect_within_the_registry(fake: Fake, connect: Connect) -> None:
    def behave(request: Request) -> Answer:
        if request.headers.get("authorization") != LOGIN:
            return challenge("Basic")
        there = request.path == "/there"
        return Answer(body=b"content") if there else Answer(302, (("Location", "/there"),))

    fake.behave = behave
    assert fetch(connect(fake.address, credentials=ALICE)) == b"content"


@pytest.mark.parametrize(
    "fields", [{"username": "a:b"}, {"identity_token": "a\nb"}, {"registry_token": "a\r\nX: y"}]
)
def test_credentials_that_cannot_be_sent(fields: dict[str, str]) -> None:
    with pytest.raises(RegistryError, match="cannot be sent"):
        Credentials(**fields)
