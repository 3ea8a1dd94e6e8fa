# SPDX-License-Identifier: Apache-2.0
"""A real registry, and another real client of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import _docker_registry
from _docker_registry import PASSWORD, USER, TokenServer
from _fake_registry import descriptor_of
from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest, Verifier
from pycontain._image._json import dumps
from pycontain._image._manifest import Index, Manifest
from pycontain._image._registry._client import Client
from pycontain._image._registry._credentials import ANONYMOUS, Credentials
from pycontain._image._registry._repository import Repository
from pycontain.errors import RegistryNotFoundError, UnauthorizedError

pytestmark = pytest.mark.requires("docker_registry", "openssl")

Connect = Callable[..., Client]
ALICE = Credentials(username=USER, password=PASSWORD)
WRONG = Credentials(username=USER, password="wrong")
CONFIG_DATA = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
CONFIG = descriptor_of(CONFIG_DATA, _media.OCI_CONFIG)


def layer(number: int, size: int = 1_500_000) -> bytes:
    """Return content that no other layer has, compressed: as it is, skopeo would compress it."""
    return gzip.compress(hashlib.shake_128(b"%d" % number).digest(size), 1, mtime=0)


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _docker_registry.run(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    with _docker_registry.run(folder, _docker_registry.with_password(folder)) as address:
        yield address


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TokenServer]]:
    with _docker_registry.run_with_tokens(tmp_path_factory.mktemp("registry")) as both:
        yield both


@pytest.fixture(params=["open", "password", "tokens"])
def client(
    request: pytest.FixtureRequest,
    open_registry: str,
    password_registry: str,
    token_registry: tuple[str, TokenServer],
    connect: Connect,
) -> Client:
    address = {
        "open": open_registry,
        "password": password_registry,
        "tokens": token_registry[0],
    }[request.param]
    return connect(address, credentials=ALICE)


def push_blob(repository: Repository, data: bytes, media_type: str = "") -> Descriptor:
    descriptor = descriptor_of(data, media_type or _media.OCI_LAYER_GZIP)
    repository.push_blob(descriptor, lambda: io.BytesIO(data))
    return descriptor


def push_image(repository: Repository, *numbers: int, tag: str | None = None) -> Manifest:
    push_blob(repository, CONFIG_DATA, CONFIG.media_type)
    layers = [push_blob(repository, layer(number)) for number in numbers]
    manifest = Manifest.build(CONFIG, layers)
    repository.push_manifest(manifest.raw, manifest.media_type, tag=tag)
    return manifest


def test_there_and_back(client: Client) -> None:
    repository = client.repository("there/and-back")
    image = push_image(repository, 1, 2, tag="v1")
    other = push_image(repository, 2, 3)
    index = Index.build([image.descriptor, other.descriptor])
    repository.push_manifest(index.raw, index.media_type, tag="both")

    assert repository.resolve("v1") == image.descriptor
    assert repository.manifest("v1") == repository.manifest(image.digest) == image
    assert repository.manifest("both") == index
    assert repository.resolve(other.digest) == other.descriptor
    for number, blob in enumerate(image.layers, 1):
        assert b"".join(repository.blob(blob)) == layer(number)
    assert set(repository.tags()) == {"both", "v1"}
    with pytest.raises(RegistryNotFoundError, match="has no there/and-back:v9"):
        repository.manifest("v9")
    with pytest.raises(RegistryNotFoundError, match="has no blob"):
        list(repository.blob(descriptor_of(b"missing")))


def test_in_parts(client: Client) -> None:
    repository = client.repository("in/parts")
    data = layer(10)
    blob = descriptor_of(data)
    assert repository.push_blob(blob, lambda: io.BytesIO(data), part_size=400_000) is True
    assert repository.push_blob(blob, lambda: io.BytesIO(data), part_size=400_000) is False
    assert repository.has_blob(blob)
    assert b"".join(repository.blob(blob)) == data


def test_taken_up(client: Client) -> None:
    repository = client.repository("taken/up")
    data = layer(11)
    blob = push_blob(repository, data)
    verifier = Verifier(blob.digest, blob.size)
    verifier.update(data[:1_000_001])
    assert b"".join(repository.blob(blob, verifier)) == data[1_000_001:]


def test_mount(client: Client) -> None:
    data = layer(12)
    blob = push_blob(client.repository("mount/from"), data)
    target = client.repository("mount/to")
    assert not target.has_blob(blob)
    mounts = ["no/such", "mount/from"]
    assert target.push_blob(blob, lambda: io.BytesIO(b""), mount_from=mounts) is False
    assert b"".join(target.blob(blob)) == data


def test_empty_blob(client: Client) -> None:
    repository = client.repository("empty")
    blob = push_blob(repository, b"")
    assert repository.has_blob(blob)
    assert list(repository.blob(blob)) == []


def test_referrers(client: Client) -> None:
    """This registry has no API for them: both sides keep to the tag."""
    repository = client.repository("referrers")
    image = push_image(repository, 20, tag="v1")
    more = {"artifactType": "application/x", "subject": image.descriptor.to_json()}
    raw = dumps(json.loads(image.raw) | more)
    repository.push_manifest(raw, _media.OCI_MANIFEST)
    assert [e.digest for e in repository.referrers(image.digest)] == [Digest.of(raw)]
    assert repository.referrers(image.digest, "application/y") == ()
    assert repository.referrers(Digest.of(raw)) == ()


def test_threads(client: Client) -> None:
    repository = client.repository("threads")
    numbers = range(30, 38)
    with ThreadPoolExecutor(8) as pool:
        blobs = list(pool.map(lambda n: push_blob(repository, layer(n, 300_000)), numbers))
        found = list(pool.map(lambda blob: b"".join(repository.blob(blob)), blobs * 3))
    assert found == [layer(n, 300_000) for n in numbers] * 3


@pytest.mark.parametrize(
    "credentials, text",
    [
        (ANONYMOUS, "no credentials are known for it; log in with `docker login`"),
        (WRONG, "the credentials from the arguments are not accepted"),
    ],
)
def test_password(
    password_registry: str, connect: Connect, credentials: Credentials, text: str
) -> None:
    repository = connect(password_registry, credentials=credentials).repository("a/b")
    with pytest.raises(UnauthorizedError, match=text):
        repository.resolve("v1")


@pytest.mark.requires("skopeo")
def test_password_in_a_file(password_registry: str, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "containers/auth.json"
    path.parent.mkdir()
    subprocess.run(
        [
            *("skopeo", "login", "--tls-verify=false", f"--authfile={path}"),
            *(f"--username={USER}", "--password-stdin", password_registry),
        ],
        input=PASSWORD,
        text=True,
        check=True,
        capture_output=True,
    )
    push_image(connect(password_registry).repository("from/file"), 40, tag="v1")


def test_tokens(token_registry: tuple[str, TokenServer], connect: Connect) -> None:
    address, issuer = token_registry
    alice = connect(address, credentials=ALICE)
    image = push_image(alice.repository("public/x"), 50, tag="v1")
    push_image(alice.repository("private/x"), 50, tag="v1")

    anybody = connect(address, credentials=ANONYMOUS)
    before = len(issuer.requests)
    repository = anybody.repository("public/x")
    assert repository.manifest("v1") == image
    assert b"".join(repository.blob(image.layers[0])) == layer(50)
    assert len(issuer.requests) == before + 1
    with pytest.raises(UnauthorizedError, match="no credentials are known"):
        anybody.repository("private/x").resolve("v1")
    with pytest.raises(UnauthorizedError, match="no credentials are known"):
        push_blob(repository, b"from anybody")
    with pytest.raises(UnauthorizedError, match="credentials from the arguments do not allow it"):
        push_blob(alice.repository("forbidden/x"), b"x")
    with pytest.raises(UnauthorizedError, match="from the arguments are not accepted"):
        connect(address, credentials=WRONG).repository("public/x").resolve("v1")


def test_mount_without_a_right_to_read(
    token_registry: tuple[str, TokenServer], connect: Connect
) -> None:
    repository = connect(token_registry[0], credentials=ALICE).repository("a/b")
    data = layer(51)
    blob = descriptor_of(data)
    assert repository.push_blob(blob, lambda: io.BytesIO(data), mount_from=["forbidden/x"]) is True


def skopeo(folder: Path, *arguments: str) -> None:
    environ = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    command = ["skopeo", "--insecure-policy", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.requires("skopeo")
def test_skopeo_reads_what_we_push(client: Client, tmp_path: Path) -> None:
    repository = client.repository("for/skopeo")
    image = push_image(repository, 60, 61, tag="v1")
    skopeo(
        tmp_path,
        *("copy", "--src-tls-verify=false", f"--src-creds={USER}:{PASSWORD}"),
        f"docker://{client.registry}/for/skopeo:v1",
        f"oci:{tmp_path}/out:v1",
    )
    blobs = tmp_path / "out/blobs/sha256"
    assert (blobs / image.digest.hex).read_bytes() == image.raw
    assert {path.name for path in blobs.iterdir()} == {
        image.digest.hex,
        *(blob.digest.hex for blob in image.children),
    }


@pytest.mark.requires("skopeo")
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_we_read_what_skopeo_pushes(client: Client, tmp_path: Path, form: str) -> None:
    ours = client.repository("by/us")
    push_image(ours, 70, 71, tag="v1")
    login = f"{USER}:{PASSWORD}"
    skopeo(
        tmp_path,
        *("copy", f"--format={form}", "--src-tls-verify=false", "--dest-tls-verify=false"),
        *(f"--src-creds={login}", f"--dest-creds={login}"),
        f"docker://{client.registry}/by/us:v1",
        f"docker://{client.registry}/by/skopeo-{form}:v1",
    )
    theirs = client.repository(f"by/skopeo-{form}")
    manifest = theirs.manifest("v1")
    assert isinstance(manifest, Manifest)
    expected = _media.OCI_MANIFEST if form == "oci" else _media.DOCKER_MANIFEST
    assert manifest.media_type == expected
    assert b"".join(theirs.blob(manifest.config)) == CONFIG_DATA
    for number, blob in enumerate(manifest.layers, 70):
        assert b"".join(theirs.blob(blob)) == layer(number)
