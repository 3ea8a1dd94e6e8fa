# SPDX-License-Identifier: Apache-2.0
"""Each workload is measured once, all runners in turns; each test then states one runner's part."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import workloads
from benchmarks.measure import CLOCK, RunnerFailedError, Samples, Worker, isolation
from benchmarks.runners import FLOOR, RUNNERS
from benchmarks.site import make_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.site import Site

ABSENT = pytest.StashKey[dict[str, str]]()
REMARKS = pytest.StashKey[dict[str, Any]]()
ASKED = {FLOOR: "the calls that pycontain makes, in C"} | {
    name: runner.asked for name, runner in RUNNERS.items()
}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ABSENT] = {}
    config.stash[REMARKS] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=CLOCK.now))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Programs, root directory and cgroups of this session."""
    if os.geteuid():
        pytest.skip("the competitors need root for the same isolation")
    with make_site(Path(tempfile.mkdtemp(prefix="pycontain-bench-"))) as made:
        yield made


@pytest.fixture(scope="session")
def isolations(site: Site, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What the probe sees in each runner that works; the others get a reason in ABSENT."""
    absent = request.config.stash[ABSENT]
    found = {}
    for name in _selected(request.session, "runner"):
        reason = None if name == FLOOR else RUNNERS[name].missing()
        if reason:
            absent[name] = reason
            continue
        worker = Worker(name, site)
        try:
            found[name] = isolation(worker.ask("probe")["output"]) | {"asked": ASKED[name]}
        except RunnerFailedError as error:
            absent[name] = f"does not work here: {error}"
        finally:
            worker.close()
    request.config.stash[REMARKS] |= {
        "versions": {name: RUNNERS[name].version() for name in found if name != FLOOR},
        "cgroups": site.remark or [group.parent for group in site.groups],
    }
    return found


def _selected(session: pytest.Session, parameter: str) -> list[str]:
    """Return the values of a parameter among the tests that will run."""
    values = [
        item.callspec.params[parameter]
        for item in session.items
        if hasattr(item, "callspec") and parameter in item.callspec.params
    ]
    return list(dict.fromkeys(values))


@pytest.fixture(scope="session")
def measured(
    site: Site, isolations: dict[str, dict[str, Any]]
) -> Callable[[str], dict[str, Samples]]:
    """Return a function that measures a workload the first time it is asked for."""
    results: dict[str, dict[str, Samples]] = {}

    def measure(workload: str) -> dict[str, Samples]:
        if workload not in results:
            results[workload] = workloads.WORKLOADS[workload](site, tuple(isolations))
        return results[workload]

    return measure


def fail(reason: str) -> None:
    """Fail as the benchmarked function."""
    raise RunnerFailedError(reason)


@pytest.fixture
def state(
    benchmark: BenchmarkFixture,
    measured: Callable[[str], dict[str, Samples]],
    isolations: dict[str, dict[str, Any]],
    request: pytest.FixtureRequest,
) -> Callable[..., None]:
    """Return a function that states what one runner took in a workload."""

    def replay(workload: str, runner: str, case: str | None = None) -> None:
        absent = request.config.stash[ABSENT]
        key = f"{workload}/{case or runner}"
        if runner in absent:
            pytest.skip(absent[runner])
        samples = measured(workload)[case or runner]
        if samples.failure:
            absent[key] = samples.failure
            if runner in {"pycontain", "pycontain_image", FLOOR}:
                benchmark.pedantic(fail, args=(samples.failure,))  # type: ignore[no-untyped-call]
            pytest.skip(samples.failure)
        benchmark.group = workload
        benchmark.extra_info |= {
            "workload": workload,
            "runner": runner,
            "isolation": isolations.get(runner, {}),
            "correct": True,  # a run that failed or printed anything else would be a failure
            **samples.extra,
        }
        seconds = samples.seconds[::-1]
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            CLOCK.advance, args=(seconds,), rounds=len(seconds)
        )

    return replay


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: object, output_json: dict[str, Any]
) -> None:
    output_json["absent"] = config.stash[ABSENT]
    output_json["remarks"] = config.stash[REMARKS] | {"kernel": platform.release()}
