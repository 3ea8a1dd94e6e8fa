# SPDX-License-Identifier: Apache-2.0
"""What this host grants to this process: every primitive that sandboxes use, found out by doing it.

>>> from pycontain import host
>>> report = host.probe()
>>> report.ok, report["overlay"].ok, report["Landlock"].detail
(True, True, 'ABI 7')

`pycontain doctor` shows the same. Nothing is guessed: whoever reads a sysctl does not know what a
security module, an outer filter or a limit will say. Only when something has failed, evidence is
looked for, and the finding says who stands in the way and what to do. The exceptions of a start
that fails carry the same `Cause`.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import _findings
from ._cause import BlockedBy, Cause
from ._findings import Finding

__all__ = ["BlockedBy", "Cause", "Finding", "Report", "probe"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out, in the order in which a sandbox needs it.

    Attributes:
        findings: One for each thing; `report["overlay"]` is that of a name.
        kernel: The kernel's release.
        uid: For whom it was found out.
    """

    findings: tuple[Finding, ...]
    kernel: str
    uid: int

    @property
    def ok(self) -> bool:
        """Whether all works that the default sandbox needs."""
        return not any(finding.needed for finding in self.failed)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What does not work, needed or not."""
        return tuple(finding for finding in self.findings if not finding.ok)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of a name; KeyError if there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        rows = [dataclasses.asdict(finding) for finding in self.findings]
        for row, finding in zip(rows, self.findings, strict=True):
            cause = finding.cause
            row["cause"] = None if cause is None else {**cause._asdict()}
        return {"ok": self.ok, "kernel": self.kernel, "uid": self.uid, "findings": rows}


def probe() -> Report:
    """Find out what this host grants to this process.

    Each primitive is performed by a small program in a child of its own, for at most five seconds;
    what it makes is gone with it. At last a sandbox is started, whose control groups are made as
    for any other. It takes some tenths of a second and blocks: in a program with an event loop,
    call it by `asyncio.to_thread(host.probe)`.

    Raises:
        UnsupportedError: Not even that program can be started.
    """
    found = itertools.chain(
        _findings.kernel(),
        [_findings.ids()],
        _findings.idmapped(),
        _findings.erofs(),
        _findings.sandbox(),
    )
    return Report(tuple(found), os.uname().release, os.geteuid())
