# SPDX-License-Identifier: Apache-2.0
"""Make root directories' archives; print NAME=PATH for each.

PYTHONPATH=scripts python -m portability.archives NAME...
"""

from __future__ import annotations

import sys

from machine.shell import UnavailableError
from portability.recipes import archive


def main() -> None:
    """Make those that are not there yet."""
    try:
        print(*(f"{name}={archive(name)}" for name in sys.argv[1:]))
    except UnavailableError as error:
        sys.exit(f"portability: {error}")


if __name__ == "__main__":
    main()
