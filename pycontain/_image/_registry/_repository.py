# SPDX-License-Identifier: Apache-2.0
"""What there is to do with a repository of a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest, Verifier
from pycontain._image._manifest import Index, Manifest

from . import _blobs, _manifests, _push, _referrers, _tags, _uploads
from ._session import Session


class Repository:
    """A repository. Threads may share it.

    All methods raise RegistryError, or what it is the base of: UnauthorizedError,
    RegistryNotFoundError, RateLimitedError.

    Attributes:
        name: Path in the registry.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name

    def __repr__(self) -> str:
        return f"Repository({self._session.registry}/{self.name})"

    def manifest(self, wanted: str | Digest) -> Manifest | Index:
        """Return the manifest or index of a tag or digest.

        Raises:
            ManifestError, LimitExceededError, UnsupportedImageError: It is not one.
            DigestMismatchError: It is another than the one asked for.
        """
        return _manifests.parsed(self._session, self.name, wanted)

    def raw_manifest(self, wanted: str | Digest) -> tuple[str, bytes]:
        """Return media type and bytes of whatever a tag or digest stands for, for copying.

        Raises:
            LimitExceededError: More than 4 MiB.
            DigestMismatchError: It is another than the one asked for.
        """
        return _manifests.raw(self._session, self.name, wanted)

    def resolve(self, wanted: str | Digest) -> Descriptor:
        """Return the descriptor of a tag or digest, without its content if the registry can.

        Raises:
            RegistryNotFoundError: There is none.
        """
        return _manifests.resolve(self._session, self.name, wanted)

    def blob(
        self,
        descriptor: Descriptor,
        verifier: Verifier | None = None,
        *,
        foreign_urls: bool = False,
    ) -> Iterator[bytes]:
        """Yield the content of a blob, verified: exactly what it should be, or an exception.

        What breaks off is taken up where it was. Nothing is asked for before the first `next`;
        close the generator if you leave it early.

        Args:
            descriptor: Which blob.
            verifier: Has seen the beginning, which is there already; the rest is yielded.
            foreign_urls: Where the registry has none, ask those that the descriptor names. They
                come from the image's author; they never get credentials.

        Raises:
            SizeMismatchError: It is longer or shorter than the descriptor says. Of one that is
                too long, no more than one byte too many is read.
            DigestMismatchError: It is something else; after the last bytes.
        """
        return _blobs.content(
            self._session, self.name, descriptor, verifier, foreign_urls=foreign_urls
        )

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the registry has a blob."""
        return _blobs.exists(self._session, self.name, descriptor)

    def tags(self) -> Iterator[str]:
        """Yield the tags, as the registry sorts them."""
        return _tags.tags(self._session, self.name)

    def referrers(self, subject: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Return what refers to a manifest: signatures and the like.

        Args:
            subject: Digest of the manifest.
            artifact_type: Only of this type; "": of any.

        Raises:
            ManifestError, LimitExceededError: The list breaks the specification.
        """
        return _referrers.referrers(self._session, self.name, subject, artifact_type)

    def push_blob(
        self,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        *,
        mount_from: Sequence[str] = (),
        part_size: int | None = None,
    ) -> bool:
        """Upload a blob, unless the registry has it.

        Args:
            descriptor: What it is.
            source: Opens the content at its beginning, for each attempt; seekable.
            mount_from: Repositories of the same registry that may have it already.
            part_size: Upload in parts of so many bytes, for registries behind a proxy that refuses
                long requests; None: in one part, and in several where that is refused.

        Returns:
            Whether it had to be sent.

        Raises:
            SizeMismatchError: The source is shorter than the descriptor says.
            OSError: The source cannot be read.
        """
        push = _uploads.Upload(self._session, self.name, descriptor, source, part_size)
        return push.run(mount_from)

    def push_manifest(self, raw: bytes, media_type: str, *, tag: str | None = None) -> Digest:
        """Upload a manifest or index; what it refers to must be there.

        Args:
            raw: Its bytes.
            media_type: What it is.
            tag: To give it; None: it is known by its digest alone.

        Raises:
            DigestMismatchError: The registry stored something else.
        """
        return _push.push_manifest(self._session, self.name, raw, media_type, tag)
