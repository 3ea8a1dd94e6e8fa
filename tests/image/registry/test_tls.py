# SPDX-License-Identifier: Apache-2.0
"""TLS with private authorities, proxies, and when it may go without."""

from __future__ import annotations

import base64
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import _fake_registry
from _fake_registry import Answer, Fake, Request, descriptor_of
from pycontain._image._registry._client import Client
from pycontain._image._registry._credentials import Credentials
from pycontain._image._registry._proxies import proxy_for
from pycontain.errors import RegistryError, UnauthorizedError

pytestmark = pytest.mark.requires("openssl")

Connect = Callable[..., Client]
HOST = "registry.example"
BLOB = descriptor_of(b"content")
ALICE = Credentials(username="alice", password="s3cret")
LOGIN = "Basic " + base64.b64encode(b"alice:s3cret").decode()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with ca.crt, which is the certificate of the host, and others.crt."""
    folder = tmp_path_factory.mktemp("certificates")
    _fake_registry.authority(folder, "other.example")
    shutil.move(folder / "ca.crt", folder / "others.crt")
    _fake_registry.authority(folder, HOST)
    return folder


@pytest.fixture
def proxy(certificates: Path) -> Iterator[Fake]:
    """Return a proxy that is also the registry that it leads to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "ca.crt", certificates / "ca.key")
    with _fake_registry.serve(context) as served:
        served.behave = lambda _: Answer(body=b"content")
        yield served


def fetch(client: Client) -> bytes:
    return b"".join(client.repository("a/b").blob(BLOB))


@pytest.mark.parametrize(
    "names", [("SSL_CERT_FILE",), ("REQUESTS_CA_BUNDLE",), ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
)
def test_authority_from_the_environment(
    proxy: Fake, connect: Connect, certificates: Path, names: tuple[str, ...]
) -> None:
    authority, other = str(certificates / "ca.crt"), str(certificates / "others.crt")
    environ = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": other, names[0]: authority}
    assert fetch(connect(HOST, environ=environ)) == b"content"
    assert [r.method for r in proxy.requests] == ["CONNECT", "GET"]
    assert proxy.requests[0].target == f"{HOST}:443"


@pytest.mark.parametrize("tool", ["containers", "docker"])
def test_authority_of_a_registry(
    proxy: Fake, connect: Connect, certificates: Path, tmp_path: Path, tool: str
) -> None:
    folder = tmp_path / ".config" / tool / "certs.d" / HOST
    folder.mkdir(parents=True)
    shutil.copy(certificates / "ca.crt", folder)
    assert fetch(connect(HOST, environ={"HTTPS_PROXY": proxy.url})) == b"content"


@pytest.mark.parametrize("host", [HOST, f"{HOST}:8443"])
def test_client_certificate(
    proxy: Fake, connect: Connect, certificates: Path, tmp_path: Path, host: str
) -> None:
    assert proxy.tls is not None
    proxy.tls.verify_mode = ssl.CERT_REQUIRED
    proxy.tls.load_verify_locations(certificates / "ca.crt")
    environ = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(certificates / "ca.crt")}
    with pytest.raises(RegistryError, match=r"client\.cert and client\.key"):
        fetch(connect(host, environ=environ))
    folder = tmp_path / ".config/containers/certs.d" / host
    folder.mkdir(parents=True)
    shutil.copy(certificates / "ca.crt", folder / "client.cert")
    shutil.copy(certificates / "ca.key", folder / "client.key")
    assert fetch(connect(host, environ=environ)) == b"content"


def test_unknown_authority(proxy: Fake, connect: Connect) -> None:
    text = rf"not trusted: self.signed .*; put .* into /etc/docker/certs.d/{HOST}/ca.crt or .* SSL_"
    with pytest.raises(RegistryError, match=text):
        fetch(connect(HOST, environ={"HTTPS_PROXY": proxy.url}))


def test_name_of_another(proxy: Fake, connect: Connect, certificates: Path) -> None:
    environ = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(certificates / "ca.crt")}
    with pytest.raises(RegistryError, match="not trusted: Hostname mismatch"):
        fetch(connect("else.example", environ=environ))


