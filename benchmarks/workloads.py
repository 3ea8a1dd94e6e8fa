# SPDX-License-Identifier: Apache-2.0
"""The workloads: each measures all runners in one go and returns samples by runner or case."""

from __future__ import annotations

import contextlib
import functools
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import committing, filters, pulling
from benchmarks.measure import (
    RunnerFailedError,
    Samples,
    Worker,
    interleave,
    workers,
)
from benchmarks.runners import FLOOR, PODMAN
from benchmarks.runners.images import IMAGE_RUNNERS
from benchmarks.runners.oci import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.site import Site

TURNS = 40
GAP_TURNS = 60
PODMAN_TURNS = 15
GAP_MS = 30
HEAPS_MB = (20, 2048)
HEAP_TURNS = 25
THREADS = (1, 2, 8, 64)
THREAD_TURNS = 2
LIMITS = {"no limits": 0, "memory and pids": 1}
LIMIT_THREADS = (1, 8, 64)
LIMIT_TURNS = 40
SANDBOXES = 200
IMPORT_TURNS = 40
FILTER_TURNS = 60
FILTER_CALLS = 10000
FILTERS = (filters.NONE, filters.OURS, "libseccomp", "libseccomp, as a tree")
# Started as programs, their cost cannot depend on the caller's heap: one stands for all.
HEAP_RUNNERS = (
    FLOOR,
    "pycontain",
    "subprocess",
    "ctypes_pure",
    "benchexec",
    "sandlock",
    "bubblewrap",
)
# Only these run what they start in a living sandbox, or on the host.
LIVING_RUNNERS = (FLOOR, "pycontain", "subprocess", "ctypes_pure", "unshare", "crun", "runc")
THREAD_RUNNERS = (
    *(FLOOR, "pycontain", "subprocess", "ctypes_pure", "unshare", "bubblewrap", "crun"),
    *("runc", "sandlock", "benchexec"),
)
# The same root: as a directory, and as an image that is in the store.
IMAGE_STARTS = ("pycontain", *IMAGE_RUNNERS, "bubblewrap")
HOLD_RUNNERS = tuple(name for name in THREAD_RUNNERS if name != "benchexec")
OCI_RUNNERS = ("pycontain-runtime", "crun", "runc")
IMPORTS = {
    "bare": "pass",
    "cffi": "import _cffi_backend",
    "pycontain": "import pycontain",
    "subprocess": "import subprocess",
    "sandlock": "import sandlock",
    "benchexec": "import benchexec.runexecutor",
}


def one_each(
    site: Site, names: Iterable[str], command: str, turns: int, gap_ms: int = 0
) -> dict[str, Samples]:
    """Measure one command with a worker for each runner."""
    chosen = dict.fromkeys(names, 0)
    with workers(chosen, {name: name for name in chosen}, site) as started:
        return interleave(started, command, turns, gap_ms)


