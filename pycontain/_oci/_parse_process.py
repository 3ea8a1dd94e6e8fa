# SPDX-License-Identifier: Apache-2.0
"""The `process` object of a configuration, and the whole document that `exec --process` reads."""

from __future__ import annotations

from pycontain._capabilities import NUMBERS

from ._fields import INT64, UINT32, UINT64, shown
from ._spec import Capabilities, IOPriority, Process, Rlimit, Scheduler, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._fields import Fields

_ID = UINT32 - 1  # (uid_t)-1 means "no change" to the kernel
_RLIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE"),
        *("NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)
_POLICIES = (
    *("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE"),
    "SCHED_DEADLINE",
)
_SCHEDULER_FLAGS = (
    *("SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"),
    *("SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"),
    *("SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"),
)
_IO_CLASSES = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def read_process(process: Fields) -> Process:
    """Return the process. Raises ConfigError."""
    cwd = process.needed("cwd")
    if not cwd.startswith("/"):
        raise process.wrong("cwd", f"{shown(cwd)} is not an absolute path")
    args = process.texts("args")
    if not args:
        raise process.wrong("args", "the program is missing")
    return Process(
        args=args,
        cwd=cwd,
        env=process.texts("env"),
        terminal=process.flag("terminal"),
        console_size=_console_size(process),
        user=_user(process.inside("user")),
        capabilities=_capabilities(process),
        rlimits=_rlimits(process),
        no_new_privileges=process.flag("noNewPrivileges"),
        oom_score_adj=process.integer("oomScoreAdj", -1000, 1000),
        scheduler=_scheduler(process),
        io_priority=_io_priority(process),
        apparmor_profile=process.text("apparmorProfile"),
        selinux_label=process.text("selinuxLabel"),
        exec_cpu_affinity=_affinity(process),
    )


def _console_size(process: Fields) -> tuple[int, int] | None:
    size = process.object("consoleSize")
    if size is None:
        return None
    return size.number("height", 0, 0xFFFF, 0), size.number("width", 0, 0xFFFF, 0)


def _user(user: Fields) -> User:
    return User(
        uid=user.number("uid", 0, _ID, 0),
        gid=user.number("gid", 0, _ID, 0),
        umask=user.integer("umask", 0, 0o777),
        additional_gids=user.integers("additionalGids", 0, _ID),
    )


def _capabilities(process: Fields) -> Capabilities | None:
    """Return the sets without names that are unknown, which runc warns of and leaves out."""
    sets = process.object("capabilities")
    if sets is None:
        return None
    named = {name: frozenset(sets.texts(name)) for name in _SETS}
    return Capabilities(
        **{name: found & NUMBERS.keys() for name, found in named.items()},
        unknown=tuple(sorted(frozenset().union(*named.values()) - NUMBERS.keys())),
    )


def _rlimits(process: Fields) -> tuple[Rlimit, ...]:
    found: dict[str, Rlimit] = {}
    for row in process.objects("rlimits"):
        kind = row.needed("type")
        if kind not in _RLIMITS:
            raise row.wrong("type", f"{shown(kind)} is no limit of setrlimit(2)")
        if kind in found:
            raise row.wrong("type", f"{kind} stands twice")
        soft, hard = row.number("soft", 0, UINT64), row.number("hard", 0, UINT64)
        if soft > hard:
            raise row.wrong("soft", f"{soft} is more than hard, {hard}")
        found[kind] = Rlimit(type=kind, soft=soft, hard=hard)
    return tuple(found.values())


def _scheduler(process: Fields) -> Scheduler | None:
    row = process.object("scheduler")
    if row is None:
        return None
    if not row.text("policy"):
        raise row.wrong("policy", "is required")
    found = Scheduler(
        policy=row.choice("policy", _POLICIES),
        nice=row.number("nice", -20, 19, 0),
        priority=row.number("priority", 0, 99, 0),
        flags=row.texts("flags"),
        runtime=row.number("runtime", 0, INT64, 0),
        deadline=row.number("deadline", 0, INT64, 0),
        period=row.number("period", 0, INT64, 0),
    )
    _check_scheduler(row, found)
    return found


_OWN = {  # the policies that have a field
    "nice": ("SCHED_OTHER", "SCHED_BATCH"),
    "priority": ("SCHED_FIFO", "SCHED_RR"),
    **dict.fromkeys(("runtime", "deadline", "period"), ("SCHED_DEADLINE",)),
}


def _check_scheduler(row: Fields, found: Scheduler) -> None:
    for place, flag in enumerate(found.flags):
        if flag not in _SCHEDULER_FLAGS:
            raise row.wrong(f"flags[{place}]", f"{shown(flag)} is no flag of sched_setattr(2)")
    for name, policies in _OWN.items():
        if getattr(found, name) and found.policy not in policies:
            raise row.wrong(name, f"only {' and '.join(policies)} can have one")
    if found.policy in _OWN["priority"] and not found.priority:
        raise row.wrong("priority", f"{found.policy} needs one from 1 to 99")
    if found.policy != "SCHED_DEADLINE":
        return
    # sched(7): runtime <= deadline <= period, and a period of 0 is the deadline.
    if not 0 < found.runtime <= found.deadline:
        raise row.wrong("runtime", "must be above 0 and at most the deadline")
    if found.period and found.deadline > found.period:
        raise row.wrong("deadline", "must be at most the period")


def _io_priority(process: Fields) -> IOPriority | None:
    row = process.object("ioPriority")
    if row is None:
        return None
    if not row.text("class"):
        raise row.wrong("class", "is required")
    return IOPriority(
        class_=row.choice("class", _IO_CLASSES), priority=row.number("priority", 0, 7, 0)
    )


def _affinity(process: Fields) -> tuple[str, str] | None:
    row = process.object("execCPUAffinity")
    if row is None:
        return None
    return read_list(row, "initial"), read_list(row, "final")


def read_list(row: Fields, name: str) -> str:
    """Return a list of processors or nodes, such as `0-3,5`. Raises ConfigError."""
    text = row.text(name)
    for part in text.split(",") if text else ():
        low, dash, high = part.strip(" ").partition("-")
        if not (low.isascii() and low.isdecimal() and (not dash or high.isdecimal())):
            raise row.wrong(name, f"{shown(text)} is no list such as 0-3,5")
        if dash and int(low) > int(high):
            raise row.wrong(name, f"{shown(part)} ends before it begins")
    return text