@pytest.mark.parametrize(
    "names, text",
    [
        (("ca.crt",), "no certificates can be read from .*ca.crt"),
        (("client.cert",), "the client certificate .*client.cert' with the key .*cannot be used"),
        (("client.cert", "client.key"), "the client certificate .*cannot be used"),
    ],
)
def test_bad_files(connect: Connect, tmp_path: Path, names: tuple[str, ...], text: str) -> None:
    folder = tmp_path / ".config/containers/certs.d" / HOST
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("garbage")
    with pytest.raises(RegistryError, match=text):
        fetch(connect(HOST))


def test_bad_file_in_the_environment(connect: Connect) -> None:
    with pytest.raises(RegistryError, match=r"'/missing.pem' \(SSL_CERT_FILE\): No such file"):
        fetch(connect(HOST, environ={"SSL_CERT_FILE": "/missing.pem"}))


def test_insecure_takes_any_certificate(proxy: Fake, connect: Connect) -> None:
    environ = {"HTTPS_PROXY": proxy.url}
    assert fetch(connect(HOST, insecure=True, environ=environ)) == b"content"


def test_loopback_takes_any_certificate(proxy: Fake, connect: Connect) -> None:
    assert fetch(connect(proxy.address)) == b"content"
    assert all(r.target.startswith("/v2/") for r in proxy.requests)


def test_plain_http_when_asked(fake: Fake, connect: Connect) -> None:
    """The proxy stands for the network: what it gets would have been sent."""
    fake.behave = lambda r: Answer(502 if r.method == "CONNECT" else 200, body=b"content")
    environ = {"HTTP_PROXY": fake.url, "HTTPS_PROXY": fake.url}
    with pytest.raises(RegistryError, match="cannot be reached through the proxy"):
        fetch(connect(HOST, environ=environ))
    assert [r.method for r in fake.requests] == ["CONNECT"]


def test_a_registry_without_tls(fake: Fake, storage: Fake, connect: Connect) -> None:
    """Only when asked is it spoken to, and never after it had TLS."""
    fake.behave = lambda _: Answer()
    storage.behave = lambda _: Answer(body=b"content")
    environ = {"HTTPS_PROXY": fake.url, "HTTP_PROXY": storage.url}
    with pytest.raises(
        RegistryError, match=r"does not speak TLS \(WRONG_VERSION_NUMBER\); .*insec"
    ):
        fetch(connect(HOST, environ=environ))
    assert storage.requests == []
    assert fetch(connect(HOST, environ=environ, insecure=True)) == b"content"
    assert storage.requests[-1].target == f"http://{HOST}/v2/a/b/blobs/{BLOB.digest}"


def test_a_proxy_with_tls(fake: Fake, connect: Connect, tmp_path: Path, storage: Fake) -> None:
    storage.tls = _fake_registry.authority(tmp_path, "127.0.0.1")
    storage.behave = lambda _: Answer(body=b"content")
    fake.behave = lambda _: Answer()
    environ = {
        "HTTPS_PROXY": fake.url,
        "HTTP_PROXY": f"https://{storage.address}",
        "SSL_CERT_FILE": str(tmp_path / "ca.crt"),
    }
    assert fetch(connect(HOST, environ=environ, insecure=True)) == b"content"
    environ["SSL_CERT_FILE"] = "/dev/null"
    with pytest.raises(RegistryError, match=r"through the proxy|certificate|no certificates"):
        fetch(connect(HOST, environ=environ, insecure=True))


def test_docker_hub(fake: Fake, connect: Connect) -> None:
    """Its API is at another host than its name says, and its own images have a prefix."""
    fake.behave = lambda _: Answer(502)
    client = connect("docker.io", environ={"HTTPS_PROXY": fake.url})
    repository = client.repository("busybox")
    assert repository.name == "library/busybox"
    with pytest.raises(RegistryError, match=r"^docker\.io cannot be reached through the proxy"):
        repository.resolve("latest")
    assert fake.requests[0].target == "registry-1.docker.io:443"


def encrypted(proxy: Fake, certificates: Path) -> dict[str, str]:
    return {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(certificates / "ca.crt")}


def test_redirect_to_plain_http(
    proxy: Fake, storage: Fake, connect: Connect, certificates: Path
) -> None:
    proxy.behave = lambda _: Answer(307, (("Location", f"{storage.url}/x"),))
    with pytest.raises(RegistryError, match="that is not encrypted"):
        fetch(connect(HOST, environ=encrypted(proxy, certificates)))
    assert storage.requests == []


