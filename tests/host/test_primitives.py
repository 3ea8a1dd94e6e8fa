# SPDX-License-Identifier: Apache-2.0
"""What is performed, and the calls by which a filter is told from the kernel."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from pycontain import _syscalls
from pycontain._calls import Call, Outcome
from pycontain._cause import BlockedBy
from pycontain._contract._machine import Machine
from pycontain._fallbacks import FALLBACKS
from pycontain._host import PRIMITIVES, Primitive, cause_of_step, perform
from pycontain._host._perform import _run
from pycontain._host._primitives import CLONE_NEW, Caller, Script, witness
from pycontain._native import steps

NEEDED = [primitive for primitive in PRIMITIVES if primitive.needed]
CALLER = Caller(os.geteuid(), os.getegid(), clone3=True)
OLD = CALLER._replace(clone3=False)
PROGRAMS = [primitive.program(who) for primitive in PRIMITIVES for who in (CALLER, OLD)]
CALLS = {call.name: call for program in PROGRAMS for call in program}
WITNESSED = {name: pair for name, call in CALLS.items() if (pair := witness(call))}


@pytest.mark.requires("userns")
@pytest.mark.parametrize("primitive", NEEDED, ids=lambda primitive: primitive.name)
def test_what_every_sandbox_needs_works_where_sandboxes_do(primitive: Primitive) -> None:
    (done,) = perform([primitive])
    assert done.ok, done.cause
    assert (done.errno, done.call) == (0, "")


@pytest.mark.requires("userns", "landlock", "overlay", "listener")
def test_all_works_that_this_kernel_has() -> None:
    old = {row.name for row in FALLBACKS if row.since > Machine.here().kernel}
    failed = [done for done in perform() if not done.ok and done.primitive.name not in old]
    newer = [done for done in failed if done.primitive.since > Machine.here().kernel]
    assert [str(done.cause) for done in failed if done not in newer] == []
    assert {done.cause.blocked_by for done in newer if done.cause} <= {BlockedBy.KERNEL_VERSION}


@pytest.mark.parametrize("name", WITNESSED)
def test_the_kernel_answers_a_witness_whoever_asks(name: str) -> None:
    """Else a refusal of the kernel's would be taken for a filter's."""
    call, expected = WITNESSED[name]
    if Machine.here().kernel < _syscalls.first_kernel(name, os.uname().machine):
        expected = errno.ENOSYS
    (came,) = _run([(call,)])
    assert came == Outcome((-expected,), 0, 0)


def test_a_witness_of_a_clone_asks_for_the_same_namespaces() -> None:
    flags = CLONE_NEW["user"] | CLONE_NEW["net"] | signal.SIGCHLD
    pair = witness(Call("clone", (flags, 0, 0, 0, 0)))
    assert pair is not None
    assert isinstance(pair[0].words[0], int)
    assert pair[0].words[0] & flags == flags


def test_steps_are_those_of_the_core() -> None:
    assert {step for primitive in PRIMITIVES for step in primitive.steps} <= set(steps().values())
    assert len({primitive.name for primitive in PRIMITIVES}) == len(PRIMITIVES)


@pytest.mark.requires("userns")
def test_a_step_whose_primitives_work_has_no_cause() -> None:
    assert cause_of_step("LOOPBACK", 1) is None
    assert cause_of_step("no such step", 1) is None


def test_a_program_goes_on_in_the_child_and_ends_as_it_did() -> None:
    def into_children(script: Script) -> None:
        for _ in range(3):
            script.do("clone", signal.SIGCHLD, 0, 0, 0, 0, fork=True)
        script.do("kill", script.do("getpid"), signal.SIGTERM, 0)

    script = Script(CALLER)
    into_children(script)
    (came,) = _run([tuple(script.calls)])
    assert came.results[:3] == (0, 0, 0)
    assert came.signal == signal.SIGTERM


@pytest.mark.slow
def test_what_hangs_ends_after_five_seconds_and_leaves_nothing() -> None:
    def sleep(script: Script) -> None:
        script.do("clone", signal.SIGCHLD, 0, 0, 0, 0, fork=True)
        script.do("ppoll", 0, 0, 0, 0, 0)

    (done,) = perform([Primitive(name="sleep", purpose="nothing", write=sleep)])
    assert done.cause is not None
    assert done.cause.blocked_by is BlockedBy.UNKNOWN
    assert "ppoll did not come back in time" in done.cause.why
    assert not list(Path(f"/proc/self/task/{os.getpid()}").glob("children/*"))
