# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="arg-type, no-untyped-call, attr-defined"
# ruff: noqa: E501 - tables and scripts
"""Arguments that cannot be right: a typed error, nothing started."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from pycontain import (
    Bind,
    ConfigError,
    Overlay,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    Sandbox,
    SpawnError,
    Tmpfs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

USERS = [
    "4294967296", "4294967295", "2147483648000", -1, "-1", "0x0", "0o0", "1e3", "1_000", " 1000", "1000 ", "1000\n",
    "\u0661\u0660", "\uff11\uff10\uff10\uff10", "\u00b2", "1000:", ":", ":1000", "", "1000:1000:1000", "1000:-1",
    "1000:4294967296", "0x0:0", "no-such-user", "no-such-user:0", "0:no-such-group", "ro\0ot", "a b", "../root",
    "root:x", True, 1.0, None.__class__, b"root", ["root"],
]  # fmt: skip
BAD_OPTIONS: list[dict[str, Any]] = [
    *({"user": user} for user in USERS),
    {"rootfs": ""}, {"rootfs": "a\0b"}, {"rootfs": b"/"}, {"rootfs": "does/not/exist"},
    {"cwd": ""}, {"cwd": "relative"}, {"cwd": "/a\0b"}, {"cwd": "/a/../b"}, {"cwd": "/" + "a" * 5000},
    {"env": {"": "x"}}, {"env": {"a=b": "x"}}, {"env": {"a\0": "x"}}, {"env": {"a": "x\0y"}}, {"env": {"a": 1}},
    {"env": {1: "a"}}, {"env": "PATH=/bin"}, {"env": ["PATH=/bin"]},
    {"hostname": ""}, {"hostname": "a" * 65}, {"hostname": "a b"}, {"hostname": "a\0b"}, {"hostname": "a\nb"},
    {"hostname": "-a"}, {"hostname": "\u00e9"},
    {"network": "bridges"}, {"network": None}, {"profile": "no-such"}, {"profile": ""},
    {"namespaces": ("user", "mnt", "pid", "nett")}, {"namespaces": ()}, {"namespaces": ("net",)},
    {"memory": "lots"}, {"memory": 0}, {"memory": -1}, {"memory": True}, {"memory": "-5M"}, {"memory": ""},
    {"memory": 1 << 63}, {"memory": "1e9"}, {"memory": "\u0665M"},
    {"disk": "0"}, {"disk": None}, {"inodes": 0}, {"inodes": -1}, {"inodes": "many"}, {"inodes": 1 << 40},
    {"pids": 0}, {"pids": -1}, {"pids": "5"}, {"pids": True}, {"pids": 1.5},
    {"cpus": 0}, {"cpus": -1}, {"cpus": float("nan")}, {"cpus": float("inf")}, {"cpus": "1"},
    {"wall_limit": 0}, {"wall_limit": -1}, {"wall_limit": float("nan")}, {"wall_limit": "1"},
    {"output_limit": 0}, {"output_limit": "x"},
    {"mounts": [("/usr", "/usr")]}, {"mounts": ["/usr"]}, {"mounts": [None]}, {"mounts": Tmpfs("/a")}, {"mounts": "/a"},
]  # fmt: skip


def _name(options: dict[str, Any]) -> str:
    return re.sub(r"[^ -~]", "?", repr(options))[:60]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=_name)
def test_an_option_that_cannot_be_right_is_a_config_error(
    options: dict[str, Any], rootfs: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        pycontain.run(["true"], **{"rootfs": rootfs, **options})
    assert re.search(next(iter(options)).rstrip("s"), str(caught.value).lower())
    assert not re.search(r"[\0\n\x1b]", str(caught.value))


@pytest.mark.parametrize("name", ["memroy", "Memory", "timeout_s", "shell", "preexec_fn", "image_"])
def test_an_unknown_option_is_a_type_error_with_its_name(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Sandbox(**{name: 1})
    with pytest.raises(TypeError, match=name):
        pycontain.run(["true"], **{name: 1})


MOUNTS: dict[str, Callable[[], object]] = {
    "bind relative target": lambda: Bind("/usr", "a"),
    "bind empty target": lambda: Bind("/usr", ""),
    "bind empty source": lambda: Bind("", "/a"),
    "bind dots": lambda: Bind("/usr", "/a/../b"),
    "bind NUL source": lambda: Bind("/u\0sr", "/a"),
    "bind NUL target": lambda: Bind("/usr", "/a\0"),
    "bind number": lambda: Bind("/usr", 5),
    "bind number source": lambda: Bind(5, "/usr"),
    "bind on the root": lambda: Bind("/usr", "/"),
    "tmpfs on the root": lambda: Tmpfs("/"),
    "overlay on the root": lambda: Overlay(("/usr",), "/"),
    "tmpfs relative": lambda: Tmpfs("a"),
    "tmpfs size": lambda: Tmpfs("/a", size="x"),
    "tmpfs negative size": lambda: Tmpfs("/a", size=-1),
    "tmpfs no inodes": lambda: Tmpfs("/a", inodes=0),
    "tmpfs inodes text": lambda: Tmpfs("/a", inodes="5"),
    "tmpfs set-id mode": lambda: Tmpfs("/a", mode=0o4777),
    "tmpfs mode text": lambda: Tmpfs("/a", mode="755"),
    "overlay of nothing": lambda: Overlay((), "/a"),
    "overlay NUL": lambda: Overlay(("/a\0b",), "/a"),
    "overlay number": lambda: Overlay((5,), "/a"),
}


@pytest.mark.parametrize("make", MOUNTS.values(), ids=MOUNTS)
def test_a_mount_that_cannot_be_right_is_a_config_error(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


ARGS: dict[str, Any] = {
    "str": "echo hello", "bytes": b"echo", "path": Path("/bin/true"), "empty": [], "tuple": (), "None": None,
    "number": 5, "number inside": ["echo", 5], "None inside": ["echo", None], "NUL": ["echo", "a\0b"],
    "NUL bytes": [b"ec\0ho"], "empty program": [""], "empty program with arguments": ["", "a"], "set": {"a", "b"},
    "dict": {"a": 1}, "nested": [["true"]],
}  # fmt: skip


@pytest.mark.parametrize("args", ARGS.values(), ids=ARGS)
@pytest.mark.parametrize("how", ["once", "run", "popen"])
def test_arguments_that_cannot_be_right_are_a_config_error(
    args: Any, how: str, rootfs: Path, sb: Sandbox
) -> None:
    with pytest.raises(ConfigError, match="args"):
        {
            "once": lambda: pycontain.run(args, rootfs=rootfs),
            "run": lambda: sb.run(args),
            "popen": lambda: sb.popen(args),
        }[how]()


COMMAND_OPTIONS: dict[str, dict[str, Any]] = {
    "relative cwd": {"cwd": "tmp"},
    "empty cwd": {"cwd": ""},
    "cwd with dots": {"cwd": "/tmp/.."},
    "cwd with NUL": {"cwd": "/tmp\0"},
    "cwd number": {"cwd": 3},
    "cwd bytes": {"cwd": b"/tmp"},
    "env name": {"env": {"a=b": ""}},
    "env value": {"env": {"a": None}},
    "env text": {"env": "a=b"},
    "user": {"user": "0x0"},
    "unknown user": {"user": "nobody-knows"},
    "user out of range": {"user": 65536},
    "umask": {"umask": 0o1000},
    "negative umask": {"umask": -1},
    "umask text": {"umask": "022"},
    "negative descriptor": {"pass_fds": [-1]},
    "descriptor text": {"pass_fds": ["0"]},
    "descriptor twice": {"pass_fds": [7, 7]},
    "standard descriptor": {"pass_fds": [1]},
    "too many descriptors": {"pass_fds": range(3, 300)},
    "negative stdin": {"stdin": -5},
    "stdin text": {"stdin": "file"},
    "STDOUT as stdin": {"stdin": pycontain.STDOUT},
    "STDOUT as stdout": {"stdout": pycontain.STDOUT},
    "encoding": {"encoding": "no-such"},
    "errors": {"text": True, "errors": "no-such"},
}
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "no time": {"timeout": 0},
    "negative time": {"timeout": -1},
    "time text": {"timeout": "1"},
    "time nan": {"timeout": float("nan")},
    "input and stdin": {"input": b"", "stdin": pycontain.PIPE},
    "input number": {"input": 5},
    "input list": {"input": ["a"]},
}


@pytest.mark.parametrize("options", COMMAND_OPTIONS.values(), ids=COMMAND_OPTIONS)
@pytest.mark.parametrize("how", ["run", "popen"])
def test_an_option_of_a_command_that_cannot_be_right_is_a_config_error(
    options: dict[str, Any], how: str, sb: Sandbox
) -> None:
    with pytest.raises(ConfigError):
        getattr(sb, how)(["true"], **options)


@pytest.mark.parametrize("options", RUN_OPTIONS.values(), ids=RUN_OPTIONS)
def test_an_option_of_run_that_cannot_be_right_is_a_config_error(
    options: dict[str, Any], sb: Sandbox, rootfs: Path
) -> None:
    with pytest.raises(ConfigError):
        sb.run(["true"], **options)
    with pytest.raises(ConfigError):
        pycontain.run(["true"], rootfs=rootfs, **options)


@pytest.mark.parametrize(
    "size", [(0, 80), (24, 0), (-1, 80), (24, 1 << 16), (24,), "80x24", None, ("a", "b")]
)
def test_a_terminal_without_a_size_is_a_config_error(size: Any, sb: Sandbox) -> None:
    with pytest.raises(ConfigError, match="size"):
        sb.popen(["true"], pty=True, size=size)


def test_a_descriptor_that_is_not_open_is_an_error_of_the_system(sb: Sandbox) -> None:
    fd = 987  # open(2) gives the lowest that is free
    for options in ({"pass_fds": [fd]}, {"stdin": fd}, {"stdout": fd}):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            sb.run(["true"], **options)
    assert sb.run(["echo", "well"]).stdout == b"well\n"


PROGRAMS: list[tuple[str, list[str], type[Exception], int]] = [
    ("missing name", ["no-such-program"], ProgramNotFoundError, errno.ENOENT),
    ("missing path", ["/no/such/program"], ProgramNotFoundError, errno.ENOENT),
    ("below a file", ["/bin/busybox/a"], ProgramNotFoundError, errno.ENOENT),
    ("directory", ["/bin"], ProgramNotExecutableError, errno.EACCES),
    ("data", ["/tmp/data"], ProgramNotExecutableError, errno.EACCES),
    ("script without its interpreter", ["/tmp/orphan"], ProgramNotFoundError, errno.ENOENT),
    ("not a program", ["/tmp/garbage"], SpawnError, errno.ENOEXEC),
    ("empty file", ["/tmp/empty"], SpawnError, errno.ENOEXEC),
    ("script without a first line", ["/tmp/plain"], SpawnError, errno.ENOEXEC),
    ("link to nowhere", ["/tmp/dangling"], ProgramNotFoundError, errno.ENOENT),
    ("link to itself", ["/tmp/loop"], SpawnError, errno.ELOOP),
    ("fifo", ["/tmp/fifo"], ProgramNotExecutableError, errno.EACCES),
    ("long name", ["/" + "a" * 300], SpawnError, errno.ENAMETOOLONG),
    ("long path", ["/" + "a/" * 3000], SpawnError, errno.ENAMETOOLONG),
]
PREPARE = r"""
cd /tmp; echo data > data; chmod 644 data
printf '#!/no/such/interpreter\n' > orphan; head -c 100 /dev/zero > garbage; : > empty; echo 'echo hello' > plain
chmod 755 orphan garbage empty plain; ln -s /nowhere dangling; ln -s loop loop; mkfifo fifo
"""


@pytest.fixture
def prepared(sb: Sandbox) -> Sandbox:
    sb.run(["sh", "-c", PREPARE], check=True)
    return sb


@pytest.mark.parametrize(
    "args, kind, number", [row[1:] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS]
)
@pytest.mark.parametrize("how", ["run", "popen"])
def test_a_program_that_cannot_be_executed_is_told_apart(
    args: list[str], kind: type[OSError], number: int, how: str, prepared: Sandbox
) -> None:
    with pytest.raises(kind) as caught:
        getattr(prepared, how)(args)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]
    path = caught.value.path if isinstance(caught.value, SpawnError) else caught.value.filename
    assert path == args[0]
    assert prepared.run(["echo", "well"]).stdout == b"well\n"


@pytest.mark.parametrize("program", ["no-such-program", "/no/such", "/bin"])
def test_a_one_shot_tells_a_missing_program_too(program: str, rootfs: Path) -> None:
    with pytest.raises((ProgramNotFoundError, ProgramNotExecutableError)) as caught:
        pycontain.run([program], rootfs=rootfs)
    assert caught.value.filename == program


def test_a_program_is_searched_in_the_commands_own_path(sb: Sandbox) -> None:
    sb.run(["sh", "-c", "mkdir /tmp/own && cp /bin/busybox /tmp/own/hello"], check=True)
    with pytest.raises(ProgramNotFoundError):
        sb.run(["hello"])
    assert sb.run(["hello"], env={"PATH": "/tmp/own"}).returncode == 127  # busybox knows no `hello`


def test_a_relative_entry_of_path_is_not_searched(sb: Sandbox) -> None:
    sb.run(["sh", "-c", "cp /bin/busybox /tmp/echo2"], check=True)
    for path in (".", "", "tmp", ":"):
        with pytest.raises(ProgramNotFoundError):
            sb.run(["echo2"], env={"PATH": path}, cwd="/tmp")


CWDS = [
    ("missing", "/no/such", errno.ENOENT),
    ("file", "/bin/busybox", errno.ENOTDIR),
    ("closed", "/tmp/closed", errno.EACCES),
    ("below a closed one", "/tmp/closed/in", errno.EACCES),
    ("link to itself", "/tmp/loop", errno.ELOOP),
    ("root of a process", "/proc/self/root", errno.ELOOP),
    ("cwd of a process", "/proc/self/cwd", errno.ELOOP),
    ("root of PID 1", "/proc/1/root", None),
    ("cwd of PID 1", "/proc/1/cwd/..", None),
]


@pytest.mark.parametrize(
    "cwd, number", [row[1:] for row in CWDS[:-1]], ids=[row[0] for row in CWDS[:-1]]
)
def test_a_working_directory_that_cannot_be_entered_is_an_error(
    cwd: str, number: int | None, sb: Sandbox
) -> None:
    sb.run(["sh", "-c", "cd /tmp; mkdir -p closed/in; chmod 0 closed; ln -s loop loop"], check=True)
    with pytest.raises(SpawnError) as caught:
        sb.run(["pwd"], cwd=cwd)
    assert (caught.value.step, caught.value.path) == ("CWD", cwd)
    assert number in (None, caught.value.errno)
    assert caught.value.hint
    sb.run(["chmod", "700", "/tmp/closed"], check=True)


@pytest.mark.parametrize("how", ["living", "once"])
def test_no_descriptor_of_proc_is_a_working_directory(how: str, sb: Sandbox, rootfs: Path) -> None:
    held = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(20)]
    try:
        numbers = range(64) if how == "living" else range(0, 24, 3)
        for who in ("self", "thread-self"):
            for number in numbers:
                cwd = f"/proc/{who}/fd/{number}"
                with pytest.raises(SpawnError) as caught:  # noqa: PT012
                    if how == "living":
                        sb.run(["pwd"], cwd=cwd)
                    else:
                        pycontain.run(["pwd"], cwd=cwd, rootfs=rootfs)
                assert caught.value.step == "CWD"
                assert caught.value.errno in (
                    errno.ELOOP,
                    errno.ENOENT,
                    errno.ENOTDIR,
                    errno.EACCES,
                )
    finally:
        for fd in held:
            os.close(fd)


def test_a_link_planted_as_working_directory_leads_nowhere_outside(sb: Sandbox) -> None:
    for number in range(16):
        sb.run(["ln", "-sfn", f"/proc/self/fd/{number}", "/tmp/way"], check=True)
        with pytest.raises(SpawnError):
            sb.run(["pwd"], cwd="/tmp/way")


TOO_LONG: dict[str, dict[str, Any]] = {
    "one argument": {"args": ["true", "a" * (128 << 10)]},
    "the sum of arguments": {"args": ["true", *["a" * 1000] * 7000]},
    "one variable": {"args": ["true"], "env": {"A": "a" * (128 << 10)}},
    "the sum of the environment": {
        "args": ["true"],
        "env": {f"A{i}": "a" * 1000 for i in range(7000)},
    },
    "many empty arguments": {"args": ["true", *[""] * 1_000_000]},
}


@pytest.mark.parametrize("options", TOO_LONG.values(), ids=TOO_LONG)
def test_more_arguments_than_the_kernel_takes_are_an_error(
    options: dict[str, Any], sb: Sandbox
) -> None:
    with pytest.raises(SpawnError) as caught:
        sb.run(**options)
    assert (caught.value.step, caught.value.errno) == ("EXEC", errno.E2BIG)
    assert caught.value.hint
    assert sb.run(["echo", "well"]).stdout == b"well\n"


def test_as_many_arguments_as_the_kernel_takes_arrive(sb: Sandbox) -> None:
    args = ["a" * 100] * 10_000
    assert (
        sb.run(["sh", "-c", 'echo $# "$1"', "sh", *args]).stdout == b"10000 " + b"a" * 100 + b"\n"
    )


def test_bytes_that_are_no_text_arrive_as_they_are(sb: Sandbox) -> None:
    data = bytes(range(1, 256))
    assert sb.run(["printf", "%s", data]).stdout == data
