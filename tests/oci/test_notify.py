# SPDX-License-Identifier: Apache-2.0
"""A container that says when it is ready, and who is told (sd_notify(3))."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _oci_command import ENV, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("root", "busybox")

SOURCE = Path(__file__).parents[1] / "tools/notify.c"


@pytest.fixture(scope="session")
def notify_root(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with the compiled notify.c."""
    root = tmp_path_factory.mktemp("notify") / "root"
    shutil.copytree(rootfs, root, symlinks=True)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-O2", "-static", SOURCE, "-o", root / "bin/notify"], check=True)
    return root


class Manager:
    """A service manager's socket, and the runtime that is given it."""

    def __init__(self, runtime: Runtime, address: str) -> None:
        self.runtime = runtime
        self.env = {**ENV, "NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(30)

    def call(self, *words: str | Path) -> int:
        """Run a command of the runtime with the socket, and return its status."""
        done = subprocess.run(
            self.runtime.command(*words),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # no pipe: a container would hold it
            timeout=60,
            check=False,
        )
        return done.returncode

    def told(self) -> bytes:
        """Return the next message."""
        return self.socket.recv(4096)

    def told_nothing(self) -> bool:
        """Tell whether there is no message."""
        self.socket.settimeout(0)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, notify_root: Path) -> Iterator[Manager]:
    """Return a manager, by a path and by an abstract name."""
    runtime = Runtime(tmp_path, notify_root)
    address = f"{tmp_path}/manager" if request.param == "path" else f"@pycontain-test-{os.getpid()}"
    made = Manager(runtime, address)
    yield made
    runtime.clean()
    made.socket.close()


def test_the_manager_is_told_that_it_is_ready_and_no_more(manager: Manager) -> None:
    bundle = manager.runtime.bundle("notify", "STATUS=x", "EXTEND_TIMEOUT_USEC=1\nREADY=1\nERRNO=2")
    assert manager.call("create", "--bundle", bundle, "x") == 0
    assert manager.call("start", "x") == 0
    pid = manager.runtime.state("x")["pid"]
    assert manager.told() == f"READY=1\nMAINPID={pid}\n".encode()
    assert manager.told_nothing()


@pytest.mark.parametrize("users", [False, True], ids=["", "user namespace"])
def test_a_run_waits_in_the_background(manager: Manager, users: bool) -> None:
    places = {}
    if users:
        rows = [{"containerID": 0, "hostID": 0, "size": 65536}]
        kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
        places = {
            "linux__namespaces": [{"type": kind} for kind in kinds],
            "linux__uidMappings": rows,
            "linux__gidMappings": rows,
        }
    bundle = manager.runtime.bundle("notify", "READY=1", "end", **places)
    assert manager.call("run", "--bundle", bundle, "x") == 0
    assert manager.told().startswith(b"READY=1\nMAINPID=")


def test_a_detached_run_waits(manager: Manager) -> None:
    bundle = manager.runtime.bundle("notify", "READY=1")
    assert manager.call("run", "--detach", "--bundle", bundle, "x") == 0
    assert manager.told_nothing() is False


@pytest.mark.parametrize("words", [("true",), ("notify", "READY=0", "end")], ids=["silent", "no"])
def test_the_end_of_the_program_ends_the_wait(manager: Manager, words: tuple[str, ...]) -> None:
    assert manager.call("create", "--bundle", manager.runtime.bundle(*words), "x") == 0
    assert manager.call("start", "x") == 0
    assert manager.told_nothing()


def test_a_manager_that_is_gone_is_a_warning(tmp_path: Path, notify_root: Path) -> None:
    runtime = Runtime(tmp_path, notify_root)
    env = {**ENV, "NOTIFY_SOCKET": f"{tmp_path}/nobody"}
    log = tmp_path / "log"
    command = runtime.command("--log", log, "run", "--bundle", runtime.bundle("notify", "READY=1"))
    done = subprocess.run(
        [*command, "--detach", "x"], env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert f"NOTIFY_SOCKET {tmp_path}/nobody: No such file" in log.read_text()
    assert runtime.state("x")["status"] == "running"
    runtime.clean()


def test_nobody_asks_nothing_is_shown(runtime: Runtime) -> None:
    script = 'test -z "$NOTIFY_SOCKET" && ! test -e /run/notify'
    runtime.ok("run", "--bundle", runtime.bundle("sh", "-c", script), "x")
