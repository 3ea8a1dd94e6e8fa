# SPDX-License-Identifier: Apache-2.0
"""The process: config.md#process."""

from __future__ import annotations

import functools
import re

from conformance.box import CAPABILITIES
from conformance.check import Check

_check = functools.partial(Check, area="process")
_NONE: dict[str, list[str]] = {
    kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
}


def _status(name: str) -> str:
    return f"grep ^{name}: /proc/self/status | cut -f2"


CHECKS = (
    _check(
        name="args and env, also empty and with a second `=`",
        change={"process.env": ["PATH=/bin", "A=b c", "EMPTY=", "D=e=f"]},
        run='echo "$A/$EMPTY/$D"; env | grep -c ^EMPTY=$',
        sees="b c//e=f\n1",
    ),
    _check(name="args of one program", change={"process.args": ["echo", "a b", ""]}, sees="a b"),
    _check(
        name="nothing of the caller's environment",
        run="env | grep -vE '^(PATH|HOME|PWD|SHLVL|OLDPWD)='; true",
        sees="",
    ),
    _check(
        name="HOME from /etc/passwd",
        change={"process.user.uid": 1000},
        run="echo $HOME",
        sees="/tmp",
    ),
    _check(name="cwd", change={"process.cwd": "/tmp"}, run="pwd", sees="/tmp"),
    _check(
        name="a missing cwd is made",
        change={"process.cwd": "/made/here"},
        run="pwd",
        sees="/made/here",
    ),
    _check(
        name="a relative cwd is refused",
        change={"process.cwd": "tmp"},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="uid, gid and additionalGids",
        change={"process.user": {"uid": 12345, "gid": 678, "additionalGids": [5, 6]}},
        run="id -u; id -g; id -G",
        sees="12345\n678\n678 5 6",
    ),
    _check(
        name="umask",
        change={"process.user.umask": 0o27},
        run="umask; touch /tmp/file; stat -c %a /tmp/file",
        sees="0027\n640",
    ),
    _check(name="a missing program is refused", change={"process.args": ["nope"]}, refused=True),
    _check(
        name="a program that is not executable is refused",
        change={"process.args": ["/etc/passwd"]},
        refused=True,
    ),
    _check(
        name="a directory as a program is refused", change={"process.args": ["/etc"]}, refused=True
    ),
    _check(name="no args are refused", change={"process.args": []}, refused=True),
    _check(
        name="rlimits",
        change={
            "process.rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ]
        },
        run="ulimit -Sn; ulimit -Hn; ulimit -c",
        sees="100\n200\n0",
    ),
    _check(
        name="an unknown rlimit is refused",
        change={"process.rlimits": [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="an rlimit that is given twice is refused",
        change={"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="oomScoreAdj",
        change={"process.oomScoreAdj": 321},
        run="cat /proc/self/oom_score_adj",
        sees="321",
    ),
    _check(
        name="noNewPrivileges",
        change={"process.noNewPrivileges": True},
        run=_status("NoNewPrivs"),
        sees="1",
    ),
    _check(
        name="no noNewPrivileges",
        change={"process.noNewPrivileges": False},
        run=_status("NoNewPrivs"),
        sees="0",
    ),
    *(
        _check(
            name=f"capabilities: {kind}",
            change={
                "process.capabilities": {
                    **_NONE,
                    **{name: ["CAP_KILL", "CAP_CHOWN"] for name in sets},
                }
            },
            run=_status(f"Cap{line}"),
            sees="0000000000000021",
        )
        for kind, line, sets in (
            ("bounding", "Bnd", ("bounding",)),
            ("permitted", "Prm", ("bounding", "permitted", "effective")),
            ("effective", "Eff", ("bounding", "permitted", "effective")),
            ("inheritable", "Inh", ("bounding", "permitted", "inheritable")),
            ("ambient", "Amb", ("bounding", "permitted", "inheritable", "effective", "ambient")),
        )
    ),
    _check(
        name="ambient capabilities of a user who is not root",
        change={
            "process.user": {"uid": 1000, "gid": 1000},
            "process.capabilities": {kind: ["CAP_KILL"] for kind in _NONE},
        },
        run=_status("CapEff"),
        sees="0000000000000020",
    ),
    _check(
        name="no capabilities of a user who is not root, without ambient ones",
        change={"process.user": {"uid": 1000, "gid": 1000}},
        run=_status("CapEff"),
        sees="0" * 16,
    ),
    _check(
        name="an unknown capability is ignored",
        change={"process.capabilities.bounding": [*CAPABILITIES, "CAP_NOPE"]},
        run="echo ran",
        sees="ran",
    ),
    _check(
        name="scheduler",
        change={"process.scheduler": {"policy": "SCHED_BATCH", "nice": 5}},
        run=r"sed -n 's/^policy[ :]*//p' /proc/self/sched; cut -d' ' -f19 /proc/self/stat",
        sees="3\n5",
    ),
    _check(
        name="an unknown scheduling policy is refused",
        change={"process.scheduler": {"policy": "SCHED_NOPE"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="ioPriority",
        change={"process.ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}},
        run="probe ioprio",
        sees="3 0",
    ),
    _check(
        name="execCPUAffinity does not concern the first process",
        change={"process.execCPUAffinity": {"initial": "0", "final": "0"}},
        run="echo ran",
        sees="ran",
    ),
    _check(
        name="personality",
        change={"linux.personality": {"domain": "LINUX32"}},
        run="uname -m",
        sees="i686",
    ),
    _check(name="hostname", change={"hostname": "other"}, run="hostname", sees="other"),
    _check(
        name="domainname",
        change={"domainname": "there.example"},
        run="cat /proc/sys/kernel/domainname",
        sees="there.example",
    ),
    _check(name="standard descriptors only", run="probe fds", sees="0\n1\n2"),
    _check(
        name="a session of its own", run="cut -d' ' -f5,6 /proc/self/stat", sees=re.compile("1 1")
    ),
    _check(
        name="no parent of its own",
        run="cut -d' ' -f4 /proc/1/stat",
        sees="0",
    ),
    _check(
        name="a whole environment of some size",
        change={"process.env": ["PATH=/bin", "LONG=" + "x" * 100_000]},
        run="env | grep ^LONG= | wc -c",
        sees="100006",
    ),
)
