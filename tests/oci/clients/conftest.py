# SPDX-License-Identifier: Apache-2.0
"""Engines with our runtime.

PYCONTAIN_CLIENTS_CONTROL=1 runs each test with runc first: what fails with runc too is skipped with
its reason, and says nothing about ours.
"""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from _cage import cage
from _engines import CONTROL, OURS, Engine, settles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

WITH_CONTROL = os.environ.get("PYCONTAIN_CLIENTS_CONTROL") == "1"
FAILED = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FAILED] = set()


def _script(item: pytest.Item, runtime: str) -> str:
    return item.nodeid.replace(runtime, "RUNTIME")


@pytest.hookimpl(wrapper=True, trylast=True)  # before the rule that a skip may be a failure
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and CONTROL in item.nodeid:
        item.config.stash[FAILED].add(_script(item, CONTROL))
        report.outcome = "skipped"
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = f"it fails with {CONTROL}: {crash.message if crash else report.longrepr}"
        report.longrepr = (item.nodeid, 0, f"Skipped: {reason}")
    return report


@pytest.fixture(scope="session")
def archive(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of a root file system: busybox."""
    path = tmp_path_factory.mktemp("archive") / "rootfs.tar"
    owner = ("--owner=0", "--group=0", "--numeric-owner")
    subprocess.run(["tar", "-C", rootfs, *owner, "-cf", path, "."], check=True)
    return path


@pytest.fixture(params=(CONTROL, OURS) if WITH_CONTROL else (OURS,))
def runtime(request: pytest.FixtureRequest) -> str:
    """Return the name of a runtime; ours is tried where the other one works."""
    name: str = request.param
    if name == OURS and _script(request.node, OURS) in request.config.stash[FAILED]:
        pytest.skip(f"it fails with {CONTROL} too")
    return name


@pytest.fixture(scope="session")
def launch(
    request: pytest.FixtureRequest, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Engine]]:
    """Return what gives the engine of the module's choice, running in a cage, with a runtime."""
    kind: type[Engine] = request.param
    with cage(tmp_path_factory.mktemp(kind.program)) as made:
        kind.prepare(made, archive)
        yield functools.partial(kind, made)


@pytest.fixture
def engine(launch: Callable[[str], Engine], runtime: str) -> Iterator[Engine]:
    """Return an engine with one of the runtimes; it may leave nothing of its containers."""
    made = launch(runtime)
    before = made.left()
    yield made
    made.clear()
    if not settles(lambda: made.left() == before):
        pytest.fail(f"left behind: {sorted(set(made.left()) - set(before))}", pytrace=False)
