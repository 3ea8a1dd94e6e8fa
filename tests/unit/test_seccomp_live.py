# SPDX-License-Identifier: Apache-2.0
"""The compiled filters in this kernel, beside the same calls without a filter."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import _bpf
import _seccomp_model as model
from pycontain import _seccomp, _syscalls, profile
from pycontain._seccomp import ALLOW, KILL_PROCESS, TRAP, Filter, Rule, deny

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBE = Path(__file__).parents[1] / "_seccomp_live.py"
MACHINE = os.uname().machine
WORD = (1 << 64) - 1

# Calls that end, stop or signal the prober when made with nonsense, or leave something behind.
_UNSAFE = """
    exit exit_group pause rt_sigreturn fork vfork clone clone3 execve execveat uprobe uretprobe
    restart_syscall kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo alarm sync msgget semget
    shmget brk setsid rt_sigsuspend set_tid_address
"""
# Results that differ from run to run.
_VOLATILE = """
    getpid gettid getppid getpgrp getpgid getsid time times getrandom io_setup sysinfo
"""
UNSAFE, VOLATILE = frozenset(_UNSAFE.split()), frozenset(_VOLATILE.split())


def probe(rules: Filter | None, calls: Sequence[tuple[int, ...]], **more: Any) -> list[int]:
    """Return what each call gives in a process of its own under the filter; negative for errors."""
    done = run(rules, calls, **more)
    if done.returncode:
        raise AssertionError(f"the prober ended with {done.returncode}: {done.stderr}")
    found: list[int] = json.loads(done.stdout)
    return found


def run(
    rules: Filter | None, calls: Sequence[tuple[int, ...]], **more: Any
) -> subprocess.CompletedProcess[str]:
    program = _seccomp.compile(rules).hex() if rules else ""
    order = json.dumps({"filter": program, "calls": calls, **more})
    return subprocess.run(
        [sys.executable, "-I", "-S", PROBE],
        input=order,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@functools.cache
def unavailable() -> str:
    if MACHINE not in _syscalls.NATIVE:
        return f"no table for {MACHINE}"
    done = run(Filter(default=ALLOW), [])
    return (
        "" if done.returncode == 0 else f"no filter can be loaded: {done.stderr.splitlines()[-1]}"
    )


@pytest.fixture(autouse=True)
def _needs_filters() -> None:
    if reason := unavailable():
        pytest.skip(reason)


def number(name: str) -> int:
    return _syscalls.table(MACHINE).numbers[name]


@pytest.mark.parametrize("name", ["default", "build", "nested", "compat"])
def test_every_number_has_the_error_of_the_model(name: str) -> None:
    rules = profile.get(name).seccomp
    nonsense = (WORD,) * 6
    expected = {
        nr: model.verdict(rules, MACHINE, _bpf.NATIVE[MACHINE], nr, nonsense)
        for nr in range(1024)
        if model.names(MACHINE).get(nr) not in UNSAFE
    }
    allowed = [nr for nr, verdict in expected.items() if verdict == _bpf.ALLOW]
    denied = [nr for nr, verdict in expected.items() if verdict != _bpf.ALLOW]
    assert len(denied) > 400

    found = dict(zip(denied, probe(rules, [(nr, *nonsense) for nr in denied]), strict=True))
    assert found == {nr: -(expected[nr] & 0xFFFF) for nr in denied}

    calls = [(nr, *nonsense) for nr in allowed]
    with_filter = dict(zip(allowed, probe(rules, calls), strict=True))
    without = dict(zip(allowed, probe(None, calls), strict=True))
    names = model.names(MACHINE)
    assert {
        names[nr]: (with_filter[nr], without[nr])
        for nr in allowed
        if with_filter[nr] != without[nr]
        and names[nr] not in VOLATILE
        and (with_filter[nr] < 0 or without[nr] < 0)
    } == {}


HIGH = (0, 1 << 32, 1 << 63, 0xFFFFFFFF << 32)


@pytest.mark.parametrize("high", HIGH, ids=hex)
@pytest.mark.parametrize(
    "name, args, expected",
    [
        ("socket", (16, 3, 2), errno.EAFNOSUPPORT),
        ("socket", (2, 1, 132), errno.EPROTONOSUPPORT),
        ("ioctl", (1, 0x5412, 0), errno.EPERM),
        ("ioctl", (1, 0x541C, 0), errno.EPERM),
        ("prctl", (35, 0), errno.EPERM),
        ("personality", (0x40000,), errno.EPERM),
        ("prlimit64", (1, 7, 1, 0), errno.EPERM),
        ("clone", (1 << 28,), errno.EPERM),
    ],
)
def test_high_bits_hide_nothing(name: str, args: tuple[int, ...], expected: int, high: int) -> None:
    index = 1 if name == "ioctl" else 0
    widened = (*args[:index], args[index] | high, *args[index + 1 :])
    assert probe(profile.default.seccomp, [(number(name), *widened)]) == [-expected]


@pytest.mark.parametrize("high", HIGH, ids=hex)
def test_the_kernel_does_ignore_those_high_bits(high: int) -> None:
    family, query = 1 | high, 0xFFFFFFFF | high
    found = probe(None, [(number("socket"), family, 1, 0), (number("personality"), query)])
    assert min(found) >= 0


@pytest.mark.parametrize("name", ["default", "build", "compat"])
def test_what_programs_do_all_the_time_works(name: str) -> None:
    rules = profile.get(name).seccomp
    found = probe(
        rules,
        [
            (number("getpid"),),
            (number("socket"), 1, 1, 0),
            (number("socket"), 2, 1, 6),
            (number("socket"), 10, 2, 17),
            (number("socket"), 16, 3, 0),
            (number("personality"), 0xFFFFFFFF),
            (number("umask"), 0o22),
            (number("dup"), 1),
        ],
    )
    # A host without IPv6 is no fault of the filter.
    assert [result for result in found if result < 0 and result != -errno.EAFNOSUPPORT] == []


def test_threads_and_processes_without_clone3() -> None:
    script = (
        "import subprocess, sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "import _seccomp_live\n"
        "_seccomp_live.load(bytes.fromhex(sys.argv[2]))\n"
        "seen = []\n"
        "thread = threading.Thread(target=seen.append, args=(1,)); thread.start(); thread.join()\n"
        "print(seen, subprocess.run(['/bin/echo', 'hello'], capture_output=True, text=True).stdout)"
    )
    program = _seccomp.compile(profile.default.seccomp).hex()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, PROBE.parent, program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["[1]", "hello"]


def test_judge_ends_the_program() -> None:
    done = run(profile.judge.seccomp, [(number("mount"), 0, 0, 0, 0, 0)])
    assert done.returncode == -signal.SIGSYS


def test_a_kill_in_a_thread_ends_the_whole_process() -> None:
    rules = Filter(default=ALLOW, rules=(Rule(("mount",), KILL_PROCESS),))
    done = run(rules, [(number("mount"), 0, 0, 0, 0, 0)], thread=True)
    assert done.returncode == -signal.SIGSYS


def test_trap_raises_sigsys() -> None:
    rules = Filter(default=ALLOW, rules=(Rule(("mount",), TRAP),))
    assert run(rules, [(number("mount"), 0, 0, 0, 0, 0)]).returncode == -signal.SIGSYS


def test_a_later_filter_cannot_allow_more() -> None:
    rules = profile.default.seccomp
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import _seccomp_live as live\n"
        "for program in sys.argv[3:]: live.load(bytes.fromhex(program))\n"
        "print(live.call(int(sys.argv[2]), 0))"
    )
    programs = [_seccomp.compile(value).hex() for value in (rules, Filter(default=ALLOW))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, PROBE.parent, str(number("unshare")), *programs],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) == -errno.EPERM


needs_x86 = pytest.mark.skipif(MACHINE != "x86_64", reason="x86-64 only")
I386_CALLS = [20, 102, 120]  # getpid, socketcall, clone


@needs_x86
def test_i386_calls_are_not_implemented() -> None:
    if probe(None, [], i386=[20])[0] <= 0:
        pytest.skip("this kernel has no i386 calls")
    rules = profile.default.seccomp
    assert probe(rules, [], i386=I386_CALLS) == [-errno.ENOSYS] * len(I386_CALLS)
    assert run(profile.judge.seccomp, [], i386=[20]).returncode == -signal.SIGSYS


@needs_x86
def test_x32_calls_are_not_implemented() -> None:
    # SIGSYS tells the filter's verdict from that of a kernel without x32.
    numbers = [_bpf.X32_BIT | nr for nr in (0, 39, 41, 165, 520)]
    found = probe(profile.default.seccomp, [(nr, 0, 0, 0, 0, 0, 0) for nr in numbers])
    assert found == [-errno.ENOSYS] * len(numbers)
    for nr in numbers:
        assert run(profile.judge.seccomp, [(nr, 0, 0, 0)]).returncode == -signal.SIGSYS


@needs_x86
def test_i386_calls_are_judged_by_name_where_admitted() -> None:
    if probe(None, [], i386=[20])[0] <= 0:
        pytest.skip("this kernel has no i386 calls")
    rules = Filter(default=ALLOW, rules=(Rule(("getppid",), deny(95)),), secondary=("i386",))
    own, parent = probe(rules, [], i386=[20, 64])
    assert own > 0
    assert parent == -95


@pytest.mark.parametrize("name", profile.names())
def test_the_kernel_loads_every_profile(name: str) -> None:
    assert run(profile.get(name).seccomp, []).returncode == 0
