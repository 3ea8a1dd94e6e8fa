# SPDX-License-Identifier: Apache-2.0
"""Processors for one sandbox alone: the kernel holds them, and who comes later is told by whom."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from _features import cgroup_homes
from pycontain import ConfigError, Sandbox, UnsupportedError
from pycontain._cgroup import _state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.requires("cgroup_exclusive"), pytest.mark.usefixtures("free")]

MINE = sorted(os.sched_getaffinity(0))
ONE = str(MINE[-1])
SHOW = "import os; print(*sorted(os.sched_getaffinity(0)))"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def free() -> Iterator[None]:
    """Take the processors from v1 cpusets that no process is in, and give them back.

    Engines of containers leave such cpusets, and v1 gives nobody alone what another cpuset has.
    """
    taken: list[tuple[Path, str]] = []
    for group in _idle_cpusets():
        below = [path for path in group.rglob("*") if path.is_dir()]
        for file in (path / "cpuset.cpus" for path in (*reversed(below), group)):
            taken.append((file, file.read_text()))
            file.write_text("\n")
    yield
    for file, cpus in reversed(taken):
        with contextlib.suppress(FileNotFoundError):
            file.write_text(cpus)


def _idle_cpusets() -> Iterator[Path]:
    for names, home in cgroup_homes():
        if "cpuset" not in names or "v2" in names:
            continue
        for tasks in home.glob("*/tasks"):
            group = tasks.parent
            idle = not any(path.read_text() for path in group.rglob("tasks"))
            if idle and not _state.NAME.fullmatch(group.name):  # the library's own may be in use
                yield group


def exclusive(cpuset: str, **options: Any) -> Sandbox:
    return Sandbox(cpuset=cpuset, cpuset_exclusive=True, **options)


def seen(sb: Sandbox) -> list[str]:
    output: str = sb.run(python(SHOW), text=True).stdout
    return output.split()


def test_exclusive_processors_are_held_by_the_kernel() -> None:
    with exclusive(ONE) as sb:
        assert seen(sb) == [ONE]
        assert sb.enforcement["cpuset"].by.startswith("cgroup v")
        code = f"import os; os.sched_setaffinity(0, {MINE}); {SHOW}"  # allowed, and of no use
        assert sb.run(python(code), text=True).stdout.split() == [ONE]


@pytest.mark.parametrize("wanted", [ONE, ",".join(map(str, MINE))])
def test_the_second_to_want_a_processor_is_told_who_has_it(wanted: str) -> None:
    with exclusive(ONE) as first:
        with pytest.raises(UnsupportedError, match=rf"CPU {ONE} is held by the sandbox s\d+ of"):
            exclusive(wanted).start()
        assert seen(first) == [ONE]
    with exclusive(ONE) as second:
        assert seen(second) == [ONE]


def test_another_process_is_told_who_has_it() -> None:
    code = f"import pycontain; pycontain.run(['true'], cpuset='{ONE}', cpuset_exclusive=True)"
    command = [sys.executable, "-c", code]
    with exclusive(ONE):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"CPU {ONE} is held by process {os.getpid()} " in done.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_the_processors_of_a_killed_process_are_free_again() -> None:
    code = (
        "import os, pycontain, signal\n"
        f"sb = pycontain.Sandbox(cpuset='{ONE}', cpuset_exclusive=True).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    again = f"import pycontain; pycontain.run(['true'], cpuset='{ONE}', cpuset_exclusive=True)"

    assert subprocess.run([sys.executable, "-c", again], check=False).returncode == 0


@pytest.mark.requires("processors_2")
def test_exclusive_processors_can_be_changed_while_commands_run() -> None:
    first, last = str(MINE[0]), str(MINE[-1])
    with exclusive(first) as sb:
        running = sb.popen(["sleep", "60"])
        assert seen(sb) == [first]
        sb.update(cpuset=last)
        assert seen(sb) == [last]
        assert os.sched_getaffinity(running.pid) == {int(last)}
        with pytest.raises(UnsupportedError, match=f"CPU {last} is held"):
            exclusive(last).start()
        with pytest.raises(ConfigError, match="cpuset="):
            sb.update(cpuset=None)
        running.kill()
        running.wait()


@pytest.mark.requires("processors_2")
def test_each_of_many_threads_gets_a_processor_or_is_told() -> None:
    rounds = 8
    held: set[str] = set()
    lock = threading.Lock()

    def work(cpu: str) -> int:
        got = 0
        for _ in range(rounds):
            with contextlib.suppress(UnsupportedError), exclusive(cpu) as sb:
                with lock:
                    assert cpu not in held
                    held.add(cpu)
                assert seen(sb) == [cpu]
                got += 1
                with lock:
                    held.remove(cpu)
        return got

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, [str(cpu) for cpu in MINE[:2] * 2])) >= rounds
