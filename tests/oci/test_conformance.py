# SPDX-License-Identifier: Apache-2.0
"""The checks of docs/conformance.md, with our runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.box import Runtime, box, build_probe
from conformance.check import Check, perform
from conformance.checks import CHECKS
from conformance.host import lacks

pytestmark = pytest.mark.requires("root", "busybox", "gcc")
OURS = Path(sys.executable).with_name("pycontain-runtime")


@pytest.fixture(scope="session")
def conformance_probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that tells what busybox cannot."""
    return build_probe(tmp_path_factory.mktemp("probe"))


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
