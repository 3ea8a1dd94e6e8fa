# SPDX-License-Identifier: Apache-2.0
"""Seccomp filters: a readable form of rules, the OCI form, and a compiler to classic BPF.

A filter decides by number and by arguments in registers only. It never follows a pointer, and no
verdict is left to user space; an audit is told of refusals, and cannot take one back.
"""

from ._compiler import compile, notifying  # noqa: A004 - reads as re.compile does
from ._explain import Decision, decide
from ._oci import from_oci
from ._rules import (
    ALLOW,
    FLAGS,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    NOTIFY,
    TRAP,
    Action,
    Arg,
    Filter,
    Op,
    Rule,
    deny,
    trace,
)

__all__ = [
    "ALLOW",
    "FLAGS",
    "KILL_PROCESS",
    "KILL_THREAD",
    "LOG",
    "NOTIFY",
    "TRAP",
    "Action",
    "Arg",
    "Decision",
    "Filter",
    "Op",
    "Rule",
    "compile",
    "decide",
    "deny",
    "from_oci",
    "notifying",
    "trace",
]
