# SPDX-License-Identifier: Apache-2.0
"""What the commands share: exit statuses, complaints, JSON."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

# As in docker run(1) and timeout(1).
TIMED_OUT: Final = 124
FAILED: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALED: Final = 128


def print_json(value: Any) -> None:
    """Print for programs."""
    import json  # noqa: PLC0415 - only --json needs it

    print(json.dumps(value, indent=2))


def complain(text: str) -> None:
    """Print what went wrong."""
    print(f"pycontain: {text}", file=sys.stderr)


def printable(text: str) -> str:
    """Escape whatever is not printable ASCII: the names of processes are anybody's bytes."""
    return os.fsencode(text).decode("latin-1").encode("unicode_escape").decode()
