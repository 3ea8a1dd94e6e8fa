# SPDX-License-Identifier: Apache-2.0
"""Lists that come in pages: tags, and what else has a header Link (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from pycontain._image import _json
from pycontain._image._manifest import MANIFEST_MAX
from pycontain.errors import ManifestError, RegistryError

from ._manifests import TAG
from ._reply import Reply
from ._session import Session
from ._transport import origin

PAGES: Final = 10_000
PER_PAGE: Final = 1000
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_NEXT = re.compile(r""";\s*rel\s*=\s*(?:"[^"]*\bnext\b[^"]*"|next\b)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        data: The body.
        media_type: Its Content-Type.
        following: URL of the next part, None if this is the last one.
    """

    data: bytes
    media_type: str
    following: str | None


def page(session: Session, repository: str, target: str, subject: str) -> Page:
    """Get a part of a list. Raises RegistryError, LimitExceededError."""
    with session.request("GET", target, repository=repository) as reply:
        if reply.status != HTTPStatus.OK:
            raise session.refusal(reply, repository, subject)
        data = reply.read(MANIFEST_MAX)
        return Page(data, reply.header("Content-Type"), _following(session, reply))


def _following(session: Session, reply: Reply) -> str | None:
    for target, parameters in _LINK.findall(reply.header("Link")):
        if not _NEXT.search(parameters):
            continue
        url = session.resolve(reply.url, target)
        if origin(url) != origin(reply.url):
            raise RegistryError(
                f"{session.registry} continues a list at another host, which is not followed",
                registry=session.registry,
            )
        return url
    return None


def tags(session: Session, repository: str) -> Iterator[str]:
    """Yield the tags of a repository, each once."""
    seen: set[str] = set()
    target: str | None = f"tags/list?{urlencode({'n': PER_PAGE})}"
    for _ in range(PAGES):
        if target is None:
            return
        part = page(session, repository, target, f"tags of {repository}")
        listed = _parse(part.data, session.registry)
        fresh = [tag for tag in dict.fromkeys(listed) if tag not in seen]
        yield from fresh
        seen.update(fresh)
        target = part.following
        if not fresh:
            return  # it goes in circles, or ignores where to begin
        if target is None and len(listed) >= PER_PAGE:  # some have more and do not say so
            target = f"tags/list?{urlencode({'n': PER_PAGE, 'last': listed[-1]})}"
    raise endless(session, f"tags of {repository}")


def endless(session: Session, subject: str) -> RegistryError:
    """Return what to raise after PAGES pages."""
    return RegistryError(
        f"{session.registry}: the list of {subject} does not end", registry=session.registry
    )


def _parse(data: bytes, registry: str) -> list[str]:
    try:
        listed = _json.loads(data, "tags", limit=MANIFEST_MAX).texts("tags") or ()
    except ManifestError as error:
        raise RegistryError(f"{registry}: {error}", registry=registry) from None
    return [tag for tag in listed if TAG.fullmatch(tag)]
