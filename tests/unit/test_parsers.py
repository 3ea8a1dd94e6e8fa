# SPDX-License-Identifier: Apache-2.0
"""Whatever a parser is given: `make fuzz` goes on for longer."""

from __future__ import annotations

import hypothesis
import pytest

from _fuzz.properties import PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_any_input(name: str) -> None:
    given, check = PROPERTIES[name]
    hypothesis.settings(max_examples=150)(hypothesis.given(given)(check))()
