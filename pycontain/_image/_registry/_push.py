# SPDX-License-Identifier: Apache-2.0
"""Uploads of manifests (distribution-spec, "Pushing Manifests")."""

from __future__ import annotations

from pycontain._image import _media
from pycontain._image._digest import Digest
from pycontain._image._manifest import parse
from pycontain.errors import DigestMismatchError, InvalidDigestError, UnsupportedImageError

from . import _referrers
from ._manifests import subject_of, wanted_of
from ._reply import Reply
from ._session import Session
from ._uploads import ACTIONS, STORED


def push_manifest(
    session: Session, repository: str, raw: bytes, media_type: str, tag: str | None
) -> Digest:
    """Upload a manifest or index; see `Repository.push_manifest`."""
    digest = Digest.of(raw)
    wanted = digest if tag is None else wanted_of(tag)
    with session.request(
        "PUT",
        f"manifests/{wanted}",
        repository=repository,
        actions=ACTIONS,
        headers={"Content-Type": media_type},
        body=raw,
    ) as reply:
        if reply.status not in STORED:
            raise session.refusal(reply, repository, f"upload of {subject_of(repository, wanted)}")
        _check_stored(session, reply, digest)
        linked = bool(reply.header("OCI-Subject"))
    if not linked:
        _link_subject(session, repository, raw, media_type)
    return digest


def _check_stored(session: Session, reply: Reply, digest: Digest) -> None:
    header = reply.header("Docker-Content-Digest")
    try:
        stored = Digest.parse(header)
    except (InvalidDigestError, UnsupportedImageError):
        return
    if stored.algorithm == digest.algorithm and stored != digest:
        raise DigestMismatchError(
            f"{session.registry} stored {stored} where {digest} was sent",
            expected=str(digest),
            actual=str(stored),
        )


def _link_subject(session: Session, repository: str, raw: bytes, media_type: str) -> None:
    """Enter what is about another manifest into the list below a tag, which is ours to keep."""
    if media_type not in _media.ACCEPT:
        return
    manifest = parse(raw, media_type=media_type)
    if manifest.subject is None:
        return
    subject = manifest.subject.digest
    if index := _referrers.add(session, repository, subject, manifest):
        tag = _referrers.fallback_tag(subject)
        push_manifest(session, repository, index.raw, index.media_type, tag)
