# SPDX-License-Identifier: Apache-2.0
"""The command line as a program."""

from __future__ import annotations

from _box import warm

__all__ = ["warm"]
