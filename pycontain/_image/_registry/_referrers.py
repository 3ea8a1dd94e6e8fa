# SPDX-License-Identifier: Apache-2.0
"""What refers to a manifest (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from urllib.parse import urlencode

from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest, parse
from pycontain.errors import ManifestError, RegistryNotFoundError

from . import _manifests
from ._session import Session
from ._tags import PAGES, endless, page


def fallback_tag(subject: Digest) -> str:
    """Return the tag of the list where a registry has no API for it ("Referrers Tag Schema")."""
    return f"{subject.algorithm}-{subject.hex}"


def referrers(
    session: Session, repository: str, subject: Digest, artifact_type: str
) -> tuple[Descriptor, ...]:
    """Return the descriptors of what refers to a manifest; see `Repository.referrers`."""
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    try:
        found = _listed(session, repository, subject, f"referrers/{subject}{query}")
    except RegistryNotFoundError:
        found = {entry.digest: entry for entry in tagged(session, repository, subject)}
    # The registry may have left the choice to us.
    return tuple(e for e in found.values() if artifact_type in {"", e.artifact_type})


def _listed(
    session: Session, repository: str, subject: Digest, target: str | None
) -> dict[Digest, Descriptor]:
    found: dict[Digest, Descriptor] = {}
    seen: set[str] = set()
    while target is not None:
        if target in seen or len(seen) >= PAGES:
            raise endless(session, f"referrers of {subject}")
        seen.add(target)
        part = page(session, repository, target, f"referrers of {subject}")
        index = _index(parse(part.data, media_type=part.media_type, what="referrers"))
        found |= {entry.digest: entry for entry in index.manifests}
        target = part.following
    return found


def tagged(session: Session, repository: str, subject: Digest) -> tuple[Descriptor, ...]:
    """Return the list that is kept below a tag, empty if there is none."""
    try:
        found = _manifests.parsed(session, repository, fallback_tag(subject))
    except RegistryNotFoundError:
        return ()
    return _index(found).manifests


def add(
    session: Session, repository: str, subject: Digest, manifest: Manifest | Index
) -> Index | None:
    """Return the list below the tag with one more entry; None if it has it already."""
    entries = tagged(session, repository, subject)
    own = manifest.descriptor
    if any(entry.digest == own.digest for entry in entries):
        return None
    kind = manifest.artifact_type
    if not kind and isinstance(manifest, Manifest):
        kind = manifest.config.media_type
    entry = Descriptor(
        media_type=own.media_type,
        digest=own.digest,
        size=own.size,
        annotations=manifest.annotations,
        artifact_type=kind,
    )
    return Index.build([*entries, entry])


def _index(found: Manifest | Index) -> Index:
    if not isinstance(found, Index):
        raise ManifestError(f"a list of referrers is {found.media_type!r}, not {_media.OCI_INDEX}")
    return found
