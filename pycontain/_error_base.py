# SPDX-License-Identifier: Apache-2.0
"""The exceptions that others derive from, below `errors` and what that imports late."""

from __future__ import annotations


class PycontainError(Exception):
    """Base of all exceptions of this package."""

    __module__ = "pycontain.errors"


class ConfigError(PycontainError, ValueError):
    """An option, or a combination of options, that cannot be right on this machine."""

    __module__ = "pycontain.errors"
