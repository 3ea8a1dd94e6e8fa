# SPDX-License-Identifier: Apache-2.0
"""`AsyncSandbox` does what `Sandbox` does, in one event loop that goes on turning."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pytest

import pycontain
from pycontain import (
    DEVNULL,
    PIPE,
    STDOUT,
    AsyncSandbox,
    CalledProcessError,
    ConfigError,
    FilesError,
    ProgramNotFoundError,
    PycontainError,
    Reason,
    SandboxClosedError,
    SpawnError,
    TimeoutExpired,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from pycontain import AsyncPopen

T = TypeVar("T")
MIB = 1 << 20
# Says "ready" when its daemon, which has a session of its own and our stdout, is there too.
DAEMON = ["sh", "-c", "setsid sleep 1000 & echo ready; exec sleep 1000"]


def drive(options: dict[str, Any], scenario: Callable[[AsyncSandbox], Coroutine[Any, Any, T]]) -> T:
    """Run a scenario in a sandbox in a loop of its own, in asyncio's debug mode."""

    async def main() -> T:
        asyncio.get_running_loop().slow_callback_duration = 60
        async with AsyncSandbox(**options) as sandbox:
            return await scenario(sandbox)

    return asyncio.run(main(), debug=True)


async def sleepers(sandbox: AsyncSandbox) -> int:
    """Return how many `sleep` run inside."""
    # A zombie has no command line.
    look = ["sh", "-c", "grep -l ^sleep /proc/[0-9]*/cmdline"]
    listing = await sandbox.run(look, text=True)
    return len(listing.stdout.split())


async def first_line(process: AsyncPopen) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Row(NamedTuple):
    """A command, its options and those of its sandbox."""

    args: Any
    run: Mapping[str, Any] = NOTHING
    sandbox: Mapping[str, Any] = NOTHING


def sh(script: str, **more: Any) -> Row:
    return Row(["sh", "-c", script], more)


FLOOD = "dd if=/dev/zero bs=64k count=64 2>/dev/null"
HANG = "echo begun; sleep 1000"
TABLE = {
    "output": sh("echo out; echo err >&2"),
    "status": sh("exit 7"),
    "signal": sh("kill -9 $$"),
    "input": sh("cat", input=b"\0\xffdata"),
    "much input": sh("cat | wc -c", input=b"x" * (3 * MIB), text=True),
    "input unread": sh("exit 0", input=b"x" * MIB),
    "empty input": sh("cat", input=b""),
    "text": sh("cat", input="h\u00e9\r\n", text=True),
    "encoding": sh("cat", input="h\u00e9", encoding="latin-1"),
    "not text": sh("printf '\\377'", text=True),
    "strict": sh("printf '\\377'", text=True, errors="strict"),
    "env": sh("echo $A", env={"A": "b"}),
    "cwd": sh("pwd", cwd="/tmp"),
    "umask": sh("umask", umask=0o77),
    "stderr to stdout": sh("echo a; echo b >&2", stderr=STDOUT),
    "stdout to nothing": sh("echo a; echo b >&2", stdout=DEVNULL),
    "check": sh("echo a; exit 3", check=True),
    "flood": sh(FLOOD),
    "flood of both": sh(f"{FLOOD}; {FLOOD} >&2"),
    "daemon": sh("setsid sleep 1000 & echo done"),
    "timeout": sh(HANG, timeout=0.5),
    "wall limit": Row(["sh", "-c", HANG], {}, {"wall_limit": 0.5}),
    "wall limit first": Row(["sh", "-c", HANG], {"timeout": 1000}, {"wall_limit": 0.5}),
    "timeout first": Row(["sh", "-c", HANG], {"timeout": 0.5}, {"wall_limit": 1000}),
    "output limit": Row(["sh", "-c", f"{FLOOD}; sleep 1000"], {}, {"output_limit": 100}),
    "defaults": Row(["sh", "-c", "echo $A; pwd"], {}, {"env": {"A": "b"}, "cwd": "/var"}),
    "no such program": Row(["nowhere"]),
    "directory": Row(["/bin"]),
    "not executable": Row(["/etc/passwd"]),
    "no such cwd": sh("pwd", cwd="/nowhere"),
    "string": Row("ls"),
    "empty": Row([]),
    "NUL": Row(["a\0b"]),
    "too long": Row(["echo", "x" * 200_000]),
    "input and stdin": sh("cat", input=b"a", stdin=PIPE),
    "wrong input": sh("cat", input=1),
    "wrong timeout": sh("cat", timeout=-1),
    "wrong encoding": sh("cat", encoding="nonsense"),
    "wrong user": sh("cat", user="4294967296"),
    "wrong option": Row(["ls"], {}, {"memory": "much"}),
}
OF_ONE_COMMAND = {"env", "cwd", "user"}


