# SPDX-License-Identifier: Apache-2.0
"""An iterator in a thread yields what it would yield, raises what it would raise, and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pycontain._image._ahead import DEPTH, Ahead


def test_all_items_come_in_order() -> None:
    with Ahead(range(1000)) as ahead:
        assert list(ahead) == list(range(1000))


def test_an_exception_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    with Ahead(source()) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(KeyError, match="source"):
            next(items)


def test_it_is_no_more_than_its_depth_ahead() -> None:
    made = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == DEPTH:
                full.set()
            yield number

    with Ahead(source()):
        assert full.wait(20)
    assert len(made) <= DEPTH + 1


def test_leaving_early_ends_the_source() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with Ahead(endless()) as ahead:
        assert next(iter(ahead)) == 0
    assert closed.is_set()
