# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""Threads, forks, sudden deaths: what lives as long as it should and not longer."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, STAY, processes, python, started
from pycontain import Sandbox, SandboxClosedError, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODES = ["vm", "fork"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYCONTAIN_CLONE", request.param)
    return str(request.param)


def test_sixty_four_threads_that_allocate_run_sandboxes_at_once(
    mode: str, box_options: dict[str, Any]
) -> None:
    def work(number: int) -> list[tuple[int, bytes]]:
        found = []
        for turn in range(2):
            ballast = [bytearray(1000) for _ in range(2000)]
            done = pycontain.run(["sh", "-c", f"echo {number}; exit {turn}"], **box_options)
            del ballast
            found.append((done.returncode, done.stdout))
        with Sandbox(**box_options) as sb:
            done = sb.run(["echo", str(number)])
            found.append((done.returncode, done.stdout))
        return found

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for number, found in enumerate(pool.map(work, range(64))):
            line = f"{number}\n".encode()
            assert found == [(0, line), (1, line), (0, line)]


def test_threads_share_one_sandbox(sb: Sandbox) -> None:
    def work(number: int) -> bytes:
        if number % 4 == 0:
            with contextlib.suppress(TimeoutExpired):
                sb.run([PROBE, "daemons", "3"], timeout=0.05)
        if number % 4 == 1:
            sb.files.write_bytes(f"/tmp/{number}", b"x" * number)
            assert sb.files.read_bytes(f"/tmp/{number}") == b"x" * number
        return bytes(sb.run(["echo", str(number)]).stdout)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(96))) == [f"{number}\n".encode() for number in range(96)]
    assert processes(sb) == []


