# SPDX-License-Identifier: Apache-2.0
"""E: what /proc, /dev and the limits let a program do. Single files are in the catalogue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _attackers import INSIDE, MOUNT, Call, run_inside
from pycontain import profile
from pycontain.selftest._programs import Result, lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Sandbox

CORES = [name for name in profile.names() if "CORE" in profile.get(name).rlimits]


@pytest.mark.parametrize("name", CORES)
def test_e7_a_crash_starts_no_handler_on_the_host(name: str, box: Callable[..., Sandbox]) -> None:
    # 0 would still start a handler that core_pattern pipes to (core(5)); 1 does not.
    with box(profile=name, mounts=[MOUNT]) as sandbox:
        shown = lines(sandbox.run([INSIDE, "show", "/proc/self/limits"], text=True).stdout)[0].text
        crash = sandbox.run(["sh", "-c", "kill -SEGV $$"], cwd="/tmp")
        left = sandbox.run(["ls", "/tmp"], text=True).stdout
    row = next(row.split() for row in shown.splitlines() if row.startswith("Max core file size"))
    assert row[4:6] == ["1", "1"]
    assert crash.returncode == -11
    assert left == ""


def test_e1_nothing_of_the_host_changed(box: Callable[..., Sandbox]) -> None:
    names = [
        *("kernel/core_pattern", "kernel/hostname", "kernel/pid_max", "vm/overcommit_memory"),
        *("fs/file-max", "user/max_user_namespaces", "net/ipv4/ip_forward", "kernel/msgmax"),
    ]
    paths = [Path("/proc/sys", name) for name in names if Path("/proc/sys", name).exists()]
    before = [path.read_text() for path in paths]
    script = "for f in $(find /proc/sys -type f); do echo 1 > $f; done 2>/dev/null"
    for name in profile.names():
        with box(profile=name) as sandbox:
            sandbox.run(["sh", "-c", script], timeout=60)
    assert [path.read_text() for path in paths] == before
    assert len(paths) > 4


def test_e8_what_is_shared_by_name_is_private(box: Callable[..., Sandbox]) -> None:
    own = Path("/dev/shm", f"pycontain-test-{os.getpid()}")
    own.write_text("the host's")
    try:
        with box() as sandbox:
            script = f"ls -A /dev/shm /dev/pts; echo x > {own} && cat {own}"
            said = sandbox.run(["sh", "-c", script], text=True).stdout.split()
        assert said == ["/dev/pts:", "ptmx", "/dev/shm:", "x"]
        assert own.read_text() == "the host's"
    finally:
        own.unlink()


def test_e9_an_oom_score_does_not_go_below_where_it_started(box: Callable[..., Sandbox]) -> None:
    def written(value: bytes) -> tuple[Call, ...]:
        return (
            Call("openat", (-100, "/proc/self/oom_score_adj", 1, 0)),
            Call("write", (Result(0), value, len(value))),
        )

    with box(mounts=[MOUNT]) as sandbox:
        start = int(sandbox.run(["cat", "/proc/self/oom_score_adj"]).stdout)
        higher, lower = run_inside(
            sandbox, written(str(min(start + 1, 1000)).encode()), written(b"-1000")
        )
    assert str(higher) == "done"
    assert str(lower) == "EACCES"
