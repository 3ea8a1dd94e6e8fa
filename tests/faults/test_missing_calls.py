# SPDX-License-Identifier: Apache-2.0
"""A system call is missing: the sandbox is as ever, says what it lacks, or refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.requires("root", "faults"), pytest.mark.slow]

TOOLS = Path(__file__).parents[1] / "tools"
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[3])
import pycontain
from _faults.scenarios import SCENARIOS, LostError
options = {"rootfs": sys.argv[1], "mounts": (pycontain.Bind(sys.argv[2], "/probe"),)}
found = {}
for name in ("one-shot", "command", "pty", "kill", "files"):
    steps = SCENARIOS[name](options)
    try:
        next(steps)
        found[name] = next(steps)
    except (pycontain.PycontainError, LostError) as error:
        found[name] = {"error": f"{error} {error.__context__}"}
    finally:
        steps.close()
print(json.dumps(found))
"""
# With a fallback: everything works, and what differs is in `enforcement`.
FALLBACKS = (
    *("clone3", "openat2", "open_tree", "fsopen", "fsconfig", "fsmount"),
    *("mount_setattr", "close_range", "pidfd_open", "pidfd_getfd", "faccessat2", "keyctl"),
    *("landlock_create_ruleset", "pidfd_send_signal"),
)
# Without one: refused, and nothing runs.
NEEDED = (
    *("seccomp", "execveat", "memfd_create", "pivot_root", "signalfd4", "setns", "unshare"),
    *("prlimit64", "statx"),
    "move_mount",  # which every kernel has that has open_tree
)

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run_without(rootfs: Path, state_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what runs the scenarios without some system calls and returns what they found."""
    program = tmp_path_factory.mktemp("nosys") / "nosys"
    subprocess.run(["cc", "-O2", "-o", program, TOOLS / "nosys.c"], check=True)

    def run(*names: str) -> dict[str, Any]:
        prefix = [str(program), ",".join(names)] if names else []
        script = [sys.executable, "-c", SCRIPT, str(rootfs), str(state_program)]
        done = subprocess.run(
            [*prefix, *script, str(TOOLS.parent)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture(scope="module")
def with_all(run_without: Run) -> dict[str, Any]:
    """Return what the scenarios find where nothing is missing."""
    found = run_without()
    assert all(isinstance(facts, str) for facts in found.values())
    return found


def declares_the_same(one: str, other: str) -> bool:
    """Whether both have the same controls in force."""
    return one.partition("\nenforcement ")[2] == other.partition("\nenforcement ")[2]


def lines(facts: str) -> set[str]:
    """Return the facts that are the same with the old mount calls and the new ones."""
    kept = facts.partition("\nenforcement ")[0].splitlines()
    return {line for line in kept if not line.startswith(("mount ", "status Seccomp_filters"))}


@pytest.mark.parametrize("name", FALLBACKS)
def test_a_call_with_a_fallback_is_not_missed(
    name: str, run_without: Run, with_all: dict[str, Any]
) -> None:
    found = run_without(name)
    for scenario, expected in with_all.items():
        assert isinstance(found[scenario], str), found[scenario]
        if declares_the_same(expected, found[scenario]):
            assert lines(found[scenario]) == lines(expected)


@pytest.mark.parametrize("name", NEEDED)
def test_a_call_without_a_fallback_is_refused(
    name: str, run_without: Run, with_all: dict[str, Any]
) -> None:
    found = run_without(name)
    for scenario, facts in found.items():
        if isinstance(facts, str):
            assert lines(facts) == lines(with_all[scenario])
        else:
            assert " failed" in facts["error"]
    assert any(isinstance(facts, dict) for facts in found.values())
