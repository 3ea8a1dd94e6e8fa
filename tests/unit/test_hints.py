# SPDX-License-Identifier: Apache-2.0
"""Remedies are for steps and errors that exist."""

from __future__ import annotations

import errno

import pytest

from pycontain._hints import ANY, HINTS, hint
from pycontain._native import steps


@pytest.mark.parametrize("step, number", HINTS, ids=str)
def test_a_hint_is_about_a_known_step_and_error(step: str, number: int) -> None:
    assert step in steps().values()
    assert number == ANY or number in errno.errorcode


@pytest.mark.parametrize("key", HINTS, ids=str)
def test_a_hint_is_one_sentence(key: tuple[str, int]) -> None:
    text = HINTS[key]
    assert text == text.strip()
    assert not text.endswith(".")
    assert "\n" not in text
    assert "  " not in text


def test_a_hint_is_found() -> None:
    assert hint("SOURCE", errno.ENOENT) == HINTS["SOURCE", errno.ENOENT]
    assert hint("SOURCE", errno.EXDEV) is None
    assert hint("no such step", errno.ENOENT) is None
