# SPDX-License-Identifier: Apache-2.0
"""Fixtures and rules of the whole suite.

Environment, set by scripts/lanes.py: PYCONTAIN_MUST_WORK=1 makes every skip a failure;
PYCONTAIN_ABSENT names features that the lane lacks on purpose, whose tests are deselected;
PYCONTAIN_LANE_REPORT is the file for the outcome.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest

import _features
import _leaks
import pycontain

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MUST_WORK = os.environ.get("PYCONTAIN_MUST_WORK") == "1"
ABSENT = frozenset(filter(None, os.environ.get("PYCONTAIN_ABSENT", "").split(",")))
REPORT = os.environ.get("PYCONTAIN_LANE_REPORT")

# The machine may be busy, and nothing may be written beside the tests.
hypothesis.settings.register_profile(
    "pycontain", deadline=None, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile("pycontain")


def _required(item: pytest.Item) -> list[str]:
    names = [name for mark in item.iter_markers("requires") for name in mark.args]
    unknown = sorted(set(names) - set(_features.PROBES))
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: unknown feature {', '.join(unknown)}")
    return names


def pytest_configure(config: pytest.Config) -> None:
    config.stash[DROPPED] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        lacking = [name for name in _required(item) if _features.missing(name)]
        (dropped if ABSENT.intersection(lacking) else kept).append(item)
    items[:] = kept
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    config.stash[DROPPED] = [item.nodeid for item in dropped]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _required(item):
        if reason := _features.missing(name):
            pytest.skip(f"{name}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _must_work(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _must_work(report)


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _must_work(report: Report) -> Report:
    if MUST_WORK and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but PYCONTAIN_MUST_WORK=1: {report.longrepr}"
    return report


DROPPED = pytest.StashKey[list[str]]()
OUTCOMES = {
    "passed": "passed",
    "failed": "failed",
    "error": "failed",
    "skipped": "skipped",
    "xfailed": "skipped",
}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not REPORT:
        return
    by_category = {category: terminalreporter.stats.get(category, []) for category in OUTCOMES}
    counts: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    for category, outcome in OUTCOMES.items():
        counts[outcome] += len(by_category[category])
    failed = {report.nodeid for name in ("failed", "error") for report in by_category[name]}
    ran = {report.nodeid for name in ("passed", "failed") for report in by_category[name]}
    told = {
        "counts": counts,
        "ran": sorted(ran),
        "failed": sorted(failed),
        "dropped": config.stash[DROPPED],
        "skipped": {report.nodeid: _reason(report) for report in by_category["skipped"]},
        "faults": [
            value
            for report in by_category["passed"] + by_category["failed"]
            for name, value in report.user_properties
            if name == "faults"
        ],
        "system": _system(),
    }
    Path(REPORT).write_text(json.dumps(told))


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr
    return str(told[2] if isinstance(told, tuple) else told).removeprefix("Skipped: ")


def _system() -> str:
    name = platform.freedesktop_os_release().get("PRETTY_NAME", "an unnamed distribution")
    return f"Linux {os.uname().release}, {name}, Python {platform.python_version()}"


@pytest.fixture(scope="session", autouse=True)
def scope() -> None:
    """Ask systemd for this process's scope first: its keeper stays, and is no test's leak."""
    if not _features.missing("systemd") or not _features.missing("systemd_user"):
        pycontain.run(["true"], memory="64M", accept_missing=("memory",))


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves descriptors, processes, mounts, cgroups, threads or changed state."""
    marks = request.node.iter_markers("leaves")
    excused = frozenset(kind for mark in marks for kind in mark.args)
    before = _leaks.take()
    yield
    if left := _leaks.settle(before, excused):
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small root directory: busybox with links for its programs. Read only, please."""
    if reason := _features.missing("busybox"):
        pytest.skip(reason)
    busybox = shutil.which("busybox")
    assert busybox is not None
    root = tmp_path_factory.mktemp("rootfs")
    root.chmod(0o755)
    for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var"):
        (root / name).mkdir(mode=0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    listing = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        "user:x:1000:1000::/home:/bin/sh\n"
        "nobody:x:65534:65534::/:/bin/false\n"
    )
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n")
    return root
