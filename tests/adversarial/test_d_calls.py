# SPDX-License-Identifier: Apache-2.0
"""D: every system call of every profile, tried in a sandbox.

Single calls are in the catalogue; what the filter's program does with every argument is in
tests/unit/test_seccomp*.py, and that real programs run under it in tests/programs (D7, D11).
"""

from __future__ import annotations

import os
import signal
import struct
from typing import TYPE_CHECKING

import pytest

import _bpf
import _seccomp_model as model
import pycontain
from _attackers import INSIDE, MOUNT, Call, run_inside
from pycontain import Reason, profile
from pycontain.selftest._programs import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Sandbox

MACHINE = os.uname().machine
NONSENSE = (-1,) * 6
# Of the kernel's own trampolines alone; no filter is asked (kernel/seccomp.c, Linux 6.14).
UNFILTERED = {"uprobe", "uretprobe"}
WORDS = ((1 << 64) - 1,) * 6


@pytest.mark.parametrize("name", profile.names())
def test_d1_every_number_is_answered_as_the_model_says(
    name: str, box: Callable[..., Sandbox]
) -> None:
    rules = profile.get(name).seccomp
    verdicts = {
        number: model.verdict(rules, MACHINE, _bpf.NATIVE[MACHINE], number, WORDS)
        for number in range(1024)
        if model.names(MACHINE).get(number) not in UNFILTERED
    }
    denied = [number for number, verdict in verdicts.items() if verdict != _bpf.ALLOW]
    with box(profile=name, mounts=[MOUNT]) as sandbox:
        found = run_inside(sandbox, *((Call(number, NONSENSE),) for number in denied))
    expected = {
        number: "SIGSYS" if verdicts[number] == _bpf.KILL_PROCESS else verdicts[number] & 0xFFFF
        for number in denied
    }
    assert len(denied) > 400
    assert {
        number: outcome.errno or str(outcome) for number, outcome in zip(denied, found, strict=True)
    } == expected


@pytest.mark.parametrize("user", [None, pytest.param("0", marks=pytest.mark.requires("rootrange"))])
def test_d12_an_attack_on_the_kernel_ends_the_program_and_is_called_so(user: str | None) -> None:
    # ptrace(2), of PID 1.
    done = pycontain.run([INSIDE, "reach", "1"], profile="judge", mounts=[MOUNT], user=user)
    assert (done.returncode, done.reason) == (-signal.SIGSYS, Reason.SECCOMP)


NEW_LISTENER = 1 << 3
_ALL = Struct(struct.pack("HxxxxxxQ", 1, 0), {8: struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)})


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("name", ["default", "judge", "build"])
def test_d10_a_listener_of_a_programs_own_asks_nobody_else(
    name: str, audit: bool, box: Callable[..., Sandbox]
) -> None:
    # Its own calls alone can be asked about, and with an audit not even these (seccomp(2), EBUSY).
    listen = (
        Call("prctl", (38, 1, 0, 0, 0)),
        Call("seccomp", (1, NEW_LISTENER, _ALL)),
    )
    with box(profile=name, mounts=[MOUNT], audit=audit) as sandbox:
        found = str(run_inside(sandbox, listen)[0])
        listens = found == "done" and not audit
        assert listens or found in {"EPERM", "ENOSYS", "EACCES", "EBUSY", "SIGSYS"}
        assert sandbox.run(["echo", "well"]).stdout == b"well\n"
