#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn pytest-benchmark's JSON into docs/benchmarks.json, .md and .svg.

    scripts/bench_report.py RESULTS.json [DIRECTORY]

Only ratios within one run mean something; the goals are stated as such, met or not. Workloads that
the run has not measured stay as they are in the DIRECTORY.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

Json = dict[str, Any]
OURS, FLOOR, RUNTIME = "pycontain", "floor_c", "pycontain-runtime"
TITLES = {
    "oneshot": "One-shot: a fresh sandbox, `true`, gone; back to back",
    "oneshot_idle": "One-shot after 30 ms of idleness",
    "living": "A command in a living sandbox",
    "oneshot_bare": "One-shot of a program without libc, which costs next to nothing itself",
    "living_bare": "The same in a living sandbox",
    "heap": "One-shot from a parent with a small and a large heap",
    "threads_1": "One-shot from 1 thread",
    "threads_2": "One-shot from 2 threads at once",
    "threads_8": "One-shot from 8 threads at once",
    "threads_64": "One-shot from 64 threads at once",
    **{
        f"limits_{kind}_{number}": f"{what}, from {number} at once, with and without limits"
        for kind, what in (("oneshot", "One-shot"), ("living", "A command in a living sandbox"))
        for number in (1, 8, 64)
    },
    "oci_run": "An OCI runtime's `run` of `true`, as a whole process",
    "oci_create": "An OCI runtime's `create`, as a whole process",
    "oci_start": "Its `start`",
    "oci_state": "Its `state`",
    "oci_delete": "Its `delete`",
    "podman": "`podman run` with each of them",
    "oneshot_image": "One-shot from an image that is in the store, and from a root directory",
    "pull": "An image of 216 MB from a registry here, unpacked: nothing is there before",
    "unpack": "Its layer unpacked, not compressed",
    "commit": "A commit of 2,000 new files, 100 MB, and 1,400 removed, not compressed",
    "footprint": "Living sandboxes",
    "import": "An interpreter that starts, imports and ends",
    "filter_number": "10,000 system calls that the filter allows by their number",
    "filter_argument": "10,000 system calls that it allows by an argument",
    "filter_refused": "10,000 system calls that it refuses",
}
METHOD = """\
All runners of a workload take short turns in random order within one run, each in a process of its
own, and every run that counts has succeeded and printed what it should. Times of different runs or
machines do not compare; ratios do, each the median of the ratios within single turns."""
ABOUT_THE_FLOOR = f"""\
The column *floor* says what the same goal would show for `{FLOOR}`, a C program that makes the same
kernel calls: where the floor misses a goal, nothing that makes these calls can meet it here."""
ABOUT_ISOLATION = """\
As a program inside sees it (`benchmarks/probe.c`): what is in force, not what was asked for."""
MEMORY = ("rss_mb", "memory_kb", "processes_kb", "kernel_kb", "slab_kb", "available_kb")
WIDTH, BAR, LEFT, RIGHT = 860, 22, 150, 90
COLOURS = {OURS: "#2563a8", RUNTIME: "#2563a8", FLOOR: "#4b8f4e"}
OTHERS = "#9aa3ad"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach. `measure` returns it from the results, or None without data."""

    text: str
    limit: float
    at_least: bool
    unit: str
    measure: Callable[[Results, str], float | None]


class Results:
    """The benchmarks of one run, by workload and case."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.workloads: dict[str, dict[str, Json]] = {name: {} for name in TITLES}
        self.dates: dict[str, str] = {}
        for benchmark in raw["benchmarks"]:
            extra = benchmark["extra_info"]
            case = extra["runner"]
            if "heap_mb" in extra:
                case += f" {extra['heap_mb']} MB"
            if "limits" in extra:
                case += f", {extra['limits']}"
            self.workloads[extra["workload"]][case] = _summary(benchmark)
            self.dates[extra["workload"]] = raw["datetime"][:10]

    def keep(self, before: Json) -> None:
        """Take the workloads that this run has not measured from the file of an earlier one."""
        for workload, cases in before["workloads"].items():
            if workload in self.workloads and not self.workloads[workload] and cases:
                self.workloads[workload] = cases
                earlier = before["datetime"][:10]
                self.dates[workload] = before.get("dates", {}).get(workload, earlier)
        for name, reason in before["absent"].items():
            self.raw["absent"].setdefault(name, reason)
        versions = before["remarks"].get("versions", {})
        self.raw["remarks"]["versions"] = versions | self.raw["remarks"].get("versions", {})

    def median(self, workload: str, case: str) -> float | None:
        """Return a median in seconds."""
        found = self.workloads[workload].get(case)
        return found["median"] if found else None

    def ratio(self, workload: str, case: str, to: str) -> float | None:
        """Return the median of the ratios that two cases had in each turn."""
        cases = self.workloads[workload]
        if case not in cases or to not in cases:
            return None
        ours: list[float] = cases[case]["turns"]
        theirs: list[float] = cases[to]["turns"]
        pairs = zip(ours, theirs, strict=len(ours) == len(theirs))
        return statistics.median(mine / other for mine, other in pairs)

    def difference(self, workload: str, case: str, to: str) -> float | None:
        """Return the median of the differences that two cases had in each turn, in seconds."""
        cases = self.workloads[workload]
        if case not in cases or to not in cases:
            return None
        ours: list[float] = cases[case]["turns"]
        theirs: list[float] = cases[to]["turns"]
        pairs = zip(ours, theirs, strict=True)
        return statistics.median(mine - other for mine, other in pairs)

    def figure(self, workload: str, case: str, name: str) -> float | None:
        """Return a figure other than time."""
        found = self.workloads[workload].get(case, {"extra": {}})["extra"].get(name)
        return None if found is None else float(found)


