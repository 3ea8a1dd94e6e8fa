# SPDX-License-Identifier: Apache-2.0
"""What comes from strangers, made fit to be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def printable(text: str, limit: int = 300) -> str:
    """Return a stranger's text fit for a terminal and a log: one line, bounded, no control."""
    shown = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}")
