# SPDX-License-Identifier: Apache-2.0
"""Credentials where Docker and Podman keep them, and where they must never show up."""

from __future__ import annotations

import base64
import json
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _fake_registry import Answer, Fake, Request, Watch, descriptor_of
from pycontain._image._registry import _helper
from pycontain._image._registry._client import Client
from pycontain._image._registry._credentials import FILE_LIMIT, Credentials, find
from pycontain.errors import RegistryError

Connect = Callable[..., Client]
SECRET = "s3cr3t-w0rd"


def login(name: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:{password}".encode()).decode()}


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home, runtime = tmp_path / "home", tmp_path / "run"
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}


def user(found: Credentials | None) -> str | None:
    return found.username if found else None


@pytest.mark.parametrize(
    "auths, registry, repository, expected",
    [
        ({"r.io": login("a")}, "r.io", "x/y", "a"),
        ({"r.io": login("a")}, "other.io", "x/y", None),
        ({"r.io": login("a")}, "r.io:5000", "x/y", None),
        ({"r.io:5000": login("a")}, "r.io:5000", "x/y", "a"),
        ({"https://r.io/v1/": login("a")}, "r.io", "x", "a"),
        ({"http://r.io": login("a")}, "r.io", "x", "a"),
        ({"r.io/v2/": login("a")}, "r.io", "x", "a"),
        ({"https://index.docker.io/v1/": login("a")}, "docker.io", "library/x", "a"),
        ({"docker.io": login("a")}, "docker.io", "library/x", "a"),
        ({"registry-1.docker.io": login("a")}, "docker.io", "library/x", "a"),
        # Podman: the longest prefix, of whole parts.
        (
            {"r.io": login("a"), "r.io/x": login("b"), "r.io/x/y/z": login("c")},
            "r.io",
            "x/y",
            "b",
        ),
        ({"r.io/x": login("b"), "r.io/x/y": login("c")}, "r.io", "x/y", "c"),
        ({"r.io/x": login("b")}, "r.io", "xx/y", None),
        ({"https://r.io/x": login("b")}, "r.io", "xx", None),
        ({"r.io": {"username": "d", "password": SECRET}}, "r.io", "x", "d"),
        ({"r.io": {}}, "r.io", "x", None),
        ({"r.io": login("a", SECRET + "\0\0")}, "r.io", "x", "a"),
        (None, "r.io", "x", None),
    ],
)
def test_entries(
    tmp_path: Path,
    auths: object,
    registry: str,
    repository: str,
    expected: str | None,
) -> None:
    path = tmp_path / "auth.json"
    write(path, {"auths": auths})
    found = find(registry, repository, {"REGISTRY_AUTH_FILE": str(path)})
    assert user(found) == expected
    assert found is None or found.password == SECRET


def test_tokens_in_entries(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    entry = login("a", "") | {"identitytoken": "it", "registrytoken": "rt"}
    write(path, {"auths": {"r.io": entry}})
    found = find("r.io", "x", {"REGISTRY_AUTH_FILE": str(path)})
    assert found is not None
    assert (found.identity_token, found.registry_token) == ("it", "rt")


def test_order_of_files(tmp_path: Path, environ: dict[str, str]) -> None:
    home, runtime = tmp_path / "home", tmp_path / "run"
    places = [
        ("docker", home / ".docker/config.json", {}),
        ("config", home / ".config/containers/auth.json", {}),
        ("runtime", runtime / "containers/auth.json", {}),
        ("chosen", tmp_path / "x/auth.json", {"REGISTRY_AUTH_FILE": str(tmp_path / "x/auth.json")}),
    ]
    assert find("r.io", "x", environ) is None
    for name, path, more in places:
        write(path, {"auths": {"r.io": login(name)}})
        assert user(find("r.io", "x", environ | more)) == name
    elsewhere = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "home/.docker")}
    assert user(find("r.io", "x", elsewhere)) == "docker"
    assert find("r.io", "x", environ | {"REGISTRY_AUTH_FILE": "/missing"}) is None