def outcome(call: Callable[[], pycontain.Result]) -> list[Any]:
    try:
        result = call()
    except TimeoutExpired as error:
        return [type(error), error.cmd, error.timeout, error.stdout, error.stderr]
    except CalledProcessError as error:
        return [type(error), error.returncode, error.stdout, error.stderr]
    except (PycontainError, UnicodeError) as error:
        return [type(error), str(error)]
    return [result.args, result.returncode, result.stdout, result.stderr,
            result.reason, result.truncated]  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_command_in_a_living_sandbox_has_the_same_outcome(name: str, rootfs: Path) -> None:
    row = TABLE[name]
    options = {"rootfs": rootfs, **row.sandbox}

    def blocking() -> pycontain.Result:
        with pycontain.Sandbox(**options) as sandbox:
            return sandbox.run(row.args, **row.run)

    def awaited() -> pycontain.Result:
        return drive(options, lambda sandbox: sandbox.run(row.args, **row.run))

    assert outcome(awaited) == outcome(blocking)


@pytest.mark.parametrize(
    "name", [n for n, row in TABLE.items() if not OF_ONE_COMMAND & set(row.run)]
)
def test_a_command_with_a_sandbox_of_its_own_has_the_same_outcome(name: str, rootfs: Path) -> None:
    row = TABLE[name]
    options = {"rootfs": rootfs, **row.sandbox, **row.run}

    def awaited() -> pycontain.Result:
        return asyncio.run(pycontain.run_async(row.args, **options), debug=True)

    assert outcome(awaited) == outcome(lambda: pycontain.run(row.args, **options))


def test_a_hundred_commands_at_once(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> list[str]:
        runs = (sandbox.run(["echo", str(number)], text=True) for number in range(100))
        return [result.stdout for result in await asyncio.gather(*runs)]

    assert drive({"rootfs": rootfs}, scenario) == [f"{number}\n" for number in range(100)]


def test_more_requests_than_the_control_socket_holds(rootfs: Path) -> None:
    """While PID 1 stands still: the loop turns, and who waits for room can be cancelled."""
    ballast = {f"V{number}": "x" * 5000 for number in range(10)}

    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(DAEMON, stdout=PIPE)
        await first_line(process)
        os.kill(sandbox.pid, signal.SIGSTOP)
        runs = [
            asyncio.create_task(
                sandbox.run(["sh", "-c", "echo $N"], env={**ballast, "N": str(number)}, text=True)
            )
            for number in range(64)
        ]
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not any(task.done() for task in runs)
        process.kill()
        for task in runs[1::3]:
            task.cancel()
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert runs[61].cancelled()  # never sent
        os.kill(sandbox.pid, signal.SIGCONT)
        results = await asyncio.gather(*runs, return_exceptions=True)
        for number, result in enumerate(results):
            if number % 3 == 1:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert isinstance(result, pycontain.Result)
                assert result.stdout == f"{number}\n"
        assert await process.wait() == -signal.SIGKILL

    drive({"rootfs": rootfs}, scenario)


def test_ten_sandboxes_at_once(rootfs: Path) -> None:
    async def main() -> list[str]:
        runs = (
            pycontain.run_async(["echo", str(number)], rootfs=rootfs, text=True)
            for number in range(10)
        )
        return [result.stdout for result in await asyncio.gather(*runs)]

    assert asyncio.run(main(), debug=True) == [f"{number}\n" for number in range(10)]


def test_loops_in_several_threads(rootfs: Path) -> None:
    results: list[int] = []

    def work() -> None:
        result = drive({"rootfs": rootfs}, lambda sandbox: sandbox.run(["sh", "-c", "exit 5"]))
        results.append(result.returncode)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5] * 8


