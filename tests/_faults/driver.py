# SPDX-License-Identifier: Apache-2.0
"""PID 1 of a sweep's namespaces: reads a job from stdin, prints what is wrong. See conftest.py.

A job is {"sweep", "scenario", "rootfs", "probe", "every"}; a report is {"runs", "kinds",
"findings"}.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pycontain

from . import victim
from .page import DIE, FAIL, PAUSE, Call, Page, Rule
from .python import PythonFaults
from .scenarios import SCENARIOS, Options
from .squeezes import squeezes
from .tables import (
    ERRNOS,
    MAY_END,
    NEVER_FAILS,
    OPTIONAL,
    OPTIONAL_IN,
    OPTIONAL_WITH,
    PYTHON_ERRNOS,
    PYTHON_NEVER_FAILS,
    PYTHON_OPTIONAL,
    matches,
)
from .victim import Verdict

FEW_PAIRS = 20
FINE = frozenset({"error", "success", "missed", "declared"})


class CoreFaults(victim.Faults):
    """Faults in the C core, by rules."""

    def __init__(self, page: Page, *rules: Rule) -> None:
        self._page = page
        self._rules = rules

    def arm(self) -> None:
        """Begin."""
        self._page.arm(*self._rules)

    def disarm(self) -> None:
        """End."""
        self._page.disarm()


def chosen(calls: list[Call], *, every: bool) -> list[Call]:
    """Return the calls to fail: all, or the first and the last one of each site."""
    sizes = Counter(call.site for call in calls)
    seen: Counter[str] = Counter()
    found = []
    for call in calls:
        seen[call.site] += 1
        if every or seen[call.site] in (1, sizes[call.site]):
            found.append(call)
    return found


class Sweep:
    """One scenario, with one fault after the other."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._every: bool = job["every"]
        self._seed: int = job.get("seed", 0)
        self._times: int = job.get("times", 0)
        self._scenario = SCENARIOS[job["scenario"]]
        self._optional_here = OPTIONAL_IN.get(job["scenario"], {})
        mounts = (pycontain.Bind(job["probe"], "/probe"),)
        self._options: Options = {"rootfs": job["rootfs"], "mounts": mounts}
        pycontain.run(["true"], **self._options)
        victim.prepare()
        self._page = Page()
        self.runs = 0
        self.kinds: Counter[str] = Counter()
        self.errnos: Counter[str] = Counter()
        self.findings: list[str] = []
        self._baseline = self._run()
        if self._baseline.kind != "success":
            raise SystemExit(f"without faults: {self._baseline._replace(facts='')}")
        self._calls = self._page.calls()

    @property
    def points(self) -> int:
        """How many system calls of the core the scenario makes that can fail."""
        return sum(call.site not in NEVER_FAILS for call in self._calls)

    def _run(self, *rules: Rule) -> Verdict:
        return victim.run(self._scenario, self._options, CoreFaults(self._page, *rules))

    def _judge(self, verdict: Verdict, errs: set[int]) -> tuple[str, str]:
        """Return the kind of a verdict, with what a process inside saw taken into account."""
        hits = [call for call in self._page.calls() if call.hit]
        if any(call.site in NEVER_FAILS for call in hits):  # another call than at the first time
            return "missed", ""
        # What ends in the middle of its output has not said all of itself.
        ends = any(call.site in MAY_END for call in hits)
        if ends and verdict.kind in {"ended", "success"}:
            return "error", ""
        if verdict.kind != "success":
            return verdict.kind, verdict.text
        if worse := self._compare(verdict.facts):
            return worse
        if not hits:
            return "missed", ""
        fine = all(self._optional(call, errs) for call in hits)
        return ("success" if fine else "silent"), ""

    def _compare(self, facts: str) -> tuple[str, str] | None:
        """Return how a sandbox differs from the one without faults; None if it does not."""
        (expected, declared), (found, now_declared) = (
            text.partition("\nenforcement ")[::2] for text in (self._baseline.facts, facts)
        )
        if declared != now_declared:
            return "declared", ""
        if changed := sorted(set(expected.splitlines()) ^ set(found.splitlines())):
            return "weak", f"{changed}"
        return None

    def _optional(self, call: Call, errs: set[int]) -> bool:
        return (
            call.site in OPTIONAL
            or call.site in self._optional_here
            or any((call.site, err) in OPTIONAL_WITH for err in errs)
        )

    def _note(self, rules: tuple[Rule, ...], fine: frozenset[str] = FINE) -> None:
        verdict = self._run(*rules)
        self.runs += 1
        self.errnos.update(errno.errorcode[rule.err] for rule in rules if rule.err)
        kind, text = self._judge(verdict, {rule.err for rule in rules})
        hits = [f"{call.site}#{call.n}" for call in self._page.calls() if call.hit]
        self.kinds[kind] += 1
        if kind not in fine:
            self.findings.append(f"{kind}: {hits} {' '.join(map(str, rules))}: {text}")

    def _points(self) -> Iterator[Call]:
        for call in chosen(self._calls, every=self._every):
            if call.site not in NEVER_FAILS:
                yield call

    def errors(self) -> None:
        """Each call fails once, with each errno or, if there is little time, with one."""
        for i, call in enumerate(self._points()):
            for err in ERRNOS if self._every else (ERRNOS[i % len(ERRNOS)],):
                self._note((Rule(call.role, call.n, FAIL, err),))

    def deaths(self) -> None:
        """A process of ours inside is killed at each of its calls."""
        for call in self._points():
            if call.role != "parent":
                # The end of PID 1 is the sandbox's; what was optional may be missed by nobody.
                fine = FINE | {"silent"} | ({"ended"} if call.role == "init" else set())
                self._note((Rule(call.role, call.n, DIE),), fine)

    def pairs(self) -> None:
        """Another call fails soon after the first, as a rule in what cleans up after it."""
        points, chance = list(self._points()), random.Random(self._seed)
        for _ in range(len(points) if self._every else FEW_PAIRS):
            first = chance.choice(points)
            role = chance.choice(("parent", first.role))
            start = first.n + 1 if role == first.role else self._parent_calls_before(first)
            second = start + chance.randrange(6)
            err, other = chance.choice(ERRNOS), chance.choice(ERRNOS)
            self._note((Rule(first.role, first.n, FAIL, err), Rule(role, second, FAIL, other)))

    def _parent_calls_before(self, call: Call) -> int:
        return sum(other.role == "parent" for other in self._calls[: self._calls.index(call)])

    def python(self) -> None:
        """Each system call that the package makes from Python fails once."""
        sites = victim.run(self._scenario, self._options, PythonFaults()).sites
        for n in range(len(sites)):
            if matches(sites[n], PYTHON_NEVER_FAILS):
                continue
            for err in PYTHON_ERRNOS if self._every else (PYTHON_ERRNOS[n % len(PYTHON_ERRNOS)],):
                verdict = victim.run(self._scenario, self._options, PythonFaults(n, err))
                self._note_python(verdict, verdict.sites[n : n + 1], errno.errorcode[err])

    def _note_python(self, verdict: Verdict, sites: Sequence[str], err: str) -> None:
        kind, text = verdict.kind, verdict.text
        if not sites or matches(sites[0], PYTHON_NEVER_FAILS):
            kind = "missed"
        elif kind in ("success", "weak") and matches(sites[0], PYTHON_OPTIONAL):
            kind = "success"
        elif kind == "success":
            kind, text = self._compare(verdict.facts) or ("silent", "")
        self.runs += 1
        self.errnos[err] += 1
        self.kinds[kind] += 1
        if kind not in FINE:
            self.findings.append(f"{kind}: {sites} {err}: {text}")

    def squeezes(self) -> None:
        """The caller is short of something; it works again when there is enough."""
        for squeeze in squeezes():
            verdict = victim.run(self._scenario, self._options, squeeze)
            kind, text = verdict.kind, verdict.text
            if kind == "success":
                kind, text = self._compare(verdict.facts) or (kind, "")
            self.runs += 1
            self.kinds[kind] += 1
            if kind not in FINE:
                self.findings.append(f"{kind}: {squeeze}: {text}")

    def kills(self) -> None:
        """The caller is killed at each call, its own and those of its sandbox."""
        for call in chosen(self._calls, every=self._every):
            faults = CoreFaults(self._page, Rule(call.role, call.n, PAUSE))
            self._kill(faults, lambda: self._page.paused, f"at {call.site}#{call.n}")

    def random_kills(self) -> None:
        """The caller is killed at a random instant."""
        chance = random.Random(self._seed)
        for _ in range(self._times):
            delay = chance.uniform(0, 0.05)
            self._kill(victim.Faults(), _after(delay), f"after {delay:.6f} s")

    def _kill(self, faults: victim.Faults, moment: Callable[[], bool], text: str) -> None:
        left = victim.run_killed(self._scenario, self._options, faults, moment)
        self.runs += 1
        self.kinds["left" if left else "gone"] += 1
        if left:
            self.findings.append(f"killed {text}: {left}")


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def main() -> None:
    """Run the job."""
    job = json.load(sys.stdin)
    if os.geteuid() == 0:  # state files of our own
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"):
            raise OSError(ctypes.get_errno(), "mount")
    sweep = Sweep(job)
    getattr(sweep, job["sweep"])()
    report = {
        "runs": sweep.runs,
        "points": sweep.points,
        "kinds": sweep.kinds,
        "errnos": sweep.errnos,
        "findings": sweep.findings,
    }
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main()
