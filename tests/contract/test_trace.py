# SPDX-License-Identifier: Apache-2.0
"""A trace counts every system call, changes no verdict, and tells which kernels have them."""

from __future__ import annotations

import errno
import json
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from _box import warm
from _elves import elf
from pycontain import Bind, ConfigError, Sandbox, TimeoutExpired, contract, profile
from pycontain._cli import main
from pycontain._seccomp import KILL_PROCESS, Rule, deny
from pycontain._syscalls import first_kernel, table

__all__ = ["warm"]

pytestmark = pytest.mark.requires("listener", "tmpfs_binds", "x86_64")

NUMBERS = table("x86_64").numbers
NOBODY = 4000
"""The number of no system call."""


def calls(*rows: tuple[int, int], status: int = 0) -> bytes:
    """Return a program that makes calls with one argument each, and ends."""
    code = b""
    for number, argument in (*rows, (NUMBERS["exit"], status)):
        code += struct.pack("<BIBIxx", 0xB8, number, 0xBF, argument)[:-2] + b"\x0f\x05"
    return elf(code=code)


@pytest.fixture
def traced(tmp_path: Path) -> Any:
    """Return a function that traces a program."""
    tmp_path.chmod(0o755)

    def traced(program: bytes, **options: Any) -> contract.Trace:
        (tmp_path / "p").write_bytes(program)
        (tmp_path / "p").chmod(0o755)
        return contract.trace(["/srv/p"], mounts=[Bind(tmp_path, "/srv")], **options)

    return traced


def rows(trace: contract.Trace) -> dict[str, tuple[int, int]]:
    return {str(call): (call.count, call.denied) for call in trace.calls}


def test_each_call_is_counted(traced: Any) -> None:
    done = traced(calls(*[(NUMBERS["pidfd_open"], 1)] * 3, (NUMBERS["getpid"], 0), status=7))
    assert done.result.returncode == 7
    assert rows(done) == {"pidfd_open": (3, 0), "exit": (1, 0), "getpid": (1, 0)}
    assert (done.oldest, [str(call) for call in done.because]) == ((5, 3), ["pidfd_open"])
    assert done.calls[0].since == (5, 3)


def test_what_was_refused_was_not_needed(traced: Any) -> None:
    done = traced(calls((NUMBERS["clone3"], 0), (NUMBERS["bpf"], 0), (NUMBERS["dup"], 0)))
    assert rows(done) == {"clone3": (1, 1), "bpf": (1, 1), "dup": (1, 0), "exit": (1, 0)}
    assert (done.oldest, done.because) == ((2, 6), ())
    assert {denial.syscall for denial in done.denials} == {"clone3", "bpf"}


def test_a_number_of_no_call_is_shown_as_it_is(traced: Any) -> None:
    (unknown, _) = sorted(traced(calls((NOBODY, 0))).calls, key=lambda call: -call.number)
    assert (unknown.name, str(unknown), unknown.denied) == (None, "syscall 0xfa0 of x86_64", 1)


KERNELS: dict[str, set[str]] = {
    "5.3": set(),
    "5.2": {"pidfd_open"},
    "3.16": {"pidfd_open", "getrandom"},
}


def test_an_older_kernel_is_tried_by_refusing_what_it_has_not(traced: Any) -> None:
    program = calls((NUMBERS["pidfd_open"], 1), (NUMBERS["getrandom"], 0))
    for kernel, denied in KERNELS.items():
        done = traced(program, kernel=kernel)
        assert {str(call) for call in done.calls if call.denied} == denied
        assert {denial.errno for denial in done.denials} <= {errno.ENOSYS}
        assert (done.result.returncode, done.kernel) == (
            0,
            tuple(map(int, kernel.split("."))),
        )


def test_an_end_by_the_filter_stays_one(traced: Any) -> None:
    kills = profile.default.replace(
        seccomp=profile.default.seccomp.first(Rule(("getpid",), KILL_PROCESS))
    )
    done = traced(calls((NUMBERS["getpid"], 0), (NUMBERS["getppid"], 0)), profile=kills)
    assert done.result.returncode == -signal.SIGSYS
    assert rows(done) == {"getpid": (1, 1)}


def test_programs_with_processes_threads_and_signals_run_as_without() -> None:
    script = """
import os, signal, subprocess, threading
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
threads = [threading.Thread(target=lambda: [os.stat('/') for _ in range(100)]) for _ in range(8)]
[thread.start() for thread in threads]
out = [subprocess.run(['echo', str(n)], capture_output=True).stdout for n in range(3)]
[thread.join() for thread in threads]
while len(hits) < 3: signal.pause()
print(out)
"""
    done = contract.trace(["python3", "-c", script], timeout=60)
    assert done.result.stdout == "[b'0\\n', b'1\\n', b'2\\n']\n", done.result
    assert rows(done)["execve"][0] >= 3
    assert sum(count for name, (count, _) in rows(done).items() if "stat" in name) >= 800


def test_a_command_that_does_not_end_is_killed() -> None:
    with Sandbox(trace=True) as sandbox:
        with pytest.raises(TimeoutExpired):
            sandbox.run(["sh", "-c", "while :; do :; done"], timeout=0.3)
        assert sandbox.run(["echo", "well"]).stdout == b"well\n"
        assert sandbox.enforcement["trace"].in_force


def test_a_profile_that_hides_the_tracer_is_an_error() -> None:
    policy = profile.default.replace(
        seccomp=profile.default.seccomp.first(Rule(("sendmsg",), deny(errno.EPERM)))
    )
    with pytest.raises(ConfigError, match="refuses sendmsg"):
        contract.trace(["true"], profile=policy)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--", "sh", "-c", "echo out; exit 3"]) == 3
    out, err = capsys.readouterr()
    assert out == "out\n"
    assert err.splitlines()[0].split() == ["LINUX", "CALL", "COUNT", "REFUSED"]
    assert err.splitlines()[-1].startswith("oldest kernel: ")
    assert main(["trace", "--json", "--kernel", "3.0", "--", "echo", "out"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["stdout"], told["kernel"], told["returncode"]) == ("out\n", "3.0", 0)
    assert all(
        call["denied"] == call["count"]
        for call in told["calls"]
        if tuple(map(int, call["since"].split("."))) > (3, 0)
    )
    assert main(["trace"]) == 125
    assert "nothing to run" in capsys.readouterr().err


def test_first_kernels_of_an_architecture_are_not_before_it() -> None:
    assert first_kernel("read", "x86_64") == (2, 6)
    assert first_kernel("read", "aarch64") == (3, 7)
    assert first_kernel("pidfd_open", "aarch64") == (5, 3)
