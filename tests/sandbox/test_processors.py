# SPDX-License-Identifier: Apache-2.0
"""Where the programs of a sandbox run: `cpuset` holds, whoever asks for other processors."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from pycontain import AsyncSandbox, ConfigError, Sandbox, SpawnError, UnsupportedError
from pycontain._configure import Configured
from pycontain._runtime import Footing, Runtime
from pycontain.profile import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Result

MINE = sorted(os.sched_getaffinity(0))
ONE = str(MINE[-1])
SHOW = "import os; print(*sorted(os.sched_getaffinity(0)))"
# In a thread of a grandchild, with the whole machine asked for first.
ESCAPE = """
import os, threading
def show():
    try:
        os.sched_setaffinity(0, range(1024))
    except OSError as error:
        print(error.errno)
    print(*sorted(os.sched_getaffinity(0)))
if os.fork() == 0:
    os.setsid()
    thread = threading.Thread(target=show)
    thread.start()
    thread.join()
else:
    os.wait()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def one_shot(args: list[str], **options: Any) -> Result:
    return pycontain.run(args, **options)


def living(args: list[str], **options: Any) -> Result:
    with Sandbox(**options) as sb:
        return sb.run(args)


def asynchronous(args: list[str], **options: Any) -> Result:
    async def main() -> Result:
        async with AsyncSandbox(**options) as sb:
            return await sb.run(args)

    return asyncio.run(main())


@pytest.mark.parametrize("run", [one_shot, living, asynchronous])
def test_everything_inside_runs_where_it_should(run: Callable[..., Result]) -> None:
    done = run(python(SHOW), cpuset=ONE)

    assert (done.stdout, done.stderr) == (f"{ONE}\n".encode(), b"")


@pytest.mark.parametrize("profile", names())
def test_nothing_inside_gets_other_processors(profile: str) -> None:
    done = pycontain.run(python(ESCAPE), cpuset=ONE, profile=profile)

    assert done.stdout.decode().split() == [str(errno.EPERM), ONE], done.stderr


def test_without_a_cpuset_programs_choose_for_themselves() -> None:
    code = f"import os; os.sched_setaffinity(0, [{ONE}]); {SHOW}"

    assert pycontain.run(python(code)).stdout == f"{ONE}\n".encode()


def test_pid_1_runs_there_too_and_the_caller_where_it_did() -> None:
    before = os.sched_getaffinity(0)
    with Sandbox(cpuset=ONE) as sb:
        assert os.sched_getaffinity(sb.pid) == {int(ONE)}
    assert os.sched_getaffinity(0) == before


def test_enforcement_says_what_holds_it() -> None:
    with Sandbox(cpuset=ONE, require=("cpuset",)) as sb:
        assert str(sb.enforcement["cpuset"]) == "sched_setaffinity(2), locked by seccomp"
    assert not Configured().enforcement.get("cpuset")


@pytest.mark.requires("processors_2")
def test_a_caller_that_is_pinned_itself_gives_what_its_cpuset_has() -> None:
    outputs: list[bytes] = []

    def work() -> None:
        os.sched_setaffinity(0, MINE[:1])  # of this thread alone
        outputs.append(pycontain.run(python(SHOW), cpuset=ONE).stdout)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert outputs == [f"{ONE}\n".encode()]


@pytest.mark.requires("processors_2")
def test_sandboxes_with_different_cpusets_start_at_once() -> None:
    wanted = [f"{MINE[i % len(MINE)]}" for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda cpu: pycontain.run(python(SHOW), cpuset=cpu).stdout, wanted)

    assert [text.decode().strip() for text in done] == wanted


@pytest.mark.parametrize("cpuset", ["9999", f"{ONE},70000", "1-0", "", "one", "-1"])
def test_processors_that_cannot_be_are_refused_before_anything_starts(cpuset: str) -> None:
    with pytest.raises(ConfigError, match="cpuset"):
        pycontain.run(["true"], cpuset=cpuset)


@pytest.mark.parametrize("cpus", [{4000}, {int(ONE), 4000}, {9000}])
def test_the_kernel_does_not_take_processors_away_in_silence(cpus: set[int]) -> None:
    plan = Configured(cpuset=ONE).plan

    with pytest.raises(SpawnError, match="Cpus_allowed_list") as caught:
        Runtime.start(plan, Footing(plan.identity.lease(binds=False), None, cpus))

    assert (caught.value.step, caught.value.errno) == ("AFFINITY", errno.EINVAL)


def test_exclusive_processors_must_be_named() -> None:
    with pytest.raises(ConfigError, match="cpuset="):
        pycontain.run(["true"], cpuset_exclusive=True)


@pytest.mark.requires("cgroup_pids")
@pytest.mark.parametrize(
    "options, wanted", [({}, list(map(str, MINE))), ({"cpuset": ONE}, [ONE])], ids=["free", "set"]
)
def test_what_cannot_be_changed_at_once_is_not_changed(
    options: dict[str, Any], wanted: list[str]
) -> None:
    with Sandbox(pids=64, **options) as sb:
        with pytest.raises(UnsupportedError, match="cpuset_exclusive"):
            sb.update(cpuset=ONE)
        assert sb.run(python(SHOW), text=True).stdout.split() == wanted


@pytest.mark.requires("user")
def test_exclusive_processors_that_cannot_be_had_are_an_error() -> None:
    with pytest.raises(UnsupportedError, match="cpuset"):
        Sandbox(cpuset=ONE, cpuset_exclusive=True).start()