@pytest.mark.parametrize(
    "content, text",
    [
        (f'{{"auths": "{SECRET}"}}', "not in the form"),
        (f'{{"auths": {{"r.io": "{SECRET}"}}}}', "not in the form"),
        (f'{{"auths": {{"r.io": {{"auth": "{SECRET}!"}}}}}}', "not in the form"),
        (f'{{"auths": {{"r.io": {{"auth": ["{SECRET}"]}}}}}}', "not in the form"),
        ('{"auths": {"r.io": {"auth": "/////w=="}}}', "not in the form"),
        ('{"auths": {"r.io": {"auth": "YWJj"}}}', "not in the form"),
        (f'{{"{SECRET}": 1, "{SECRET}": 2}}', "are not a JSON object"),
        (f'["{SECRET}"]', "are not a JSON object"),
        (f'{{"auths": {SECRET}', "are not a JSON object"),
        ("[" * 100_000, "are not a JSON object"),
        (" " * FILE_LIMIT + "{ }", "are not a JSON object"),
        ('{"credsStore": "../../bin/sh"}', "is not the name of a credential helper"),
        ('{"credsStore": "a b"}', "is not the name of a credential helper"),
        ('{"credHelpers": {"r.io": "no-such"}}', "docker-credential-no-such.* cannot be run: No s"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(content)
    with pytest.raises(RegistryError, match=text) as caught:
        find("r.io", "x", {"REGISTRY_AUTH_FILE": str(path)})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(RegistryError, match=r"not a regular file|Is a directory"):
            find("r.io", "x", {"REGISTRY_AUTH_FILE": str(path)})


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text("\n")
    assert find("r.io", "x", {"REGISTRY_AUTH_FILE": str(path)}) is None


# -- helpers


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that makes a helper: a shell script with the server's name in $server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def make(name: str, script: str) -> None:
        program = folder / f"docker-credential-{name}"
        program.write_text(f'#!/bin/sh\n[ "$*" = get ] || exit 9\nserver=$(cat)\n{script}\n')
        program.chmod(0o755)

    return make


PRINT = """printf '{"ServerURL":"%s","Username":"%s","Secret":"s3cr3t-w0rd"}' "$server" """


@pytest.mark.parametrize(
    "settings, registry, name, token",
    [
        ({"credHelpers": {"r.io": "one"}}, "r.io", "r.io by one", ""),
        ({"credHelpers": {"r.io": "one"}, "credsStore": "two"}, "r.io", "r.io by one", ""),
        ({"credHelpers": {"x.io": "one"}, "credsStore": "two"}, "r.io", "r.io by two", ""),
        (
            {"credHelpers": {"https://index.docker.io/v1/": "one"}},
            "docker.io",
            "https_//index.docker.io/v1/ by one",
            "",
        ),
        ({"credsStore": "two"}, "docker.io", "https_//index.docker.io/v1/ by two", ""),
        ({"credsStore": "token"}, "r.io", "", SECRET),
        # A helper that has nothing leaves it to the entries.
        ({"credsStore": "none", "auths": {"r.io": login("a")}}, "r.io", "a", ""),
        ({"credsStore": "empty", "auths": {"r.io": login("a")}}, "r.io", "a", ""),
    ],
)
def test_helpers(
    tmp_path: Path,
    helper: Callable[[str, str], None],
    settings: object,
    registry: str,
    name: str,
    token: str,
) -> None:
    for each in ("one", "two"):
        helper(each, f'{PRINT} "$(echo "$server by {each}" | tr : _)"')
    helper("token", f"{PRINT} '<token>'")
    helper("none", "echo 'credentials not found in native keychain'; exit 1")
    helper("empty", 'echo \'{"ServerURL":"","Username":"","Secret":""}\'')
    path = tmp_path / "config.json"
    write(path, settings)
    found = find(registry, "x", {"REGISTRY_AUTH_FILE": str(path)})
    assert found is not None
    assert found.identity_token == token
    if not token:
        assert (found.username, found.password) == (name, SECRET)


@pytest.mark.parametrize(
    "script, text",
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 1", "get failed with exit status 1 for r.io"),
        ("kill -9 $$", "exit status -9"),
        (f"echo {SECRET}", "did not print credentials"),
        ("exit 0", "did not print credentials"),
        (f'echo \'{{"Username": 7, "Secret": "{SECRET}"}}\'', "did not print credentials"),
        (f"echo '[\"{SECRET}\"]'", "did not print credentials"),
        ("sleep 1000 & wait", "did not answer within"),
    ],
)
def test_bad_helpers(
    tmp_path: Path,
    helper: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    text: str,
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(_helper, "TIMEOUT_S", 0.3)
    helper("bad", script)
    path = tmp_path / "config.json"
    write(path, {"credsStore": "bad"})
    with pytest.raises(RegistryError, match=text) as caught:
        find("r.io", "x", {"REGISTRY_AUTH_FILE": str(path)})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# -- where they go and where they do not

BLOB = descriptor_of(b"content")


def test_only_asked_for_when_needed(fake: Fake, connect: Connect, tmp_path: Path) -> None:
    """A broken file does not get into the way of who needs none."""
    write(tmp_path / ".docker/config.json", "garbage")
    fake.behave = lambda _: Answer(body=b"content")
    client = connect(fake.address)
    assert b"".join(client.repository("a").blob(BLOB)) == b"content"
    fake.behave = lambda _: Answer(401, (("WWW-Authenticate", "Basic"),))
    with pytest.raises(RegistryError, match=r"config\.json' are not a JSON object"):
        list(client.repository("a").blob(BLOB))


def test_found_for_a_registry(fake: Fake, connect: Connect, tmp_path: Path) -> None:
    auths = {f"{fake.address}/a": login("a"), f"{fake.address}/b": login("b")}
    write(tmp_path / "containers/auth.json", {"auths": auths})

    def behave(request: Request) -> Answer:
        name = request.path.split("/")[2]
        good = name and request.headers.get("authorization") == f"Basic {login(name)['auth']}"
        return Answer(body=b"content") if good else Answer(401, (("WWW-Authenticate", "Basic"),))

    fake.behave = behave
    client = connect(fake.address)
    for name in ("a", "b"):
        assert b"".join(client.repository(name).blob(BLOB)) == b"content"


TOKEN = "t0k3n-v4lue"
WRONG: dict[str, Callable[[Request], Answer]] = {
    "basic": lambda _: Answer(401, (("WWW-Authenticate", "Basic"),)),
    "refused": lambda r: (
        Answer(403, (), f'{{"errors":[{{"code":"DENIED","message":"{r.method}"}}]}}'.encode())
        if "authorization" in r.headers
        else Answer(401, (("WWW-Authenticate", "Basic"),))
    ),
    "redirect": lambda r: (
        Answer(307, (("Location", "http://127.0.0.1:1/x?sig=s3cr3t-w0rd"),))
        if "authorization" in r.headers
        else Answer(401, (("WWW-Authenticate", "Basic"),))
    ),
    "rate": lambda _: Answer(429, (("Retry-After", "999"),)),
    "token": lambda r: (
        Answer(body=json.dumps({"token": TOKEN, "expires_in": "x"}).encode())
        if r.path == "/token"
        else Answer(
            401, (("WWW-Authenticate", f'Bearer realm="http://{r.headers["host"]}/token"'),)
        )
    ),
    "token refused": lambda r: (
        Answer(body=json.dumps({"token": TOKEN}).encode())
        if r.path == "/token"
        else Answer(
            401, (("WWW-Authenticate", f'Bearer realm="http://{r.headers["host"]}/token"'),)
        )
    ),
    "broken": lambda r: (
        Answer(raw=b"\0")
        if "authorization" in r.headers
        else Answer(401, (("WWW-Authenticate", "Basic"),))
    ),
}


@pytest.mark.parametrize("behave", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    "fields",
    [
        {"username": "alice", "password": SECRET},
        {"username": "alice", "identity_token": SECRET},
        {"registry_token": SECRET},
    ],
    ids=["password", "identity token", "registry token"],
)
def test_never_shown(
    fake: Fake,
    connect: Connect,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    behave: Callable[[Request], Answer],
    fields: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.behave = behave
    credentials = Credentials(**fields)
    client = connect(fake.address, credentials=credentials)
    repository = client.repository("a/b")
    with pytest.raises(RegistryError) as caught:
        list(repository.blob(BLOB))
    shown = [
        *traceback.format_exception(caught.value),
        repr(vars(caught.value)),
        repr((client, repository, credentials, watch.events)),
        *map(str, watch.events),
        # What a redirect was signed with is part of an URL that urllib3 logs when asked to.
        *(record.getMessage() for record in caplog.records if "sig=" not in record.getMessage()),
    ]
    encoded = base64.b64encode(f"alice:{SECRET}".encode()).decode()
    for text in shown:
        assert not [secret for secret in (SECRET, TOKEN, encoded) if secret in text]
    assert caplog.records
