# SPDX-License-Identifier: Apache-2.0
"""What the program has around it while it works, and what is left when its caller stops."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from _archives import FILE, archive, entry
from pycontain._capabilities import mask
from pycontain._layers import Extraction, Indexing, Lowers, Packing, changes, empty
from pycontain._layers import _program as program
from pycontain.errors import ConfigError, PycontainError, StoreError, UnsafeLayerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = bytes(1 << 20)


def child_of(pid: int) -> int:
    """Return the only child, once it is there."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    empty(fd)
    os.close(fd)


@pytest.fixture
def running(target: int, tmp_path: Path) -> Iterator[tuple[Extraction, int]]:
    """Yield an extraction in the middle of a file, and the process that does it."""
    (tmp_path / "below").mkdir()
    below = os.open(tmp_path / "below", os.O_RDONLY)
    head = archive(entry("x", FILE, size=1 << 36))[:512]
    with Extraction(target, parents=[below]) as extraction:
        extraction.write(head + PIECE * 4)  # more than the pipe holds, so it runs
        runtime = extraction._program._runtime
        assert runtime is not None
        yield extraction, child_of(runtime.pid)
    os.close(below)


def extracting(target: int) -> Extraction:
    return Extraction(target)


def indexing(target: int) -> Indexing:
    flags = os.O_RDWR | os.O_TMPFILE
    with open(os.open(".", flags, dir_fd=target), "wb") as index:
        return Indexing(index.fileno(), index.fileno())


def packing(target: int) -> Packing:
    return Packing(target, exclude=["/x"])


def comparing(target: int) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext(changes(target, Lowers(), exclude=["/x"]))


@pytest.mark.parametrize("start", [extracting, indexing, packing, comparing])
@pytest.mark.parametrize("room", range(16))
def test_without_descriptors_none_is_left(
    target: int, start: Callable[[int], contextlib.AbstractContextManager[object]], room: int
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 20, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(target))
        for _ in range(room):
            os.close(fillers.pop())
        with contextlib.suppress(OSError, PycontainError), start(target):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)
    assert set(os.listdir("/proc/self/fd")) == before


def write_on(extraction: Extraction) -> NoReturn:
    """Write without end, until that fails."""
    while True:
        extraction.write(PIECE)


Running = tuple[Extraction, int]


def status(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{field}:\s*(.*)$", text, re.MULTILINE)
    assert match is not None
    return match[1]


@pytest.mark.requires("openat2")  # else it changes its root
def test_its_root_has_what_it_works_on(running: Running) -> None:
    _, pid = running
    rows = [row.split() for row in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    mounts = {row[4]: row[5].split(",") for row in rows}
    assert set(mounts) == {"/", "/tree", "/lower/0"}
    assert "ro" in mounts["/"]
    assert "rw" in mounts["/tree"]
    assert "ro" in mounts["/lower/0"]
    assert all({"nosuid", "nodev"} <= set(options) for options in mounts.values())


def test_its_privileges(running: Running) -> None:
    _, pid = running
    names = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SYS_CHROOT")
    expected = mask(f"CAP_{name}" for name in names)
    for field in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status(pid, field), 16) == expected
    assert int(status(pid, "CapInh"), 16) == int(status(pid, "CapAmb"), 16) == 0
    assert (status(pid, "Seccomp"), status(pid, "NoNewPrivs")) == ("2", "1")


def test_its_namespaces(running: Running) -> None:
    _, pid = running
    for name in ("mnt", "pid", "net", "ipc", "uts", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


def test_its_descriptors(running: Running) -> None:
    _, pid = running
    found = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in found}
    assert {links[1], links[2]} == {"/dev/null"}
    assert links[0].startswith("pipe:")
    assert links[3].startswith("pipe:")
    others = {link for fd, link in links.items() if fd > 3}
    assert all(not link.startswith(("socket:", "/proc")) for link in others)


def test_a_caller_that_leaves_ends_it(running: Running) -> None:
    extraction, pid = running
    extraction.close()
    assert not Path(f"/proc/{pid}").exists()
    extraction.close()


def test_being_killed_is_told(running: Running) -> None:
    extraction, pid = running
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StoreError, match="was ended"):
        write_on(extraction)


def test_an_error_is_told_at_the_next_write(target: int) -> None:
    with Extraction(target) as extraction:
        extraction.write(archive(entry("../x")))
        with pytest.raises(UnsafeLayerError, match="escapes"):
            write_on(extraction)


def test_several_at_once(tmp_path: Path) -> None:
    def one(number: int) -> int:
        path = tmp_path / f"{number}"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY)
        with Extraction(fd) as extraction:
            for name in range(20):
                extraction.write(entry(f"{name}", FILE, PIECE[: name * 1000]))
            files = extraction.finish().files
        os.close(fd)
        return files

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, range(8))) == [20] * 8


def test_only_directories(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(ConfigError, match="not of a directory"):
        Extraction(fd)
    os.close(fd)


def test_a_directory_that_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a path leads to another directory by the time that the program opens it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fd, other = (os.open(tmp_path / name, os.O_RDONLY) for name in "ab")
    bind = program._Sources.bind
    monkeypatch.setattr(
        program._Sources, "bind", lambda self, _, target, attr: bind(self, other, target, attr)
    )
    with Extraction(fd) as extraction, pytest.raises(StoreError, match="was replaced"):
        extraction.finish()
    os.close(fd)
    os.close(other)


def test_no_other_system_call_is_needed(tmp_path: Path) -> None:
    """The filter kills; what all other tests do passes it. Here: it is there, and small."""
    allowed = {name for rule in program._FILTER.rules for name in rule.names}
    assert len(allowed) < 50
    assert not allowed & {"clone", "clone3", "kill", "mount", "mprotect", "ptrace", "socket"}


def test_many_layers_below(tmp_path: Path) -> None:
    """More than one message has room for descriptors."""
    paths = [tmp_path / f"{number:03}" for number in range(300)]
    for path in paths:
        path.mkdir()
    (paths[0] / "deep").mkdir(mode=0o711)
    (paths[0] / "deep").chmod(0o711)
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    with Extraction(fds[-1], parents=fds[-2::-1]) as extraction:
        extraction.write(archive(entry("deep/x")))
        extraction.finish()
    for fd in fds:
        os.close(fd)
    assert (paths[-1] / "deep").stat().st_mode & 0o777 == 0o711


FULL = """
import os, sys
sys.path[:0] = [{tests!r}]
from _archives import FILE, archive, entry
from pycontain._layers import Extraction
from pycontain.errors import StoreError
fd = os.open({target!r}, os.O_RDONLY)
try:
    with Extraction(fd) as extraction:
        extraction.write(archive(entry("x", FILE, bytes(2 << 20))))
        extraction.finish()
except StoreError as error:
    print(error.errno, error)
"""


@pytest.mark.requires("userns")
def test_a_full_file_system(tmp_path: Path) -> None:
    code = FULL.format(tests=str(Path(__file__).parents[2]), target=str(tmp_path))
    mounted = f'mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c "$0"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{errno.ENOSPC} [Errno {errno.ENOSPC}] entry 1 'x': write: ")