@pytest.mark.parametrize(
    "limits", [{}, pytest.param({"pids": 50}, marks=pytest.mark.requires("cgroup_pids"))]
)
def test_a_timeout_leaves_nothing_of_the_command_and_the_sandbox_works_on(
    limits: dict[str, Any], rootfs: Path
) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        with pytest.raises(TimeoutExpired) as caught:
            await sandbox.run(DAEMON, timeout=0.5)
        assert caught.value.stdout == b"ready\n"
        assert isinstance(caught.value, TimeoutError)
        assert await sleepers(sandbox) == 0

    drive({"rootfs": rootfs, **limits}, scenario)


@pytest.mark.requires("cgroup_pids")
def test_the_verdict_of_a_limit(rootfs: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done; exit 1"

    async def scenario(sandbox: AsyncSandbox) -> None:
        result = await sandbox.run(["sh", "-c", script], timeout=60)
        assert result.reason == Reason.PIDS_LIMIT
        assert sandbox.enforcement["pids"].in_force

    drive({"rootfs": rootfs, "pids": 8}, scenario)


async def cancel_when_it_runs(sandbox: AsyncSandbox, task: asyncio.Task[Any]) -> None:
    """Cancel once the two processes of DAEMON are there."""
    while await sleepers(sandbox) < 2:
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "limits", [{}, pytest.param({"pids": 50}, marks=pytest.mark.requires("cgroup_pids"))]
)
def test_a_cancelled_run_is_over_when_its_processes_are(
    limits: dict[str, Any], rootfs: Path
) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        await cancel_when_it_runs(sandbox, asyncio.create_task(sandbox.run(DAEMON)))
        assert await sleepers(sandbox) == 0

    drive({"rootfs": rootfs, **limits}, scenario)


