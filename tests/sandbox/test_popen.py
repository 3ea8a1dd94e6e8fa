# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="union-attr, arg-type, possibly-undefined"
# ruff: noqa: E501 - tables and scripts
"""`Sandbox.popen` against `subprocess.Popen`: the same scenario, the same outcome."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, started
from pycontain import DEVNULL, PIPE, STDOUT, ConfigError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

CAT = ["cat"]
MIX = ["sh", "-c", "echo out; echo err >&2; cat"]
NULLS = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}


def _communicate(args: list[str], data: Any = None, **more: Any) -> Callable[[Any], Any]:
    def scenario(popen: Any) -> Any:
        with popen(args, **{"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, **more}) as process:
            return *process.communicate(data), process.returncode, process.args

    return scenario


def _write_and_read(**more: Any) -> Callable[[Any], Any]:
    def scenario(popen: Any) -> Any:
        text = bool({"text", "encoding", "errors"} & set(more))
        line = "one\n" if text else b"one\n"
        with popen(
            ["sh", "-c", "while read a; do echo $a; done"], stdin=PIPE, stdout=PIPE, **more
        ) as process:
            process.stdin.write(line)
            process.stdin.flush()
            first = process.stdout.readline()
            process.stdin.write(line * 2)
            process.stdin.close()
            return first, process.stdout.read(), process.wait(), type(process.stdout)

    return scenario


def _unflushed(**more: Any) -> Callable[[Any], Any]:
    """Write without a flush: what arrives is what bufsize says."""

    def scenario(popen: Any) -> Any:
        with popen(["sh", "-c", "read a; echo $a"], stdin=PIPE, stdout=PIPE, **more) as process:
            process.stdin.write("a\n" if more.get("text") else b"a\n")
            return process.stdout.readline()

    return scenario


def _signal(action: Callable[[Any], object], *, trap: str = "") -> Callable[[Any], Any]:
    def scenario(popen: Any) -> Any:
        script = (
            f"{trap} echo ready; while :; do sleep 0.02; done"
            if trap
            else "echo ready; exec sleep 1000"
        )
        with popen(["sh", "-c", script], **{**NULLS, "stdout": PIPE}) as process:
            process.stdout.readline()
            before = process.poll(), process.returncode
            action(process)
            return before, process.wait(timeout=30), process.poll(), process.returncode

    return scenario


def _wait_that_expires(popen: Any) -> Any:
    with popen(["sh", "-c", "read a; exit 3"], **{**NULLS, "stdin": PIPE}) as process:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.wait(timeout=0.01)
        still = process.poll()
        process.stdin.close()
        return (
            caught.value.cmd,
            caught.value.timeout,
            still,
            process.wait(),
            process.wait(timeout=5),
        )


def _communicate_that_expires(popen: Any) -> Any:
    read, write = os.pipe()
    with popen(["sh", "-c", "echo first; cat; echo last"], stdin=read, stdout=PIPE) as process:
        os.close(read)
        for _ in range(2):
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                process.communicate(timeout=0.01)
        os.write(write, b"middle\n")
        os.close(write)
        return caught.value.cmd, caught.value.timeout, process.communicate(), process.returncode


def _timeout_then_kill(popen: Any) -> Any:
    """Do what the documentation of subprocess recommends."""
    process = popen(["sh", "-c", "echo ready >&2; echo partial; exec sleep 1000"], stdin=DEVNULL, stdout=PIPE,
                    stderr=PIPE, bufsize=0)  # fmt: skip
    process.stderr.read(6)
    try:
        process.communicate(timeout=0.05)
    except subprocess.TimeoutExpired as error:
        process.kill()
        return error.cmd, error.timeout, process.communicate()[1], process.returncode
    return None


def _poll_until_the_end(popen: Any) -> Any:
    process = popen(["sh", "-c", "exit 7"], **NULLS)
    while process.poll() is None:
        pass
    return process.poll(), process.wait(), process.returncode


def _file_streams(popen: Any) -> Any:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(b"from a file\n")
        source.seek(0)
        with popen(CAT, stdin=source, stdout=target, stderr=DEVNULL) as process:
            process.wait()
        target.seek(0)
        return target.read(), process.stdin, process.stdout, process.stderr


def _number_streams(popen: Any) -> Any:
    read, write = os.pipe()
    with popen(["echo", "by number"], stdin=DEVNULL, stdout=write, stderr=DEVNULL) as process:
        os.close(write)
        with os.fdopen(read, "rb") as reader:
            return reader.read(), process.wait(), process.stdout


def _pipeline(popen: Any) -> Any:
    first = popen(["sh", "-c", "printf 'b\\na\\n'"], stdin=DEVNULL, stdout=PIPE)
    second = popen(["sort"], stdin=first.stdout, stdout=PIPE)
    first.stdout.close()
    out, _ = second.communicate()
    return out, first.wait(), second.returncode


def _broken_pipe(popen: Any) -> Any:
    with popen(["sh", "-c", "exec <&-; echo gone; exit 4"], stdin=PIPE, stdout=PIPE) as process:
        return process.communicate(b"x" * 1_000_000), process.returncode


def _closed_early(popen: Any) -> Any:
    process = popen(["sh", "-c", "cat >/dev/null; exit 2"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    process.stdout.close()
    process.stderr.close()
    process.stdin.close()
    return process.wait()


def _sigpipe(popen: Any) -> Any:
    process = popen(["yes"], stdin=DEVNULL, stdout=PIPE)
    process.stdout.readline()
    process.stdout.close()
    return process.wait()


def _context(popen: Any) -> Any:
    with popen(["sh", "-c", "read a; exit 5"], stdin=PIPE, stdout=PIPE) as process:
        inside = process.returncode
    return inside, process.returncode, process.stdin.closed, process.stdout.closed


def _exception_in_context(popen: Any) -> Any:
    with (
        contextlib.suppress(KeyError),
        popen(["sh", "-c", "read a; exit 6"], stdin=PIPE) as process,
    ):
        raise KeyError
    return process.returncode, process.stdin.closed


def _signal_after_the_end(popen: Any) -> Any:
    process = popen(["true"], **NULLS)
    process.wait()
    process.kill()
    process.terminate()
    process.send_signal(signal.SIGINT)
    return process.returncode


def _iterate(popen: Any) -> Any:
    with popen(["printf", "a\\nb\\nc"], stdin=DEVNULL, stdout=PIPE, text=True) as process:
        return list(process.stdout)


def _environment(popen: Any) -> Any:
    script = "echo $A-$B; pwd; umask"
    with popen(["/bin/sh", "-c", script], stdin=DEVNULL, stdout=PIPE, env={"A": "1", "B": "\u00e9"}, cwd="/tmp",
               umask=0o027) as process:  # fmt: skip
        return process.communicate()[0]


SCENARIOS: dict[str, Callable[[Any], Any]] = {
    "communicate": _communicate(MIX),
    "communicate with input": _communicate(MIX, b"in", stdin=PIPE),
    "communicate with empty input": _communicate(MIX, b"", stdin=PIPE),
    "communicate, stdin is a pipe, no input": _communicate(MIX, stdin=PIPE),
    "large input and output": _communicate(CAT, bytes(range(256)) * 3000, stdin=PIPE),
    "bytearray": _communicate(CAT, bytearray(b"in"), stdin=PIPE),
    "memoryview": _communicate(CAT, memoryview(b"in"), stdin=PIPE),
    "stderr into stdout": _communicate(MIX, stderr=STDOUT),
    "nothing": _communicate(["true"], **NULLS),
    "text": _communicate(CAT, "a\u00e9\nb", stdin=PIPE, text=True, encoding="utf-8"),
    "text, all kinds of line ends": _communicate(CAT, "a\r\nb\rc\n", stdin=PIPE, text=True),
    "latin-1": _communicate(["printf", "\\351"], encoding="latin-1"),
    "utf-16": _communicate(CAT, "a\u00e9", stdin=PIPE, encoding="utf-16"),
    "errors replace": _communicate(["printf", "a\\351b"], text=True, errors="replace"),
    "errors backslashreplace": _communicate(
        ["printf", "a\\351b"], encoding="utf-8", errors="backslashreplace"
    ),
    "errors surrogateescape": _communicate(["printf", "a\\351b"], errors="surrogateescape"),
    "exit status": _communicate(["sh", "-c", "exit 255"]),
    "dies of a signal": _communicate(["sh", "-c", "kill -SEGV $$"]),
    "dies of a real-time signal": _communicate(["sh", "-c", "kill -40 $$"]),
    "unbuffered": _write_and_read(bufsize=0),
    "buffered": _write_and_read(bufsize=-1),
    "small buffer": _write_and_read(bufsize=100),
    "text, unbuffered": _write_and_read(bufsize=0, text=True),
    "text, lines": _write_and_read(bufsize=1, text=True),
    "text, buffered": _write_and_read(bufsize=-1, encoding="utf-8"),
    "no flush, unbuffered": _unflushed(bufsize=0),
    "no flush, lines": _unflushed(bufsize=1, text=True),
    "kill": _signal(lambda process: process.kill()),
    "terminate": _signal(lambda process: process.terminate()),
    "interrupt": _signal(lambda process: process.send_signal(signal.SIGINT)),
    "number": _signal(lambda process: process.send_signal(10)),
    "a trapped signal": _signal(lambda process: process.terminate(), trap="trap 'exit 9' TERM;"),
    "stopped and killed": _signal(
        lambda process: (process.send_signal(signal.SIGSTOP), process.kill())
    ),
    "wait that expires": _wait_that_expires,
    "communicate that expires": _communicate_that_expires,
    "timeout, then kill": _timeout_then_kill,
    "poll": _poll_until_the_end,
    "files": _file_streams,
    "numbers": _number_streams,
    "pipeline": _pipeline,
    "broken pipe": _broken_pipe,
    "closed early": _closed_early,
    "SIGPIPE": _sigpipe,
    "context manager": _context,
    "exception in the context": _exception_in_context,
    "signal after the end": _signal_after_the_end,
    "iterate": _iterate,
    "environment": _environment,
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_popen_does_what_subprocess_does(scenario: Callable[[Any], Any], sb: Sandbox) -> None:
    outside = scenario(subprocess.Popen)
    assert scenario(sb.popen) == outside


def test_the_pid_is_one_of_the_host(sb: Sandbox) -> None:
    with started(sb) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"NSpid:\t{process.pid}\t" in status
        assert f"PPid:\t{sb.pid}\n" in status


def test_the_descriptor_is_readable_at_the_end(sb: Sandbox) -> None:

    with started(sb) as process:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        assert poll.poll(0) == []
        process.kill()
        assert poll.poll(10_000)
        assert process.wait() == -9


def test_the_environment_is_not_that_of_the_host(
    sb: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    names = {line.split("=")[0] for line in sb.run(["env"], text=True).stdout.splitlines()}
    assert names == {"PATH", "HOME", "LANG"}


def test_streams_that_were_not_asked_for_are_null(sb: Sandbox, tmp_path: Path) -> None:
    with sb.popen(["sh", "-c", "read a; exit 3"]) as process:
        assert process.wait(timeout=10) == 3
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)


def test_input_without_a_pipe_is_a_config_error(sb: Sandbox) -> None:
    with sb.popen(["true"]) as process, pytest.raises(ConfigError):
        process.communicate(b"x")


def test_the_repr_escapes(sb: Sandbox) -> None:
    with sb.popen(["printf", "\x1b[2J\n"]) as process:
        assert repr(process).isprintable()


def test_many_threads_may_wait_for_one_command(sb: Sandbox) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(150):
            with sb.popen(["cat"], stdin=PIPE) as process:
                codes: list[int] = []

                def wait(process: Any = process, codes: list[int] = codes) -> None:
                    codes.append(process.wait())

                threads = [threading.Thread(target=wait) for _ in range(6)]
                for thread in threads[:3]:
                    thread.start()
                process.stdin.close()
                for thread in threads[3:]:
                    thread.start()
                for thread in threads:
                    thread.join(timeout=10)
                assert codes == [0] * 6
    finally:
        sys.setswitchinterval(interval)


# A terminal of its own.


def test_a_pty_is_a_terminal_of_the_given_size(sb: Sandbox) -> None:
    script = (
        "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three; echo typed > /dev/tty"
    )
    with sb.popen(["sh", "-c", script], pty=True, size=(33, 99)) as process:
        out, err = process.communicate()
    assert out == b"/dev/pts/0\r\n33 99\r\nthree\r\ntyped\r\n"
    assert err is None


def test_a_pty_that_changes_its_size_tells_the_program(sb: Sandbox) -> None:
    with sb.popen([PROBE, "window"], pty=True, text=True) as process:
        assert process.stdout.readline() == "24 80\n"
        process.resize(50, 132)
        assert process.stdout.readline() == "50 132\n"
        assert process.wait() == 0


@pytest.mark.parametrize("size", [(0, 80), (-1, 5), (1 << 16, 80)])
def test_a_pty_has_no_impossible_size(size: tuple[int, int], sb: Sandbox) -> None:
    with sb.popen(["cat"], pty=True) as process:
        with pytest.raises(ConfigError):
            process.resize(*size)
        process.kill()


def test_a_command_without_a_pty_has_no_size(sb: Sandbox) -> None:
    with sb.popen(["true"]) as process, pytest.raises(ConfigError):
        process.resize(24, 80)


@pytest.mark.parametrize("key, code", [(b"\x03", -signal.SIGINT), (b"\x1c", -signal.SIGQUIT)])
def test_the_keys_of_a_terminal_send_signals(key: bytes, code: int, sb: Sandbox) -> None:
    with sb.popen([PROBE, "window"], pty=True, bufsize=0) as process:
        assert process.stdout.readline() == b"24 80\r\n"
        process.stdin.write(key)
        assert process.wait(timeout=10) == code


def test_the_end_of_input_is_a_key(sb: Sandbox) -> None:
    with sb.popen(["cat"], pty=True, bufsize=0) as process:
        process.stdin.write(b"\x04")
        assert process.wait(timeout=10) == 0


def test_the_pty_is_echoed_and_edited(sb: Sandbox) -> None:
    with sb.popen(["sh", "-c", "echo ready; read a; echo got $a"], pty=True, bufsize=0) as process:
        assert process.stdout.readline() == b"ready\r\n"
        process.stdin.write(b"ax\x7fb\n")
        assert process.wait(timeout=10) == 0
        assert b"got ab\r\n" in process.communicate()[0]


def test_job_control_works_in_a_pty(sb: Sandbox) -> None:
    script = "set -m; sleep 1000 & kill -TERM $!; wait $!; echo $?; ps -o pid,pgid,sid | tail -1 >/dev/null"
    with sb.popen(["sh", "-c", script], pty=True) as process:
        assert b"143" in process.communicate(timeout=10)[0]


def test_much_output_of_a_pty_does_not_stall(box: Callable[..., Sandbox]) -> None:
    with box() as sb, sb.popen(["dd", "if=/dev/zero", "bs=1M", "count=10"], pty=True) as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(out) == 1 << 20


def test_a_pty_excludes_other_streams(sb: Sandbox) -> None:
    for name in ("stdin", "stdout", "stderr"):
        with pytest.raises(ConfigError, match="pty"):
            sb.popen(["true"], pty=True, **{name: PIPE})


def test_a_pty_is_not_the_terminal_of_another_command(sb: Sandbox) -> None:
    with sb.popen(["sh", "-c", "echo ready; exec cat"], pty=True, bufsize=0) as process:
        assert process.stdout.readline() == b"ready\r\n"
        done = sb.run(["sh", "-c", "tty; echo x > /dev/tty"], text=True)
        assert "not a tty" in done.stdout
        assert "/dev/tty" in done.stderr
        process.kill()


def test_no_terminal_of_the_caller_goes_in(rootfs: Path) -> None:
    ours, theirs = os.openpty()
    try:
        code = (
            "import os, sys, pycontain; os.setsid(); __import__('fcntl').ioctl(0, 0x540e, 0);"
            "done = pycontain.run(['sh', '-c', 'tty; echo x > /dev/tty'], rootfs=sys.argv[1], text=True);"
            "os.write(2, repr((done.stdout, done.returncode != 0)).encode())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, rootfs],
            stdin=theirs,
            stdout=theirs,
            stderr=PIPE,
            check=True,
        )
        assert done.stderr == b"('not a tty\\n', True)"
    finally:
        os.close(ours)
        os.close(theirs)


def test_popen_streams_have_the_types_of_subprocess(sb: Sandbox) -> None:
    for bufsize in (0, -1):
        kinds = []
        for popen in (subprocess.Popen, sb.popen):
            with popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=bufsize) as process:
                kinds.append((type(process.stdin), type(process.stdout)))
        assert kinds[0] == kinds[1]
    assert issubclass(kinds[0][0], io.BufferedWriter)


def test_the_result_of_run_is_that_of_subprocess(sb: Sandbox) -> None:
    result = sb.run(["sh", "-c", "echo out; echo err >&2; exit 3"], text=True)
    assert isinstance(result, subprocess.CompletedProcess)
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    with pytest.raises(pycontain.CalledProcessError) as caught:
        result.check_returncode()
    assert isinstance(caught.value, subprocess.CalledProcessError)
    with pytest.raises(subprocess.CalledProcessError):
        sb.run(["false"], check=True)
