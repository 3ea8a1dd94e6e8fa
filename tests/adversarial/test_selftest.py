# SPDX-License-Identifier: Apache-2.0
"""`python -m pycontain.selftest`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys


def selftest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pycontain.selftest", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_table_ends_with_the_sums_and_the_exit_status_is_0() -> None:
    done = selftest("--profile", "default", "--profile", "nested")
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()
    assert "default:1000" in rows[0]
    assert "nested:1000" in rows[0]
    assert any(row.startswith("A8 ") and "held" in row for row in rows)
    assert any(row.startswith("C7 ") and " - " in row for row in rows)
    assert " 0 broken, " in rows[-1]
    assert "seccomp" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_has_a_row_for_each_entry() -> None:
    done = selftest("--json", "--profile", "judge")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    first = told["sandboxes"][0]
    assert first["profile"] == "judge"
    assert first["enforcement"]["seccomp"].startswith("filter")
    assert {row["result"] for row in first["rows"]} <= {"held", "granted"}
    sockets = next(row for row in first["rows"] if row["what"] == "socket(AF_VSOCK)")
    assert sockets["seen"] == "EAFNOSUPPORT"
    assert {"test", "what", "result", "seen", "control"} == set(sockets)


def test_an_unknown_profile_is_a_usage_error() -> None:
    done = selftest("--profile", "none")
    assert done.returncode == 2
    assert "judge" in done.stderr
