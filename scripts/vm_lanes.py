# SPDX-License-Identifier: Apache-2.0
"""Run lanes in machines, one each, and as many at once as there are processors."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from machine import boot
from machine.boot import Machine
from machine.shell import UnavailableError
from outcomes import Outcome, impossible

LANES_PY = Path(__file__).resolve().parent / "lanes.py"
# Says inside a machine where the outcomes go; there, lanes run as they do anywhere.
REPORT = "PYCONTAIN_MACHINE_REPORT"
TIMEOUT_S = 25 * 60
POLL_S = 0.2
CONSOLE_LINES = 40


def run(
    lanes: Mapping[str, str], kernel: str, pytest_arguments: Sequence[str]
) -> dict[str, Outcome]:
    """Run lanes, given with the kind of machine each; return what came of them."""
    outcomes: dict[str, Outcome] = {}
    try:
        with boot.equip(kernel) as equipment, ExitStack() as plugs:
            waiting, running = deque(lanes.items()), list[_Job]()
            while waiting or running:
                if waiting and len(running) < (os.cpu_count() or 1):
                    running.append(_Job(equipment, *waiting.popleft(), pytest_arguments))
                    plugs.callback(running[-1].machine.stop)
                for job in [job for job in running if job.over()]:
                    running.remove(job)
                    outcomes[job.name] = job.finish()
                time.sleep(POLL_S)
    except UnavailableError as error:
        reason = f"no machine: {error}"
        return {name: outcomes.get(name) or impossible(reason) for name in lanes}
    return outcomes


class _Job:
    """A machine that runs a lane."""

    def __init__(
        self, equipment: boot.Equipment, name: str, kind: str, pytest_arguments: Sequence[str]
    ) -> None:
        release = equipment.kernel.version
        print(f"\n=== lane {name}: Linux {release}, a {kind} machine boots", flush=True)
        self.name = name
        self._started = time.monotonic()
        command = [sys.executable, str(LANES_PY), name, "--", *pytest_arguments]
        env = {"PATH": os.defpath, "HOME": "/root", "LANG": "C.UTF-8", REPORT: "/run/vm/port2"}
        env |= {key: os.environ[key] for key in ("PYCONTAIN_MUST_WORK",) if key in os.environ}
        self.machine = Machine(equipment, kind, command, env)

    def over(self) -> bool:
        """Tell whether the machine is off, or has been on for too long."""
        return self.machine.off() or self._late()

    def _late(self) -> bool:
        return time.monotonic() - self._started > TIMEOUT_S

    def finish(self) -> Outcome:
        """Switch the machine off, show what it said; return what came of the lane."""
        late = not self.machine.off()
        self.machine.stop()
        print(self.machine.said("output"), flush=True)
        try:
            outcome = Outcome.from_json(self.machine.said("report"))
        except (ValueError, KeyError):
            outcome = Outcome()
            outcome.fail(f"killed after {TIMEOUT_S} s" if late else "ended without a report")
            console = self.machine.said("console").splitlines()[-CONSOLE_LINES:]
            print("=== the end of its console", *console, sep="\n", flush=True)
        outcome.seconds = time.monotonic() - self._started
        return outcome
