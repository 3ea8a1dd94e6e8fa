# SPDX-License-Identifier: Apache-2.0
"""docs/portability.md: a table of images and kernels, and the sentences where nothing ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portability.recipes import RECIPES

_INTRODUCTION = """\
# The same image on every kernel

Made by `make portability`. Each image does the same work (scripts/portability) in a sandbox of the
default profile, as root and as an ordinary user with one id; the table has the beginning of the
SHA-256 of what it prints. Debian's kernels run in an emulated machine with cgroup v2 alone; `here`
is the machine that made this page. A letter stands for the sentence that is said instead.
"""


def _users(known: Mapping[str, Any]) -> list[tuple[str, int]]:
    found = {(kernel, row["uid"]) for kernel, each in known.items() for row in each["rows"]}
    return [(kernel, uid) for kernel in known for uid in sorted(u for k, u in found if k == kernel)]


def _row(known: Mapping[str, Any], kernel: str, uid: int, image: str) -> dict[str, Any]:
    rows = known[kernel]["rows"]
    return next((row for row in rows if (row["image"], row["uid"]) == (image, uid)), {})


def _digests(known: Mapping[str, Any], image: str) -> set[str]:
    rows = [row for each in known.values() for row in each["rows"] if row["image"] == image]
    return {row["digest"] for row in rows if "digest" in row}


def agree(known: Mapping[str, Any]) -> bool:
    """Tell whether each image has one output, wherever it ran."""
    return all(len(_digests(known, image)) <= 1 for image in RECIPES)


def page(known: Mapping[str, Any], absent: Mapping[str, str]) -> str:
    """Return the page; `absent`: kernels and images that could not be had, and why."""
    columns = _users(known)
    sentences: dict[str, str] = {}
    heads = [f"{kernel} {'user' if uid else 'root'}" for kernel, uid in columns]
    lines = [
        _INTRODUCTION,
        f"| image | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    for image, recipe in RECIPES.items():
        cells = [_cell(_row(known, *column, image), sentences) for column in columns]
        lines.append(f"| {image}: {recipe.summary} | {' | '.join(cells)} |")
    versions = ", ".join(f"{kernel}: {each['version']}" for kernel, each in known.items())
    verdict = "the same" if agree(known) else "**not the same**"
    lines += ["", f"Wherever an image ran, its output is {verdict}. Kernels: {versions}.", ""]
    lines += [f"* {letter}: {sentence}" for sentence, letter in sentences.items()]
    lines += [f"* {name} could not be had: {_one_line(why)}" for name, why in absent.items()]
    return "\n".join(lines).rstrip() + "\n"


def _cell(row: Mapping[str, Any], sentences: dict[str, str]) -> str:
    if "digest" in row:
        return f"`{row['digest'][:8]}`"
    if "error" not in row:
        return "-"
    sentence = _one_line(str(row["error"]))
    sentence = sentence.replace(f"{row['image']}:latest", "IMAGE")
    return sentences.setdefault(sentence, chr(ord("A") + len(sentences)))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
