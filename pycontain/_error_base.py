# SPDX-License-Identifier: Apache-2.0
"""The base of all exceptions, below `errors` and what that imports late."""

from __future__ import annotations


class PycontainError(Exception):
    """Base of all exceptions of this package."""

    __module__ = "pycontain.errors"