def test_password_to_plain_http(
    proxy: Fake, storage: Fake, connect: Connect, certificates: Path
) -> None:
    challenge = f'Bearer realm="{storage.url}/token",service="x"'
    proxy.behave = lambda _: Answer(401, (("WWW-Authenticate", challenge),))
    with pytest.raises(UnauthorizedError, match="which is not encrypted: refused"):
        fetch(connect(HOST, environ=encrypted(proxy, certificates), credentials=ALICE))
    assert storage.requests == []
    assert proxy.secrets() == []


def test_password_over_tls(proxy: Fake, connect: Connect, certificates: Path) -> None:
    def behave(request: Request) -> Answer:
        if request.headers.get("authorization") == LOGIN:
            return Answer(body=b"content")
        return Answer(401, (("WWW-Authenticate", "Basic"),))

    proxy.behave = behave
    client = connect(HOST, environ=encrypted(proxy, certificates), credentials=ALICE)
    assert fetch(client) == b"content"
    assert "authorization" not in proxy.requests[0].headers  # the proxy does not see it


@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_proxy_that_refuses(fake: Fake, connect: Connect, status: int) -> None:
    fake.behave = lambda _: Answer(status)
    environ = {"HTTPS_PROXY": f"http://bob:hidden@{fake.address}"}
    text = (
        rf"through the proxy {fake.address}: Tunnel connection failed: {status} .*see HTTPS_PROXY"
    )
    with pytest.raises(RegistryError, match=text) as caught:
        fetch(connect(HOST, environ=environ))
    assert "hidden" not in str(caught.value)
    login = base64.b64encode(b"bob:hidden").decode()
    assert fake.requests[0].headers["proxy-authorization"] == f"Basic {login}"


PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    "url, environ, expected",
    [
        ("https://a.io/", {}, None),
        ("https://a.io/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://a.io/", {"https_proxy": PROXY}, PROXY),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "https_proxy": "http://x"}, PROXY),
        ("https://a.io/", {"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ("https://a.io/", {"HTTP_PROXY": PROXY}, None),
        ("http://a.io/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://a.io/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
        ("https://localhost:5000/", {"HTTPS_PROXY": PROXY}, None),
        ("https://127.9.9.9/", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:5000/", {"HTTPS_PROXY": PROXY}, None),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "b.io, A.io"}, None),
        ("https://x.a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": "a.io"}, None),
        ("https://xa.io/", {"HTTPS_PROXY": PROXY, "no_proxy": "a.io"}, PROXY),
        ("https://x.a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": ".a.io"}, None),
        ("https://x.a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": "*.a.io"}, None),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": ".a.io"}, PROXY),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": "a.io:80"}, PROXY),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": "a.io:443"}, None),
        ("https://10.1.2.3/", {"HTTPS_PROXY": PROXY, "no_proxy": "10.0.0.0/8"}, None),
        ("https://11.1.2.3/", {"HTTPS_PROXY": PROXY, "no_proxy": "10.0.0.0/8"}, PROXY),
        ("https://10.1.2.3/", {"HTTPS_PROXY": PROXY, "no_proxy": "10.1.2.3"}, None),
        ("https://[fd00::1]/", {"HTTPS_PROXY": PROXY, "no_proxy": "fd00::/8"}, None),
        ("https://[fd00::1]/", {"HTTPS_PROXY": PROXY, "no_proxy": "[fd00::1]"}, None),
        ("https://a.io/", {"HTTPS_PROXY": PROXY, "no_proxy": ",,"}, PROXY),
    ],
)
def test_which_proxy(url: str, environ: dict[str, str], expected: str | None) -> None:
    assert proxy_for(url, environ) == expected


@pytest.mark.parametrize(
    "value", ["socks5://bob:hidden@x", "http://", "http://x:99999", "http://[x", "://"]
)
def test_no_proxy_at_all(value: str) -> None:
    with pytest.raises(RegistryError, match="HTTPS_PROXY is not the URL of a proxy") as caught:
        proxy_for("https://a.io/", {"HTTPS_PROXY": value})
    assert "hidden" not in str(caught.value)
