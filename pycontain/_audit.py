# SPDX-License-Identifier: Apache-2.0
"""The audit: whether it can be had, and from PID 1's records to sentences."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from . import _fallbacks, _native, _policy, _remedies, _seccomp, _syscalls
from ._native import DeniedCall, Report
from ._seccomp import Arg, Decision, Filter
from .config import SandboxConfig
from .denial import Denial, Denials, DeniedArgument
from .enforcement import Control
from .errors import ConfigError, UnsupportedError

_BY: Final = (
    "seccomp user notifications: what the filter refuses, and not what Landlock, file modes, "
    "capabilities or limits do"
)


class Audit(NamedTuple):
    """The audit of a sandbox.

    Attributes:
        control: Whether it is in force.
        rules: The filter.
        program: What is loaded in place of the filter, with a listener; empty: none.
        handed: The listener is the caller's, and nothing is audited.
        traces: It asks about every call.
    """

    control: Control
    rules: Filter
    program: bytes = b""
    handed: bool = False
    traces: bool = False


NOT_ASKED: Final = Control(in_force=False, why="not asked for", remedy="audit=True")


def prepare(config: SandboxConfig, rules: Filter) -> Audit:
    """Return the audit of a filter, as far as it was asked for and can be had.

    A program could hide an end by the filter behind an error from a filter of its own, which comes
    before a question, so it may load none where there are such ends.

    Raises:
        ConfigError: A rule asks a listener of the caller's, and nobody listens.
        UnsupportedError: The kernel has no listener for it.
    """
    if rules.notifies:
        return _handed(config, rules)
    if config.seccomp_listener is not None:
        raise ConfigError("seccomp_listener: no rule of the profile asks it (action notify)")
    if not (config.audit or config.trace):
        return Audit(NOT_ASKED, rules)
    if problem := _native.listener_problem():
        why = f"the kernel grants no seccomp listener: {os.strerror(problem)}"
        taken = problem == errno.EBUSY
        remedy = _remedies.LISTENER_TAKEN if taken else _remedies.LISTENER
        return Audit(Control(in_force=False, why=why, remedy=remedy), rules)
    actions = [rules.default, rules.unknown, rules.foreign, *(rule.action for rule in rules.rules)]
    by = _BY
    if any(action.kind in {"trap", "kill-thread"} for action in actions):
        by += "; nor calls that end a thread or raise a signal"
    if _seccomp.KILL_PROCESS in actions:
        rules = rules.first(*_policy.NO_OTHER_FILTERS)
        by += "; programs load no filters of their own"
    if config.trace:
        return Audit(Control(in_force=True, by=by), rules, _all_asked(rules), traces=True)
    program = _seccomp.notifying(_seccomp.compile(rules))
    return Audit(Control(in_force=True, by=by), rules, program)


def _all_asked(rules: Filter) -> bytes:
    """Return the filter that asks about every call but the one that hands the listener over.

    Raises:
        ConfigError: The rules refuse that one.
        UnsupportedError: The kernel cannot be told to go on with a call.
    """
    from ._contract._machine import Machine  # noqa: PLC0415 - only for traces

    native = _syscalls.table(os.uname().machine)
    hands = "sendmsg"
    if not _seccomp.decide(
        rules, native.audit_arch, native.numbers[hands], (0,) * 6
    ).action.permits:
        raise ConfigError(f"trace: the profile refuses {hands}, by which the tracer is told")
    if not _fallbacks.follows_calls(Machine.here().kernel):
        raise UnsupportedError(
            errno.EOPNOTSUPP, "trace: system calls cannot be followed before Linux 5.5"
        )
    notify = _seccomp.NOTIFY
    rule = _seccomp.Rule((hands,), _seccomp.ALLOW)
    return _seccomp.compile(Filter(default=notify, unknown=notify, foreign=notify, rules=(rule,)))


def _handed(config: SandboxConfig, rules: Filter) -> Audit:
    if config.seccomp_listener is None:
        raise ConfigError(
            "profile: a seccomp rule asks a listener (action notify): give seccomp_listener=, or "
            "allow the call or deny it"
        )
    if config.audit:
        raise ConfigError("audit: a filter has one listener, and seccomp_listener= gets it")
    if problem := _native.listener_problem():
        raise UnsupportedError(
            problem, f"the kernel grants no seccomp listener: {os.strerror(problem)}"
        )
    return Audit(NOT_ASKED, rules, _seccomp.compile(rules), handed=True)


def denials(rules: Filter, report: Report) -> Denials:
    """Return what PID 1 has recorded, by the filter that it was recorded for."""
    return Denials((_denial(rules, call) for call in report.denials), report.denied)


def _denial(rules: Filter, call: DeniedCall) -> Denial:
    why = _seccomp.decide(rules, call.arch, call.number, call.args)
    is_errno = call.verdict & 0xFFFF0000 == _seccomp.deny(0).code
    return Denial(
        layer="seccomp",
        syscall=why.name,
        number=call.number,
        machine=why.machine,
        args=_arguments(why.name, call),
        errno=call.verdict & 0xFFFF if is_errno else None,
        rule=_sentence(why),
        count=call.count,
        pid=call.pid,
        comm=call.name.decode("latin-1").encode("unicode_escape").decode("ascii"),
    )


def _arguments(name: str | None, call: DeniedCall) -> tuple[DeniedArgument, ...]:
    from ._seccomp._arguments import known, name_of, text_of  # noqa: PLC0415 - only for denials

    examined = {index for index in range(6) if call.examined >> index & 1}
    return tuple(
        DeniedArgument(
            index, name_of(name, index), call.args[index], text_of(name, index, call.args[index])
        )
        for index in sorted(examined | known(name))
    )


def _sentence(why: Decision) -> str:
    name, action = why.name, str(why.action)
    if why.part == "foreign":
        return f"calls of {why.machine}: {action}"
    if why.part == "unknown":
        return f"numbers of no call that the filter knows: {action}"
    if why.rule is not None and why.rule.args:
        return f"{name} with {_conditions(name, why.rule.args)}: {action}"
    only = [rule for rule in why.tried if rule.action.permits]
    if not only:
        return f"{name}: {action}" if why.rule else f"{name} is not allowed by any rule: {action}"
    shown = " or ".join(f"({_conditions(name, rule.args)})" for rule in only)
    return f"{name} only with {shown}, else {action}"


def _conditions(name: str | None, args: Sequence[Arg]) -> str:
    from ._seccomp._arguments import name_of, text_of  # noqa: PLC0415 - only for denials

    said = []
    for arg in args:
        left = name_of(name, arg.index)
        values = ", ".join(text_of(name, arg.index, value) for value in arg.values)
        if arg.mask is not None:
            said.append(f"{left} & {text_of(name, arg.index, arg.mask)} == {values}")
        else:
            said.append(f"{left} {arg.op} {{{values}}}" if arg.op == "in" else
                        f"{left} {arg.op} {values}")  # fmt: skip
    return " and ".join(said)
