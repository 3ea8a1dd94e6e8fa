# SPDX-License-Identifier: Apache-2.0
"""The checks of docs/conformance.md, with our runtime."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import conformance
from conformance.box import Runtime, box
from conformance.check import Check, perform
from conformance.checks import CHECKS
from conformance.host import lacks

pytestmark = pytest.mark.requires("root", "busybox", "gcc")
OURS = Path(sys.executable).with_name("pycontain-runtime")


@pytest.fixture(scope="session")
def conformance_probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that tells what busybox cannot."""
    program = tmp_path_factory.mktemp("probe") / "probe"
    source = Path(str(conformance.__file__)).with_name("probe.c")
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-O2", "-static", source, "-o", program], check=True)
    return program


def _possible(check: Check) -> bool:
    return not any(map(lacks, check.needs))


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{check.area}: {check.name}")
        for check in CHECKS
        if _possible(check)  # the page says what was not tried, and why
    ],
)
def test_conformance(check: Check, tmp_path: Path, conformance_probe: Path) -> None:
    tmp_path.chmod(0o755)
    runtime = Runtime(name="pycontain-runtime", command=(str(OURS),))
    with box(runtime, tmp_path, conformance_probe) as made:
        assert perform(check, made) == ""
