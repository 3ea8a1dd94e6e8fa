# SPDX-License-Identifier: Apache-2.0
"""Why was it denied: each refusal of the filter is told, and none is decided otherwise for that."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import errno
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

import pycontain
from _box import settles, started
from _owners import owner
from pycontain import (
    PIPE,
    AsyncSandbox,
    Bind,
    Denials,
    Reason,
    Sandbox,
    SpawnError,
    TimeoutExpired,
    UnsupportedError,
    _native,
    _seccomp,
    _syscalls,
    profile,
)
from pycontain._nsbind import ffi
from pycontain._seccomp import FLAGS, TRAP, Rule, deny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.requires("listener")

MACHINE = os.uname().machine
NUMBERS = _syscalls.table(MACHINE).numbers
UNKNOWN, NEGATIVE = 1000, 0xFFFFFFFF
HIGH = 1 << 40
TIOCSTI, AF_ALG, AF_VSOCK, NEWUSER, SIGCHLD = 0x5412, 38, 40, 0x10000000, 17
Call = tuple[int, ...]

# Makes the calls that it reads and writes what they return, or their error as a negative number.
CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*numbers):
    got = libc.syscall(*map(ctypes.c_ulong, numbers))
    return -ctypes.get_errno() if got == -1 else got
if __name__ == "__main__":
    print(json.dumps([call(*numbers) for numbers in json.load(sys.stdin)]))
"""


def calls(sandbox: Sandbox, *made: Call) -> tuple[list[int], Denials]:
    done = sandbox.run([sys.executable, "-c", CALLS], input=json.dumps(made), text=True, check=True)
    assert done.denials is not None
    return json.loads(done.stdout), done.denials


def script(*lines: str) -> list[str]:
    """Return a program that has CALLS's `call`."""
    return [sys.executable, "-c", "\n".join([CALLS.partition("if __name__")[0], *lines])]


def made(name: str, *args: int) -> str:
    return f"call({', '.join(map(str, (NUMBERS[name], *args)))})"


class Case(NamedTuple):
    """A call, its error, and words of what is told of it."""

    call: Call
    errno: int
    shown: str
    rule: str


REFUSED: dict[str, Case] = {
    "socket family": Case(
        (NUMBERS["socket"], AF_ALG, 5, 0),
        errno.EAFNOSUPPORT,
        "socket(family=AF_ALG, type=SOCK_SEQPACKET, protocol=0)",
        "socket only with (family == AF_UNIX) or (family in {AF_INET, AF_INET6} and protocol in {",
    ),
    "with other high bits": Case(
        (NUMBERS["socket"], AF_VSOCK | HIGH, 1, 0),
        errno.EAFNOSUPPORT,
        "socket(family=AF_VSOCK|0x10000000000, type=SOCK_STREAM, protocol=0)",
        "socket only with",
    ),
    "protocol": Case(
        (NUMBERS["socket"], socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 255),
        errno.EPROTONOSUPPORT,
        "socket(family=AF_INET, type=SOCK_RAW|SOCK_CLOEXEC, protocol=255)",
        "socket with family in {AF_INET, AF_INET6}: errno EPROTONOSUPPORT",
    ),
    "namespaces": Case(
        (NUMBERS["unshare"], NEWUSER),
        errno.EPERM,
        "unshare(flags=CLONE_NEWUSER)",
        "unshare is not allowed by any rule: errno EPERM",
    ),
    "clone": Case(
        (NUMBERS["clone"], NEWUSER | SIGCHLD, 0, 0, 0, 0),
        errno.EPERM,
        "clone(flags=CLONE_NEWUSER|0x11)",
        "clone only with (flags & CLONE_NEWNS",
    ),
    "terminal": Case(
        (NUMBERS["ioctl"], 0, TIOCSTI, 0),
        errno.EPERM,
        "ioctl(op=TIOCSTI)",
        "ioctl with op in {TIOCSTI, TIOCLINUX, TIOCSETD}: errno EPERM",
    ),
    "as if absent": Case(
        (NUMBERS["keyctl"], 3, 0, 0, 0, 0),
        errno.ENOSYS,
        "keyctl(operation=3)",
        "keyctl: errno ENOSYS",
    ),
    "unknown number": Case(
        (UNKNOWN, 1, 2),
        errno.ENOSYS,
        f"syscall 0x3e8 of {MACHINE}()",
        "numbers of no call that the filter knows: errno ENOSYS",
    ),
}
ALLOWED: tuple[Call, ...] = (
    (NUMBERS["getppid"],),
    (NUMBERS["socket"], socket.AF_UNIX, 1, 0),
    (NUMBERS["prctl"], 39, 0, 0, 0, 0),
    (NUMBERS["personality"], NEGATIVE),
)


