# SPDX-License-Identifier: Apache-2.0
"""The command `pycontain`: one module for each family of its commands."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

import pycontain
from pycontain.errors import (
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
)

from . import _doctor, _images, _inventory, _profile, _run, _trace
from ._common import FAILED, NOT_EXECUTABLE, NOT_FOUND, SIGNALED, complain


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycontain", description="Sandboxes on Linux, without a daemon.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"pycontain {pycontain.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for family in (_run, _trace, _images, _inventory, _profile, _doctor):
        family.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    # argparse would hide whether there was a "--", which says that no image is named.
    at = words.index("--") if words[:1] in (["run"], ["trace"]) and "--" in words else len(words)
    args = _parser().parse_args(words[:at])
    args.behind = words[at + 1 :] if at < len(words) else None
    try:
        status: int = args.call(args)
    except ProgramNotFoundError as error:
        complain(f"{error.filename}: {error.strerror}")
        return NOT_FOUND
    except ProgramNotExecutableError as error:
        complain(f"{error.filename}: {error.strerror}")
        return NOT_EXECUTABLE
    except PycontainError as error:
        complain(str(error))
        return FAILED
    except OSError as error:  # of a file that the command line names
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILED
    except KeyboardInterrupt:
        return SIGNALED + signal.SIGINT
    return status
