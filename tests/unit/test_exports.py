# SPDX-License-Identifier: Apache-2.0
"""The public names are exactly those in `__all__`."""

from __future__ import annotations
import __future__

import importlib
import types
from pathlib import Path

import pytest

import pycontain

# A package's modules are visible as attributes once imported; they are public only if listed.
MODULES = [
    path.stem
    for path in sorted(Path(pycontain.__file__).parent.glob("*.py"))
    if not path.stem.startswith("__")
]


def visible(module: types.ModuleType) -> set[str]:
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and not isinstance(value := getattr(module, name), types.ModuleType)
        and not isinstance(value, __future__._Feature)
    }


def test_all_lists_what_is_visible() -> None:
    listed = {name for name in pycontain.__all__ if not name.startswith("_")}
    modules = {name for name in listed if isinstance(getattr(pycontain, name), types.ModuleType)}
    assert visible(pycontain) == listed - modules


@pytest.mark.parametrize("name", ["pycontain", *(f"pycontain.{stem}" for stem in MODULES)])
def test_all_has_names_that_exist_once(name: str) -> None:
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", []))
    assert len(set(listed)) == len(listed)
    assert [entry for entry in listed if not hasattr(module, entry)] == []


def test_exceptions_have_one_base() -> None:
    exceptions = [
        value
        for name in pycontain.__all__
        if isinstance(value := getattr(pycontain, name), type) and issubclass(value, BaseException)
    ]
    assert [error for error in exceptions if not issubclass(error, pycontain.PycontainError)] == []