def _summary(benchmark: Json) -> Json:
    data = sorted(benchmark["stats"]["data"])
    extra = benchmark["extra_info"]
    apart = {"workload", "runner", "isolation", "turns"}
    kept = {k: v for k, v in extra.items() if k not in apart}
    return {
        "median": statistics.median(data),
        "p99": data[min(len(data) - 1, math.ceil(0.99 * len(data)) - 1)],
        "min": data[0],
        "rounds": len(data),
        "turns": extra.get("turns", [statistics.median(data)]),
        "isolation": extra["isolation"],
        "extra": kept,
    }


def _import_cost(results: Results, case: str) -> float | None:
    loaded, bare = results.median("import", case), results.median("import", "cffi")
    return None if loaded is None or bare is None or case == FLOOR else (loaded - bare) * 1000


def _faster_than(rival: str) -> Callable[[Results, str], float | None]:
    return lambda results, case: results.ratio("oneshot", rival, case)


def _runtime_over(rival: str) -> Callable[[Results, str], float | None]:
    def measure(results: Results, case: str) -> float | None:
        return results.ratio("oci_run", RUNTIME, rival) if case == OURS else None

    return measure


def _heap_factor(results: Results, case: str) -> float | None:
    return results.ratio("heap", f"{case} 2048 MB", f"{case} 20 MB")


def _cost_of_limits(workload: str) -> Callable[[Results, str], float | None]:
    def measure(results: Results, case: str) -> float | None:
        cost = results.difference(workload, f"{case}, memory and pids", f"{case}, no limits")
        return None if cost is None else cost * 1000

    return measure


def _over_a_directory(results: Results, case: str) -> float | None:
    cost = results.difference("oneshot_image", f"{case}_image", case)
    return None if cost is None else cost * 1000


def _pulls_faster_than(rival: str) -> Callable[[Results, str], float | None]:
    return lambda results, case: results.ratio("pull", rival, case)


GOALS = (
    Goal(
        "one-shot, times the floor in C", 1.3, False, "x", lambda r, c: r.ratio("oneshot", c, FLOOR)
    ),
    Goal("one-shot, faster than bubblewrap", 4, True, "x", _faster_than("bubblewrap")),
    Goal("one-shot, faster than crun", 8, True, "x", _faster_than("crun")),
    Goal("one-shot, faster than runc", 20, True, "x", _faster_than("runc")),
    Goal("one-shot, faster than Python with ctypes", 3, True, "x", _faster_than("ctypes_pure")),
    Goal("one-shot, 2 GB heap over 20 MB heap", 1.1, False, "x", _heap_factor),
    Goal(
        "command in a living sandbox, times subprocess.run",
        1.3,
        False,
        "x",
        lambda r, c: r.ratio("living", c, "subprocess"),
    ),
    Goal("the runtime command's run, times crun", 1.5, False, "x", _runtime_over("crun")),
    Goal("the runtime command's run, times runc", 1, False, "x", _runtime_over("runc")),
    Goal(
        "memory of a living sandbox",
        150,
        False,
        " KB",
        lambda r, c: r.figure("footprint", c, "memory_kb"),
    ),
    *(
        Goal(f"limits of {what}, over none", 0.3, False, " ms", _cost_of_limits(f"limits_{kind}_1"))
        for kind, what in (("oneshot", "a one-shot"), ("living", "a command"))
    ),
    Goal("one-shot from an image, over a directory", 0.5, False, " ms", _over_a_directory),
    Goal(
        "pull and unpack, times the decompressor",
        1.2,
        False,
        "x",
        lambda r, c: r.ratio("pull", c, "decompressor"),
    ),
    Goal(
        "pull, faster than skopeo and umoci", 1, True, "x", _pulls_faster_than("skopeo and umoci")
    ),
    Goal("import, over Python + cffi", 15, False, " ms", _import_cost),
)


