# SPDX-License-Identifier: Apache-2.0
"""What must not be seen inside, and what must be: looked up in /proc by the probe."""

from __future__ import annotations

import re
from typing import Final

from ._attack import Inspection
from ._facts import NAMESPACES, Facts
from ._programs import Line


def _status(lines: list[Line]) -> dict[str, str]:
    rows = (row.partition(":") for line in lines for row in line.text.splitlines())
    return {name: value.strip() for name, _, value in rows}


def _ids(lines: list[Line], facts: Facts) -> list[str]:
    status = _status(lines)
    found = [
        f"{name}: {status[name]}"
        for name in ("Uid", "Gid")
        if set(status[name].split()) != {str(facts.uid)}
    ]
    # In a map of one id groups cannot be dropped, and show as nobody's.
    allowed = {"65534", str(facts.uid)} if facts.ids == 1 else set()
    groups = set(status["Groups"].split())
    return found + ([f"Groups: {status['Groups']}"] if groups - allowed else [])


def _capabilities(lines: list[Line], facts: Facts) -> list[str]:
    expected = {
        "CapInh": 0,
        "CapPrm": facts.capabilities,
        "CapEff": facts.capabilities,
        "CapBnd": facts.bounding,
        "CapAmb": 0,
    }
    status = _status(lines)
    return [
        f"{name}: {status[name]}"
        for name, mask in expected.items()
        if int(status[name], 16) != mask
    ]


def _no_new_privileges(lines: list[Line], _: Facts) -> list[str]:
    return [] if _status(lines)["NoNewPrivs"] == "1" else ["NoNewPrivs: 0"]


def _filtered(lines: list[Line], _: Facts) -> list[str]:
    mode = _status(lines)["Seccomp"]
    return [] if mode == "2" else [f"Seccomp: {mode}"]


def _map(lines: list[Line], facts: Facts) -> list[str]:
    wrong = []
    for line in lines:
        count = sum(int(row.split()[2]) for row in line.text.splitlines())
        if count != facts.ids:
            wrong.append(f"{line.what}: {count} ids")
    return wrong


def _namespaces(lines: list[Line], facts: Facts) -> list[str]:
    wrong = []
    for line in lines:
        name = line.what.rpartition("/")[2]
        hosts = line.text == facts.namespaces[name]
        if hosts == facts.enforcement[f"namespace {name}"].in_force:
            wrong.append(f"{name}: {line.text}")
    return wrong


def _claims(lines: list[Line], facts: Facts) -> list[str]:
    """Compare `enforcement` with /proc/self/status and the limit on user namespaces."""
    status = _status(lines)
    limit = next((line for line in lines if line.what.endswith("max_user_namespaces")), None)
    seen = {
        "seccomp": status["Seccomp"] == "2",
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "capabilities": int(status["CapBnd"], 16) == facts.bounding,
    }
    if (
        limit
        and limit.result > 0
        and "max_user_namespaces" in facts.enforcement["no nested user namespaces"].by
    ):
        seen["no nested user namespaces"] = limit.text.strip() == "0"
    return [
        f"{name}: claimed but not seen"
        for name, there in seen.items()
        # What the caller has, its children have too, asked for or not.
        if facts.enforcement[name].in_force and not there
    ]


def _files(lines: list[Line], _: Facts) -> list[str]:
    return [line.what for line in lines if line.what != "files"]


def _own_cgroup(lines: list[Line], _: Facts) -> list[str]:
    rows = [row for line in lines for row in line.text.splitlines()]
    return [row for row in rows if not row.endswith(":/")]


def _processes(lines: list[Line], _: Facts) -> list[str]:
    """Nothing but PID 1 and the probe. The own namespace always shows, PID 1's links never do."""
    pids = {line.what.split("/")[2] for line in lines}
    return [f"processes {', '.join(sorted(pids))}"] if len(pids) > 1 else []


def _descriptors(lines: list[Line], _: Facts) -> list[str]:
    """The three standard streams, and the directories that the probe itself has opened."""
    fds = [line for line in lines if re.fullmatch(r"/proc/\d+/fd/\d+", line.what)]
    return [
        f"{line.what}: {line.text}"
        for line in fds
        if int(line.what.rpartition("/")[2]) > 2 and not line.text.startswith("/proc")
    ]


