# SPDX-License-Identifier: Apache-2.0
"""CPython passes its own tests in the default sandbox."""

from __future__ import annotations

import importlib.util
import sys

import pytest

import pycontain
from _programs import output_of

# What touches the kernel most. Each row is one sandbox.
SLICES = {
    "files": "test_fcntl test_fileio test_glob test_mmap test_os test_pathlib test_shutil",
    "events": "test_epoll test_poll test_select",
    "terminals": "test_getpass test_ioctl test_openpty test_pty",
    "identity": "test_grp test_posix test_pwd test_resource test_tempfile test_uuid",
    "pure": "test_json test_random test_struct test_time",
    "native": "test_ctypes test_sqlite3",
}
# These wait more than they compute, so they share a sandbox and run side by side.
SLOW = "test_signal test_socket test_subprocess test_threading"
# Patterns of tests that cannot pass where only one id is mapped, and why.
WITH_ONE_ID = {
    "test_chown_without_permission": "EINVAL: to the kernel the other id does not exist",
    "*.POSIXProcessTestCase.test_user": "the same",
    "*.POSIXProcessTestCase.test_group": "the same",
}


def excluded() -> list[str]:
    one_id = pycontain.Sandbox().plan.identity.mapping == "single"
    return [word for pattern in (WITH_ONE_ID if one_id else ()) for word in ("--ignore", pattern)]


def run_tests(modules: str, *arguments: str, timeout: float) -> None:
    names = [name for name in modules.split() if importlib.util.find_spec(f"test.{name}")]
    if not names:
        pytest.skip("the interpreter has no test package (Debian: libpythonX.Y-testsuite)")
    result = pycontain.run(
        [sys.executable, "-m", "test", *arguments, *excluded(), *names],
        stderr=pycontain.STDOUT,
        text=True,
        timeout=timeout,
        disk="256M",
    )
    told = output_of(result)
    assert [name for name in names if name not in told] == []


@pytest.mark.slow
@pytest.mark.parametrize("modules", SLICES.values(), ids=SLICES)
def test_its_own_tests_pass(modules: str) -> None:
    run_tests(modules, timeout=300)


@pytest.mark.slow
def test_its_own_tests_of_processes_threads_and_sockets_pass() -> None:
    run_tests(SLOW, "-j4", timeout=600)


MULTIPROCESSING = """
import multiprocessing, multiprocessing.shared_memory, sys

def square(number):
    return number * number

def fill(name, queue, lock):
    memory = multiprocessing.shared_memory.SharedMemory(name)
    with lock:
        memory.buf[0] += 1
    memory.close()
    queue.put(multiprocessing.current_process().name)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(3) as pool:
        print(sum(pool.map(square, range(10))))
    queue, lock = context.Queue(), context.Lock()
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1)
    children = [context.Process(target=fill, args=(memory.name, queue, lock)) for _ in range(3)]
    for child in children:
        child.start()
    names = {queue.get() for _ in children}
    for child in children:
        child.join()
    print(len(names), memory.buf[0])
    memory.close()
    memory.unlink()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(sandbox: pycontain.Sandbox, method: str) -> None:
    sandbox.files.write_text("/tmp/many.py", MULTIPROCESSING)
    result = sandbox.run([sys.executable, "/tmp/many.py", method], text=True, timeout=120)
    assert output_of(result).split() == ["285", "3", "3"]