def _figure(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.2f}{unit}" if value < 100 else f"{value:.0f}{unit}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)] + [""]


def goal_rows(results: Results) -> list[Json]:
    """Return each goal with what was measured, for us and for the floor."""
    rows = []
    for goal in GOALS:
        ours, floor = goal.measure(results, OURS), goal.measure(results, FLOOR)
        met = None
        if ours is not None:
            met = ours >= goal.limit if goal.at_least else ours <= goal.limit
        rows.append(
            {
                "goal": goal.text,
                "limit": f"{'>=' if goal.at_least else '<='} {goal.limit:g}{goal.unit}",
                "measured": _figure(ours, goal.unit),
                "floor": _figure(floor, goal.unit),
                "met": "not measured" if met is None else "met" if met else "NOT met",
            }
        )
    return rows


def _workload_table(results: Results, workload: str) -> list[str]:
    cases = results.workloads[workload]
    extras = [
        name
        for name in ("per_second", *MEMORY, "importtime_us", "program", "instructions")
        if any(name in found["extra"] for found in cases.values())
    ]
    bases = (OURS, f"{OURS} 20 MB", f"{OURS}, no limits", RUNTIME, "podman_pycontain")
    ours = next((case for case in bases if case in cases), OURS)
    rows = []
    for case, found in sorted(cases.items(), key=lambda item: item[1]["median"]):
        ratio = _figure(results.ratio(workload, case, ours))
        figures = [f"{found['extra'].get(name, math.nan):.0f}" for name in extras]
        times = [_milliseconds(found["median"]), _milliseconds(found["p99"])]
        rows.append([case, *times, ratio, *figures, str(found["rounds"])])
    head = ["runner", "median ms", "p99 ms", f"x {ours.split()[0].strip(',')}", *extras, "runs"]
    own, date = results.raw["datetime"][:10], results.dates[workload]
    title = TITLES[workload] if date == own else f"{TITLES[workload]} (on {date})"
    return [f"### {title}", "", *_table(head, rows)]


def _isolation_table(results: Results) -> list[str]:
    rows = []
    for case, found in results.workloads["oneshot"].items():
        seen = found["isolation"]
        if not seen:
            continue
        user = f"{seen['uid_inside']} = host's {seen['uid_outside']}"
        rows.append(
            [
                case,
                " ".join(seen["namespaces"]) or "none",
                user,
                str(seen["capabilities"]),
                "yes" if seen["no_new_privs"] else "no",
                str(seen["seccomp_filters"]),
                "yes" if seen["own_root"] else "no",
                "yes" if seen["root_writable"] else "no",
                seen["asked"],
            ]
        )
    head = ["runner", "own namespaces", "user", "capabilities", "no_new_privs", "filters"]
    return _table([*head, "own root", "can write to it", "asked with"], rows)


