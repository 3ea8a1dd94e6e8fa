# SPDX-License-Identifier: Apache-2.0
"""Blobs: content by digest, verified as it comes (distribution-spec, "Pulling blobs")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Verifier
from pycontain.errors import (
    DigestMismatchError,
    RegistryError,
    RegistryNotFoundError,
    SizeMismatchError,
)

from ._errors import ConnectionFailedError
from ._reply import Reply
from ._session import Session
from ._text import printable

CHUNK: Final = 256 << 10
# So much is progress after which earlier failures are forgotten.
_PROGRESS: Final = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_Get: TypeAlias = Callable[[Mapping[str, str]], Reply]


def exists(
    session: Session, repository: str, descriptor: Descriptor, actions: str = "pull"
) -> bool:
    """Tell whether the registry has a blob. Raises RegistryError."""
    target = f"blobs/{descriptor.digest}"
    with session.request("HEAD", target, repository=repository, actions=actions) as reply:
        if reply.status == HTTPStatus.OK:
            return reply.length in {None, descriptor.size}
        if reply.status == HTTPStatus.NOT_FOUND:
            return False
        raise session.refusal(reply, repository, f"blob {descriptor.digest} in {repository}")


def content(
    session: Session,
    repository: str,
    descriptor: Descriptor,
    verifier: Verifier | None,
    *,
    foreign_urls: bool,
) -> Iterator[bytes]:
    """Yield the content of a blob from where `verifier` is; see `Repository.blob`."""
    verifier = verifier or Verifier(descriptor.digest, descriptor.size)
    if descriptor.data is not None:
        data = descriptor.data[verifier.received :]
        verifier.update(data)
        verifier.finish()
        yield data
        return
    target = f"blobs/{descriptor.digest}"

    def ask_registry(headers: Mapping[str, str]) -> Reply:
        return session.request("GET", target, repository=repository, headers=headers)

    try:
        yield from _Download(session, repository, descriptor, verifier, ask_registry).chunks()
    except RegistryNotFoundError as error:
        if not descriptor.urls:
            raise
        urls = [url for url in descriptor.urls if urlsplit(url).scheme in {"http", "https"}]
        if not (foreign_urls and urls):
            raise RegistryNotFoundError(
                f"{error}; it is to be fetched from elsewhere "
                f"({printable(', '.join(descriptor.urls), 200)}), which has to be allowed",
                registry=error.registry,
                status=error.status,
                code=error.code,
            ) from None
        yield from _from_urls(session, repository, descriptor, verifier, urls)


def _from_urls(
    session: Session, repository: str, descriptor: Descriptor, verifier: Verifier, urls: list[str]
) -> Iterator[bytes]:
    for url in urls:

        def ask_url(headers: Mapping[str, str], url: str = url) -> Reply:
            return session.request_elsewhere(url, headers)

        try:
            yield from _Download(session, repository, descriptor, verifier, ask_url).chunks()
        except RegistryError:
            if url == urls[-1]:
                raise
        else:
            return


class _Download:
    """One blob on its way, over as many requests as it takes."""

    def __init__(
        self,
        session: Session,
        repository: str,
        descriptor: Descriptor,
        verifier: Verifier,
        get: _Get,
    ) -> None:
        self._session = session
        self._repository = repository
        self._descriptor = descriptor
        self._size = descriptor.size
        self._verifier = verifier
        self._get = get
        self._ranges = True
        self._encoding = ""

    def chunks(self) -> Iterator[bytes]:
        patience, noted = self._session.patience(), self._verifier.received
        while (start := self._verifier.received) < self._size:
            ranged = bool(start and self._ranges)
            # Without an answer it has been tried often enough.
            reply = self._get({"Range": f"bytes={start}-"} if ranged else {})
            try:
                with reply:
                    yield from self._body(reply, start, ranged=ranged)
            except ConnectionFailedError as error:
                if self._verifier.received - noted >= _PROGRESS:
                    patience.progressed()
                    noted = self._verifier.received
                patience.wait(error)
        try:
            self._verifier.finish()
        except DigestMismatchError as error:
            raise DigestMismatchError(
                f"{self._where}: {error}{self._hint}", expected=error.expected, actual=error.actual
            ) from None

    @property
    def _where(self) -> str:
        return f"{self._session.registry}/{self._repository}"

    @property
    def _hint(self) -> str:
        """A proxy that compresses or expands what passes is worth a word."""
        return f" (it came with Content-Encoding {self._encoding!r})" if self._encoding else ""

    def _body(self, reply: Reply, start: int, *, ranged: bool) -> Iterator[bytes]:
        encoding = reply.header("Content-Encoding")
        self._encoding = "" if encoding == "identity" else printable(encoding, 40)
        end = self._check_head(reply, start, ranged=ranged)
        if end is None:
            return
        try:
            # One byte more is asked for than there may be, and none beyond.
            while data := reply.chunk(min(CHUNK, end - self._verifier.received + 1)):
                self._verifier.update(data)
                yield data
        except SizeMismatchError as error:
            raise SizeMismatchError(
                f"{self._where}: {error}{self._hint}", expected=error.expected, actual=error.actual
            ) from None
        finally:
            if self._verifier.received != end:
                reply.abort()
        if self._verifier.received < end:  # the body ended in good order, the blob did not
            self._check_size(self._verifier.received)

    def _check_head(self, reply: Reply, start: int, *, ranged: bool) -> int | None:
        """Return where the body ends in the blob, with the reply at `start`; None: ask again."""
        end = self._size
        if ranged and reply.status in {
            HTTPStatus.PARTIAL_CONTENT,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        }:
            match = _CONTENT_RANGE.fullmatch(reply.header("Content-Range").strip())
            if match is None or int(match[1]) != start or int(match[2]) < start:
                self._ranges = False  # not what we asked for: all of it again
                return None
            if match[3] != "*":
                self._check_size(int(match[3]))
            end = int(match[2]) + 1
            self._check_size(max(end, self._size))
        elif reply.status == HTTPStatus.OK:
            if reply.length is not None:
                self._check_size(reply.length)
            self._skip(reply, start)
            return end
        else:
            raise self._session.refusal(
                reply, self._repository, f"blob {self._descriptor.digest} in {self._repository}"
            )
        if reply.length is not None and reply.length != end - start:
            self._check_size(start + reply.length)
        return end

    def _check_size(self, size: int) -> None:
        if size != self._size:
            raise SizeMismatchError(
                f"{self._where}: {self._descriptor.digest} has {size} bytes where {self._size} "
                f"were announced{self._hint}",
                expected=self._size,
                actual=size,
            )

    def _skip(self, reply: Reply, count: int) -> None:
        while count and (data := reply.chunk(min(count, CHUNK))):
            count -= len(data)
