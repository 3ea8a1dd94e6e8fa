# SPDX-License-Identifier: Apache-2.0
"""I: what ends ends, whatever is done to PID 1, to the caller and to the names on the host.

The caller's and PID 1's death at any instant are in tests/sandbox/test_lifetime.py, test_pid1.py
and tests/faults (I1, I2); daemons, threads, forks and kills there too (I4, I5, I8, I12, I13); the
caller's own state in test_host_unchanged.py (I10); groups in tests/cgroup (I7).
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _attackers import INSIDE, MOUNT, SECRET, rounds, snapshot, swapped
from _box import private_mounts, python
from pycontain import Bind, SandboxClosedError, profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Sandbox

USERS = [None, pytest.param("0:0", marks=pytest.mark.requires("rootrange"))]


@pytest.mark.requires("root")
def test_i2_a_pid_1_that_cannot_wait_any_more_ends(box: Callable[..., Sandbox]) -> None:
    with box() as sandbox:
        # poll(2) fails with EINVAL where it is asked about more descriptors than the limit.
        resource.prlimit(sandbox.pid, resource.RLIMIT_NOFILE, (1, 1))
        with pytest.raises(SandboxClosedError):  # noqa: PT012 - the first may come too early
            for _ in range(3):
                sandbox.run(["true"], timeout=20)


@pytest.mark.parametrize("name", [name for name in profile.names() if name != "judge"])
@pytest.mark.parametrize("user", USERS)
def test_i3_no_signal_from_inside_reaches_pid_1(
    user: str | None, name: str, box: Callable[..., Sandbox]
) -> None:
    with box(profile=name, mounts=[MOUNT]) as sandbox:
        for _ in range(3):
            sandbox.run([INSIDE, "signals", "1"], user=user, check=True)
        script = "kill -9 1; kill -9 -1; echo alive"
        assert sandbox.run(["sh", "-c", script], user=user).returncode in (0, -9)
        sandbox.run([INSIDE, "reach", "1"], user=user)
        assert sandbox.run(["echo", "well"]).stdout == b"well\n"


def _host() -> dict[str, Any]:
    return {
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "devices": sorted(os.listdir("/sys/class/net")),
        "namespaces": sorted(os.readlink(path) for path in Path("/proc/self/ns").iterdir()),
        "hostname": os.uname().nodename,
        "queues": Path("/proc/sysvipc/shm").read_text() + Path("/proc/sysvipc/msg").read_text(),
    }


def test_i6_the_host_looks_the_same_during_and_after_many_runs(rootfs: Path) -> None:
    before = _host()
    for number in range(30):
        done = pycontain.run(["sh", "-c", "ls /proc | head -1"], rootfs=rootfs)
        assert done.returncode == 0
        if number % 10 == 0:
            with pycontain.Sandbox(rootfs=rootfs):
                during = _host()
            assert during == before
    assert _host() == before


@pytest.mark.slow
def test_i9_the_end_of_a_sandbox_deletes_nothing_of_the_host(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    for folder in (outside, volume / "d"):
        folder.mkdir(parents=True)
        (folder / "kept").write_text(SECRET)
    (volume / "link").symlink_to(outside)
    before = snapshot(outside)
    with swapped(volume / "d", volume / "link"):
        for _ in rounds():
            with box(mounts=[Bind(volume, "/v", read_only=False)]) as sandbox:
                sandbox.run(["sh", "-c", "mkdir -p /tmp/t/u; touch /tmp/t/u/f"])
    assert snapshot(outside) == before
    kept = [path for path in volume.glob("*/kept") if path.read_text() == SECRET]
    assert len(kept) == 2


def test_i9_a_volume_that_was_replaced_meanwhile_is_left_alone(
    box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    volume, other = tmp_path / "volume", tmp_path / "other"
    for folder in (volume, other):
        folder.mkdir()
        (folder / "kept").write_text(SECRET)
    with box(mounts=[Bind(volume, "/v", read_only=False)]) as sandbox:
        volume.rename(tmp_path / "moved")
        volume.symlink_to(other)
        sandbox.run(["sh", "-c", "echo x > /v/written"], check=True)
    assert sorted(os.listdir(tmp_path / "moved")) == ["kept", "written"]
    assert os.listdir(other) == ["kept"]


def test_i14_a_handle_of_an_ended_command_signals_nobody(sb: Sandbox) -> None:
    with sb.popen(["true"]) as process:
        assert process.wait(20) == 0
        # Its number inside may belong to anybody now.
        others = [sb.popen(["sleep", "100"]) for _ in range(3)]
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.kill_all()
        assert [other.poll() for other in others] == [None] * 3
        for other in others:
            other.kill_all()
            other.wait(20)


# With a hung file server: who waits for it cannot even be killed.
HUNG = """
    import os, sys, time
    sys.path.insert(0, sys.argv[1])
    import _fuse
    import pycontain
    from pycontain import Bind, _patience, _process, _runtime
    _patience.SETUP_TIMEOUT_S = _process.KILL_TIMEOUT_S = 1.0
    for method in (_runtime.Runtime.kill, _runtime.Runtime.ask):
        patience, *others = method.__defaults__
        method.__defaults__ = (1.0, *others)
    folder, root, what = sys.argv[2:]
    path = folder + what
    options = dict(rootfs=root, mounts=[Bind(path, "/v")])
    with _fuse.mounted(folder) as server:
