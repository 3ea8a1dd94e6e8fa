# SPDX-License-Identifier: Apache-2.0
"""Hosts that refuse something: circumstances that a process is put into, and nobody else sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

DOCTOR = (sys.executable, "-B", "-m", "pycontain", "doctor", "--json")
Report = dict[str, Any]


def in_namespaces(script: str, *options: str) -> list[str]:
    """Return the command that runs another as root of a user namespace, after a script there."""
    unshare = ["unshare", "--user", "--map-root-user", *options]
    return [*unshare, "sh", "-ec", f'{script}\n"$@"', "sh"]


def ask(prefix: Sequence[str] = ()) -> Report:
    """Return what the doctor says in some circumstances, findings by name, and its exit status."""
    done = subprocess.run([*prefix, *DOCTOR], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    report: Report = json.loads(done.stdout)
    report["findings"] = {finding["name"]: finding for finding in report["findings"]}
    report["status"] = done.returncode
    return report