@pytest.fixture
def audited() -> Iterator[Sandbox]:
    """Return a living sandbox with an audit."""
    with Sandbox(audit=True) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_told(name: str, audited: Sandbox) -> None:
    case = REFUSED[name]
    returned, denials = calls(audited, case.call, case.call)
    assert returned == [-case.errno] * 2
    [denial] = [row for row in denials if row.number == case.call[0]]
    assert (denial.layer, denial.machine) == ("seccomp", MACHINE)
    assert (denial.call, denial.errno, denial.count) == (case.shown, case.errno, 2)
    assert denial.rule.startswith(case.rule)
    assert denial.pid > 1
    assert denial.comm == os.path.basename(sys.executable)[:15]
    assert denials.total == sum(row.count for row in denials)
    assert denials.untold == 0
    assert denial.outcome == errno.errorcode[case.errno]
    assert denial.call in str(denial)


@pytest.mark.requires("x86_64")
@pytest.mark.parametrize("number", [NUMBERS["getppid"] | 1 << 30, NEGATIVE])
def test_a_number_of_x32_is_told_as_such(number: int, audited: Sandbox) -> None:
    returned, denials = calls(audited, (number,))
    assert returned == [-errno.ENOSYS]
    [denial] = [row for row in denials if row.number == number]
    assert (denial.machine, denial.rule) == ("x32", "calls of x32: errno ENOSYS")


def test_what_is_allowed_is_not_told(audited: Sandbox) -> None:
    before = audited.run([sys.executable, "-c", CALLS], input="[]").denials
    _, denials = calls(audited, *ALLOWED)
    assert before is not None
    assert [row.number for row in denials] == [row.number for row in before]


def probes(name: str) -> list[Call]:
    """Return calls that the profile allows or refuses with an error, and none that ends it."""
    rules = profile.get(name).seccomp
    arch = _syscalls.table(MACHINE).audit_arch
    tried = [*(case.call for case in REFUSED.values()), *ALLOWED]
    # Numbers without an effect: refused by all profiles, or harmless with bad arguments.
    tried += [(NUMBERS[each], WRONG, WRONG, WRONG, WRONG, WRONG) for each in HARMLESS]

    def survives(call: Call) -> bool:
        padded = (*call[1:], *(0,) * 6)[:6]
        return _seccomp.decide(rules, arch, call[0], padded).action.kind in {"allow", "errno"}

    return [call for call in tried if survives(call)]


WRONG = (1 << 64) - 1
HARMLESS = (
    *("mount", "umount2", "setns", "bpf", "perf_event_open", "add_key", "swapon", "syslog"),
    *("userfaultfd", "init_module", "process_vm_readv", "flock", "clone3", "acct", "quotactl"),
)


@pytest.mark.parametrize("name", profile.names())
def test_the_decisions_are_those_of_the_filter(name: str) -> None:
    asked = json.dumps(probes(name))
    plain, told = (
        pycontain.run([sys.executable, "-c", CALLS], input=asked, profile=name, audit=audit)
        for audit in (False, True)
    )
    assert json.loads(told.stdout) == json.loads(plain.stdout)
    assert (told.returncode, told.reason) == (plain.returncode, plain.reason)
    assert plain.denials is None
    assert told.denials


def test_the_filter_is_the_same_without_an_audit() -> None:
    plain, told = (Sandbox(audit=audit).plan.setup for audit in (False, True))
    program = _seccomp.compile(profile.get("default").seccomp)
    assert (plain.count(program), told.count(program)) == (1, 1)
    assert told.count(_seccomp.notifying(program)) == 1
    assert len(told) - len(plain) == len(program)


