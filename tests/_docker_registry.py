# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, open, with a password, or with tokens of a server here."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from _fake_registry import Answer, Fake, Request, serve

USER, PASSWORD = "alice", "s3cret"
LOGIN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
# htpasswd -nbBC 5 alice s3cret
HTPASSWD = "alice:$2y$05$Pk9Odml/LtPw2FrUn5EGjOHKw2huQ4buzbHn8kDE5wMtsaJxhZ.Lq\n"
_LISTENING = re.compile(rb"listening on (127\.0\.0\.1:\d+)")


@contextlib.contextmanager
def run(folder: Path, auth: str = "") -> Iterator[str]:
    """Run a registry until the end of the block; yield its address.

    Args:
        folder: For its files.
        auth: The section of its configuration, in YAML.
    """
    folder.mkdir(exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: info, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
        'http: {addr: "127.0.0.1:0"}\n'
        f"{auth}"
    )
    with subprocess.Popen(
        ["docker-registry", "serve", config], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if match := _LISTENING.search(line):
                    break
            else:
                raise RuntimeError(b"".join(said).decode())
            # Nobody reads what it says from here on, but a full pipe would stop it.
            drain = threading.Thread(target=process.stderr.read, name="drain")
            drain.start()
            yield match[1].decode()
        finally:
            process.kill()
        drain.join()


def with_password(folder: Path) -> str:
    """Return the configuration that lets USER in with PASSWORD."""
    (folder / "htpasswd").write_text(HTPASSWD)
    return f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"


class TokenServer:
    """Issues tokens (distribution/docs/content/spec/auth/jwt.md).

    Anybody may pull from below `public/`; USER may do everything but in `forbidden/`.
    """

    def __init__(self, folder: Path) -> None:
        self._key, self._certificate = folder / "token.key", folder / "token.crt"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"),
                *("-subj", "/CN=tokens", "-keyout", self._key, "-out", self._certificate),
            ],
            check=True,
            capture_output=True,
        )
        self.life_s = 300
        self.requests: list[Request] = []

    def configuration(self, address: str) -> str:
        """Return the registry's configuration, for a server at an address."""
        return (
            f"auth: {{token: {{realm: http://{address}/token, service: test, issuer: tests, "
            f"rootcertbundle: {self._certificate}}}}}\n"
        )

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        known = request.headers.get("authorization")
        if known not in {None, LOGIN}:
            return Answer(401, (), b'{"details":"incorrect username or password"}')
        access: list[dict[str, object]] = []
        for scope in request.query.get("scope", []):
            kind, name, actions = scope.split(":")
            granted = set(actions.split(",")) & self._rights(name, known is not None)
            access.append({"type": kind, "name": name, "actions": sorted(granted)})
        token = self._sign(access)
        return Answer(body=json.dumps({"token": token, "expires_in": self.life_s}).encode())

    @staticmethod
    def _rights(name: str, known: bool) -> set[str]:
        if name.startswith("forbidden/"):
            return set()
        if known:
            return {"pull", "push", "delete"}
        return {"pull"} if name.startswith("public/") else set()

    def _sign(self, access: list[dict[str, object]]) -> str:
        lines = self._certificate.read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        now = int(time.time())
        claims = {
            "iss": "tests",
            "sub": USER,
            "aud": "test",
            "jti": "1",
            "access": access,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + self.life_s,
        }
        text = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key],
            input=text.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{text}.{_encode(signature)}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def run_with_tokens(folder: Path) -> Iterator[tuple[str, TokenServer]]:
    """Run a registry and its token server; yield the registry's address, and the server."""
    issuer = TokenServer(folder)
    fake: Fake
    with serve() as fake:
        fake.behave = issuer
        with run(folder, issuer.configuration(fake.address)) as address:
            yield address, issuer
