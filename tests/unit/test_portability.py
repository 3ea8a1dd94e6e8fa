# SPDX-License-Identifier: Apache-2.0
"""The page on portability says what was the same, what was not, and why something did not run."""

from __future__ import annotations

from typing import Any

from portability import report
from portability.recipes import RECIPES


def row(image: str, uid: int, **came: str) -> dict[str, Any]:
    return {"image": image, "uid": uid, **came}


def known(other: dict[str, Any]) -> dict[str, Any]:
    return {
        "5.10": {"version": "5.10.1", "rows": [row("busybox", 0, digest="a" * 64)]},
        "here": {"version": "6.18", "rows": [row("busybox", 0, digest="a" * 64), other]},
    }


def test_the_same_output_everywhere() -> None:
    rows = known(row("musl", 0, digest="b" * 64))
    assert report.agree(rows)
    page = report.page(rows, {})
    assert "| 5.10 root | here root |" in page
    assert "| `aaaaaaaa` | `aaaaaaaa` |" in page
    assert "| - | `bbbbbbbb` |" in page
    assert page.count("\n| ") == len(RECIPES) + 1
    assert "its output is the same." in page


def test_another_output_somewhere_is_no_success() -> None:
    rows = known(row("busybox", 1000, digest="c" * 64))
    assert not report.agree(rows)
    assert "**not the same**" in report.page(rows, {})


def test_what_did_not_run_has_its_sentence_once() -> None:
    rows = known(row("musl", 0, error="SpawnError: no\n | overlayfs (musl:latest)"))
    rows["5.10"]["rows"].append(
        row("busybox", 9, error="SpawnError: no | overlayfs (busybox:latest)")
    )
    page = report.page(rows, {})
    assert page.count(" A |") == 2
    assert page.count("* A: SpawnError: no \\| overlayfs (IMAGE)") == 1
    assert "* B" not in page


def test_what_could_not_be_had_is_told() -> None:
    page = report.page(known(row("musl", 0, digest="b" * 64)), {"newest": "no\n network"})
    assert page.endswith("\n* newest could not be had: no network\n")