def test_a_sandbox_outlives_the_thread_that_made_it(mode: str, box: Callable[..., Sandbox]) -> None:
    made: list[Any] = []

    def make() -> None:
        sandbox = box().start()
        made.extend((sandbox, sandbox.popen(STAY, stdout=pycontain.PIPE)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    sandbox, process = made
    try:
        assert process.stdout.readline() == b"ready\n"
        assert sandbox.run(["echo", "well"]).stdout == b"well\n"
        assert process.poll() is None
    finally:
        sandbox.close()
        process.stdout.close()
    assert process.wait() == -9


# A process of its own, so that a fork concerns only what is here.
FORK = """
    import os, signal, sys
    import pycontain
    options = {"rootfs": sys.argv[1]}
"""


def forked(code: str, rootfs: Path, **more: Any) -> str:

    return python(textwrap.dedent(FORK) + textwrap.dedent(code), rootfs, **more)


def test_the_exit_of_a_forked_child_does_not_end_the_sandbox(mode: str, rootfs: Path) -> None:
    code = """
        with pycontain.Sandbox(**options) as sb:
            process = sb.popen(["sh", "-c", "echo ready; exec cat"], stdin=-1, stdout=-1)
            process.stdout.readline()
            for how in (lambda: os._exit(0), lambda: sys.exit(0), lambda: os.kill(os.getpid(), 9)):
                if (pid := os.fork()) == 0:
                    how()
                os.waitpid(pid, 0)
            assert process.poll() is None
            print(sb.run(["echo", "alive"]).stdout, process.communicate(b"x")[0])
    """
    assert forked(code, rootfs) == "b'alive\\n' b'x'\n"


def test_a_forked_child_cannot_use_the_sandbox_and_makes_its_own(mode: str, rootfs: Path) -> None:
    code = """
        with pycontain.Sandbox(**options) as sb:
            sb.run(["true"])
            if (pid := os.fork()) == 0:
                try:
                    sb.run(["true"])
                except pycontain.SandboxClosedError:
                    print("closed", flush=True)
                sb.close()
                with pycontain.Sandbox(**options) as own:
                    print(own.run(["echo", "own"]).stdout, flush=True)
                print(pycontain.run(["echo", "once"], **options).stdout, flush=True)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            print(sb.run(["echo", "parent"]).stdout)
    """
    assert forked(code, rootfs).splitlines() == [
        "closed",
        "b'own\\n'",
        "b'once\\n'",
        "b'parent\\n'",
    ]


def test_a_forked_child_does_not_keep_the_sandbox_alive(mode: str, rootfs: Path) -> None:
    # The grandparent adopts what the parent leaves, so that PID 1's end can be seen.
    code = """
        import ctypes
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        read, write = os.pipe()
        hold_read, hold_write = os.pipe()
        if (parent := os.fork()) == 0:
            sb = pycontain.Sandbox(**options).start()
            process = sb.popen(["sh", "-c", "echo ready; exec sleep 1000"], stdout=-1)
            process.stdout.readline()
            if os.fork() == 0:
                os.write(write, b"child")
                os.close(hold_write)
                os.read(hold_read, 1)
                os._exit(0)
            signal.pause()
        assert os.read(read, 5) == b"child"
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        # PID 1 ends though the child lives: the child waits for us.
        pid, status = os.waitpid(-1, 0x40000000)
        print(os.waitstatus_to_exitcode(status))
        os.close(hold_write)
        os.close(hold_read)
        print(os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]))
    """
    assert forked(code, rootfs, timeout=30).split() == ["0", "0"]


def test_multiprocessing_children_make_sandboxes(rootfs: Path) -> None:
    code = """
        import multiprocessing
        def work(number):
            return pycontain.run(["echo", str(number)], **options).stdout
        with pycontain.Sandbox(**options) as sb, multiprocessing.get_context("fork").Pool(4) as pool:
            print(pool.map(work, range(8)) == [b"%d\\n" % number for number in range(8)])
            print(sb.run(["echo", "well"]).stdout)
    """
    assert forked(code, rootfs, timeout=60).splitlines() == ["True", "b'well\\n'"]


def test_everything_works_with_the_fault_handler_and_development_mode(
    mode: str, rootfs: Path
) -> None:

    code = """
        import faulthandler, signal, sys
        import pycontain
        faulthandler.enable(all_threads=True)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        faulthandler.dump_traceback_later(60)
        for _ in range(3):
            assert pycontain.run(["echo", "a"], rootfs=sys.argv[1]).stdout == b"a\\n"
        with pycontain.Sandbox(rootfs=sys.argv[1]) as sb:
            sb.files.write_bytes("/tmp/a", b"x")
            assert sb.run(["cat", "/tmp/a"]).stdout == b"x"
            with sb.popen(["cat"], stdin=-1, stdout=-1) as process:
                assert process.communicate(b"y")[0] == b"y"
        print("well")
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code), str(rootfs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("well\n", "")


@pytest.mark.slow
def test_a_large_heap_is_neither_copied_nor_exhausted(mode: str, rootfs: Path) -> None:
    code = """
        heap = bytearray(1 << 30)
        for at in range(0, len(heap), 4096):
            heap[at] = 1
        for _ in range(3):
            assert pycontain.run(["echo", "a"], **options).stdout == b"a\\n"
        print(heap[::1 << 28])
    """
    assert forked(code, rootfs, timeout=120) == "bytearray(b'\\x01\\x01\\x01\\x01')\n"


def test_the_end_of_the_interpreter_ends_the_sandbox(rootfs: Path) -> None:
    code = """
        import ctypes
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        for how in ("exit", "raise", "_exit", "abort"):
            if os.fork() == 0:
                os.dup2(os.open("/dev/null", os.O_RDWR), 2)
                sb = pycontain.Sandbox(**options).start()
                process = sb.popen(["sh", "-c", "setsid sleep 1000 & echo ready; wait"], stdout=-1)
                process.stdout.readline()
                if how == "exit":
                    sys.exit(0)
                if how == "raise":
                    raise RuntimeError
                if how == "_exit":
                    os._exit(0)
                os.abort()
            ended = 0
            try:
                while os.waitpid(-1, 0x40000000):
                    ended += 1
            except ChildProcessError:
                pass
            print(ended >= 1, flush=True)
    """
    assert forked(code, rootfs, timeout=60).split() == ["True"] * 4


def test_a_sandbox_that_nobody_holds_ends(box: Callable[..., Sandbox]) -> None:
    sandbox = box().start()
    pidfd = os.pidfd_open(sandbox.pid)
    try:
        del sandbox
        gc.collect()
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, 0)
    finally:
        os.close(pidfd)


def test_an_exception_in_the_context_ends_the_sandbox(box: Callable[..., Sandbox]) -> None:
    with pytest.raises(KeyError), box() as sandbox:
        raise KeyError
    with pytest.raises(SandboxClosedError):
        sandbox.run(["true"])


KILL_SWEEP = """
    import contextlib, ctypes, random, time
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    seed, rounds = int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)

    def live():
        # What the owner does over and over, with processes that try to stay.
        while True:
            pycontain.run(["sh", "-c", "setsid sleep 1000 & true"], **options)
            with pycontain.Sandbox(**options) as sb:
                sb.popen(["sh", "-c", "trap '' TERM HUP; setsid sleep 1000 & sleep 1000"])
                sb.files.write_bytes("/tmp/a", b"x")
                with contextlib.suppress(pycontain.TimeoutExpired):
                    sb.run(["sleep", "1000"], timeout=0.002)

    if seed % 2:
        pycontain.run(["true"], **options)  # half of the owners find the caches filled
    survivors = 0
    for _ in range(rounds):
        if (owner := os.fork()) == 0:
            os.dup2(os.open("/dev/null", os.O_RDWR), 2)
            live()
        time.sleep(rng.random() * 0.04)
        os.kill(owner, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG | 0x40000000)
            except ChildProcessError:
                break
            if pid == 0 and time.monotonic() > deadline:
                for line in open(f"/proc/self/task/{os.getpid()}/children").read().split():
                    print(line, open(f"/proc/{line}/status").read().split()[1], flush=True)
                    os.kill(int(line), signal.SIGKILL)
                    survivors += 1
                deadline += 5
            if pid == 0:
                time.sleep(0.001)
    print("survivors", survivors)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nothing_survives_the_sigkill_of_the_owner_at_any_instant(
    seed: int, mode: str, rootfs: Path
) -> None:
    rounds = 25 if mode == "vm" else 5

    code = textwrap.dedent(FORK) + textwrap.dedent(KILL_SWEEP)
    assert python(code, rootfs, seed, rounds, timeout=200) == "survivors 0\n"


# Closing.


@pytest.mark.parametrize("how", ["close", "kill"])
def test_closing_is_idempotent_and_from_any_thread(how: str, box: Callable[..., Sandbox]) -> None:
    for _ in range(20):
        sandbox = box().start()
        process = sandbox.popen(["sleep", "1000"])
        threads = [threading.Thread(target=getattr(sandbox, how)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        getattr(sandbox, how)()
        assert process.wait(timeout=10) == -9
        with pytest.raises(SandboxClosedError):
            sandbox.run(["true"])


def test_closing_before_the_start_and_twice_is_fine(box: Callable[..., Sandbox]) -> None:
    sandbox = box()
    sandbox.close()
    sandbox.close()
    with sandbox:
        sandbox.run(["true"], check=True)
    sandbox.close()


def test_starting_twice_is_an_error(sb: Sandbox) -> None:
    with pytest.raises(SandboxClosedError):
        sb.start()
    assert sb.run(["echo", "well"]).stdout == b"well\n"


def test_a_sandbox_can_be_started_again(box: Callable[..., Sandbox]) -> None:
    sandbox = box()
    for _ in range(3):
        with sandbox:
            sandbox.run(["sh", "-c", "test ! -e /tmp/a && touch /tmp/a"], check=True)


def test_closing_while_others_run_ends_each_of_them(box: Callable[..., Sandbox]) -> None:
    for _ in range(10):
        sandbox = box().start()
        outcomes: list[str] = []

        def work(sandbox: Sandbox = sandbox, outcomes: list[str] = outcomes) -> None:
            try:
                while True:
                    done = sandbox.run(["sh", "-c", "echo a"])
                    if done.returncode not in (0, -9):
                        outcomes.append(f"returned {done.returncode}")
            except SandboxClosedError:
                outcomes.append("closed")
            except BaseException as error:  # noqa: BLE001
                outcomes.append(repr(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        sandbox.run(["true"])
        sandbox.close()
        for thread in threads:
            thread.join(timeout=20)
        assert outcomes == ["closed"] * 4


def test_killing_a_command_is_idempotent_and_from_any_thread(sb: Sandbox) -> None:
    for _ in range(20):
        with started(sb, "sh", "-c", "sleep 1000 & echo ready; wait") as process:
            threads = [threading.Thread(target=process.kill_all) for _ in range(4)]
            threads += [threading.Thread(target=process.kill) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=20)
            process.kill_all()
            assert process.wait(timeout=1) == -9
    assert sb.run(["echo", "well"]).stdout == b"well\n"


def test_a_descriptor_limit_is_an_error_that_goes_away(rootfs: Path) -> None:
    code = """
        import resource
        with pycontain.Sandbox(**options) as sb:
            sb.run(["true"])
            pycontain.run(["true"], **options)
            used = len(os.listdir("/proc/self/fd")) - 1
            seen = set()
            for room in range(0, 14):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, 4096))
                for action in (lambda: sb.run(["true"]), lambda: pycontain.run(["true"], **options),
                               lambda: sb.popen(["true"]).wait(), lambda: sb.files.write_bytes("/tmp/a", b"")):
                    try:
                        action()
                    except OSError as error:
                        seen.add(error.errno)
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            assert sb.run(["echo", "well"]).stdout == b"well\\n"
            assert pycontain.run(["echo", "well"], **options).stdout == b"well\\n"
            import gc
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) - 1 == used
        print(sorted(seen))
    """
    assert forked(code, rootfs, timeout=60) == "[24]\n"