def _objects(lines: list[Line], facts: Facts) -> list[str]:
    return [f"{line.what}: {line.text}" for line in lines if line.identity in facts.secrets]


def _reached(lines: list[Line], _: Facts) -> list[str]:
    # Who has PID 1's id sees how many descriptors there are, not what they are, may offer it to the
    # OOM killer, and clear its page-table marks.
    harmless = {"fd", "task", "oom_score_adj", "clear_refs"}
    return [
        line.what
        for line in lines
        if line.result >= 0 and line.what.rpartition("/")[2] not in harmless
    ]


def _mounts(lines: list[Line], _facts: Facts) -> list[str]:
    """Each mount is private, and nosuid; devices work in /dev alone."""
    wrong = []
    for row in (row for line in lines for row in line.text.splitlines()):
        before, _, after = row.partition(" - ")
        point, options, *tags = before.split()[4:]
        kind = after.split()[0]
        if tags:
            wrong.append(f"{point}: {' '.join(tags)}")
        single = kind in ("devtmpfs", "devpts") or point.startswith(("/dev", "/proc/"))
        if not single and "nodev" not in options:
            wrong.append(f"{point}: {options}")
        if (
            "nosuid" not in options
            and kind != "devtmpfs"
            and not point.startswith(("/dev/", "/proc/"))
        ):
            wrong.append(f"{point}: {options}")
    return wrong


def _interfaces(lines: list[Line], _: Facts) -> list[str]:
    rows = [row for line in lines for row in line.text.splitlines()[2:]]
    return [name for row in rows if (name := row.partition(":")[0].strip()) != "lo"]


_STATUS: Final = ("show", "/proc/self/status")

ALL: Final = (
    Inspection(id="A10", what="mounts are private, nosuid, nodev",
               command=("show", "/proc/self/mountinfo"), complaints=_mounts),
    Inspection(id="B1", what="no process stands for our interpreter", command=("objects",),
               complaints=_objects),
    Inspection(id="B4", what="no descriptor of the host", command=("objects",),
               complaints=_descriptors),
    Inspection(id="C1", what="user, group, no other groups", command=_STATUS, complaints=_ids,
               outside="the caller may have the same ids"),
    Inspection(id="C2", what="capability sets", command=_STATUS, complaints=_capabilities,
               outside="the caller may have none either"),
    Inspection(id="C6", what="as many ids as there should be",
               command=("show", "/proc/self/uid_map", "/proc/self/gid_map"), complaints=_map,
               outside="the caller may have one id"),
    Inspection(id="C9", what="nothing of PID 1 can be had", command=("reach", "{victim}"),
               complaints=_reached),
    Inspection(id="C10", what="no_new_privs is set", command=_STATUS,
               complaints=_no_new_privileges, granted=frozenset(("build", "compat"))),
    Inspection(id="D8", what="a filter is loaded", command=_STATUS, complaints=_filtered),
    Inspection(id="E1", what="no file in /proc/sys opens for writing",
               command=("write", "/proc/sys"), complaints=_files, granted=frozenset(("nested",))),
    Inspection(id="E3", what="no other processes in /proc", command=("objects",),
               complaints=_processes),
    Inspection(id="E6", what="the path of the control group is hidden",
               command=("show", "/proc/self/cgroup"), complaints=_own_cgroup,
               outside="the caller may be in the root group"),
    Inspection(id="G6", what="no network interface but lo", command=("show", "/proc/self/net/dev"),
               complaints=_interfaces, outside="the host may have none"),
    Inspection(id="L6", what="namespaces are what `enforcement` says",
               command=("show", *(f"/proc/self/ns/{name}" for name in NAMESPACES)),
               complaints=_namespaces),
    Inspection(id="L6", what="controls are what `enforcement` says",
               command=(*_STATUS, "/proc/sys/user/max_user_namespaces"), complaints=_claims),
)  # fmt: skip
