# SPDX-License-Identifier: Apache-2.0
"""Properties of systemd's in annotations."""

from __future__ import annotations

import pytest

from pycontain._oci._cgroups import _annotations
from pycontain._oci._cgroups._annotations import PREFIX
from pycontain.errors import ConfigError


@pytest.mark.parametrize(
    "text, expected",
    [
        ("true", ("b", True)),
        ("5", ("i", 5)),
        ("-0x10", ("i", -16)),
        ("uint64 18446744073709551615", ("t", 2**64 - 1)),
        ("byte 7", ("y", 7)),
        ("1.5", ("d", 1.5)),
        ("'a \"b\"'", ("s", 'a "b"')),
        ('""', ("s", "")),
        ("['a.service', \"b.service\"]", ("as", ["a.service", "b.service"])),
        ("@as []", ("as", [])),
    ],
)
def test_values(text: str, expected: tuple[str, object]) -> None:
    annotations = {f"{PREFIX}CollectMode": text, "other": "?"}
    assert _annotations.properties(annotations) == [("CollectMode", expected)]


@pytest.mark.parametrize("text", ["10", "uint32 10", "10.0"])
def test_seconds(text: str) -> None:
    found = _annotations.properties({f"{PREFIX}TimeoutStopSec": text})
    assert found == [("TimeoutStopUSec", ("t", 10_000_000))]


@pytest.mark.parametrize(
    "name, text",
    [
        ("Good", ""),
        ("Good", "words"),
        ("Good", "uint32 -1"),
        ("Good", "byte 256"),
        pytest.param("Good", "9" * 10_000, id="long"),
        ("Good", "2147483648"),
        ("Good", "'a' 'b'"),
        ("Good", "['a' 'b']"),
        ("Good", "['a',]"),
        ("Good", "'a\\n'"),
        ("bad", "1"),
        ("Not-good", "1"),
        ("TimeoutSec", "'1'"),
        ("TimeoutSec", "-1"),
        ("TimeoutSec", "true"),
    ],
)
def test_values_that_are_none(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"annotations\['{PREFIX}{name}'\]"):
        _annotations.properties({f"{PREFIX}{name}": text})