def markdown(results: Results) -> str:
    """Return the page."""
    raw = results.raw
    machine, remarks = raw["machine_info"], raw["remarks"]
    cpu = machine.get("cpu", {})
    versions = ", ".join(f"{k} {v}" for k, v in remarks.get("versions", {}).items() if v)
    rows = [
        [row[k] for k in ("goal", "limit", "measured", "floor", "met")]
        for row in goal_rows(results)
    ]
    processor = f"{cpu.get('count', '?')} x {cpu.get('brand_raw', machine['machine'])}"
    python = f"CPython {machine['python_version']}"
    facts = [f"Linux {remarks['kernel']}", processor, python, versions]
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {raw['datetime'][:10]}: {', '.join(facts)}.",
        "",
        METHOD,
        "",
        "![One-shot and living sandbox, medians](benchmarks.svg)",
        "",
        "## Goals",
        "",
        ABOUT_THE_FLOOR,
        "",
        *_table(["goal", "limit", "measured", "floor", ""], rows),
        "## Isolation",
        "",
        ABOUT_ISOLATION,
        "",
        *_isolation_table(results),
        "## Workloads",
        "",
    ]
    for workload, cases in results.workloads.items():
        if cases:
            lines += _workload_table(results, workload)
    if raw["absent"]:
        lines += ["## Not measured", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in sorted(raw["absent"].items())]
        lines.append("")
    return "\n".join(lines)


def _panel(title: str, cases: dict[str, Json], top: int) -> tuple[list[str], int]:
    """Return bars on a logarithmic scale, a whisker to the 99th percentile, and where they end."""
    ordered = sorted(cases.items(), key=lambda item: item[1]["median"])
    low = 10 ** math.floor(math.log10(ordered[0][1]["median"] * 1000))
    high = 10 ** math.ceil(math.log10(max(found["p99"] for _, found in ordered) * 1000))
    scale = (WIDTH - LEFT - RIGHT) / math.log10(high / low)

    def x(seconds: float) -> float:
        return LEFT + scale * math.log10(seconds * 1000 / low)

    parts = [f'<text x="{LEFT}" y="{top + 14}" class="title">{escape(title)}</text>']
    y = top + 28
    bottom = y + BAR * len(ordered)
    for power in range(round(math.log10(high / low)) + 1):
        tick = LEFT + scale * power
        label = f"{low * 10**power:g} ms"
        parts.append(f'<line x1="{tick:.1f}" x2="{tick:.1f}" y1="{y}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{tick:.1f}" y="{bottom + 14}" class="tick">{label}</text>')
    for name, found in ordered:
        end, far, middle = x(found["median"]), x(found["p99"]), y + BAR / 2
        colour, median = COLOURS.get(name, OTHERS), f"{_milliseconds(found['median'])} ms"
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" class="name">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{end - LEFT:.1f}" height="16" fill="{colour}"/>',
            f'<line x1="{end:.1f}" x2="{far:.1f}" y1="{middle}" y2="{middle}" class="whisker"/>',
            f'<text x="{far + 6:.1f}" y="{middle + 4:.1f}">{median}</text>',
        ]
        y += BAR
    return parts, bottom + 34


def svg(results: Results) -> str:
    """Return the picture."""
    parts: list[str] = []
    top = 10
    for workload in ("oneshot", "living"):
        if results.workloads[workload]:
            title = TITLES[workload].replace("`", "") + ": median, whisker to p99, log scale"
            panel, top = _panel(title, results.workloads[workload], top)
            parts += panel
    style = (
        "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.name{text-anchor:end}"
        ".tick{text-anchor:middle;fill:#777;font-size:10px}.grid{stroke:#ddd}.whisker{stroke:#555}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}">'
    back = f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", back, *parts, "</svg>", ""])


def summary(results: Results) -> str:
    """Return the figures without the single runs, as JSON."""
    raw = results.raw
    kept = {
        "datetime": raw["datetime"],
        "machine": raw["machine_info"],
        "remarks": raw["remarks"],
        "absent": raw["absent"],
        "goals": goal_rows(results),
        "dates": results.dates,
        "workloads": results.workloads,
    }
    return json.dumps(kept, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write the three files and print the goals."""
    if not 1 <= len(arguments) <= 2:
        print(__doc__, file=sys.stderr)
        return 2
    results = Results(json.loads(Path(arguments[0]).read_text()))
    folder = Path(arguments[1] if len(arguments) > 1 else "docs")
    folder.mkdir(exist_ok=True)
    earlier = folder / "benchmarks.json"
    if earlier.exists():
        results.keep(json.loads(earlier.read_text()))
    (folder / "benchmarks.json").write_text(summary(results))
    (folder / "benchmarks.md").write_text(markdown(results))
    (folder / "benchmarks.svg").write_text(svg(results))
    for row in goal_rows(results):
        figures = f"{row['measured']} ({row['limit']}; floor {row['floor']})"
        print(f"{row['met']:13} {row['goal']}: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
