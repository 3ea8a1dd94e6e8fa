# SPDX-License-Identifier: Apache-2.0
"""Attack sandboxes on this host. The exit status is 1 if an attack that should fail did not."""

from __future__ import annotations

import argparse
import json
import os
import sys

from pycontain import PycontainError, profile

from . import report
from .runner import Examination, cells, control, examine


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pycontain.selftest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    parser.add_argument(
        "--profile",
        action="append",
        choices=profile.names(),
        help="this profile only; may be given again",
    )
    options = parser.parse_args()
    try:
        examinations = _examinations(options.profile or profile.names())
    except PycontainError as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report.as_json(examinations), indent=1))
    else:
        _tell(examinations)
    return 1 if any(examination.broken for examination in examinations) else 0


def _examinations(names: tuple[str, ...] | list[str]) -> list[Examination]:
    controls = control()
    return [examine(cell, controls) for cell in cells(names)]


def _tell(examinations: list[Examination]) -> None:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in report.summary(examinations, colour=colour):
        print(line)
    first = examinations[0]
    print(f"\nin force in {first.cell}:")
    for line in report.enforcement(first):
        print(line)
    print()
    for line in report.closing(examinations):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