DEADLY = {
    "ptrace": (NUMBERS["ptrace"], 0, 0, 0, 0),
    "unshare": (NUMBERS["unshare"], NEWUSER),
    "ioctl": (NUMBERS["ioctl"], 0, TIOCSTI, 0),
    "clone": (NUMBERS["clone"], NEWUSER, 0, 0, 0, 0),
}
DEAF = {
    "by default": "",
    "ignored": "import signal; signal.signal(signal.SIGSYS, signal.SIG_IGN)",
    "blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGSYS])",
    "handled": "import signal; signal.signal(signal.SIGSYS, lambda *_: print('alive'))",
}


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("name", DEADLY)
def test_what_ends_a_program_ends_it_as_without(name: str, audit: bool) -> None:
    program = script(f"call(*{DEADLY[name]})", "print('alive')")
    done = pycontain.run(program, profile="judge", audit=audit)
    assert (done.returncode, done.reason, done.stdout) == (-signal.SIGSYS, Reason.SECCOMP, b"")
    if audit:
        [denial] = [row for row in done.denials or () if row.errno is None]
        assert (denial.syscall, denial.number) == (name, DEADLY[name][0])
        assert (denial.outcome, denial.count) == ("killed", 1)
        assert denial.rule.endswith("kill-process")


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("how", DEAF)
def test_a_program_deaf_to_the_signal_ends_all_the_same(how: str, audit: bool) -> None:
    program = script(DEAF[how], f"call(*{DEADLY['ptrace']})", "print('alive')")
    done = pycontain.run(program, profile="judge", audit=audit)
    assert (done.returncode, done.reason, done.stdout) == (-signal.SIGSYS, Reason.SECCOMP, b"")


@pytest.mark.parametrize("audit", [False, True])
def test_a_child_that_is_ended_is_its_parents_affair(audit: bool) -> None:
    program = script(
        "import os",
        "child = os.fork()",
        "if not child:",
        f"    call(*{DEADLY['unshare']})",
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    )
    done = pycontain.run(program, profile="judge", audit=audit, text=True)
    assert (done.stdout, done.reason) == (f"{-signal.SIGSYS}\n", Reason.EXITED)


OWN_FILTER = (
    "class Program(ctypes.Structure):",
    "    _fields_ = (('n', ctypes.c_ushort), ('code', ctypes.c_char_p))",
    "import struct",
    "code = struct.pack('=HBBI', 6, 0, 0, 0x7fff0000)",
    "program = Program(1, code)",
    f"print(call({NUMBERS['seccomp']}, 1, 0, ctypes.addressof(program)))",
    f"print(call({NUMBERS['prctl']}, 22, 2, ctypes.addressof(program), 0, 0))",
)


@pytest.mark.parametrize(
    "name, expected", [("default", "0\n0\n"), ("judge", f"{-errno.EACCES}\n" * 2)]
)
def test_where_the_filter_ends_programs_they_load_none(name: str, expected: str) -> None:
    with Sandbox(profile=name, audit=True) as sb:
        assert ("filters of their own" in sb.enforcement["audit"].by) == (name == "judge")
        done = sb.run(script(*OWN_FILTER), text=True)
    assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.requires("root", "idmap")
def test_what_is_refused_before_the_program_is_answered_too(tmp_path: Path) -> None:
    """Without no_new_privs the filter is loaded first, and this one refuses openat2."""
    share = Bind(tmp_path, "/mnt", read_only=False)
    done = pycontain.run(["id", "-u"], profile="build", mounts=[share], cwd="/tmp", audit=True)
    assert (done.stdout, done.reason) == (b"0\n", Reason.EXITED)
    assert not [row for row in done.denials or () if row.syscall == "openat2"]


def test_a_failed_start_leaves_no_account(audited: Sandbox) -> None:
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            audited.run(["no-such-program"])
    assert audited.run(["true"]).returncode == 0


def test_kinds_are_bounded_and_calls_are_counted() -> None:
    program = script(
        f"for family in range(100, 300): call({NUMBERS['socket']}, family, 1, 0)",
        f"for pointer in range(200): call({NUMBERS['mount']}, pointer, pointer, 0, 0, 0)",
    )
    done = pycontain.run(program, audit=True)
    assert done.denials is not None
    assert len(done.denials) == _native.DENIALS_MAX
    assert 400 <= done.denials.total < 500
    assert done.denials.untold == done.denials.total - sum(row.count for row in done.denials) > 0


