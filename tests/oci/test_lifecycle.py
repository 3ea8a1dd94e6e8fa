# SPDX-License-Identifier: Apache-2.0
"""From creation to deletion: statuses, in and out of order, and what is left: nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _containers import without
from pycontain._nsbind import ffi, lib
from pycontain._oci import _create, _spawn
from pycontain._wire import GO
from pycontain.errors import (
    ConfigError,
    ContainerExistsError,
    ContainerNotFoundError,
    ContainerStateError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    SpawnError,
    UnsupportedError,
)
from pycontain.oci import Container, container_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from _containers import Containers, Edit

pytestmark = pytest.mark.requires("root", "busybox")
CLONE_THREAD = 0x10000  # which the kernel grants to no other process (clone(2))


def test_the_message_that_lets_a_process_go_is_that_of_the_core() -> None:
    kind = lib.NSB_REQUEST_GO
    assert struct.pack("=4I", kind, ffi.sizeof("struct nsb_header"), 0, 0) == GO


def groups_of(name: str) -> str:
    """Return what is left of a container's control groups."""
    command = ["find", "/sys/fs/cgroup", "-name", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout  # others' groups may vanish meanwhile


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_whole_life(containers: Containers) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    state = container.state()
    assert state["status"] == "created"
    assert Path(f"/proc/{state['pid']}").exists()
    container.start()
    assert container.state() == {**state, "status": "running"}
    container.kill(signal.SIGKILL)
    assert container.wait() == 128 + signal.SIGKILL
    assert container.state() == {**state, "status": "stopped", "pid": 0}
    container.delete()
    with pytest.raises(ContainerNotFoundError, match="container does not exist"):
        containers.load(container.id)
    assert groups_of(container.id) == ""


def test_the_process_stays_the_same_through_its_start(containers: Containers) -> None:
    with containers.output() as (fd, text):
        container = containers.create(containers.bundle("sh", "-c", "echo $$"), stdout=fd)
        pid = container.pid
        container.start()
        assert container.pid == pid
        assert container.wait() == 0
    assert text() == "1\n"


@pytest.mark.parametrize("code", [0, 3, 255])
def test_an_exit_status(containers: Containers, code: int) -> None:
    assert containers.run("sh", "-c", f"exit {code}").status == code


def test_a_created_container_runs_nothing(containers: Containers) -> None:
    bundle = containers.bundle("touch", "/ran")
    container = containers.create(bundle)
    time.sleep(0.05)
    assert not (bundle / "rootfs/ran").exists()
    container.start()
    container.wait()
    assert (bundle / "rootfs/ran").exists()


def test_another_process_starts_and_deletes_it(containers: Containers) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    script = f"""
        from pycontain.oci import Container
        container = Container.load({container.id!r}, state_root={str(containers.state)!r})
        container.start()
        print(container.status())
        container.delete(force=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "running\n"
    assert container.wait() == 128 + signal.SIGKILL
    assert container_ids(containers.state) == []


OUT_OF_ORDER: dict[str, tuple[str, Callable[[Container], Any], str]] = {
    "start twice": ("running", Container.start, "cannot start an already running container"),
    "start what has stopped": (
        "stopped", Container.start, "cannot start a container that has stopped",
    ),
    "delete what is created": ("created", Container.delete, "not stopped: created"),
    "delete what runs": ("running", Container.delete, "not stopped: running"),
    "kill what has stopped": ("stopped", Container.kill, "container not running"),
    "pause what has stopped": ("stopped", Container.pause, "container not running"),
    "resume what runs": ("running", Container.resume, "container not paused"),
    "list what has stopped": ("stopped", Container.ps, "container not running"),
}  # fmt: skip


@pytest.mark.parametrize("status, act, message", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_out_of_order(
    containers: Containers, status: str, act: Callable[[Container], Any], message: str
) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    if status != "created":
        container.start()
    if status == "stopped":
        container.kill(signal.SIGKILL)
        container.wait()
    with pytest.raises(ContainerStateError, match=message):
        act(container)
    assert container.status() == status


def test_an_id_is_used_once(containers: Containers) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    with pytest.raises(ContainerExistsError, match="container with given ID already exists"):
        containers.create(containers.bundle("sleep", "1000"), name=container.id)
    assert container.status() == "created"


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_force_deletes_in_any_status(containers: Containers, status: str) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    pid = container.pid
    if status != "created":
        container.start()
    if status == "paused":
        container.pause()
    if status == "stopped":
        container.kill(signal.SIGKILL)
        container.wait()
    assert container.status() == status
    container.delete(force=True)
    assert is_gone(pid)
    assert container_ids(containers.state) == []
    assert groups_of(container.id) == ""


MISSING: dict[str, tuple[str, type[Exception], str]] = {
    "no name": ("nowhere", ProgramNotFoundError, r"executable file not found in \$PATH"),
    "no path": ("/no/where", ProgramNotFoundError, "stat /no/where: no such file or directory"),
    "a directory": ("/bin", ProgramNotExecutableError, "permission denied"),
    "no permission": ("/etc/plain", ProgramNotExecutableError, "permission denied"),
}  # fmt: skip


@pytest.mark.parametrize("program, error, message", MISSING.values(), ids=MISSING)
def test_a_program_that_cannot_be_run_is_an_error_of_the_creation(
    containers: Containers, program: str, error: type[Exception], message: str
) -> None:
    bundle = containers.bundle(program)
    (bundle / "rootfs/etc").mkdir(exist_ok=True)
    (bundle / "rootfs/etc/plain").write_text("no program")
    with pytest.raises(error, match=f'exec: "{program}": {message}'):
        containers.create(bundle, name="pycontain-test-missing")
    assert container_ids(containers.state) == []
    assert groups_of("pycontain-test-missing") == ""


def no_source(config: dict[str, Any]) -> None:
    config["mounts"].append({"destination": "/x", "source": "/no/where", "options": ["bind"]})


def no_such_file(config: dict[str, Any]) -> None:
    config["linux"]["resources"] = {"unified": {"memory.nonsense": "1"}}


def no_such_call(config: dict[str, Any]) -> None:
    rules = [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 99}]}]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}


def nothing(config: dict[str, Any]) -> None:
    """Leave it as it is."""


REFUSED: dict[str, tuple[Edit, dict[str, Any], type[Exception]]] = {
    "a mount": (no_source, {}, ConfigError),
    "a limit": (no_such_file, {}, UnsupportedError),
    "a filter": (no_such_call, {}, ConfigError),
    "a descriptor": (nothing, {"preserve_fds": 500}, ConfigError),
}


@pytest.mark.parametrize("edit, options, error", REFUSED.values(), ids=REFUSED)
def test_nothing_is_left_of_a_process_that_is_born_for_nothing(
    containers: Containers,
    monkeypatch: pytest.MonkeyPatch,
    edit: Edit,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    births: list[_spawn.Birth] = []

    def note(*args: Any, **more: Any) -> _spawn.Birth:
        births.append(_spawn.Birth(*args, **more))
        return births[-1]

    monkeypatch.setattr(_create, "Birth", note)
    bundle = containers.bundle("true", edit=edit)
    with pytest.raises(error):
        containers.create(bundle, name="pycontain-test-born", **options)
    assert len(births) == 1
    assert container_ids(containers.state) == []
    assert groups_of("pycontain-test-born") == ""


@pytest.mark.parametrize("manager", ["cgroupfs", "disabled"])
def test_a_clone_that_fails_meanwhile_is_told(
    containers: Containers, monkeypatch: pytest.MonkeyPatch, manager: str
) -> None:
    monkeypatch.setattr(_create, "clone_flags", lambda _config: CLONE_THREAD)
    bundle = containers.bundle("true")
    with pytest.raises(SpawnError) as caught:
        containers.create(bundle, name="pycontain-test-unborn", cgroup_manager=manager)
    assert (caught.value.step, caught.value.errno) == ("CLONE", errno.EINVAL)
    assert container_ids(containers.state) == []
    assert groups_of("pycontain-test-unborn") == ""


def test_a_program_without_a_format_is_an_error_of_the_start(containers: Containers) -> None:
    bundle = containers.bundle("/plain")
    (bundle / "rootfs/plain").write_text("no program")
    (bundle / "rootfs/plain").chmod(0o755)
    container = containers.create(bundle)
    with pytest.raises(SpawnError, match="exec format error"):
        container.start()
    assert container.status() == "stopped"


def test_pause_and_resume(containers: Containers) -> None:
    container = containers.start("sh", "-c", "while :; do echo >>/ticks; usleep 1000; done")
    ticks = Path(container.state()["bundle"], "rootfs/ticks")
    until(ticks.exists)
    container.pause()
    assert container.status() == "paused"
    size = ticks.stat().st_size
    time.sleep(0.05)
    assert ticks.stat().st_size == size
    container.resume()
    assert container.status() == "running"
    until(lambda: ticks.stat().st_size > size)


def test_a_frozen_container_dies_of_sigkill(containers: Containers) -> None:
    container = containers.start("sleep", "1000")
    container.pause()
    container.kill(signal.SIGKILL)
    assert container.wait() == 128 + signal.SIGKILL


def test_a_signal_reaches_the_process(containers: Containers) -> None:
    script = "trap 'exit 7' TERM; echo >/ready; while :; do usleep 1000; done"
    container = containers.start("sh", "-c", script)
    until(Path(container.state()["bundle"], "rootfs/ready").exists)
    container.kill(signal.SIGTERM)
    assert container.wait() == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_created_container_ends_by_a_signal(containers: Containers, number: int) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))
    container.kill(number)
    assert container.wait() == 128 + number
    assert container.status() == "stopped"


def test_a_signal_for_all_processes(containers: Containers) -> None:
    container = containers.start("sh", "-c", "sleep 1000 & sleep 1000 & wait")
    until(lambda: len(container.ps()) == 3)
    container.kill(signal.SIGKILL, all=True)
    assert container.wait() == 128 + signal.SIGKILL
    assert container.status() == "stopped"


def test_processes_without_a_pid_namespace_do_not_outlive_it(containers: Containers) -> None:
    container = containers.start(
        "sh", "-c", "sleep 1000 & echo $! >/child; wait", edit=lambda c: without(c, "pid")
    )
    path = Path(container.state()["bundle"], "rootfs/child")
    until(lambda: path.exists() and bool(path.read_text()))
    child = int(path.read_text())
    container.kill(signal.SIGKILL)
    container.wait()
    assert not is_gone(child)
    container.delete()
    until(lambda: is_gone(child))


def test_the_pid_file_is_whole(containers: Containers, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    container = containers.create(containers.bundle("sleep", "1000"), pid_file=str(file))
    assert file.read_text() == str(container.pid)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".pid")] == []


CREATOR = """
    import sys
    from pycontain.oci import Container
    Container.create({name!r}, {bundle!r}, state_root={state!r})
    print("created", flush=True)
    sys.stdin.read()
"""


def test_the_death_of_the_creator_after_the_creation_changes_nothing(
    containers: Containers,
) -> None:
    bundle = containers.bundle("sleep", "1000")
    name = f"pycontain-test-{os.getpid()}-creator"
    script = textwrap.dedent(CREATOR).format(
        name=name, bundle=str(bundle), state=str(containers.state)
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"created\n"
        process.kill()
    container = containers.load(name)
    containers.made.append(container)
    assert container.status() == "created"
    container.start()
    assert container.status() == "running"
    container.delete(force=True)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_a_killed_creation_leaves_what_delete_removes(containers: Containers, delay: float) -> None:
    """Killed at any moment, there is either nothing, or a container that can be deleted."""
    bundle = containers.bundle("sleep", "1000")
    name = f"pycontain-test-{os.getpid()}-killed"
    script = f"""
        import os, signal, threading
        from pycontain.oci import Container
        threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
        Container.create({name!r}, {str(bundle)!r}, state_root={str(containers.state)!r})
        threading.Event().wait()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(ContainerNotFoundError):
        container = containers.load(name)
        until(lambda: container.status() in ("created", "stopped"))
        container.delete(force=True)
    assert container_ids(containers.state) == []
    until(lambda: groups_of(name) == "")  # which no process is in then


def test_two_start_it_at_once(containers: Containers) -> None:
    container = containers.create(containers.bundle("sleep", "1000"))

    def start(_number: int) -> str:
        try:
            containers.load(container.id).start()
        except ContainerStateError as error:
            return str(error)
        return "started"

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(start, range(4)))
    assert said.count("started") == 1
    assert {text for text in said if text != "started"} == {
        "cannot start an already running container"
    }


def test_a_container_that_is_started_as_it_is_made(containers: Containers) -> None:
    made = containers.create(containers.bundle("sleep", "60"), start=True)
    assert made.status() == "running"
    with pytest.raises(ContainerStateError, match="cannot start an already running container"):
        made.start()
    made.kill(9)
    assert made.wait() == 137
    made.delete()
    containers.made.remove(made)


@pytest.mark.parametrize("program", ["/nowhere", "/broken"])
def test_nothing_is_left_of_a_start_at_once_that_fails(
    containers: Containers, program: str
) -> None:
    bundle = containers.bundle(program)
    broken = bundle / "rootfs/broken"
    broken.write_bytes(b"\x7fELF, but no program")  # which only its execution shows
    broken.chmod(0o755)
    with pytest.raises((ProgramNotFoundError, SpawnError), match=f'exec: "{program}"'):
        containers.create(bundle, start=True, name="broken")
    with pytest.raises(ContainerNotFoundError):
        containers.load("broken")
