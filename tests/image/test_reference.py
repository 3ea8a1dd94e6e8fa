# SPDX-License-Identifier: Apache-2.0
"""References mean what they mean to Docker, and a wrong one says where."""

from __future__ import annotations

import dataclasses

import pytest

from pycontain import InvalidReferenceError
from pycontain._image._digest import Digest
from pycontain._image._reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

# text: canonical, familiar
VALID = {
    "python": ("docker.io/library/python:latest", "python:latest"),
    "python:3.12-slim": ("docker.io/library/python:3.12-slim", "python:3.12-slim"),
    "bitnami/redis": ("docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
    "a/b/c:1": ("docker.io/a/b/c:1", "a/b/c:1"),
    "library/python": ("docker.io/library/python:latest", "python:latest"),
    "docker.io/python": ("docker.io/library/python:latest", "python:latest"),
    "index.docker.io/python": ("docker.io/library/python:latest", "python:latest"),
    "docker.io/library/a/b": ("docker.io/library/a/b:latest", "library/a/b:latest"),
    "docker.io": ("docker.io/library/docker.io:latest", "docker.io:latest"),
    "ghcr.io/a/b:v1": ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
    "quay.io/x": ("quay.io/x:latest", "quay.io/x:latest"),
    "localhost/x": ("localhost/x:latest", "localhost/x:latest"),
    "localhost:5000/x": ("localhost:5000/x:latest", "localhost:5000/x:latest"),
    # no slash, so this is a tag
    "localhost:5000": ("docker.io/library/localhost:5000", "localhost:5000"),
    "127.0.0.1:5000/a:b": ("127.0.0.1:5000/a:b", "127.0.0.1:5000/a:b"),
    "[::1]:5000/a": ("[::1]:5000/a:latest", "[::1]:5000/a:latest"),
    "Reg.example/a": ("Reg.example/a:latest", "Reg.example/a:latest"),
    "a__b/c-d--e/f.g_h": ("docker.io/a__b/c-d--e/f.g_h:latest", "a__b/c-d--e/f.g_h:latest"),
    "x:_T.a-g": ("docker.io/library/x:_T.a-g", "x:_T.a-g"),
    f"x:{'t' * 128}": (f"docker.io/library/x:{'t' * 128}", f"x:{'t' * 128}"),
    f"x@{DIGEST}": (f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
    f"x:1@{DIGEST}": (f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
    f"h:1/x:1@{DIGEST}": (f"h:1/x:1@{DIGEST}", f"h:1/x:1@{DIGEST}"),
}

# text: position, a part of what is said
INVALID: dict[str, tuple[int, str]] = {
    "": (0, "empty"),
    "a/../b": (2, "'.' cannot stand here"),
    "reg:99999/x": (4, "not a port"),
    "reg:0/x": (4, "not a port"),
    "reg:/x": (0, "not a host"),
    "-a.b/x": (0, "not a host"),
    "a..b/x": (0, "not a host"),
    "x@sha256:short": (2, "invalid digest"),
    f"x@blake3:{'a' * 64}": (2, "unsupported digest algorithm"),
    "x@": (2, "invalid digest"),
    "UPPER/case": (0, "lower case"),
    "Python": (0, "lower case"),
    "ghcr.io/a/Bc": (10, "lower case"),
    "a" * 300: (255, "more than 255 characters"),
    "h.io/" + "a/" * 130 + "a": (255, "more than 255 characters"),
    "x:": (2, "the tag is empty"),
    "x:a:b": (3, "a tag has"),
    "x:-a": (2, "a tag has"),
    f"x:{'t' * 129}": (130, "128 characters"),
    "x:a b": (3, "a tag has"),
    ":tag": (0, "the name is missing"),
    f"@{DIGEST}": (0, "the name is missing"),
    "/x": (0, "a part of the name is empty"),
    "a//b": (2, "a part of the name is empty"),
    "a/": (2, "a part of the name is empty"),
    "h.io/": (5, "a part of the name is empty"),
    "a___b": (1, "cannot stand here"),
    "a-": (1, "cannot stand here"),
    "é": (0, "cannot stand here"),
    "x\n": (1, "cannot stand here"),
    "x y": (1, "cannot stand here"),
    "https://h.io/x": (0, "not a host"),
    "\x1b[2J": (0, "cannot stand here"),
    "0123456789abcdef" * 4: (0, "an image's id"),
}


@pytest.mark.parametrize("text", VALID)
def test_normalised(text: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == VALID[text]
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize("text", INVALID)
def test_invalid(text: str) -> None:
    position, said = INVALID[text]
    with pytest.raises(InvalidReferenceError, match=f"\\(position {position}\\)$") as caught:
        Reference.parse(text)
    assert said in str(caught.value)
    assert (caught.value.reference, caught.value.position) == (text, position)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("value", [None, b"x", 5])
def test_not_a_text(value: object) -> None:
    with pytest.raises(InvalidReferenceError, match="not a str"):
        Reference.parse(value)  # type: ignore[arg-type]


def test_the_digest_wins_over_the_tag() -> None:
    assert Reference.parse(f"x:1@{DIGEST}").wanted == DIGEST
    assert Reference.parse("x:1").wanted == "1"


def test_the_api_of_docker_hub_is_elsewhere() -> None:
    assert Reference.parse("x").api_host == "registry-1.docker.io"
    assert Reference.parse("h:5/x").api_host == "h:5"


def test_other_tags_and_digests() -> None:
    reference = Reference.parse("h.io/x:1")
    assert str(reference.with_tag("2")) == "h.io/x:2"
    assert str(reference.with_digest(Digest.parse(DIGEST))) == f"h.io/x:1@{DIGEST}"
    with pytest.raises(InvalidReferenceError, match="invalid tag"):
        reference.with_tag("a/b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reference.tag = "2"  # type: ignore[misc]
