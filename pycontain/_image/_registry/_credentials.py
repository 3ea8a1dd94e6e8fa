# SPDX-License-Identifier: Apache-2.0
"""Credentials, and the files in which Docker and Podman keep them.

Sources: containers-auth.json(5); docker/cli, cli/config/configfile.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pycontain._image import _json
from pycontain.errors import LimitExceededError, ManifestError, RegistryError

from . import _helper

FILE_LIMIT: Final = 1 << 20
_HUB_SERVER: Final = "https://index.docker.io/v1/"
_HUB: Final = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What proves who we are: a name and a password, or a token. Never shown by `repr`.

    Attributes:
        username: With `password`.
        password: Or a personal access token.
        identity_token: An OAuth2 refresh token, as `docker login` gets from some registries.
        registry_token: A bearer token for the registry itself.
        source: Where they come from, for messages.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = "the arguments"

    def __post_init__(self) -> None:
        """Refuse what could not be sent."""
        if ":" in self.username:
            raise RegistryError(f"a user's name with a colon cannot be sent (from {self.source})")
        if not all(map(str.isprintable, (self.identity_token, self.registry_token))):
            raise RegistryError(f"the token from {self.source} has characters that cannot be sent")

    @property
    def basic(self) -> str:
        """The value of a header Authorization (RFC 7617)."""
        login = f"{self.username}:{self.password or self.identity_token}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"


# For a client that is not to look for any.
ANONYMOUS: Final = Credentials(source="nowhere")


def find(registry: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials that files and helpers have for a repository, None if there are none.

    Args:
        registry: Host, with its port if the reference has one.
        repository: Path; the longest prefix that a file has wins.
        environ: The environment, which says where the files are.

    Raises:
        RegistryError: A file cannot be read, or a helper failed.
    """
    for path in _files(environ):
        if (values := _load(path)) and (found := _look_up(values, path, registry, repository)):
            return found
    return None


def _files(environ: Mapping[str, str]) -> Iterator[str]:
    if chosen := environ.get("REGISTRY_AUTH_FILE"):
        yield chosen
        return
    home = environ.get("HOME", "")
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    yield (
        f"{runtime}/containers/auth.json"
        if "XDG_RUNTIME_DIR" in environ
        else (f"{runtime}/auth.json")
    )
    settings = environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    if settings:
        yield f"{settings}/containers/auth.json"
    if docker := environ.get("DOCKER_CONFIG") or (home and f"{home}/.docker"):
        yield f"{docker}/config.json"


def _load(path: str) -> _json.Object | None:
    """Return what a file holds, None if it is not there."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(FILE_LIMIT + 1) if regular else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(
            f"the credentials in {path!r} cannot be read: {error.strerror}"
        ) from None
    if not regular:
        raise RegistryError(f"the credentials in {path!r} cannot be read: not a regular file")
    try:
        return _json.loads(data, "credentials", limit=FILE_LIMIT) if data.strip() else None
    except (ManifestError, LimitExceededError):  # whose text could show parts of the file
        raise RegistryError(f"the credentials in {path!r} are not a JSON object") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; do not wait for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _look_up(values: _json.Object, path: str, registry: str, repository: str) -> Credentials | None:
    try:
        helpers = values.object("credHelpers")
        auths = values.object("auths")
        chosen = [name for key in _spellings(registry) if helpers and (name := helpers.text(key))]
        helper = chosen[0] if chosen else values.text("credsStore")
        if helper and (answer := _helper.get(helper, _server(registry))):
            username, secret = answer
            source = f"docker-credential-{helper}"
            if username == "<token>":
                return Credentials(identity_token=secret, source=source)
            return Credentials(username=username, password=secret, source=source)
        entry = _entry(auths, registry, repository) if auths else None
        return _credentials(entry, path) if entry else None
    except (ManifestError, ValueError, binascii.Error):
        raise RegistryError(
            f"the credentials for {registry} in {path!r} are not in the form that "
            "`docker login` and `podman login` write"
        ) from None


def _spellings(registry: str) -> tuple[str, ...]:
    return (*sorted(_HUB), _HUB_SERVER) if registry in _HUB else (registry,)


def _server(registry: str) -> str:
    return _HUB_SERVER if registry in _HUB else registry


def _entry(auths: _json.Object, registry: str, repository: str) -> _json.Object | None:
    """Return the entry of the longest prefix of the repository, else of the host, as spelt."""
    parts = repository.split("/")
    for count in range(len(parts), -1, -1):
        if (found := auths.object("/".join([registry, *parts[:count]]))) is not None:
            return found
    for key in sorted(auths.values):
        host, _, rest = key.removeprefix("https://").removeprefix("http://").partition("/")
        known = host == registry or (registry in _HUB and host in _HUB)
        # Keys of old: a URL, or the host with the version of the API.
        if known and rest in {"", "v1", "v2", "v1/", "v2/"}:
            return auths.object(key)
    return None


def _credentials(entry: _json.Object, source: str) -> Credentials | None:
    username, password = entry.text("username"), entry.text("password")
    if auth := entry.text("auth"):
        login = base64.b64decode(auth, validate=True).decode()
        username, colon, password = login.partition(":")
        if not colon:
            raise ValueError
        password = password.rstrip("\0")
    identity, bearer = entry.text("identitytoken"), entry.text("registrytoken")
    if not (username or identity or bearer):
        return None
    return Credentials(
        username=username,
        password=password,
        identity_token=identity,
        registry_token=bearer,
        source=source,
    )
