# SPDX-License-Identifier: Apache-2.0
"""The security report tells what was run, and says so of what was not."""

from __future__ import annotations

import errno
import signal
from collections import Counter

import pytest

from _catalogue import ENTRIES
from outcomes import Outcome as LaneOutcome
from pycontain.selftest._programs import Call, Outcome
from pycontain.selftest.catalogue import Attack
from security import blocking, comparison, counts, evidence, page
from security.evidence import Lane, State

ROOTS = "tests/adversarial/test_a_roots.py::test_"
FOURTH = next(entry for entry in ENTRIES if entry.id == "A4")


def lane(**fields: object) -> Lane:
    return Lane(name="root", outcome=LaneOutcome(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields, state",
    [
        ({}, State.NOT_RUN),
        ({"ran": {f"{ROOTS}a5_x"}}, State.NOT_RUN),
        ({"ran": {f"{ROOTS}a4_x", f"{ROOTS}a4_y"}}, State.HELD),
        ({"ran": {f"{ROOTS}a4_x", f"{ROOTS}a4_y"}, "failed": {f"{ROOTS}a4_y"}}, State.FAILED),
        ({"failed": {f"{ROOTS}a4_y"}}, State.FAILED),
        ({"skipped": {f"{ROOTS}a4_x": "why"}}, State.SKIPPED),
        ({"ran": {f"{ROOTS}a4_y"}, "skipped": {f"{ROOTS}a4_x": "why"}}, State.HELD),
    ],
)
def test_an_attack_is_held_where_a_test_passed_and_none_failed(
    fields: dict[str, object], state: State
) -> None:
    assert lane(**fields).state(FOURTH) is state


def test_the_outcome_of_a_lane_survives_its_file() -> None:
    before = LaneOutcome(
        counts=Counter(passed=2, failed=1),
        ran={"a", "b"},
        failed={"b"},
        skipped={"c": "no fuse"},
        faults=[{"runs": 3}],
        system="Linux",
        arguments=["-q"],
        seconds=1.5,
    )
    assert LaneOutcome.from_json(before.to_json()) == before
    with pytest.raises(ValueError, match="unexpected"):
        LaneOutcome.from_json('{"counts": {}, "ran": [], "failed": [], "dropped": [], "more": 1}')


def test_what_was_not_run_is_said_so() -> None:
    nothing = [*page.lane_summary({}), *counts.faults([]), *counts.fuzzing(None)]
    text = "\n".join([*nothing, *comparison.blocking(None)])
    assert text.count("Not run (`make") == 3
    assert "| `vm-root` | root, cgroup v2 alone | not run |" in text
    assert "in none of the lanes that were run" in text
    assert "held |" not in text.partition("Failed, or P0")[2]


def test_a_leak_of_a_sweep_is_counted_and_shown() -> None:
    record = {
        "sweep": "kills",
        "scenario": "start",
        "caller": "root",
        "clone": "vm",
        "every": True,
        "runs": 3,
        "points": 3,
        "kinds": {"gone": 2, "left": 1},
        "errnos": {},
        "findings": ["killed at x: left"],
    }
    text = "\n".join(counts.faults([record]))
    assert "silent weakenings: 1 left." in text
    assert "killed at x" in text


def test_fuzzers_are_added_up() -> None:
    rows = [
        {"target": name, "executions": 10, "seconds": 2.0, "crashes": number}
        for number, name in enumerate(("plan", "bpf"))
    ]
    assert "| all | 20 | 4 | 1 |" in list(counts.fuzzing(rows))


def test_every_file_that_the_attacks_name_is_run() -> None:
    files = evidence.test_files()
    assert all((evidence.REPOSITORY / file).exists() for file in files)
    assert "tests/adversarial" in files
    assert len(set(files)) == len(files)


ATTACK = Attack(
    id="D0", what="nothing", programs=((Call("getpid", ()),),), denied=frozenset((errno.EPERM,))
)


@pytest.mark.parametrize(
    "found, cell",
    [
        ([Outcome((-errno.EPERM,), 0, 0)], "blocked"),
        ([Outcome((), signal.SIGSYS, 0)], "blocked"),
        ([Outcome((-errno.EPERM,), 0, 0), Outcome((3,), 0, 0)], "works"),
        ([Outcome((-errno.EINVAL,), 0, 0)], "works"),
        ([Outcome((), signal.SIGALRM, 0)], "not known: SIGALRM"),
    ],
)
def test_a_peer_is_judged_by_what_its_kernel_calls_come_to(found: list[Outcome], cell: str) -> None:
    assert blocking.cell(ATTACK, found) == cell
