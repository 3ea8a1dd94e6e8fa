#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the tests of a project that is not trusted, and fetch the report."""

import sys
import tempfile
from pathlib import Path

import pycontain

TESTS = """
import os, pytest

def test_arithmetic():
    assert 6 * 7 == 42

def test_wrong():
    assert 1 + 1 == 3

def test_reads_your_secrets():
    assert not os.path.exists(os.path.expanduser("~/.ssh"))
"""


def main() -> int:
    """Run pytest on a directory of the host, which is shown read-only."""
    with tempfile.TemporaryDirectory() as project:
        Path(project, "test_project.py").write_text(TESTS)
        with pycontain.Sandbox(mounts=[pycontain.Bind(project, "/project")], cwd="/project") as box:
            command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
            command += ["--junit-xml=/tmp/report.xml"]
            result = box.run(command, env={"PYTHONDONTWRITEBYTECODE": "1"}, text=True, timeout=60)
            # 1: tests failed; everything else above 0: pytest did not get that far.
            if result.returncode > 1:
                print(result.stdout + result.stderr)
                return 1
            box.files.get("/tmp/report.xml", Path(project, "report.xml"))

        print(*(row for row in result.stdout.splitlines() if "test_project.py::" in row), sep="\n")
        size = Path(project, "report.xml").stat().st_size
        print(f"{result.reason}; the report has {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
