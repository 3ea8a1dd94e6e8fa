# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""Nothing that a sandbox does changes the process that made it."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import host_state, python, started
from pycontain import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

Options = dict[str, Any]


def _once(options: Options) -> None:
    pycontain.run(["sh", "-c", "umask 0; cd /tmp; echo hello"], **options)


def _missing(options: Options) -> None:
    with pytest.raises(pycontain.ProgramNotFoundError):
        pycontain.run(["no-such-program"], **options)


def _failing(options: Options) -> None:
    with pytest.raises(pycontain.SpawnError):
        pycontain.run(["true"], **{**options, "mounts": [pycontain.Tmpfs("/bin/busybox")]})


def _living(options: Options) -> None:
    with Sandbox(**options) as sandbox:
        sandbox.run(["true"])
        sandbox.run(["sh", "-c", "kill -9 $$"])


def _other_user(options: Options) -> None:
    with contextlib.suppress(pycontain.ConfigError), Sandbox(**options, user=4321) as sandbox:
        sandbox.run(["true"])


def _host_userland(_options: Options) -> None:
    pycontain.run(["true"])


def _popen(options: Options) -> None:
    with Sandbox(**options) as sandbox, started(sandbox) as process:
        process.terminate()
        process.wait()


def _pty(options: Options) -> None:
    with Sandbox(**options) as sandbox, sandbox.popen(["tty"], pty=True) as process:
        process.communicate()


def _files(options: Options) -> None:
    with Sandbox(**options) as sandbox:
        sandbox.files.write_bytes("/tmp/a/b", b"x")
        sandbox.files.read_bytes("/tmp/a/b")


def _timeout(options: Options) -> None:
    with Sandbox(**options) as sandbox, pytest.raises(pycontain.TimeoutExpired):
        sandbox.run(["sleep", "1000"], timeout=0.05)


def _times(options: Options) -> None:
    names = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
    pycontain.run(["true"], **options, namespaces=names)


ACTIONS: list[Callable[[Options], None]] = [
    _once, _missing, _failing, _living, _other_user, _host_userland, _popen, _pty, _files, _timeout, _times,
]  # fmt: skip


@pytest.mark.parametrize("mode", ["vm", "fork"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__.strip("_"))
def test_the_host_process_is_as_it_was(
    action: Callable[[Options], None],
    mode: str,
    box_options: Options,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYCONTAIN_CLONE", mode)
    before = host_state()
    action(box_options)
    after = host_state()
    assert [
        (name, before[name], after[name]) for name in before if before[name] != after[name]
    ] == []


def test_the_host_process_is_as_it_was_while_one_lives(sb: Sandbox, box_options: Options) -> None:
    before = host_state()
    with Sandbox(**box_options) as other, started(other):
        after = host_state()
    before["children"] = after["children"] = None
    assert before == after


def test_an_unusual_state_is_kept_too(rootfs: Path) -> None:
    code = """
        import ctypes, json, os, resource, signal, sys
        sys.path.insert(0, sys.argv[2])
        import _box, pycontain
        os.umask(0o123)
        os.chdir("/proc")
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: None)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        resource.setrlimit(resource.RLIMIT_CORE, (5, 7))
        _box.LIBC.prctl(1, signal.SIGUSR2, 0, 0, 0)
        before = _box.host_state()
        pycontain.run(["true"], rootfs=sys.argv[1])
        with pycontain.Sandbox(rootfs=sys.argv[1]) as sb:
            sb.run(["true"])
            done = sb.run(["cat", "/proc/self/status"], text=True).stdout
        after = _box.host_state()
        assert before == after, {n: (before[n], after[n]) for n in before if before[n] != after[n]}
        print(*[line for line in done.splitlines() if line[:6] in ("SigBlk", "SigIgn", "Umask:")])
    """
    inside = python(code, rootfs, Path(__file__).parents[1])
    assert inside.split() == ["Umask:", "0022", "SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


@pytest.mark.parametrize("dumpable", [0, 1])
def test_a_process_stays_as_dumpable_as_it_was(dumpable: int, rootfs: Path) -> None:
    code = """
        import sys
        sys.path.insert(0, sys.argv[3])
        import _box, pycontain
        pycontain.run(["true"], rootfs=sys.argv[1])
        _box.LIBC.prctl(4, int(sys.argv[2]), 0, 0, 0)
        for _ in range(3):
            try:
                pycontain.run(["true"], rootfs=sys.argv[1])
            except pycontain.PycontainError as error:
                print(error)
        print(_box.LIBC.prctl(3, 0, 0, 0, 0))
    """
    said = python(code, rootfs, dumpable, Path(__file__).parents[1])
    assert said.splitlines()[-1] == str(dumpable)


def test_handlers_do_not_run_in_the_child_and_run_in_the_parent(rootfs: Path) -> None:
    code = """
        import os, signal, sys, threading
        import pycontain
        pids = set()
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: (seen.append(1), pids.add(os.getpid())))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(40):
            assert pycontain.run(["true"], rootfs=sys.argv[1]).returncode == 0
        with pycontain.Sandbox(rootfs=sys.argv[1]) as sb:
            for _ in range(40):
                assert sb.run(["echo", "a"]).stdout == b"a\\n"
                assert sb.popen(["true"]).wait() == 0
                sb.files.write_bytes("/tmp/a", b"x" * 100_000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert pids == {os.getpid()} and len(seen) > 10
        print("well")
    """
    assert python(code, rootfs) == "well\n"


def test_a_keyboard_interrupt_leaves_nothing(rootfs: Path) -> None:
    code = """
        import os, signal, sys, threading
        import pycontain
        # CPython remembers an interrupt of exec(), as of an import with a dataclass, to its end.
        pycontain.run(["true"], rootfs=sys.argv[1])
        for seconds in (0.002, 0.005, 0.01, 0.03, 0.06):
            for what in ("once", "living"):
                signal.signal(signal.SIGALRM, signal.default_int_handler)
                signal.setitimer(signal.ITIMER_REAL, seconds)
                try:
                    if what == "once":
                        pycontain.run(["sleep", "1000"], rootfs=sys.argv[1])
                    with pycontain.Sandbox(rootfs=sys.argv[1]) as sb:
                        sb.run(["sleep", "1000"])
                except KeyboardInterrupt:
                    pass
        import gc
        gc.collect()
        print(open("/proc/thread-self/children").read().split())
    """
    assert python(code, rootfs) == "[]\n"


def test_the_defaults_of_signals_are_restored_inside(sb: Sandbox) -> None:
    # Python itself ignores these two.
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    status = sb.run(["cat", "/proc/self/status"], text=True).stdout
    for line in status.splitlines():
        if line.startswith(("SigIgn", "SigBlk", "SigCgt")):
            assert int(line.split()[1], 16) == 0
