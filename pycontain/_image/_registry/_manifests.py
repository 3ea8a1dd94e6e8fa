# SPDX-License-Identifier: Apache-2.0
"""Manifests by tag or digest (distribution-spec, "Pulling manifests")."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest, verify
from pycontain._image._manifest import MANIFEST_MAX, Index, Manifest, parse
from pycontain.errors import (
    DigestMismatchError,
    InvalidDigestError,
    InvalidReferenceError,
    LimitExceededError,
    UnsupportedImageError,
)

from ._reply import Reply
from ._session import Session

TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_ACCEPT = {"Accept": ", ".join(_media.ACCEPT)}


def subject_of(repository: str, wanted: str | Digest) -> str:
    """Return repository and tag or digest, for people."""
    return f"{repository}{'@' if isinstance(wanted, Digest) else ':'}{wanted}"


def wanted_of(text: str | Digest) -> str | Digest:
    """Return a tag, or the digest that a text is.

    Raises:
        InvalidReferenceError, InvalidDigestError, UnsupportedImageError: It is neither.
    """
    if isinstance(text, Digest) or TAG.fullmatch(text):
        return text
    if ":" in text:
        return Digest.parse(text)
    raise InvalidReferenceError(f"invalid tag {text[:140]!r}", reference=text)


def parsed(session: Session, repository: str, wanted: str | Digest) -> Manifest | Index:
    """Return the manifest or index of a tag or digest; see `Repository.manifest`."""
    media_type, data = raw(session, repository, wanted)
    what = f"{session.registry}/{subject_of(repository, wanted)}"
    try:
        return parse(data, media_type=media_type, what=what)
    except UnsupportedImageError as error:
        raise UnsupportedImageError(f"{what}: {error}") from None


def raw(session: Session, repository: str, wanted: str | Digest) -> tuple[str, bytes]:
    """Return media type and bytes of a manifest; see `Repository.raw_manifest`."""
    wanted = wanted_of(wanted)
    subject = subject_of(repository, wanted)
    target = f"manifests/{wanted}"
    with session.request("GET", target, repository=repository, headers=_ACCEPT) as reply:
        if reply.status != HTTPStatus.OK:
            raise session.refusal(reply, repository, subject)
        try:
            data = reply.read(MANIFEST_MAX)
        except LimitExceededError:
            raise LimitExceededError(
                f"{session.registry}/{subject}: the manifest has more than {MANIFEST_MAX} bytes",
                limit="manifest",
                allowed=MANIFEST_MAX,
            ) from None
        expected = wanted if isinstance(wanted, Digest) else _announced(reply)
        if expected is not None:
            try:
                verify(data, expected)
            except DigestMismatchError as error:
                raise DigestMismatchError(
                    f"{session.registry}/{subject}: {error}",
                    expected=error.expected,
                    actual=error.actual,
                ) from None
        return _media.normalise(reply.header("Content-Type")), data


def _announced(reply: Reply) -> Digest | None:
    try:
        return Digest.parse(reply.header("Docker-Content-Digest"))
    except (InvalidDigestError, UnsupportedImageError):
        return None


def resolve(session: Session, repository: str, wanted: str | Digest) -> Descriptor:
    """Return the descriptor of a tag or digest; see `Repository.resolve`."""
    wanted = wanted_of(wanted)
    target = f"manifests/{wanted}"
    with session.request("HEAD", target, repository=repository, headers=_ACCEPT) as reply:
        if reply.status == HTTPStatus.OK:
            digest, size = _announced(reply), reply.length
            media_type = _media.normalise(reply.header("Content-Type"))
            same = not isinstance(wanted, Digest) or digest == wanted
            if digest and size and media_type in _media.ACCEPT and same:
                return Descriptor(media_type=media_type, digest=digest, size=size)
        elif reply.status != HTTPStatus.METHOD_NOT_ALLOWED:
            raise session.refusal(reply, repository, subject_of(repository, wanted))
    return parsed(session, repository, wanted).descriptor