def oneshot(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Run `true` in a fresh sandbox, again and again."""
    return one_each(site, names, "oneshot", TURNS)


def oneshot_idle(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Run `true` in a fresh sandbox after GAP_MS of idleness, when the kernel's paths are cold."""
    return one_each(site, names, "oneshot", GAP_TURNS, GAP_MS)


def living(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Run `true` in a sandbox that lives."""
    chosen = [name for name in names if name in LIVING_RUNNERS]
    return one_each(site, chosen, "living", TURNS)


def oneshot_bare(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """As oneshot, but the program costs next to nothing itself."""
    return one_each(site, names, "oneshot_bare", TURNS)


def living_bare(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """As living, but the program costs next to nothing itself."""
    chosen = [name for name in names if name in LIVING_RUNNERS]
    return one_each(site, chosen, "living_bare", TURNS)


def oci_run(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """`run` of `true`, as a whole process."""
    return one_each(site, [name for name in names if name in OCI_RUNNERS], "oneshot", TURNS)


def oci_step(site: Site, names: tuple[str, ...], step: str) -> dict[str, Samples]:
    """One of the commands of an OCI runtime, each a whole process, in a container's life."""
    chosen = [name for name in names if name in OCI_RUNNERS]
    return one_each(site, chosen, step, TURNS, GAP_MS)


def podman(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """`podman run` of `true` with each runtime."""
    return one_each(site, [name for name in names if name in PODMAN], "oneshot", PODMAN_TURNS)


def oneshot_image(site: Site, _names: tuple[str, ...]) -> dict[str, Samples]:
    """As oneshot, of a root that is an image."""
    return one_each(site, IMAGE_STARTS, "oneshot", TURNS)


def heap(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Run `true` from a parent with a small and a large heap; cases are `RUNNER-MB`."""
    results: dict[str, Samples] = {}
    for name in names:
        if name not in HEAP_RUNNERS:
            continue
        heaps = {f"{name}-{megabytes}MB": megabytes for megabytes in HEAPS_MB}
        with workers(heaps, dict.fromkeys(heaps, name), site) as started:
            cases = interleave(started, "oneshot", HEAP_TURNS)
        for case, megabytes in heaps.items():
            cases[case].extra["heap_mb"] = megabytes
        results |= cases
    return results


def threads(site: Site, names: tuple[str, ...], number: int) -> dict[str, Samples]:
    """Run `true` in fresh sandboxes from many threads of one process at once."""
    chosen = [name for name in names if name in THREAD_RUNNERS]
    per_thread = max(2, 32 // number)
    results = {name: Samples() for name in chosen}
    walls = dict.fromkeys(chosen, 0.0)
    order = random.Random(number)
    for _ in range(THREAD_TURNS):
        order.shuffle(chosen)
        for name in chosen:
            samples = results[name]
            if samples.failure:
                continue
            worker = Worker(name, site)
            try:
                worker.ask("oneshot", 1)
                answer = worker.ask("threads", number, per_thread)
                samples.seconds += answer["seconds"]
                walls[name] += answer["wall"]
                samples.extra["per_second"] = len(samples.seconds) / walls[name]
                samples.extra["threads"] = number
            except RunnerFailedError as error:
                samples.failure = str(error)
            finally:
                worker.close()
    return results


def limits(site: Site, _names: tuple[str, ...], *, living: bool, number: int) -> dict[str, Samples]:
    """Run `true` with and without limits, from many threads; cases are those of LIMITS.

    A sample is the time of a turn over the number of its runs: what one takes from the machine.
    """
    results = {case: Samples(extra={"limits": case, "threads": number}) for case in LIMITS}
    per_thread = max(1, 32 // number)
    order = random.Random(number)
    worker = Worker("pycontain", site)
    try:
        for turn in range(-1, LIMIT_TURNS):  # the first one is not counted
            for case in order.sample(list(LIMITS), len(LIMITS)):
                answer = worker.ask("limits", LIMITS[case], int(living), number, per_thread)
                if turn >= 0:
                    results[case].seconds.append(answer["wall"] / (number * per_thread))
    except RunnerFailedError as error:
        for samples in results.values():
            samples.failure = str(error)
    finally:
        worker.close()
    for samples in results.values():
        samples.extra["turns"] = list(samples.seconds)
    return results


def footprint(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Keep SANDBOXES sandboxes alive and see what that costs processes, kernel and machine."""
    results = {}
    for name in names:
        if name not in HOLD_RUNNERS:
            continue
        samples = results[name] = Samples()
        worker = Worker(name, site)
        try:
            worker.ask("hold", 5)  # what the first ones cost once is not what each costs
            worker.ask("release")
            before = settled_memory(worker, site)
            samples.seconds = worker.ask("hold", SANDBOXES, timeout=120)["seconds"]
            during = settled_memory(worker, site)
            worker.ask("release", timeout=120)
            after = settled_memory(worker, site)
            samples.extra = _each(before, during, after)
        except RunnerFailedError as error:
            samples.failure = str(error)
        finally:
            worker.close()
    return results


def settled_memory(worker: Worker, site: Site) -> dict[str, int]:
    """Read the machine's memory in kB once the kernel has freed what it frees behind our backs.

    Namespaces are taken down by a work queue some time after their last process.
    """
    last, calm = _memory(), 0
    deadline = time.monotonic() + 5
    while calm < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
        now = _memory()
        calm = calm + 1 if abs(now["Slab"] - last["Slab"]) < 256 else 0
        last = now
    return last | {"Pss": _pss(worker.pid, site.name)}


def _memory() -> dict[str, int]:
    text = Path("/proc/meminfo").read_text()
    return {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _pss(starter: int, group: str) -> int:
    """Return the proportional set sizes in kB of a process, its descendants and a cgroup's members.

    Pages that several processes share count once in the sum.
    """
    parents, grouped = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if group in (path / "cgroup").read_text():
                grouped.add(int(path.name))
    mine = {starter} | grouped
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    total = 0
    for pid in mine:
        with contextlib.suppress(OSError):
            found = re.search(
                r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
            )
            total += int(found[1]) if found else 0
    return total


def _each(
    before: dict[str, int], during: dict[str, int], after: dict[str, int]
) -> dict[str, float]:
    """Return what one sandbox costs in kB: the mean of what came with them and went with them."""

    def change(*names: str) -> float:
        rise, fall = (
            sum(during[name] - other[name] for name in names) for other in (before, after)
        )
        return (rise + fall) / 2 / SANDBOXES

    processes = change("Pss")
    kernel = change("Slab", "KernelStack", "PageTables", "Percpu")
    return {
        "sandboxes": SANDBOXES,
        "memory_kb": processes + kernel,
        "processes_kb": processes,
        "kernel_kb": kernel,
        "slab_kb": change("Slab"),
        "available_kb": -change("MemAvailable"),
    }


def imports(site: Site, names: tuple[str, ...]) -> dict[str, Samples]:
    """Start an interpreter that imports one thing; cases are those of IMPORTS."""
    results = {case: Samples() for case in IMPORTS}
    order = random.Random(2)
    for _ in range(IMPORT_TURNS):
        cases = [case for case in IMPORTS if not results[case].failure]
        order.shuffle(cases)
        for case in cases:
            command = [sys.executable, "-I", "-c", IMPORTS[case]]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False)
            seconds = time.perf_counter() - start
            if done.returncode:
                results[case].failure = done.stderr.decode().strip().splitlines()[-1]
            else:
                results[case].seconds.append(seconds)
    for case, statement in IMPORTS.items():
        if not results[case].failure:
            results[case].extra["importtime_us"] = _importtime(statement)
    return results


def _importtime(statement: str) -> int:
    """Return the cumulative time that -X importtime gives for the statement's last import."""
    command = [sys.executable, "-I", "-X", "importtime", "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \|", done.stderr, re.MULTILINE)
    return int(lines[-1]) if lines and statement != "pass" else 0


def filtered(site: Site, _names: tuple[str, ...], *, call: str) -> dict[str, Samples]:
    """Make a system call FILTER_CALLS times under each program; cases are those of FILTERS."""
    made, tried = filters.programs(), filters.CALLS[call]
    results = {}
    for number, case in enumerate(FILTERS):
        Path(site.work, f"filter-{number}").write_bytes(made[case])
        steps = filters.instructions(made[case], tried)
        results[case] = Samples(extra={"instructions": steps, "program": len(made[case]) // 8})
    order = random.Random(3)
    for turn in range(-1, FILTER_TURNS):  # the first one is not counted
        for number, case in order.sample(list(enumerate(FILTERS)), len(FILTERS)):
            path = f"{site.work}/filter-{number}" if made[case] else ""
            command = [f"{site.work}/filtered", path, tried.number, tried.argument, FILTER_CALLS]
            done = subprocess.run([*map(str, command)], capture_output=True, check=True)
            if turn >= 0:
                results[case].seconds.append(int(done.stdout) / 1e9)
    for samples in results.values():
        samples.extra["turns"] = list(samples.seconds)
    return results


WORKLOADS: dict[str, Callable[[Site, tuple[str, ...]], dict[str, Samples]]] = {
    "oneshot": oneshot,
    "oneshot_idle": oneshot_idle,
    "oneshot_bare": oneshot_bare,
    "living": living,
    "living_bare": living_bare,
    "heap": heap,
    **{f"threads_{number}": functools.partial(threads, number=number) for number in THREADS},
    **{
        f"limits_{kind}_{number}": functools.partial(limits, living=living, number=number)
        for kind, living in (("oneshot", False), ("living", True))
        for number in LIMIT_THREADS
    },
    "oci_run": oci_run,
    **{f"oci_{step}": functools.partial(oci_step, step=step) for step in STEPS},
    "podman": podman,
    "oneshot_image": oneshot_image,
    "pull": lambda site, _: pulling.pull(Path(site.work)),
    "unpack": lambda site, _: pulling.unpack(Path(site.work)),
    "commit": lambda site, _: committing.commit(Path(site.work)),
    "footprint": footprint,
    "import": imports,
    **{f"filter_{call}": functools.partial(filtered, call=call) for call in filters.CALLS},
}
