# SPDX-License-Identifier: Apache-2.0
"""What the tests of real programs share."""

from __future__ import annotations

from pycontain import Reason, Result


def output_of(result: Result) -> str:
    """Return what a program printed, after checking that it ended by itself and well."""
    told = f"{result.args}: {result.returncode}\n{result.stdout}{result.stderr or ''}"
    assert (result.returncode, result.reason) == (0, Reason.EXITED), told
    assert isinstance(result.stdout, str)
    return result.stdout
