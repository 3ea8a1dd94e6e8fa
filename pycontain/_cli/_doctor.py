# SPDX-License-Identifier: Apache-2.0
"""`pycontain doctor`: what this host grants, who stands in the way, and what to do."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Final, TextIO

from ._common import print_json

if TYPE_CHECKING:
    from pycontain.host import Cause, Finding, Report

_EPILOG: Final = """\
Each thing is done in a throw-away child, as a sandbox would; nothing of the host changes. The exit
status is 0 if all works that the default sandbox needs, 1 if something of it is missing, 125 if
nothing can be found out."""
_MISSING: Final = 1
_GREEN, _YELLOW, _RED, _BOLD = "32", "33", "31", "1"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    doctor = commands.add_parser(
        "doctor", help="find out what this host grants to sandboxes", epilog=_EPILOG
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(call=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from pycontain import host  # noqa: PLC0415 - no other command needs it

    report = host.probe()
    if args.json:
        print_json(report.as_dict())
    else:
        _Page(report, sys.stdout).print()
    return 0 if report.ok else _MISSING


def _colours(stream: TextIO) -> bool:
    """Tell whether the reader wants colours (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


class _Page:
    """A table, and below it each cause once."""

    def __init__(self, report: Report, stream: TextIO) -> None:
        self._report = report
        self._stream = stream
        self._coloured = _colours(stream)
        self._causes: list[Cause] = []
        self._names = max(len(finding.name) for finding in report)

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text

    def _line(self, text: str = "") -> None:
        print(text, file=self._stream)

    def print(self) -> None:
        """Print it."""
        who = "root" if self._report.uid == 0 else f"user {self._report.uid}"
        self._line(f"Linux {self._report.kernel}, {who}")
        for needed, title in ((True, "what every sandbox needs"), (False, "what some need")):
            self._line(self._paint(f"\n{title}", _BOLD))
            for finding in self._report:
                if finding.needed is needed:
                    self._line(self._row(finding))
        for number, cause in enumerate(self._causes, 1):
            self._explain(number, cause)
        self._line(f"\n{self._verdict()}")

    def _row(self, finding: Finding) -> str:
        name = finding.name.ljust(self._names)
        if finding.cause is None:
            said = finding.detail or finding.purpose
            return f"  {self._paint('ok', _GREEN)}  {name}  {said}"
        colour = _RED if finding.needed else _YELLOW
        if finding.cause not in self._causes:
            self._causes.append(finding.cause)
        said = f"{finding.cause.blocked_by} [{self._causes.index(finding.cause) + 1}]"
        said += f"; for {finding.purpose}" if not finding.needed else ""
        said += f"; instead: {finding.instead}" if finding.instead else ""
        return f"  {self._paint('NO', colour)}  {name}  {said}"

    def _explain(self, number: int, cause: Cause) -> None:
        head = self._paint(f"[{number}] {cause.blocked_by}", _BOLD)
        self._line(f"\n{head}: {cause.why}")
        self._line(f"    {cause.remedy}")
        if cause.file:
            self._line(textwrap.indent(cause.file, "        ").rstrip())

    def _verdict(self) -> str:
        needed = [finding for finding in self._report if finding.needed]
        missing = [finding.name for finding in needed if not finding.ok]
        if missing:
            names = ", ".join(missing)
            return self._paint(f"The default sandbox does not start: {names}", _RED)
        return self._paint("The default sandbox has all that it needs", _GREEN)
