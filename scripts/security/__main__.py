# SPDX-License-Identifier: Apache-2.0
"""`make security-report`: run what is asked for, then write docs/security-report.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from . import blocking, comparison, counts, evidence, page

REPORT = evidence.REPOSITORY / "docs/security-report.md"
PEERS = "peers.json"


def run_lanes(names: Sequence[str]) -> None:
    """Run the tests of the attacks in some lanes; what fails will be in the report."""
    script = evidence.REPOSITORY / "scripts/lanes.py"
    sweeps = [file for file in evidence.test_files() if file.startswith("tests/faults")]
    others = [file for file in evidence.test_files() if file not in sweeps]
    for chosen, files in (
        ([name for name in names if name != "faults"], others),
        ([name for name in names if name == "faults"], sweeps),
    ):
        if chosen:
            command = [sys.executable, str(script), "--keep", *chosen, "--", *files]
            subprocess.run(command, check=False)


def write() -> None:
    """Write the report from what there is in build/."""
    found = evidence.lanes()
    sweeps = found["faults"].outcome.faults if "faults" in found else []
    parts = (
        page.opening(),
        page.lane_summary(found),
        counts.faults(sweeps),
        counts.fuzzing(evidence.loaded("fuzz.json")),
        comparison.blocking(evidence.loaded(PEERS)),
        page.attacks(found),
    )
    lines = [line for part in parts for line in part]
    REPORT.write_text("\n".join(lines).rstrip() + "\n")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="security-report", description=__doc__)
    parser.add_argument("lanes", nargs="*", metavar="LANE", help="run these first")
    parser.add_argument("--peers", action="store_true", help="try the peers again")
    options = parser.parse_args()
    begun = time.monotonic()
    if options.lanes:
        run_lanes(options.lanes)
    if options.peers:
        blocking.write(evidence.BUILD / PEERS)
    write()
    print(
        f"{REPORT.relative_to(evidence.REPOSITORY)}: written after {time.monotonic() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