def test_pointers_do_not_make_kinds(audited: Sandbox) -> None:
    _, denials = calls(audited, *((NUMBERS["mount"], each, each, each, 0, 0) for each in range(99)))
    [denial] = [row for row in denials if row.syscall == "mount"]
    assert denial.count == 99


def test_a_flood_keeps_nobody_waiting() -> None:
    flood = script("import os", "print('ready', flush=True)",
                   "for _ in range(3): os.fork()",
                   f"while True: {made('socket', AF_ALG, 1, 0)}")  # fmt: skip
    with Sandbox(audit=True) as sb:
        with started(sb, *flood) as process:
            for number in range(5):
                done = sb.run(["sh", "-c", f"exit {number}"], timeout=30)
                assert done.returncode == number
                assert not [row for row in done.denials or () if row.syscall == "socket"]
            with pytest.raises(TimeoutExpired):
                sb.run(flood, timeout=0.2)
            process.kill_all()
            assert process.wait() == -signal.SIGKILL
            assert process.denials is not None
            assert process.denials.total > 0
        assert sb.run(["true"]).returncode == 0


def test_commands_keep_theirs_apart_and_the_sandbox_knows_all() -> None:
    with Sandbox(audit=True) as sb:
        first = sb.popen(script("input()", made("unshare", NEWUSER)), stdin=PIPE)
        second = sb.popen(script("input()", made("socket", AF_ALG, 1, 0)), stdin=PIPE)
        assert first.denials is None
        for process in (second, first):
            process.communicate(b"\n")
        told = [{row.syscall for row in process.denials or ()} for process in (first, second)]
        assert "unshare" in told[0]
        assert "socket" in told[1]
        assert not told[0] & told[1] & {"unshare", "socket"}
        everything = sb.denials()
        assert everything is not None
        assert told[0] | told[1] <= {row.syscall for row in everything}


def test_what_a_command_leaves_behind_is_told_by_the_sandbox() -> None:
    daemon = script(
        "import os",
        "if os.fork(): os._exit(0)",
        "os.setsid()",
        "os.read(0, 1)",
        made("unshare", NEWUSER),
    )
    with Sandbox(audit=True) as sb:
        ours, theirs = os.pipe()
        try:
            done = sb.run(daemon, stdin=ours, stdout=None, stderr=None)
        finally:
            os.close(theirs)
            os.close(ours)
        assert "unshare" not in {row.syscall for row in done.denials or ()}
        assert settles(lambda: "unshare" in {row.syscall for row in sb.denials() or ()})


def test_a_terminal_and_its_program() -> None:
    with Sandbox(audit=True) as sb:
        process = sb.popen(script(made("ioctl", 0, TIOCSTI, 0)), pty=True)
        assert process.wait() == 0
        assert [row.call for row in process.denials or ()] == ["ioctl(op=TIOCSTI)"]
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def test_an_event_loop() -> None:
    async def main() -> tuple[Denials | None, ...]:
        program = script(made("unshare", NEWUSER))
        once = await pycontain.run_async(program, audit=True)
        async with AsyncSandbox(audit=True) as sb:
            done = await sb.run(program)
            process = await sb.popen(program)
            await process.wait()
            return once.denials, done.denials, process.denials, await sb.denials()

    found = asyncio.run(main())
    for denials, count in zip(found, (1, 1, 1, 2), strict=True):
        assert denials is not None
        assert [row.count for row in denials if row.syscall == "unshare"] == [count]


LOUD = script(
    made("unshare", NEWUSER), "print('x' * 10_000, flush=True)", "import time; time.sleep(999)"
)


def test_an_end_by_a_limit_does_not_hide_them() -> None:
    done = pycontain.run(LOUD, audit=True, output_limit=1000)
    assert done.reason == Reason.OUTPUT_LIMIT
    assert "unshare" in {row.syscall for row in done.denials or ()}


def test_nor_does_it_in_an_event_loop() -> None:
    done = asyncio.run(pycontain.run_async(LOUD, audit=True, output_limit=1000))
    assert done.reason == Reason.OUTPUT_LIMIT
    assert "unshare" in {row.syscall for row in done.denials or ()}


