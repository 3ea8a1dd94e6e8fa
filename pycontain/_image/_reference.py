# SPDX-License-Identifier: Apache-2.0
"""The names of images, as Docker normalises them (github.com/distribution/reference)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from pycontain.errors import InvalidDigestError, InvalidReferenceError, UnsupportedImageError

from ._digest import Digest

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
NAME_MAX: Final = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::([0-9]{{1,9}}))?", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Reference:
    """The normalised name of an image in a registry.

    Attributes:
        registry: Host, with the port if one was given; "docker.io" for short names.
        repository: Path in the registry, such as "library/python".
        tag: With a digest, for people only. None: the digest alone says which image.
        digest: Of the manifest or index.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return what a text such as "python:3.12-slim" or "host:5000/a/b@sha256:..." names.

        Without a tag and a digest, the tag is "latest".

        Raises:
            InvalidReferenceError: It names no image; says where and why.
        """
        return _Parser(text).parse()

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def api_host(self) -> str:
        """The host that serves the registry's API."""
        return "registry-1.docker.io" if self.registry == DEFAULT_REGISTRY else self.registry

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    @property
    def familiar(self) -> str:
        """The shortest text that parses to this, as people write it."""
        name = self.name.removeprefix(f"{DEFAULT_REGISTRY}/")
        if name != self.name:
            short = name.removeprefix("library/")
            name = name if "/" in short else short
        return name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def with_tag(self, tag: str) -> Reference:
        """Return another tag of the same repository. Raises InvalidReferenceError."""
        if not _TAG.fullmatch(tag):
            raise InvalidReferenceError(f"invalid tag {tag[:140]!r}", reference=tag)
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """Return the same with a digest."""
        return replace(self, digest=digest)


class _Parser:
    """The parts of a text, and where they begin."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidReferenceError(f"invalid image reference: {text!r} is not a str")
        self.text = text

    def fail(self, position: int, problem: str) -> NoReturn:
        shown = self.text if len(self.text) <= 100 else f"{self.text[:97]}..."
        raise InvalidReferenceError(
            f"invalid image reference {shown!r}: {problem} (position {position})",
            reference=self.text,
            position=position,
        )

    def parse(self) -> Reference:
        if not self.text:
            self.fail(0, "it is empty")
        named, at, digest = self.text.partition("@")
        colon = named.find(":", named.rfind("/") + 1)
        name = named if colon < 0 else named[:colon]
        registry, repository = self.split_name(name)
        tag = None if colon < 0 else self.check_tag(colon + 1, named[colon + 1 :])
        parsed = self.check_digest(len(named) + 1, digest) if at else None
        if tag is None and parsed is None:
            tag = DEFAULT_TAG
        return Reference(registry=registry, repository=repository, tag=tag, digest=parsed)

    def split_name(self, name: str) -> tuple[str, str]:
        if not name:
            self.fail(0, "the name is missing")
        first, slash, rest = name.partition("/")
        is_host = bool(slash) and (first == "localhost" or any(mark in first for mark in ".:["))
        registry, repository, start = DEFAULT_REGISTRY, name, 0
        if is_host:
            registry, repository, start = first, rest, len(first) + 1
            self.check_host(first)
            if first == "index.docker.io":
                registry = DEFAULT_REGISTRY
        self.check_repository(start, repository)
        if not is_host and _IDENTIFIER.fullmatch(name):
            self.fail(0, "64 hexadecimal digits are an image's id; write sha256:... for it")
        if registry == DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        if len(registry) + 1 + len(repository) > NAME_MAX:
            self.fail(NAME_MAX, f"the name has more than {NAME_MAX} characters")
        return registry, repository

    def check_host(self, host: str) -> None:
        match = _HOST.fullmatch(host)
        if match is None:
            self.fail(0, f"{host[:80]!r} is not a host")
        if match[1] is not None and not 0 < int(match[1]) < 1 << 16:
            self.fail(len(host) - len(match[1]), f"{match[1]} is not a port")

    def check_repository(self, start: int, repository: str) -> None:
        for part in repository.split("/"):
            match = _COMPONENT.match(part)
            end = match.end() if match else 0
            if not part or end < len(part):
                self.fail(start + end, self.advice(part, end))
            start += len(part) + 1

    @staticmethod
    def advice(part: str, end: int) -> str:
        if not part:
            return "a part of the name is empty"
        if part[end].isupper():
            return "names are lower case (a host has a '.' or a port)"
        return f"{part[end]!r} cannot stand here"

    def check_tag(self, start: int, tag: str) -> str:
        match = _TAG.match(tag)
        end = match.end() if match else 0
        if end < len(tag) or not tag:
            problem = "the tag is empty" if not tag else "a tag has letters, digits and _.- only"
            self.fail(start + end, "a tag has at most 128 characters" if end == 128 else problem)
        return tag

    def check_digest(self, start: int, text: str) -> Digest:
        try:
            return Digest.parse(text)
        except (InvalidDigestError, UnsupportedImageError) as error:
            self.fail(start, str(error))
