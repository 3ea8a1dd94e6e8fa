# SPDX-License-Identifier: Apache-2.0
"""Other processes of a running container: the same box, their own rights."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain import _native
from pycontain.errors import (
    ContainerStateError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    SpawnError,
)
from pycontain.oci import parse_process

if TYPE_CHECKING:
    from _containers import Containers

pytestmark = pytest.mark.requires("root", "busybox")

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time")


def test_it_is_in_all_namespaces_and_groups(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    script = "for name in $@; do readlink /proc/self/ns/$name; done; cat /proc/self/cgroup"
    outcome = containers.execute(container, "sh", "-c", script, "sh", *NAMESPACES)
    found = outcome.output.split()
    expected = [os.readlink(f"/proc/{container.pid}/ns/{name}") for name in NAMESPACES]
    assert found[: len(expected)] == expected
    assert {line.rpartition(":")[2] for line in found[len(expected) :]} == {"/"}


@pytest.mark.parametrize("code", [0, 9, 255])
def test_its_exit_status(containers: Containers, code: int) -> None:
    container = containers.start("sleep", "1000")
    assert containers.execute(container, "sh", "-c", f"exit {code}").status == code


def test_its_signal(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    process = container.exec(
        parse_process({"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]})
    )
    process.signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert container.status() == "running"


def test_its_own_rights(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    fields: dict[str, Any] = {
        "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o077},
        "capabilities": {"bounding": ["CAP_KILL"]},
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
    }
    script = "id -u; id -G; umask; ulimit -n; grep -e CapBnd -e NoNewPrivs /proc/self/status"
    outcome = containers.execute(container, "sh", "-c", script, **fields)
    assert outcome.output.split() == [
        *("5", "6", "7", "0077", "50", "CapBnd:", "0000000000000020", "NoNewPrivs:", "1"),
    ]  # fmt: skip


def test_the_container_s_filter_holds(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}

    container = containers.start("sleep", "1000", edit=edit)
    outcome = containers.execute(container, "mkdir", "/x", noNewPrivileges=True)
    assert "Operation not permitted" in outcome.output


def test_a_directory_and_an_environment(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    outcome = containers.execute(
        container, "sh", "-c", "pwd; echo $A $HOME", cwd="/etc", env=["PATH=/bin", "A=b"]
    )
    assert outcome.output.split() == ["/etc", "b", "/root"]


def test_a_created_container_has_processes_too(containers: Containers) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    assert containers.execute(container, "echo", "early").output == "early\n"
    container.start()
    assert container.status() == "running"


ERRORS: dict[str, tuple[list[str], dict[str, Any], type[Exception], str]] = {
    "no program": (["nowhere"], {}, ProgramNotFoundError, "executable file not found"),
    "no path": (["/no/where"], {}, ProgramNotFoundError, "no such file or directory"),
    "a directory": (["/bin"], {}, ProgramNotExecutableError, "permission denied"),
    "no directory": (["true"], {"cwd": "/no/where"}, SpawnError, "CWD failed"),
    "a magic link": (["true"], {"cwd": "/proc/self/fd/3"}, SpawnError, "CWD failed"),
}


@pytest.mark.parametrize("args, fields, error, message", ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_started(
    containers: Containers,
    args: list[str],
    fields: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    container = containers.start("sleep", "1000")
    with pytest.raises(error, match=message):
        containers.execute(container, *args, **fields)
    assert container.ps() == [container.pid]


@pytest.mark.parametrize("status", ["stopped", "paused"])
def test_not_in_a_container_that_is_not_running(containers: Containers, status: str) -> None:
    container = containers.start("sleep", "1000")
    if status == "paused":
        container.pause()
    else:
        container.kill(signal.SIGKILL)
        container.wait()
    with pytest.raises(
        ContainerStateError, match="paused" if status == "paused" else "not running"
    ):
        containers.execute(container, "true")


def test_it_does_not_outlive_the_container(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    process = container.exec(
        parse_process({"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]})
    )
    assert sorted(container.ps()) == sorted([container.pid, process.pid])
    container.kill(signal.SIGKILL)
    assert process.wait() == 128 + signal.SIGKILL


def test_its_pid_file(containers: Containers, tmp_path: Path) -> None:
    container = containers.start("sleep", "1000")
    containers.execute(container, "true", pid_file=str(tmp_path / "pid"))
    assert int((tmp_path / "pid").read_text()) > 0


def test_many_at_once(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(
            pool.map(lambda n: containers.execute(container, "echo", str(n)).output, range(12))
        )
    assert outcomes == [f"{n}\n" for n in range(12)]


def test_the_number_of_another_process_is_no_container(containers: Containers) -> None:
    """A record whose pid was given to somebody else since: nobody is entered or killed."""
    container = containers.start("sleep", "1000")
    record = container.record
    container._entry.write(record.replace(pid=os.getpid()))
    try:
        assert container.status() == "stopped"
        with pytest.raises(ContainerStateError):
            containers.execute(container, "true")
        with pytest.raises(ContainerStateError):
            container.kill(signal.SIGKILL)
    finally:
        container._entry.write(record)


HOSTILE_LINKS = ("/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/proc/self/fd/7")


@pytest.mark.parametrize("program", HOSTILE_LINKS)
def test_a_program_that_leads_to_our_own(containers: Containers, program: str) -> None:
    """CVE-2019-5736: what is run may be ours, but what is written never is."""
    bundle = containers.bundle("sleep", "1000")
    container = containers.create(bundle)
    container.start()
    (bundle / "rootfs/evil").symlink_to(program)
    before = Path(_native.__file__).with_name("_init").read_bytes()
    script = "for pid in /proc/[0-9]*; do echo x 2>/dev/null >$pid/exe; done; true"
    containers.execute(container, "sh", "-c", script)
    with contextlib.suppress(SpawnError, ProgramNotFoundError, ProgramNotExecutableError):
        containers.execute(container, "/evil")
    assert Path(_native.__file__).with_name("_init").read_bytes() == before
