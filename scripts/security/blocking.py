# SPDX-License-Identifier: Apache-2.0
"""Who blocks what: each attack that this host knows, in each peer.

An attack is judged against the host: it works in a peer if the peer lets it come to what it comes
to on the host, be that an end or a complaint about its arguments.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pycontain.selftest import runner
from pycontain.selftest._programs import Outcome
from pycontain.selftest.catalogue import ATTACKS, Attack, Outside

from .peers import Peer, Run, UnusableError, peers

TRIED = [attack for attack in ATTACKS if isinstance(attack.outside, Outside)]
BLOCKED, WORKS = "blocked", "works"


def _works(attack: Attack, outcome: Outcome) -> bool:
    return not (runner.refused(attack, outcome) or outcome.signal or outcome.status)


def cell(attack: Attack, found: Sequence[Outcome]) -> str:
    """Return what a row says of an attack in a peer, given what came of its programs."""
    if any(_works(attack, outcome) for outcome in found):
        return WORKS
    strange = {outcome.signal for outcome in found} - {0, signal.SIGSYS}
    return (
        f"not known: {', '.join(signal.Signals(one).name for one in strange)}"
        if strange
        else BLOCKED
    )


def _row(attack: Attack, found: Sequence[Outcome]) -> dict[str, str]:
    return {"cell": cell(attack, found), "seen": ", ".join(sorted({str(one) for one in found}))}


def _tried(run: Run) -> Iterator[dict[str, str]]:
    for attack, found in runner.attempt(TRIED, lambda words: run(["calls", *words])):
        yield {"id": attack.id, "what": attack.what, **_row(attack, found)}


def _column(peer: Peer | tuple[str, str], folder: Path) -> dict[str, Any]:
    if isinstance(peer, tuple):
        name, reason = peer
        return {"name": name, "reason": reason}
    about = {"name": peer.name, "how": peer.how, "caller": peer.caller}
    try:
        with peer.enter(folder) as run:
            return {**about, "rows": list(_tried(run))}
    except (UnusableError, OSError) as error:
        return {**about, "reason": str(error)}


def measure() -> dict[str, Any]:
    """Try everything everywhere."""
    controls = runner.control()
    host = [
        {"id": attack.id, "what": attack.what, "reason": controls[attack.id, attack.what]}
        for attack in TRIED
    ]
    with tempfile.TemporaryDirectory(prefix="pycontain-peers-") as folder:
        Path(folder).chmod(0o755)
        return {"host": host, "columns": [_column(peer, Path(folder)) for peer in peers()]}


def write(path: Path) -> None:
    """Measure, and leave the outcome in a file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measure(), indent=1) + "\n")
