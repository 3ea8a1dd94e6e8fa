# SPDX-License-Identifier: Apache-2.0
"""What cgroupsPath means."""

from __future__ import annotations

import pytest

from pycontain._oci._cgroups import _path
from pycontain._oci._cgroups._path import Path, Unit
from pycontain.errors import ConfigError


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Path(("pycontain-runtime", "id"), absolute=False)),
        ("/a/b", Path(("a", "b"), absolute=True)),
        ("a/b", Path(("a", "b"), absolute=False)),
        ("//a/./b//", Path(("a", "b"), absolute=True)),
        ("/a..b/...", Path(("a..b", "..."), absolute=True)),
    ],
)
def test_paths(text: str, expected: Path) -> None:
    assert _path.parse(text, "id") == expected


@pytest.mark.parametrize("text", ["..", "/../a", "a/..", "/a/../../b", "/", ".", "/a\0b", "a\nb"])
def test_paths_that_lead_elsewhere(text: str) -> None:
    with pytest.raises(ConfigError, match="cgroupsPath"):
        _path.parse(text, "id")


@pytest.mark.parametrize(
    "text, user, expected",
    [
        ("", False, Unit("pycontain-runtime-id.scope", "system.slice")),
        ("", True, Unit("pycontain-runtime-id.scope", "user.slice")),
        ("machine.slice:libpod:name", False, Unit("libpod-name.scope", "machine.slice")),
        (":libpod:name", False, Unit("libpod-name.scope", "system.slice")),
        ("a-b.slice::", True, Unit("id.scope", "a-b.slice")),
        ("-.slice:p:n", False, Unit("p-n.scope", "-.slice")),
    ],
)
def test_units(text: str, user: bool, expected: Unit) -> None:
    assert _path.parse_unit(text, "id", user=user) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("/a/b", "a:b", "a:b:c:d", "no-slice:p:n", "a--b.slice:p:n", ".slice:p:n"),
        *("../x.slice:p:n", "s.slice:p:../n", "s.slice:p:a.slice"),
    ],
)
def test_units_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="cgroupsPath"):
        _path.parse_unit(text, "id", user=False)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("-.slice", ()),
        ("a.slice", ("a.slice",)),
        ("a-b-c.slice", ("a.slice", "a-b.slice", "a-b-c.slice")),
    ],
)
def test_slices_lie_in_each_other(name: str, expected: tuple[str, ...]) -> None:
    assert _path.slice_names(name) == expected
