# SPDX-License-Identifier: Apache-2.0
"""`pycontain pull`."""

from __future__ import annotations

import argparse

from ._common import print_json
from ._progress import shown


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    pull = commands.add_parser("pull", help="fetch an image from its registry")
    pull.add_argument("image", metavar="IMAGE", help="such as python:3.12-slim")
    pull.add_argument("--platform", metavar="OS/ARCH", help="default: this machine's")
    pull.add_argument(
        "--insecure", action="store_true", help="plain http, or any certificate of the registry's"
    )
    pull.add_argument("--json", action="store_true", help="for programs")
    pull.set_defaults(call=_pull)


def _pull(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - most commands have no image

    with shown() as shower:
        found = images.pull(
            args.image, platform=args.platform, insecure=args.insecure, progress=shower.tell
        )
    if args.json:
        print_json({"name": found.name, "id": found.id})
    else:
        print(found.id)
    return 0
