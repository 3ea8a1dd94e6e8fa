# SPDX-License-Identifier: Apache-2.0
"""What podman and docker do for their users, with our runtime beneath."""

from __future__ import annotations

import re
import time

import pytest

from _engines import STAY, Docker, DockerLike, Podman, settles

pytestmark = [
    pytest.mark.requires("root", "runc", "busybox"),
    pytest.mark.parametrize(
        "launch",
        [
            pytest.param(Podman, marks=pytest.mark.requires("podman"), id="podman"),
            pytest.param(Docker, marks=pytest.mark.requires("docker"), id="docker"),
        ],
        indirect=True,
        scope="session",
    ),
]
#: Says what it counts to, and ends well when told to.
COUNT = (
    *("sh", "-c"),
    (
        "trap 'echo caught; exit 7' TERM; echo ready; i=0; "
        "while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    ),
)


def test_output_and_status_are_the_commands(engine: DockerLike) -> None:
    done = engine.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


def test_input_reaches_the_command(engine: DockerLike) -> None:
    done = engine.run("cat", options=("--interactive",), input="typed\n")
    assert (done.stdout, done.returncode) == ("typed\n", 0), done.stderr


@pytest.mark.parametrize(
    "command, status", [("nope", 127), ("/nope", 127), ("/etc/passwd", 126), ("/etc", 126)]
)
def test_what_cannot_be_run_has_a_status_of_its_own(
    engine: DockerLike, command: str, status: int
) -> None:
    assert engine.run(command).returncode == status


def test_environment_directory_and_names(engine: DockerLike) -> None:
    options = ("--env", "WORD=a b", "--workdir", "/home", "--hostname", "box")
    assert engine.prints("sh", "-c", "echo $WORD; pwd; hostname", options=options) == (
        "a b\n/home\nbox"
    )


@pytest.mark.parametrize(
    "user, ids",
    [("1000:1000", "1000 1000"), ("user", "1000 1000"), ("12345:6789", "12345 6789")],
)
def test_a_user_who_is_not_root(engine: DockerLike, user: str, ids: str) -> None:
    script = "echo $(id -u) $(id -g); grep -E 'CapEff' /proc/self/status; touch /root/x || echo no"
    words = engine.prints("sh", "-c", script, options=("--user", user))
    assert words.startswith(ids)
    assert "CapEff:\t0000000000000000" in words
    assert words.endswith("no")


def test_additional_groups(engine: DockerLike) -> None:
    options = ("--user", "1000:1000", "--group-add", "4242")
    assert "4242" in engine.prints("id", "-G", options=options).split()


def test_a_root_that_is_read_only(engine: DockerLike) -> None:
    script = "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo made"
    options = ("--read-only", "--tmpfs", "/scratch:size=1m")
    assert engine.prints("sh", "-c", script, options=options) == "refused\nmade"


def test_volumes(engine: DockerLike) -> None:
    shared = engine.cage.folder / f"volume-{engine.program}-{engine.runtime}"
    engine.cage.output("mkdir", shared)
    options = ("--volume", f"{shared}:/rw", "--volume", f"{shared}:/ro:ro", "--volume", "named:/v")
    script = (
        "echo kept >/rw/file; cat /ro/file; touch /ro/x 2>/dev/null || echo refused; touch /v/x"
    )
    assert engine.prints("sh", "-c", script, options=options) == "kept\nrefused"
    assert engine.cage.path(shared / "file").read_text() == "kept\n"
    assert engine.prints("ls", "/v", options=("--volume", "named:/v")) == "x"
    engine.output("volume", "rm", "named")


def test_limits_are_in_force(engine: DockerLike) -> None:
    options = ("--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cpu-shares", "512")
    engine.start(*STAY, options=options)
    values = {
        path.name: path.read_text().strip()
        for group in engine.cage.cgroups()
        if engine.owns(group)
        for path in group.iterdir()
        if path.name in LIMITS
    }
    assert {LIMITS[name]: value for name, value in values.items()} == {
        "memory": str(64 << 20),
        "pids": "50",
        "cpu": values.get("cpu.max", "50000"),
    }
    assert values.get("cpu.max", "50000 100000").split()[0] == "50000"


LIMITS = {
    "memory.limit_in_bytes": "memory",
    "memory.max": "memory",
    "pids.max": "pids",
    "cpu.cfs_quota_us": "cpu",
    "cpu.max": "cpu",
}


def test_too_much_memory_is_death(engine: DockerLike) -> None:
    command = ("sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' a); echo survived")
    done = engine.run(*command, options=("--memory", "32m", "--memory-swap", "32m"))
    assert "survived" not in done.stdout
    assert done.returncode != 0


def test_too_many_processes_are_refused(engine: DockerLike) -> None:
    script = "for i in $(seq 40); do sleep 5 & done; echo all"
    done = engine.run("sh", "-c", script, options=("--pids-limit", "20"))
    assert "all" not in done.stdout
    assert "fork" in done.stderr


def test_a_command_in_a_living_container(engine: DockerLike) -> None:
    box = engine.start(*STAY)
    done = engine.cli("exec", box, "sh", "-c", "echo $$; hostname; exit 4")
    assert done.returncode == 4, done.stderr
    pid, name = done.stdout.split()
    assert int(pid) > 1
    assert box.startswith(name)
    options = ("--user", "1000", "--env", "A=b", "--workdir", "/tmp")
    script = "id -u; echo $A; pwd"
    assert engine.output("exec", *options, box, "sh", "-c", script) == "1000\nb\n/tmp"
    piped = engine.cli("exec", "--interactive", box, "cat", input="typed\n")
    assert piped.stdout == "typed\n", piped.stderr


def test_what_cannot_be_run_in_a_living_container(engine: DockerLike) -> None:
    box = engine.start(*STAY)
    absent, denied = (engine.cli("exec", box, name) for name in ("nope", "/etc/passwd"))
    assert absent.returncode == (126 if engine.program == "dockerd" else 127), absent.stderr
    assert denied.returncode == 126, denied.stderr
    assert engine.inspect(box, ".State.Running") == "true"


def test_a_detached_command_in_a_living_container(engine: DockerLike) -> None:
    box = engine.start(*STAY)
    engine.output("exec", "--detach", box, "sh", "-c", "echo made >/tmp/file")
    assert settles(lambda: engine.cli("exec", box, "cat", "/tmp/file").stdout == "made\n")


def test_a_terminal(engine: DockerLike) -> None:
    words = ("run", "--rm", "-it", *engine.words())
    with engine.terminal(*words, "sh", "-c", "tty; cat; exit 5") as terminal:
        terminal.until("/dev/pts/0\n")
        terminal.type("echoed\r")
        terminal.until("echoed\nechoed\n")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 5


def test_a_terminal_follows_the_size_and_sends_signals(engine: DockerLike) -> None:
    script = "trap 'exit 6' INT; echo ready; while :; do stty size 2>&1; sleep 0.05; done"
    with engine.terminal("run", "--rm", "-it", *engine.words(), "sh", "-c", script) as terminal:
        terminal.until("ready")
        # The client looks at its terminal's size some time after the start.
        for rows in range(40, 60):
            terminal.resize(rows, 120)
            if terminal.shows(f"{rows} 120", patience_s=1):
                break
        else:
            pytest.fail(terminal.seen)
        terminal.type("\x03")
        assert terminal.process.wait(20) == 6


def test_a_terminal_of_a_command_in_a_living_container(engine: DockerLike) -> None:
    box = engine.start(*STAY)
    with engine.terminal("exec", "-it", box, "sh", "-c", "tty; cat; exit 5") as terminal:
        terminal.until("/dev/pts/")
        terminal.type("echoed\r")
        terminal.until("echoed\nechoed\n")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 5


def test_logs(engine: DockerLike) -> None:
    box = engine.start("sh", "-c", "echo out; echo err >&2")
    assert engine.output("wait", box) == "0"
    done = engine.cli("logs", box)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_a_signal_reaches_the_command(engine: DockerLike) -> None:
    box = engine.start(*COUNT)
    assert engine.says(box, "ready")
    engine.output("kill", "--signal", "TERM", box)
    assert engine.output("wait", box) == "7"
    assert engine.logs(box).endswith("caught\n")


def test_stop_asks_and_then_kills(engine: DockerLike) -> None:
    polite = engine.start(*COUNT)
    deaf = engine.start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    for box in (polite, deaf):
        assert engine.says(box, "ready")
        engine.output("stop", "--time", "1" if box == deaf else "20", box)
    codes = [engine.inspect(box, ".State.ExitCode") for box in (polite, deaf)]
    assert codes == ["7", "137"]


def test_a_container_is_paused_and_goes_on(engine: DockerLike) -> None:
    box = engine.start(*COUNT)
    assert engine.says(box, "ready")
    engine.output("pause", box)
    assert engine.inspect(box, ".State.Status") == "paused"
    last = engine.logs(box)
    time.sleep(0.1)
    assert engine.logs(box) == last
    engine.output("unpause", box)
    assert settles(lambda: engine.logs(box) != last)
    assert engine.inspect(box, ".State.Status") == "running"


def test_a_paused_container_can_be_removed(engine: DockerLike) -> None:
    box = engine.start(*STAY)
    engine.output("pause", box)
    engine.output("rm", "--force", box)
    assert not engine.output("ps", "--all", "--quiet")


def test_stats_and_top(engine: DockerLike) -> None:
    box = engine.start(*STAY, options=("--memory", "64m"))
    assert engine.says(box, "ready")
    stats = engine.output("stats", "--no-stream", "--format", "{{.MemUsage}};{{.PIDs}}", box)
    usage, pids = stats.split(";")
    assert re.fullmatch(r"[\d.]+\s?\wi?B / (64MiB|67.11MB)", usage)
    assert pids == "1"
    assert "sleep 1000" in engine.output("top", box)


def test_restart_is_a_new_process_with_the_same_files(engine: DockerLike) -> None:
    box = engine.start("sh", "-c", "echo line >>/tmp/file; echo ready; exec sleep 1000")
    assert engine.says(box, "ready")
    first = engine.inspect(box, ".State.Pid")
    engine.output("restart", "--time", "0", box)
    assert engine.inspect(box, ".State.Pid") != first
    read = ("exec", box, "cat", "/tmp/file")
    assert settles(lambda: engine.cli(*read).stdout == "line\nline\n")


def test_what_has_ended_can_be_started_again(engine: DockerLike) -> None:
    box = engine.output("create", *engine.words(), "sh", "-c", "echo line; exit 3")
    for lines in ("line\n", "line\nline\n"):
        engine.output("start", box)
        assert engine.output("wait", box) == "3"
        assert engine.says(box, lines)


def test_a_policy_restarts_what_fails(engine: DockerLike) -> None:
    box = engine.start("sh", "-c", "echo line; exit 3", options=("--restart", "on-failure:2"))
    assert settles(lambda: engine.logs(box) == "line\n" * 3)
    assert settles(lambda: engine.inspect(box, ".State.Running") == "false")


def test_health(engine: DockerLike) -> None:
    options = ("--health-cmd", "test -e /tmp/well", "--health-interval", "1s")
    box = engine.start(*STAY, options=(*options, "--health-retries", "1"))
    state = ".State.Health.Status"

    def becomes(status: str) -> bool:
        if engine.program == "podman":  # has no daemon: systemd's timers would ask
            engine.cli("healthcheck", "run", box)
        return engine.inspect(box, state) == status

    assert settles(lambda: becomes("unhealthy"))
    engine.output("exec", box, "touch", "/tmp/well")
    assert settles(lambda: becomes("healthy"))


def test_limits_of_a_living_container_change(engine: DockerLike) -> None:
    box = engine.start(*STAY, options=("--memory", "64m", "--memory-swap", "64m"))
    engine.output("update", "--memory", "32m", "--memory-swap", "32m", box)
    values = {
        path.read_text().strip()
        for group in engine.cage.cgroups()
        for name in ("memory.limit_in_bytes", "memory.max")
        if engine.owns(group) and (path := group / name).exists()
    }
    assert values == {str(32 << 20)}


CAPABILITIES = "grep -E 'Cap(Eff|Bnd)' /proc/self/status | cut -f2"


@pytest.mark.parametrize(
    "options, sets",
    [
        (("--cap-drop", "all"), {"0" * 16}),
        (("--cap-drop", "all", "--cap-add", "net_bind_service"), {"0000000000000400"}),
    ],
)
def test_capabilities(engine: DockerLike, options: tuple[str, ...], sets: set[str]) -> None:
    assert set(engine.prints("sh", "-c", CAPABILITIES, options=options).split()) == sets


def test_the_default_filter_is_in_force(engine: DockerLike) -> None:
    script = "grep Seccomp: /proc/self/status; unshare -n true 2>/dev/null || echo refused"
    assert engine.prints("sh", "-c", script) == "Seccomp:\t2\nrefused"
    free = ("--security-opt", "seccomp=unconfined", "--cap-add", "sys_admin")
    assert engine.prints("unshare", "-n", "echo", "done", options=free) == "done"


def test_no_new_privileges(engine: DockerLike) -> None:
    options = ("--security-opt", "no-new-privileges")
    words = engine.prints("grep", "NoNewPrivs", "/proc/self/status", options=options)
    assert words.split() == ["NoNewPrivs:", "1"]


def test_the_kernels_own_files_are_hidden_or_read_only(engine: DockerLike) -> None:
    script = (
        "head -c 1 /proc/kcore | wc -c; ls /proc/acpi /sys/firmware | wc -w; "
        "echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused"
    )
    count, names, refused = engine.prints("sh", "-c", script).split("\n")
    assert (count, refused) == ("0", "refused")
    assert int(names) <= 2  # the directories' own


def test_a_device(engine: DockerLike) -> None:
    options = ("--device", "/dev/null:/dev/xnull:rw")
    words = engine.prints("sh", "-c", "ls -l /dev/xnull; echo x >/dev/xnull", options=options)
    assert "1,   3" in words
    refused = engine.run("sh", "-c", "mknod /tmp/d b 7 0 && cat /tmp/d")
    assert refused.returncode != 0


def test_resource_limits_sysctls_and_shared_memory(engine: DockerLike) -> None:
    options = ("--ulimit", "nofile=512:512", "--shm-size", "8m")
    sysctl = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=77")
    script = (
        "ulimit -n; df -m /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    )
    assert engine.prints("sh", "-c", script, options=(*options, *sysctl)) == "512\n8\n77"


@pytest.mark.parametrize("kind", ["pid", "ipc", "network"])
def test_another_containers_namespace(engine: DockerLike, kind: str) -> None:
    link = {"network": "net"}.get(kind, kind)
    private = {"ipc": ("--ipc", "shareable")}.get(kind, ())
    box = engine.start(*STAY, options=private)
    mine = engine.output("exec", box, "readlink", f"/proc/self/ns/{link}")
    options = (f"--{kind}=container:{box}",)
    assert engine.prints("readlink", f"/proc/self/ns/{link}", options=options) == mine


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network"])
def test_the_hosts_namespace(engine: DockerLike, kind: str) -> None:
    link = f"/proc/self/ns/{'net' if kind == 'network' else kind}"
    inside = engine.prints("readlink", link, options=(f"--{kind}=host",))
    assert inside == engine.cage.output("readlink", link).strip()


def test_many_at_once(engine: DockerLike) -> None:
    boxes = [engine.start("sh", "-c", f"echo {number}") for number in range(4)]
    assert [engine.output("wait", box) for box in boxes] == ["0"] * 4
    assert [engine.logs(box).strip() for box in boxes] == ["0", "1", "2", "3"]


def test_a_killed_first_process_takes_all_others_with_it(engine: DockerLike) -> None:
    box = engine.start("sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait")
    assert engine.says(box, "ready")
    engine.output("exec", "--detach", box, "sleep", "1000")
    engine.output("kill", box)
    assert engine.output("wait", box) == "137"
    assert settles(lambda: not [name for name in engine.cage.processes() if "sleep" in name])
