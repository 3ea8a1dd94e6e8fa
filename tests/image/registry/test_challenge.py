# SPDX-License-Identifier: Apache-2.0
"""Challenges in the header WWW-Authenticate."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from pycontain._image._registry._challenge import Challenge, parse
from pycontain._image._registry._tokens import union


@pytest.mark.parametrize(
    "values, expected",
    [
        (["Basic"], [("basic", {})]),
        (['Basic realm="a b"'], [("basic", {"realm": "a b"})]),
        (
            ['Bearer realm="https://a/t",service=b,scope="repository:x/y:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "b", "scope": "repository:x/y:pull,push"},
                )
            ],
        ),
        (['BEARER Realm = "x" ,\t SERVICE=y'], [("bearer", {"realm": "x", "service": "y"})]),
        (
            ['Negotiate, Basic realm="x", Bearer realm="y"'],
            [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        (["NTLM TlRMTVNTUA==, Basic"], [("ntlm", {}), ("basic", {})]),
        (
            ['Basic realm="x"', 'Bearer realm="y"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        ([r'Basic realm="a\"b\\c"'], [("basic", {"realm": r'a"b\c'})]),
        (['Basic realm="x", realm="y"'], [("basic", {"realm": "x"})]),
        ([",, ,Basic ,,"], [("basic", {})]),
        (['Basic realm="x" garbage="y"'], [("basic", {})]),
        (['Basic realm="x'], [("basic", {})]),
        (["realm=x"], []),
        (["", " ", ",", "="], []),
    ],
)  # fmt: skip
def test_parse(values: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse(values) == [Challenge(scheme, parameters) for scheme, parameters in expected]


WORDS = strategies.from_regex(r"[a-zA-Z][a-zA-Z0-9-]{0,8}", fullmatch=True)


@hypothesis.given(
    strategies.lists(
        strategies.tuples(WORDS, strategies.dictionaries(WORDS.map(str.lower), strategies.text())),
        max_size=4,
    )
)
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    written = ", ".join(
        f"{scheme} {', '.join(f'{name}={quoted(value)}' for name, value in parameters.items())}"
        for scheme, parameters in challenges
    )
    assert parse([written]) == [Challenge(scheme.lower(), values) for scheme, values in challenges]


@hypothesis.given(strategies.text(alphabet='aB=",\\ \t/+\x00é', max_size=60))
def test_anything_is_read(text: str) -> None:
    for challenge in parse([text]):
        assert challenge.scheme


@pytest.mark.parametrize(
    "scopes, expected",
    [
        ([], []),
        (["repository:a:pull"], ["repository:a:pull"]),
        (["repository:a:push", "repository:a:pull"], ["repository:a:pull,push"]),
        (["repository:h:5/a:pull", "a:*:*"], ["a:*:*", "repository:h:5/a:pull"]),
        (["garbage", "aws"], ["aws", "garbage"]),
    ],
)  # fmt: skip
def test_union(scopes: list[str], expected: list[str]) -> None:
    assert sorted(union(scopes)) == expected