def test_a_name_from_inside_is_escaped() -> None:
    program = script(
        "open('/proc/self/comm', 'wb').write(b'\\x1b[31m\\n\\xff')", made("unshare", NEWUSER)
    )
    done = pycontain.run(program, audit=True, check=True)
    [denial] = [row for row in done.denials or () if row.syscall == "unshare"]
    assert denial.comm == r"\x1b[31m\n\xff"


def test_they_can_be_copied(audited: Sandbox) -> None:
    _, denials = calls(audited, (NUMBERS["unshare"], NEWUSER))
    for other in (pickle.loads(pickle.dumps(denials)), copy.deepcopy(denials)):
        assert (tuple(other), other.total) == (tuple(denials), denials.total)
        assert isinstance(other, Denials)


def test_nothing_survives_the_callers_death() -> None:
    with owner({"audit": True}) as (process, [pid1]):
        pidfd = os.pidfd_open(pid1)
        try:
            process.kill()
            assert select.select([pidfd], [], [], 10)[0] == [pidfd]
        finally:
            os.close(pidfd)


def test_it_says_what_it_does_not_see() -> None:
    control = Sandbox(audit=True).enforcement["audit"]
    assert control.in_force
    assert "not what Landlock" in control.by
    assert "audit" not in Sandbox().enforcement
    with pytest.raises(UnsupportedError, match="audit=True"):
        Sandbox(require=["audit"])


def test_what_no_listener_sees_is_said() -> None:
    trapped = profile.default.seccomp.first(Rule(("unshare",), TRAP))
    with Sandbox(profile=profile.default.replace(seccomp=trapped), audit=True) as sb:
        assert "raise a signal" in sb.enforcement["audit"].by
        done = sb.run(script(made("unshare", NEWUSER)))
    assert (done.returncode, done.reason) == (-signal.SIGSYS, Reason.SECCOMP)
    assert "unshare" not in {row.syscall for row in done.denials or ()}


@pytest.mark.parametrize("audit", [False, True])
def test_a_filter_that_lets_no_listener_out_is_an_error(audit: bool) -> None:
    mute = profile.default.seccomp.first(Rule(("sendmsg",), deny()))
    with Sandbox(profile=profile.default.replace(seccomp=mute), audit=audit) as sb:
        for _ in range(2):
            if audit:
                with pytest.raises(SpawnError, match="sendmsg") as caught:
                    sb.run(["true"])
                assert caught.value.step == "LISTENER"
            else:
                assert sb.run(["true"]).returncode == 0


@pytest.mark.parametrize("audit", [False, True])
def test_flags_of_a_filter_are_asked_for_where_they_mean_something(audit: bool) -> None:
    """The kernel takes neither TSYNC with a listener nor WAIT_KILLABLE_RECV without."""
    flagged = dataclasses.replace(profile.default.seccomp, flags=tuple(FLAGS))
    sb = Sandbox(profile=profile.default.replace(seccomp=flagged), audit=audit)
    expected = FLAGS["SECCOMP_FILTER_FLAG_LOG"] | FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    setup = ffi.from_buffer(sb.plan.setup)
    assert ffi.cast("struct nsb_setup *", setup).seccomp_flags == expected
    with sb:
        assert sb.run(["true"]).returncode == 0


# A filter with a listener around everything: of these a process can have one only.
OUTER = """
import ctypes, os, struct, sys
class Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_ushort), ("code", ctypes.c_char_p))
libc = ctypes.CDLL(None, use_errno=True)
program = Program(1, struct.pack("=HBBI", 6, 0, 0, 0x7fff0000))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(int(sys.argv[1]), 1, 8, ctypes.byref(program)) >= 0
import pycontain
try:
    pycontain.run(["true"], audit=True)
except pycontain.UnsupportedError as error:
    print(error)
with pycontain.Sandbox(audit=True, accept_missing=["audit"]) as sb:
    print(sb.enforcement["audit"].in_force, sb.run(["true"]).denials, sb.denials())
"""


@pytest.mark.requires("root")
def test_without_a_listener_there_is_no_audit_and_no_pretence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTER, str(NUMBERS["seccomp"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    error, found = done.stdout.splitlines()
    assert "audit is NOT in force" in error
    assert "listener" in error
    assert found == "False None None"
