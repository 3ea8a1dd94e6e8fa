# SPDX-License-Identifier: Apache-2.0
"""A server on loopback that answers what a test wants: a registry, its storage, a token server,
a proxy; well-behaved or not.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._registry._events import Event
from pycontain._image._registry._retry import Timing

HELLO = b"\x16"  # how TLS begins


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets.

    Attributes:
        body: Bytes, or pieces that are sent one by one.
        length: Content-Length; None: that of the body; -1: none at all.
        cut: Close the connection after the body, whatever the length was.
        raw: Sent instead of a head.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    cut: bool = False
    raw: bytes | Iterable[bytes] = b""


Behaviour: TypeAlias = Callable[[Request], Answer]


@dataclass
class Fake:
    """The server's address, what it does, and what it was asked."""

    behave: Behaviour = lambda _: Answer(404)
    address: str = ""
    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def asked(self, method: str, path: str) -> list[Request]:
        """Return the requests for a path, in order."""
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    def secrets(self) -> list[str]:
        """Return the headers Authorization that came."""
        return [r.headers["authorization"] for r in self.requests if "authorization" in r.headers]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        # What the client does not like, it hangs up on.
        with contextlib.suppress(OSError):
            if self.connection.recv(1, socket.MSG_PEEK) == HELLO:
                if self.fake.tls is None:
                    return
                self._encrypt()
            super().handle()

    def _encrypt(self) -> None:
        assert self.fake.tls is not None
        self.connection = self.fake.tls.wrap_socket(self.connection, server_side=True)
        self.server.living.add(self.connection)
        self.rfile.close()
        self.rfile = self.connection.makefile("rb")
        self.wfile = _Writer(self.connection)  # type: ignore[assignment]

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            self.server.living.discard(self.connection)
            self.connection.close()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        self.fake.requests.append(request)
        if self.command == "CONNECT" and self.fake.tls:
            self.send_response(200)
            self.end_headers()
            self._encrypt()
            self.close_connection = False
            return
        answer = self.fake.behave(request)
        if self.command == "CONNECT" and answer.status == 200:
            # It leads to something that does not speak TLS.
            self._send(b"HTTP/1.1 200 OK\r\n\r\n")
            assert self.connection.recv(1) == HELLO
            self._send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.close_connection = True
            return
        if answer.raw:
            self._send(answer.raw)
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        whole = answer.body if isinstance(answer.body, bytes) else b""
        size = len(whole) if answer.length is None else answer.length
        if size >= 0:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self._send(answer.body)
        if answer.cut or size < 0:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = _answer  # noqa: N815

    def _send(self, data: bytes | Iterable[bytes]) -> None:
        for piece in (data,) if isinstance(data, bytes) else data:
            self.connection.sendall(piece)

    def log_message(self, *args: object) -> None:
        pass


class _Writer:
    """Unbuffered writing to a socket that came later."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.closed = False

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them
    block_on_close = True

    def __init__(self, fake: Fake) -> None:
        self.living: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, peer = super().get_request()
        self.living.add(connection)
        return connection, peer

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self.living.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, address: object) -> None:
        pass

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        for connection in list(self.living):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Watch:
    """Clocks that only go when somebody sleeps, and what happened."""

    time: float = 1000.0
    slept: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def timing(self, **options: Any) -> Timing:
        clocks: dict[str, Any] = {
            "clock": lambda: self.time,
            "now": lambda: 1.7e9,
            "sleep": self.sleep,
            "chance": lambda: 0.0,
        }
        return Timing(**{"idle": 30.0, **clocks, **options})


def descriptor_of(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    """Return what refers to some bytes."""
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


@contextlib.contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Serve until the end of the block."""
    fake = Fake(tls=tls)
    server = _Server(fake)
    fake.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


def chunked(pieces: Iterable[bytes], *, ended: bool = True) -> Iterator[bytes]:
    """Return pieces in the form of Transfer-Encoding: chunked."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    if ended:
        yield b"0\r\n\r\n"


def authority(folder: Path, *hosts: str) -> ssl.SSLContext:
    """Make a certificate for hosts, its own authority, in folder/ca.crt; return how to serve it."""
    names = ",".join(f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "3650", "-subj", "/CN=pycontain test", "-addext"),
            *(f"subjectAltName={names}", "-keyout", folder / "ca.key", "-out", folder / "ca.crt"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "ca.key")
    return context
