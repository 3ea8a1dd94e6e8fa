# SPDX-License-Identifier: Apache-2.0
"""`pycontain inspect --host`: whether an image's program fits this machine, or another."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from ._common import FAILED, print_json, printable

if TYPE_CHECKING:
    from pycontain.contract import Contract, File, Machine
    from pycontain.images import Image


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--host", action="store_true", help="check that its program runs here; 125 if it does not")
    add("--on", metavar="OS/ARCH[/VARIANT]", help="with --host: on such a machine instead")
    add("--kernel", metavar="RELEASE", help="with --host: with that Linux instead, such as 4.18")
    add("--program", metavar="PROGRAM", help="with --host: this one instead of what it is made for")


def tell(args: argparse.Namespace, image: Image) -> int:
    """Say what fits and what does not; return the exit status."""
    contract = image.check(_machine(args), None if args.program is None else [args.program])
    if args.json:
        print_json(_row(image, contract))
    else:
        _print(image, contract)
    return 0 if contract.fits else FAILED


def _machine(args: argparse.Namespace) -> Machine | None:
    from pycontain.contract import Machine  # noqa: PLC0415 - few commands need it

    if args.on is None and args.kernel is None:
        return None
    here = Machine.here()
    return Machine.of(args.on or str(here.platform), args.kernel or os.uname().release)


def _print(image: Image, contract: Contract) -> None:
    lines = [
        f"image    {image.name}, for {image.config.platform}",
        f"machine  {contract.machine}",
        f"command  {' '.join(contract.args) or '-'}",
        f"libc     {contract.libc or '-'}",
    ]
    lines += [f"{file.role:12} {file.path}  {_about(file)}" for file in contract.files]
    lines += [
        f"{'PROBLEM' if problem.fatal else 'note'}  {problem}" for problem in contract.problems
    ]
    lines.append("it fits" if contract.fits else "it does not fit")
    print(*map(printable, lines), sep="\n")


def _about(file: File) -> str:
    if file.errno:
        return os.strerror(file.errno)
    if file.elf is None:
        return file.problem or "script"
    about = [file.elf.architecture]
    if file.elf.level:
        about.append(f"x86-64-v{file.elf.level}")
    if file.elf.kernel is not None:
        about.append(f"Linux {'.'.join(map(str, file.elf.kernel))} or later")
    return ", ".join(about)


def _row(image: Image, contract: Contract) -> dict[str, Any]:
    return {
        "image": image.name,
        "platform": str(image.config.platform),
        "machine": str(contract.machine),
        "args": list(contract.args),
        "libc": contract.libc,
        "fits": contract.fits,
        "files": [
            {"path": file.path, "role": file.role, "about": _about(file)} for file in contract.files
        ],
        "problems": [
            {
                "kind": str(problem.kind),
                "path": problem.path,
                "text": problem.text,
                "remedy": problem.remedy,
                "fatal": problem.fatal,
            }
            for problem in contract.problems
        ],
    }
