# SPDX-License-Identifier: Apache-2.0
"""What containerd's own client does, with our runtime beneath the shim."""

from __future__ import annotations

import re
import time

import pytest

from _engines import STAY, Containerd, settles

pytestmark = [
    pytest.mark.requires("root", "runc", "busybox", "containerd"),
    pytest.mark.parametrize("launch", [Containerd], indirect=True, scope="session", ids=["ctr"]),
]


def test_output_and_status_are_the_commands(engine: Containerd) -> None:
    done = engine.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


@pytest.mark.parametrize(
    "command, words",
    [
        ("nope", 'exec: "nope": executable file not found in $PATH'),
        ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_what_cannot_be_run_is_said(engine: Containerd, command: str, words: str) -> None:
    done = engine.run(command)
    assert done.returncode != 0
    assert words in done.stderr


def test_environment_and_directory(engine: Containerd) -> None:
    options = ("--env", "WORD=a b", "--cwd", "/tmp")
    done = engine.run("sh", "-c", "echo $WORD; pwd", options=options)
    assert done.stdout == "a b\n/tmp\n", done.stderr


def test_a_root_that_is_read_only(engine: Containerd) -> None:
    done = engine.run("sh", "-c", "touch /x || echo refused", options=("--read-only",))
    assert done.stdout == "refused\n", done.stderr


def test_a_mount(engine: Containerd) -> None:
    shared = engine.cage.folder / f"shared-{engine.runtime}"
    engine.cage.output("mkdir", shared)
    option = f"type=bind,src={shared},dst=/mnt,options=rbind:rw"
    done = engine.run("sh", "-c", "echo kept >/mnt/file", options=("--mount", option))
    assert done.returncode == 0, done.stderr
    assert engine.cage.path(shared / "file").read_text() == "kept\n"


def test_a_filter(engine: Containerd) -> None:
    done = engine.run("grep", "Seccomp:", "/proc/self/status", options=("--seccomp",))
    assert done.stdout.split() == ["Seccomp:", "2"], done.stderr


def test_the_hosts_network(engine: Containerd) -> None:
    done = engine.run("readlink", "/proc/self/ns/net", options=("--net-host",))
    assert done.stdout == engine.cage.output("readlink", "/proc/self/ns/net"), done.stderr


def test_commands_in_a_living_container(engine: Containerd) -> None:
    box = engine.start(*STAY)
    done = engine.cli("tasks", "exec", "--exec-id", "e", box, "sh", "-c", "echo $$; exit 4")
    assert done.returncode == 4, done.stderr
    assert int(done.stdout) > 1
    user = ("--user", "1000", "--cwd", "/tmp")
    done = engine.cli("tasks", "exec", "--exec-id", "f", *user, box, "sh", "-c", "id -u; pwd")
    assert done.stdout == "1000\n/tmp\n", done.stderr
    done = engine.cli("tasks", "exec", "--exec-id", "g", box, "nope")
    assert done.returncode != 0
    assert "executable file not found" in done.stderr
    assert engine.status(box) == "RUNNING"


def test_terminals(engine: Containerd) -> None:
    words = ("run", "--rm", "--tty", *engine.words(), engine.name())
    with engine.terminal(*words, "sh", "-c", "tty; cat; exit 5") as terminal:
        terminal.until("/dev/pts/0")
        terminal.type("echoed\r")
        terminal.until("echoed\nechoed\n")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 5


def test_a_terminal_of_a_command_in_a_living_container(engine: Containerd) -> None:
    box = engine.start(*STAY)
    words = ("tasks", "exec", "--tty", "--exec-id", "t", box)
    with engine.terminal(*words, "sh", "-c", "tty; cat; exit 5") as terminal:
        terminal.until("/dev/pts/")
        terminal.type("echoed\r")
        terminal.until("echoed\nechoed\n")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 5


def test_a_container_is_paused_and_goes_on(engine: Containerd) -> None:
    box = engine.start(*STAY)
    for command, status in (("pause", "PAUSED"), ("resume", "RUNNING")):
        engine.output("tasks", command, box)
        assert engine.status(box) == status


def test_a_signal_and_a_kill(engine: Containerd) -> None:
    script = "trap 'exit 7' TERM; while :; do sleep 0.02; done"
    box = engine.start("sh", "-c", script)
    time.sleep(0.2)  # nothing says that the trap is set
    engine.output("tasks", "kill", "--signal", "SIGTERM", box)
    assert settles(lambda: engine.status(box) == "STOPPED")
    other = engine.start("sh", "-c", "sleep 1000 & exec sleep 1000")
    engine.output("tasks", "kill", "--all", "--signal", "SIGKILL", other)
    assert settles(lambda: engine.status(other) == "STOPPED")


def test_processes_and_metrics(engine: Containerd) -> None:
    box = engine.start(
        "sh", "-c", "sleep 1000 & exec sleep 1000", options=("--memory-limit", str(64 << 20))
    )
    assert settles(lambda: len(engine.output("tasks", "ps", box).splitlines()) == 3)
    metrics = dict(
        line.split()[:2]
        for line in engine.output("tasks", "metrics", box).splitlines()
        if " " in line
    )
    limit = next(
        value
        for name, value in metrics.items()
        if name.startswith("memory.limit") or name == "memory.usage_limit"
    )
    assert int(limit) == 64 << 20
    assert next(value for name, value in metrics.items() if re.match(r"pids\.current", name)) == "2"


def test_a_killed_shim_leaves_nothing(engine: Containerd) -> None:
    box = engine.start(*STAY)
    shims = [line.split()[0] for line in engine.cage.processes() if "containerd-shim" in line]
    assert len(shims) == 1
    engine.cage.output("kill", "-9", *shims)
    assert settles(lambda: engine.status(box) in {"", "STOPPED", "UNKNOWN"})
    assert settles(lambda: not [name for name in engine.cage.processes() if "sleep" in name])


def test_a_name_that_is_in_use(engine: Containerd) -> None:
    box = engine.start(*STAY)
    done = engine.cli("run", *engine.words(), box, "true")
    assert done.returncode != 0
    assert engine.status(box) == "RUNNING"
