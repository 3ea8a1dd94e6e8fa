# SPDX-License-Identifier: Apache-2.0
"""Uploads of blobs (distribution-spec, "Pushing blobs")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import BinaryIO, Final
from urllib.parse import urlencode

from pycontain._image._descriptor import Descriptor
from pycontain.errors import (
    RegistryError,
    SizeMismatchError,
    UnauthorizedError,
)

from ._blobs import exists
from ._errors import ConnectionFailedError
from ._events import Uploading
from ._reply import Reply
from ._retry import PASSING
from ._session import Session

PART: Final = 32 << 20
ACTIONS: Final = "pull,push"
# The specification says 201; not all registries do.
STORED: Final = frozenset((200, 201, 204))
_CHUNK: Final = 1 << 20
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})", re.ASCII)


class _SourceError(Exception):
    """Reading what is to be sent failed; not an OSError, which would be the connection's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _InterruptedError(Exception):
    """A request failed in a way that may pass."""

    def __init__(self, error: RegistryError, retry_after: str = "") -> None:
        super().__init__()
        self.error = error
        self.retry_after = retry_after


class Upload:
    """One blob on its way to a registry, in one upload session after another if need be."""

    def __init__(
        self,
        session: Session,
        repository: str,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        part_size: int | None,
    ) -> None:
        self._session = session
        self._repository = repository
        self._descriptor = descriptor
        self._size = descriptor.size
        self._source = source
        self._part = part_size
        self._location = ""
        self._offset = 0
        self._farthest = 0

    def run(self, mount_from: Sequence[str]) -> bool:
        """Upload the blob if it is not there; see `Repository.push_blob`."""
        if self._exists() or self._mount(mount_from):
            return False
        patience = self._session.patience()
        while True:
            farthest = self._farthest
            try:
                self._upload()
            except _InterruptedError as interrupted:
                if self._farthest > farthest:
                    patience.progressed()
                patience.wait(interrupted.error, interrupted.retry_after)
                if self._exists():
                    return True
                self._resume()
            else:
                return True

    def _exists(self) -> bool:
        return exists(self._session, self._repository, self._descriptor, ACTIONS)

    def _mount(self, candidates: Sequence[str]) -> bool:
        """Have the registry take the blob from another repository; else there is a session."""
        for other in candidates:
            if other == self._repository:
                continue
            query = urlencode({"mount": str(self._descriptor.digest), "from": other})
            try:
                if self._start(f"?{query}", [f"repository:{other}:pull"]):
                    return True
            except UnauthorizedError:
                continue  # not allowed to read there, perhaps to write here
        return False

    def _start(self, query: str = "", scopes: Sequence[str] = ()) -> bool:
        """Begin a session. Returns whether the blob is there already, by a mount."""
        self._cancel()
        with self._request("POST", f"blobs/uploads/{query}", scopes=scopes) as reply:
            if reply.status == HTTPStatus.CREATED and query:
                return True
            self._moved(reply, HTTPStatus.ACCEPTED)
            least = reply.header("OCI-Chunk-Min-Length")
            if self._part is not None and least.isascii() and least.isdigit():
                self._part = max(self._part, int(least[:12]))
            return False

    def _cancel(self) -> None:
        """End a session that is not to be used."""
        location, self._location, self._offset = self._location, "", 0
        if location:
            try:
                self._request("DELETE", location, again=False).close()
            except RegistryError:
                return  # the registry forgets it after a while

    def _upload(self) -> None:
        if not self._location:
            self._start()
        if self._part is None and self._offset == 0:
            if self._put(self._size):
                return
            self._part = PART
            self._start()
        while self._offset < self._size:
            self._patch(self._part or PART)
        self._put(0)

    def _put(self, length: int) -> bool:
        """Send the last bytes and end the session. Returns False if they were too many."""
        mark = "&" if "?" in self._location else "?"
        query = urlencode({"digest": str(self._descriptor.digest)})
        reply = self._send("PUT", f"{self._location}{mark}{query}", length, {})
        with reply:
            if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and length > PART:
                return False
            self._check_session(reply)
            if reply.status not in STORED:
                raise self._refusal(reply)
            self._location = ""
            return True

    def _patch(self, part: int) -> None:
        """Send the next bytes."""
        length = min(part, self._size - self._offset)
        end = self._offset + length
        headers = {"Content-Range": f"{self._offset}-{end - 1}"}
        with self._send("PATCH", self._location, length, headers) as reply:
            self._check_session(reply)
            self._moved(reply, HTTPStatus.ACCEPTED)
            self._offset = end
            self._farthest = max(self._farthest, end)

    def _check_session(self, reply: Reply) -> None:
        """See whether the registry has forgotten about the session, or is elsewhere in it."""
        if reply.status in {HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            raise _InterruptedError(self._refusal(reply))

    def _resume(self) -> None:
        """Ask how far the registry has come; where it does not know, begin anew."""
        location, self._location, self._offset = self._location, "", 0
        if not location:
            return
        with self._request("GET", location) as reply:
            match = _RANGE.fullmatch(reply.header("Range"))
            # "0-0" is said of nothing and of one byte.
            if reply.status != HTTPStatus.NO_CONTENT or match is None or match[1] == "0":
                return
            self._moved(reply, HTTPStatus.NO_CONTENT, location)
            self._offset = int(match[1]) + 1
        if self._offset > self._size:
            self._cancel()
        elif self._offset > self._farthest + _CHUNK:
            self._farthest = self._offset

    def _moved(self, reply: Reply, status: int, default: str = "") -> None:
        """Take the session's new URL from an answer."""
        if reply.status != status:
            raise self._refusal(reply)
        location = reply.header("Location") or default
        if not location:
            raise RegistryError(
                f"{self._session.registry} does not say where to send the blob to (no Location)",
                registry=self._session.registry,
                status=reply.status,
            )
        self._location = self._session.resolve(reply.url, location)

    def _request(
        self, method: str, target: str, *, scopes: Sequence[str] = (), again: bool = True
    ) -> Reply:
        return self._session.request(
            method,
            target,
            repository=self._repository,
            actions=ACTIONS,
            scopes=scopes,
            again=again,
        )

    def _send(self, method: str, url: str, length: int, headers: dict[str, str]) -> Reply:
        """Make a request with the next bytes as its body."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(length),
            **headers,
        }
        try:
            reply = self._session.request(
                method,
                url,
                repository=self._repository,
                actions=ACTIONS,
                headers=headers,
                body=(lambda: self._bytes(self._offset, length)) if length else b"",
                again=False,
            )
        except _SourceError as failed:
            raise failed.error from None
        except ConnectionFailedError as error:
            if not error.passing:
                raise
            raise _InterruptedError(error) from None
        if reply.status in PASSING:
            header = reply.header("Retry-After")
            raise _InterruptedError(self._refusal(reply), header)
        return reply

    def _bytes(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield a part of the source, in one buffer that is used again and again."""
        try:
            buffer = memoryview(bytearray(min(length, _CHUNK)))
            with self._source() as file:
                file.seek(start)
                sent = 0
                while sent < length:
                    count = file.readinto(buffer[: min(length - sent, _CHUNK)])  # type: ignore[attr-defined]
                    if not count:
                        raise SizeMismatchError(
                            f"{self._descriptor.digest}: what is to be sent ends after "
                            f"{start + sent} of {self._size} bytes",
                            expected=self._size,
                            actual=start + sent,
                        )
                    yield buffer[:count]
                    sent += count
                    self._session.on_event(
                        Uploading(
                            digest=str(self._descriptor.digest), sent=start + sent, size=self._size
                        )
                    )
        except (OSError, ValueError) as error:
            raise _SourceError(error) from None

    def _refusal(self, reply: Reply) -> RegistryError:
        return self._session.refusal(
            reply, self._repository, f"upload of {self._descriptor.digest} to {self._repository}"
        )
