# SPDX-License-Identifier: Apache-2.0
"""Output that floods, input that nobody reads, limits, and the verdicts about them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _box import PROBE, python, started
from pycontain import PIPE, Reason, Sandbox, TimeoutExpired

if TYPE_CHECKING:
    from collections.abc import Callable

FLOOD = ["dd", "if=/dev/zero", "bs=1M", "count=100"]


def test_a_flood_costs_the_host_process_no_memory(rootfs: Path) -> None:
    code = """
        import re, sys
        import pycontain

        def peak():
            return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

        options = {"rootfs": sys.argv[1], "env": {}}
        script = "dd if=/dev/zero bs=1M count=100; dd if=/dev/zero bs=1M count=100 >&2"
        pycontain.run(["sh", "-c", "true"], **options)
        before = peak()
        done = pycontain.run(["sh", "-c", script], **options)
        assert done.returncode == 0
        assert (len(done.stdout), len(done.stderr)) == (1 << 20, 1 << 20)
        assert done.truncated == {"stdout", "stderr"}
        with pycontain.Sandbox(**options) as sb:
            assert len(sb.run(["sh", "-c", script]).stdout) == 1 << 20
            with sb.popen(["sh", "-c", script], stdout=-1, stderr=-1) as process:
                assert [len(stream) for stream in process.communicate()] == [1 << 20, 1 << 20]
        print(peak() - before < 24 << 20)
    """
    assert python(code, rootfs) == "True\n"


def test_what_is_kept_is_the_beginning(sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", "echo first; yes | head -c 3000000"], text=True)
    assert done.stdout.startswith("first\ny\ny\n")
    assert done.truncated == {"stdout"}
    assert done.reason == Reason.EXITED


@pytest.mark.parametrize("size", [999, 1000])
def test_output_up_to_the_limit_is_whole(size: int, box: Callable[..., Sandbox]) -> None:
    with box(output_limit=1000) as sb:
        done = sb.run(["head", "-c", str(size), "/dev/zero"])
    assert (len(done.stdout), done.truncated, done.reason) == (size, frozenset(), Reason.EXITED)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("how", ["once", "living"])
def test_more_output_than_the_limit_ends_with_a_verdict(
    how: str, stream: str, box: Callable[..., Sandbox], box_options: dict[str, Any]
) -> None:
    args = ["sh", "-c", f"yes {'>&2' if stream == 'stderr' else ''}"]
    if how == "once":
        done = pycontain.run(args, **box_options, output_limit="1K", timeout=60)
    else:
        with box(output_limit="1K") as sb:
            done = sb.run(args, timeout=60)
            assert sb.run(["echo", "well"]).stdout == b"well\n"
    assert (done.returncode, done.reason) == (-9, Reason.OUTPUT_LIMIT)
    assert done.truncated == {stream}
    assert getattr(done, stream) == b"y\n" * 512


@pytest.mark.parametrize("how", ["once", "living"])
def test_more_time_than_the_limit_ends_with_a_verdict(
    how: str, box: Callable[..., Sandbox], box_options: dict[str, Any]
) -> None:
    args = ["sh", "-c", "echo partial; exec sleep 1000"]
    if how == "once":
        done = pycontain.run(args, **box_options, wall_limit=0.8)
    else:
        with box(wall_limit=0.8) as sb:
            done = sb.run(args)
            assert sb.run(["echo", "well"]).stdout == b"well\n"
    assert (done.returncode, done.reason, done.stdout) == (-9, Reason.WALL_LIMIT, b"partial\n")
    assert done.usage.wall_s >= 0.8


@pytest.mark.parametrize("how", ["once", "living"])
def test_a_timeout_keeps_the_partial_output_and_the_usage(
    how: str, sb: Sandbox, box_options: dict[str, Any]
) -> None:
    args = ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]
    with pytest.raises(TimeoutExpired) as caught:  # noqa: PT012
        if how == "once":
            pycontain.run(args, **box_options, timeout=0.8, text=True)
        else:
            sb.run(args, timeout=0.8, text=True)
    error: Any = caught.value
    assert (error.cmd, error.timeout, error.stdout, error.stderr) == (args, 0.8, "out\n", "err\n")
    assert error.usage is not None
    assert error.usage.wall_s >= 0.8
    assert isinstance(error, TimeoutError)


def test_of_two_limits_the_shorter_one_speaks(box: Callable[..., Sandbox]) -> None:
    with box(wall_limit=0.2) as sb:
        assert sb.run(["sleep", "1000"], timeout=60).reason == Reason.WALL_LIMIT
    with box(wall_limit=60) as sb, pytest.raises(TimeoutExpired):
        sb.run(["sleep", "1000"], timeout=0.2)


@pytest.mark.parametrize("size", [1, 65536, 65537, 5_000_000])
def test_input_of_any_size_arrives(size: int, sb: Sandbox) -> None:
    assert sb.run(["wc", "-c"], input=bytes(size)).stdout.split() == [str(size).encode()]


@pytest.mark.parametrize(
    "script", ["true", "exec <&-; echo out; sleep 0.05", "head -c 10 >/dev/null", "exit 3"]
)
def test_input_that_nobody_reads_is_dropped(script: str, sb: Sandbox, rootfs: Path) -> None:
    for _ in range(3):
        done = sb.run(["sh", "-c", script], input=bytes(1_000_000), timeout=60)
        assert done.reason == Reason.EXITED
        once = pycontain.run(
            ["sh", "-c", script], input=bytes(1_000_000), rootfs=rootfs, timeout=60
        )
        assert (once.returncode, once.stdout) == (done.returncode, done.stdout)


def test_streams_that_are_closed_early_do_not_end_the_command(sb: Sandbox) -> None:
    done = sb.run(["sh", "-c", "exec >&- 2>&- <&-; sleep 0.05; exit 5"], input=b"x", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")


def test_one_byte_at_a_time_arrives_in_order(sb: Sandbox) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo -n x; i=$((i+1)); done"
    assert sb.run(["sh", "-c", script], timeout=60).stdout == b"x" * 2000


def test_bytes_that_are_no_text_are_kept_or_replaced(sb: Sandbox) -> None:
    args = ["printf", r"a\377\000\033[2Jb"]
    assert sb.run(args).stdout == b"a\xff\0\x1b[2Jb"
    assert sb.run(args, text=True).stdout == "a\ufffd\0\x1b[2Jb"


def test_results_and_errors_escape_what_a_terminal_would_obey(sb: Sandbox) -> None:
    done = sb.run(["printf", r"\033[2J\n"])
    assert repr(done).isprintable()
    with pytest.raises(pycontain.ProgramNotFoundError) as caught:
        sb.run(["/\x1b[2J\n"])
    assert str(caught.value).isprintable()


def test_a_reader_that_is_slow_slows_the_writer_and_nothing_else(sb: Sandbox) -> None:
    with sb.popen(FLOOD, stdout=PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert sb.run(["echo", "well"]).stdout == b"well\n"
        assert process.poll() is None
        total = 0
        while chunk := process.stdout.read(1 << 20):
            total += len(chunk)
        assert total == 100 << 20


def test_output_to_a_file_is_not_bounded_by_the_capture(sb: Sandbox, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        done = sb.run(["head", "-c", "3000000", "/dev/zero"], stdout=file)
    assert (done.stdout, (tmp_path / "out").stat().st_size) == (None, 3_000_000)


def test_a_full_device_is_an_error_of_the_command(sb: Sandbox) -> None:
    with open("/dev/full", "wb") as full:
        done = sb.run(["sh", "-c", "echo x || exit 9"], stdout=full, text=True)
    assert done.returncode == 9
    assert os.strerror(errno.ENOSPC) in done.stderr


def test_the_usage_has_a_source_for_each_figure(sb: Sandbox) -> None:
    usage = sb.run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]).usage
    assert usage.wall_s > 0
    assert usage.user_s is not None
    assert usage.user_s > 0
    assert set(usage.sources) >= {"wall_s", "user_s", "system_s"}


def test_the_memory_of_the_host_process_is_never_taken_for_the_commands(sb: Sandbox) -> None:
    ballast = bytearray(64 << 20)
    usage = sb.run(["true"]).usage
    assert usage.memory_peak is None or usage.memory_peak < len(ballast)


def test_two_commands_have_streams_of_their_own(sb: Sandbox) -> None:
    with started(
        sb, "sh", "-c", "echo ready; while read a; do echo got $a; done", stdin=PIPE
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        for number in range(20):
            assert sb.run([PROBE, "fds"]).stdout == b"0\n1\n2\n"
            first.stdin.write(f"{number}\n")
            first.stdin.flush()
            assert first.stdout.readline() == f"got {number}\n"