"""
HANGS_AT_FIRST = """
        server.hang()
        try:
            pycontain.run(["true"], **options)
        except pycontain.SpawnError as error:
            print(error)
"""
HANGS_LATER = """
        assert pycontain.run(["true"], **options).returncode == 0
        server.hang()
        once, living = lambda: pycontain.run(["true"], **options), pycontain.Sandbox(**options)
        for start in (once, living.start):
            try:
                start()
            except pycontain.SpawnError as error:
                print(error)
"""
HANGS_INSIDE = """
        with pycontain.Sandbox(**options) as sandbox:
            script = "echo ready; read line; exec cat /v"
            process = sandbox.popen(["sh", "-c", script], stdin=-1, stdout=-1)
            process.stdout.readline()
            server.hang()
            process.stdin.write(b"\\n")
            process.stdin.flush()
            server.wait_asked()
            try:
                process.kill_all()
            except TimeoutError as error:
                print(error)
            server.end()
            print(process.wait(20))
"""


def _with_hung_server(code: str, what: str, rootfs: Path, folder: Path) -> list[str]:
    tests = Path(__file__).parents[1]
    prefix = private_mounts()
    return python(HUNG + code, tests, folder, rootfs, what, prefix=prefix, timeout=60).splitlines()


@pytest.mark.slow
@pytest.mark.requires("fuse")
@pytest.mark.parametrize("what", ["", "/directory", "/file"])
@pytest.mark.parametrize("code, times", [(HANGS_AT_FIRST, 1), (HANGS_LATER, 2)])
def test_i11_a_volume_on_a_hung_file_server_is_an_error_in_time(
    code: str, times: int, what: str, rootfs: Path, tmp_path: Path
) -> None:
    said = _with_hung_server(code, what, rootfs, tmp_path)
    assert len(said) == times
    assert all("PREPARE failed" in line and "dead file server" in line for line in said), said


@pytest.mark.slow
@pytest.mark.requires("fuse")
def test_h11_a_command_that_waits_for_a_hung_file_server_ends_or_is_an_error_in_time(
    rootfs: Path, tmp_path: Path
) -> None:
    said = _with_hung_server(HANGS_INSIDE, "/file", rootfs, tmp_path)
    # Older kernels let nobody go whose request the server has taken (fs/fuse/dev.c).
    assert said[:-1] in ([], ["[Errno 110] the command cannot be killed"])
    assert said[-1] == "-9"