def test_asyncio_timeout_works_as_well(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await sandbox.run(DAEMON)
        assert await sleepers(sandbox) == 0

    drive({"rootfs": rootfs}, scenario)


async def cancel_again_and_again(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    cancelled = False  # a process may also die at once
    while not task.done():
        cancelled = task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled() == cancelled


def test_more_cancellations_change_nothing(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(DAEMON, stdout=PIPE)
        await first_line(process)
        await cancel_again_and_again(process.kill_all())
        assert process.returncode == -signal.SIGKILL
        assert await sleepers(sandbox) == 0
        await cancel_again_and_again(sandbox.run(DAEMON))
        pid = sandbox.pid
        await cancel_again_and_again(sandbox.close())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    drive({"rootfs": rootfs}, scenario)


INTERRUPTED: dict[str, Callable[[AsyncSandbox, dict[str, Any]], Coroutine[Any, Any, Any]]] = {
    "run": lambda sandbox, _: sandbox.run(DAEMON),
    "short run": lambda sandbox, _: sandbox.run(["true"], input=b"x" * MIB),
    "timeout": lambda sandbox, _: sandbox.run(DAEMON, timeout=0.002),
    "popen": lambda sandbox, _: _wait_for(sandbox, DAEMON, stdout=PIPE),
    "pty": lambda sandbox, _: _wait_for(sandbox, DAEMON, pty=True),
    "one-shot": lambda _, options: pycontain.run_async(DAEMON, **options),
    "files": lambda sandbox, _: sandbox.files.write_bytes("/tmp/file", b"x" * (4 * MIB)),
}


async def _wait_for(sandbox: AsyncSandbox, args: list[str], **more: Any) -> None:
    async with await sandbox.popen(args, **more) as process:
        await process.wait()


@pytest.mark.parametrize("name", INTERRUPTED)
def test_a_cancellation_at_any_instant_leaves_nothing(name: str, rootfs: Path) -> None:
    rng = random.Random(name)
    options = {"rootfs": rootfs}

    async def scenario(sandbox: AsyncSandbox) -> None:
        loop = asyncio.get_running_loop()
        for number in range(60):
            task = asyncio.create_task(INTERRUPTED[name](sandbox, options))
            if number < 20:
                for _ in range(number):
                    await asyncio.sleep(0)
                task.cancel()
            else:
                loop.call_later(rng.uniform(0, 0.02), task.cancel)
            with contextlib.suppress(asyncio.CancelledError, TimeoutExpired):
                await task
        assert await sleepers(sandbox) == 0

    drive(options, scenario)


def test_a_cancelled_start_leaves_nothing(rootfs: Path) -> None:
    async def main() -> None:
        for steps in range(12):
            task = asyncio.create_task(AsyncSandbox(rootfs=rootfs).start())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()

    asyncio.run(main(), debug=True)


def test_the_end_of_the_loop_ends_what_still_runs(rootfs: Path) -> None:
    ends: list[str] = []

    async def forgotten() -> None:
        async with AsyncSandbox(rootfs=rootfs) as sandbox:
            running.set()
            try:
                await sandbox.run(DAEMON)
            finally:
                ends.append(f"{await sleepers(sandbox)} left")

    async def main() -> None:
        tasks.append(asyncio.create_task(forgotten()))
        await running.wait()

    tasks: list[asyncio.Task[None]] = []
    running = asyncio.Event()
    asyncio.run(main(), debug=True)
    assert ends == ["0 left"]


def test_a_sandbox_that_is_closed_ends_its_commands(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(DAEMON, stdout=PIPE)
        await first_line(process)
        task = asyncio.create_task(sandbox.run(DAEMON))
        while await sleepers(sandbox) < 4:
            pass
        await asyncio.gather(sandbox.close(), sandbox.close())
        result = await task
        assert (result.reason, result.returncode) == (Reason.KILLED, -signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert process.reason == Reason.KILLED
        for call in (sandbox.run(["true"]), sandbox.popen(["true"])):
            with pytest.raises(SandboxClosedError):
                await call
        with pytest.raises(SandboxClosedError):
            _ = sandbox.files

    drive({"rootfs": rootfs}, scenario)


def test_a_sandbox_starts_once_and_again_after_its_end(rootfs: Path) -> None:
    async def main() -> None:
        sandbox = AsyncSandbox(rootfs=rootfs)
        with pytest.raises(SandboxClosedError):
            await sandbox.run(["true"])
        await sandbox.start()
        with pytest.raises(SandboxClosedError):
            await sandbox.start()
        await sandbox.kill()
        await sandbox.start()
        assert (await sandbox.run(["true"])).returncode == 0
        assert sandbox.pid > 1
        assert sandbox.enforcement["namespace pid"].in_force
        await sandbox.close()
        await sandbox.close()

    asyncio.run(main(), debug=True)


def test_a_set_up_that_fails_leaves_nothing(rootfs: Path) -> None:
    options: dict[str, Any] = {"rootfs": rootfs, "mounts": [pycontain.Tmpfs("/etc/passwd")]}
    with pytest.raises(SpawnError) as blocking, pycontain.Sandbox(**options):
        pass
    with pytest.raises(SpawnError) as awaited:
        asyncio.run(pycontain.run_async(["true"], **options), debug=True)
    assert (awaited.value.step, str(awaited.value)) == (blocking.value.step, str(blocking.value))


def test_the_loop_turns_while_a_command_runs(rootfs: Path) -> None:
    """The command ends only after the loop has turned a hundred times."""

    async def scenario(sandbox: AsyncSandbox) -> None:
        read, write = os.pipe()
        task = asyncio.create_task(sandbox.run(["cat"], stdin=read, timeout=60))
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert not task.done()
        os.close(write)
        assert (await task).returncode == 0
        os.close(read)

    drive({"rootfs": rootfs}, scenario)


def test_the_loop_turns_while_a_big_file_is_copied(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> int:
        turns = 0
        task = asyncio.create_task(sandbox.files.write_bytes("/tmp/big", b"x" * (16 * MIB)))
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert drive({"rootfs": rootfs}, scenario) > 16


def test_no_thread_and_no_signal_handler(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        threads, handler = threading.active_count(), signal.getsignal(signal.SIGCHLD)
        task = asyncio.create_task(sandbox.run(DAEMON))
        while await sleepers(sandbox) < 2:
            pass
        assert threading.active_count() == threads
        assert signal.getsignal(signal.SIGCHLD) == handler
        await sandbox.close()
        await task

    drive({"rootfs": rootfs}, scenario)


def test_debug_mode_has_nothing_to_say(rootfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        await asyncio.gather(*(sandbox.run(["cat"], input=b"x" * MIB) for _ in range(8)))
        async with await sandbox.popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
            await process.communicate(b"x")
        with pytest.raises(TimeoutExpired):
            await sandbox.run(DAEMON, timeout=0.1)
        with pytest.raises(ProgramNotFoundError):
            await sandbox.popen(["nowhere"], stdin=PIPE)
        await sandbox.popen(DAEMON, stdin=PIPE, stdout=PIPE)

    with caplog.at_level(logging.WARNING):
        drive({"rootfs": rootfs}, scenario)
    assert caplog.records == []


def test_the_package_does_not_import_asyncio_before_it_is_needed() -> None:
    code = "import sys, pycontain; assert 'asyncio' not in sys.modules; pycontain.AsyncSandbox"
    subprocess.run([sys.executable, "-c", code], check=True)


# AsyncPopen


def test_a_conversation(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        args = ["sh", "-c", "while read a; do echo $a$a; echo no >&2; done; exit 4"]
        process = await sandbox.popen(args, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert (process.args, process.returncode, process.reason) == (args, None, None)
        assert process.pid > 0
        assert process.stdin is not None
        assert process.stderr is not None
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            await process.stdin.drain()
            assert await first_line(process) == word * 2 + b"\n"
        process.stdin.close()
        assert await process.stderr.read() == b"no\nno\n"
        assert await process.wait() == 4
        assert (process.returncode, process.reason) == (4, Reason.EXITED)
        assert process.usage is not None
        assert process.usage.wall_s > 0

    drive({"rootfs": rootfs}, scenario)


def test_a_slow_reader_stalls_the_writer_and_loses_nothing(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> int:
        process = await sandbox.popen(["dd", "if=/dev/zero", "bs=64k", "count=64"], stdout=PIPE)
        assert process.stdout is not None
        size = 0
        while data := await process.stdout.read(1000):
            size += len(data)
        assert await process.wait() == 0
        return size

    assert drive({"rootfs": rootfs}, scenario) == 4 * MIB


def test_streams_that_were_not_asked_for_are_none(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(["sh", "-c", "cat; exit 9"])
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        assert await process.communicate() == (None, None)
        assert process.returncode == 9

    drive({"rootfs": rootfs}, scenario)


def test_communicate(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        args = ["sh", "-c", "echo first; cat; echo err >&2"]
        process = await sandbox.popen(args, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert await process.communicate(b"x" * 300_000) == (b"first\n" + b"x" * 300_000, b"err\n")
        assert await process.communicate() == (b"first\n" + b"x" * 300_000, b"err\n")
        with pytest.raises(ConfigError):
            await process.communicate(b"again")

    drive({"rootfs": rootfs}, scenario)


def test_communicate_is_bounded(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(["sh", "-c", FLOOD], stdout=PIPE)
        out, _ = await process.communicate()
        assert out == bytes(1000)

    drive({"rootfs": rootfs, "output_limit": 1000}, scenario)


def test_communicate_goes_on_after_a_timeout_and_a_cancellation(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        read, write = os.pipe()
        args = ["sh", "-c", "echo begun; cat; echo done"]
        process = await sandbox.popen(args, stdin=read, stdout=PIPE)
        os.close(read)
        assert process.stdout is not None
        assert await process.stdout.readexactly(3) == b"beg"
        with pytest.raises(TimeoutExpired):
            await process.communicate(timeout=0.05)
        task = asyncio.create_task(process.communicate())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert process.returncode is None
        os.write(write, b"on ")
        os.close(write)
        assert await process.communicate() == (b"un\non done\n", None)

    drive({"rootfs": rootfs}, scenario)


def test_the_end_of_the_command_decides_and_not_that_of_its_streams(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        script = "sleep 1000 & until grep -q ^sleep /proc/$!/cmdline; do :; done; echo done"
        process = await sandbox.popen(["sh", "-c", script], stdin=PIPE, stdout=PIPE)
        assert await process.communicate(b"x" * MIB) == (b"done\n", None)
        assert await sleepers(sandbox) == 1

    drive({"rootfs": rootfs}, scenario)


def test_what_was_printed_can_be_read_after_the_end_of_the_sandbox(rootfs: Path) -> None:
    async def main() -> bytes:
        async with AsyncSandbox(rootfs=rootfs) as sandbox:
            process = await sandbox.popen(["echo", "last words"], stdout=PIPE)
            await process.wait()
        assert process.stdout is not None
        return await process.stdout.read()

    assert asyncio.run(main(), debug=True) == b"last words\n"


SIGNALS: dict[str, tuple[int, Callable[[AsyncPopen], None]]] = {
    "terminate": (signal.SIGTERM, lambda process: process.terminate()),
    "kill": (signal.SIGKILL, lambda process: process.kill()),
    "send_signal": (signal.SIGUSR1, lambda process: process.send_signal(signal.SIGUSR1)),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_signals(name: str, rootfs: Path) -> None:
    number, send = SIGNALS[name]

    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(DAEMON, stdout=PIPE)
        while await sleepers(sandbox) < 2:
            pass
        send(process)
        assert await process.wait() == -number
        assert process.reason == Reason.SIGNALED
        process.kill()
        assert await sleepers(sandbox) == 1
        with pytest.raises(OSError, match="Invalid argument"):
            process.send_signal(1000)

    drive({"rootfs": rootfs}, scenario)


def test_kill_all(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(DAEMON, stdout=PIPE)
        await first_line(process)
        await process.kill_all()
        assert (process.returncode, process.reason) == (-signal.SIGKILL, Reason.KILLED)
        assert await sleepers(sandbox) == 0

    drive({"rootfs": rootfs}, scenario)


def test_several_tasks_wait_for_one_command(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        process = await sandbox.popen(["cat"], stdin=PIPE)
        waiting = [asyncio.create_task(process.wait()) for _ in range(5)]
        with pytest.raises(TimeoutExpired):
            await process.wait(timeout=0.01)
        waiting.pop().cancel()
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.gather(*waiting) == [0] * 4

    drive({"rootfs": rootfs}, scenario)


def test_a_program_that_cannot_be_started(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        for more in ({"stdin": PIPE, "stdout": PIPE, "stderr": STDOUT}, {"pty": True}):
            with pytest.raises(ProgramNotFoundError):
                await sandbox.popen(["nowhere"], **more)
        with pytest.raises(ConfigError, match="pty"):
            await sandbox.popen(["true"], pty=True, stdout=PIPE)
        with pytest.raises(ConfigError, match="size"):
            await sandbox.popen(["true"], pty=True, size=(0, 0))

    drive({"rootfs": rootfs}, scenario)


def test_a_terminal(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        script = "stty -echo; tty; stty size; read a; stty size; echo $a; exit 6"
        process = await sandbox.popen(["sh", "-c", script], pty=True, size=(10, 20))
        assert process.stdin is not None
        assert process.stdout is not None
        assert await first_line(process) == b"/dev/pts/0\r\n"
        assert await first_line(process) == b"10 20\r\n"
        process.resize(33, 44)
        process.stdin.write(b"typed\n")
        assert await process.stdout.read() == b"33 44\r\ntyped\r\n"
        assert await process.wait() == 6
        with pytest.raises(ConfigError, match="resize"):
            process.resize(1, 1)

    drive({"rootfs": rootfs}, scenario)


def test_leaving_the_context_waits_and_a_cancellation_kills(rootfs: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        async with await sandbox.popen(["cat"], stdin=PIPE) as process:
            pass
        assert process.returncode == 0
        task = asyncio.create_task(_wait_for(sandbox, DAEMON, stdout=PIPE))
        await cancel_when_it_runs(sandbox, task)
        assert await sleepers(sandbox) == 0

    drive({"rootfs": rootfs}, scenario)


# AsyncFiles


def test_files(rootfs: Path, tmp_path: Path) -> None:
    async def scenario(sandbox: AsyncSandbox) -> None:
        files, data = sandbox.files, random.Random(1).randbytes(3 * MIB + 1)
        assert await files.write_text("/tmp/a/b", "h\u00e9") == 3
        assert await files.read_text("/tmp/a/b") == "h\u00e9"
        assert await files.write_bytes("/tmp/a/big", data) == len(data)
        assert await files.read_bytes("/tmp/a/big") == data
        await files.mkdir("/tmp/a/empty")
        names = [(entry.name, entry.kind) for entry in await files.list("/tmp/a")]
        assert names == [("b", "file"), ("big", "file"), ("empty", "directory")]
        await files.get("/tmp/a", tmp_path / "out")
        assert (tmp_path / "out/big").read_bytes() == data
        await files.put(tmp_path / "out", "/tmp/again")
        assert await files.read_bytes("/tmp/again/big") == data
        await files.remove("/tmp/a/b")
        with await files.open("/tmp/a/new", "xb") as file:
            file.write(b"new")
        assert (await sandbox.run(["cat", "/tmp/a/new"])).stdout == b"new"
        for call in (
            files.read_bytes("/tmp/a/b"),
            files.read_bytes("/tmp/a/big", limit=100),
            files.open("/tmp/a/new", "xb"),
            files.list("/etc/passwd"),
        ):
            with pytest.raises(FilesError):
                await call

    drive({"rootfs": rootfs}, scenario)
