# SPDX-License-Identifier: Apache-2.0
"""OCI runtimes: each command as a process, and podman over each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.runners import PODMAN
from benchmarks.runners.oci import STEPS
from benchmarks.workloads import OCI_RUNNERS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("step", ["run", *STEPS])
@pytest.mark.parametrize("runner", OCI_RUNNERS)
def test_step(state: Callable[..., None], runner: str, step: str) -> None:
    state(f"oci_{step}", runner)


@pytest.mark.parametrize("runner", PODMAN)
def test_podman(state: Callable[..., None], runner: str) -> None:
    state("podman", runner)
