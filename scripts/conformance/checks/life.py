# SPDX-License-Identifier: Apache-2.0
"""The life cycle and its commands: runtime.md; where that is silent, what the clients expect."""

from __future__ import annotations

import functools
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from conformance.box import Box, becomes
from conformance.check import Check

STAY = "echo ready; exec sleep 1000"


def _created(box: Box) -> None:
    box.create("echo ran >/host/ran")
    state = box.state()
    assert state["status"] == "created", state
    assert not (box.shared / "ran").exists(), "it ran before start"
    box.start()
    assert becomes((box.shared / "ran").exists)


def _states(box: Box) -> None:
    box.create(STAY)
    assert box.status == "created"
    box.start()
    assert box.status == "running"
    box.output("kill", box.id, "KILL")
    assert becomes(lambda: box.status == "stopped")


def _fields(box: Box) -> None:
    box.change({"annotations": {"org.example": "words"}})
    box.create(STAY)
    state = box.state()
    assert state["id"] == box.id, state
    assert state["ociVersion"].startswith("1."), state
    assert state["bundle"] == str(box.folder), state
    assert state["annotations"]["org.example"] == "words", state
    Path(f"/proc/{state['pid']}/stat").read_text()


def _same_process(box: Box) -> None:
    box.create(STAY, "--pid-file", str(box.folder / "pid"))
    pid = int((box.folder / "pid").read_text())
    assert box.state()["pid"] == pid
    box.start()
    assert box.state()["pid"] == pid
    assert becomes(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _inherited(box: Box) -> None:
    """Conmon and the shim reap the container's process: nothing of the runtime's stands between."""
    box.create(STAY)
    parent = Path(f"/proc/{box.state()['pid']}/stat").read_text().rpartition(")")[2].split()[1]
    command = Path(f"/proc/{parent}/cmdline").read_bytes()
    assert box.runtime.command[0].encode() not in command, command


def _status_is_the_commands(box: Box) -> None:
    done = box.run("exit 37")
    assert done.returncode == 37, done.returncode


def _streams(box: Box) -> None:
    box.shell("cat; echo err >&2")
    done = box.call("run", "--bundle", str(box.folder), box.id, input="typed")
    assert (done.stdout, done.stderr) == ("typed", "err\n"), done


def _detached(box: Box) -> None:
    box.shell(STAY)
    words = ("run", "--detach", "--bundle", str(box.folder), box.id)
    with (box.folder / "output").open("wb") as output:
        done = box.call(*words, capture_output=False, stdout=output, stderr=output)
    assert done.returncode == 0, box.printed()
    assert becomes(lambda: box.printed() == "ready")
    assert box.status == "running"


def _gone_after_run(box: Box) -> None:
    box.prints("true")
    assert box.call("state", box.id).returncode != 0, "it is still there"


def _refuses(name: str, *steps: str, last: str) -> Check:
    """After some steps another one must fail."""

    def life(box: Box) -> None:
        perform: dict[str, Callable[[], object]] = {
            "create": lambda: box.create(STAY),
            "start": box.start,
            "kill": lambda: box.output("kill", box.id, "KILL"),
            "stopped": lambda: _stopped(box),
            "delete": lambda: box.output("delete", box.id),
            "pause": lambda: box.output("pause", box.id),
        }
        for step in steps:
            perform[step]()
        words = {
            "create": ("create", "--bundle", str(box.folder), box.id),
            "kill": ("kill", box.id, "KILL"),
            "exec": ("exec", box.id, "true"),
        }.get(last, (last, box.id))
        done = box.call(*words)
        assert done.returncode != 0, "accepted"

    return Check(area="life cycle", name=name, life=life)


def _stopped(box: Box) -> None:
    assert becomes(lambda: box.status == "stopped")


def _forced(box: Box) -> None:
    box.create(STAY)
    box.start()
    pid = box.state()["pid"]
    box.output("delete", "--force", box.id)
    assert becomes(lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid))
    assert box.call("state", box.id).returncode != 0
    box.output("delete", "--force", box.id)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _forced_created(box: Box) -> None:
    box.create("echo ran >/host/ran")
    box.output("delete", "--force", box.id)
    assert not (box.shared / "ran").exists()


def _signals(box: Box) -> None:
    box.create("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.02; done")
    box.start()
    assert becomes(lambda: box.printed() == "ready")
    box.output("kill", box.id)
    assert becomes(lambda: box.printed() == "ready\ncaught")


def _signal_names(box: Box) -> None:
    script = (
        'for s in HUP USR1 USR2; do trap "echo $s" $s; done; '
        "echo ready; while :; do sleep 0.02; done"
    )
    box.create(script)
    box.start()
    assert becomes(lambda: box.printed() == "ready")
    for name, word in (("HUP", "HUP"), ("SIGUSR1", "USR1"), (str(int(signal.SIGUSR2)), "USR2")):
        box.output("kill", box.id, name)
        assert becomes(lambda word=word: box.printed().endswith(word)), box.printed()
    assert box.call("kill", box.id, "NOPE").returncode != 0, "an unknown signal"


def _kill_all(box: Box) -> None:
    box.create("sleep 1000 & sleep 1000 & echo ready; wait")
    box.change({})
    box.start()
    assert becomes(lambda: box.printed() == "ready")
    box.output("kill", "--all", box.id, "KILL")
    _stopped(box)
    assert becomes(lambda: not _members(box)), _members(box)


def _members(box: Box) -> list[str]:
    pids = {pid for group in box.groups() for pid in (group / "cgroup.procs").read_text().split()}
    return sorted(pid for pid in pids if not _zombie(int(pid)))


def _shared_pids(box: Box) -> None:
    """Without a PID namespace of its own, all its processes end with a forced delete."""
    others = [row for row in box.config["linux"]["namespaces"] if row["type"] != "pid"]
    box.change({"linux.namespaces": others})
    box.create("sleep 1000 & sleep 1000 & echo ready; wait")
    box.start()
    assert becomes(lambda: box.printed() == "ready")
    pids = _members(box)
    assert len(pids) >= 3, pids
    box.output("delete", "--force", box.id)
    assert becomes(lambda: all(_zombie(int(pid)) for pid in pids))


def _listed(box: Box) -> None:
    box.create(STAY)
    assert box.id in box.output("list", "--quiet").split()
    [row] = [
        row for row in json.loads(box.output("list", "--format", "json")) if row["id"] == box.id
    ]
    assert (row["status"], row["pid"]) == ("created", box.state()["pid"]), row


def _processes(box: Box) -> None:
    box.create("sleep 1000 & echo ready; wait")
    box.start()
    assert becomes(lambda: box.printed() == "ready")
    pids = json.loads(box.output("ps", "--format", "json", box.id))
    assert len(pids) == 2, pids
    assert box.state()["pid"] in pids, pids


def _paused(box: Box) -> None:
    box.create("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
    box.start()
    assert becomes(lambda: box.printed() != "")
    box.output("pause", box.id)
    assert box.status == "paused"
    last = box.printed()
    time.sleep(0.2)
    assert box.printed() == last, "it goes on"
    box.output("resume", box.id)
    assert box.status == "running"
    assert becomes(lambda: box.printed() != last)


def _paused_delete(box: Box) -> None:
    box.create(STAY)
    box.start()
    box.output("pause", box.id)
    box.output("delete", "--force", box.id)
    assert box.call("state", box.id).returncode != 0


def _terminal(box: Box) -> None:
    """The terminal's other side arrives at the console socket; the size is the one asked for."""
    path = str(box.folder / "console")
    box.change({"process.terminal": True, "process.consoleSize": {"height": 30, "width": 100}})
    masters: list[int] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(30)

        def accept() -> None:
            with server.accept()[0] as peer:
                masters.extend(socket.recv_fds(peer, 4096, 1)[1])

        thread = threading.Thread(target=accept)
        thread.start()
        box.create("tty; test -c /dev/console && stty size; cat", "--console-socket", path)
        thread.join()
    [master] = masters
    try:
        box.start()
        seen = ""
        while "30 100" not in seen:
            seen += os.read(master, 4096).decode()
        assert "/dev/pts/0" in seen or "/dev/console" in seen, seen
    finally:
        os.close(master)


def _run_terminal(box: Box) -> None:
    box.change({"process.terminal": True})
    box.shell("tty; exit 5")
    master, slave = pty.openpty()
    try:
        words = ("run", "--bundle", str(box.folder), box.id)
        done = box.call(*words, capture_output=False, stdin=slave, stdout=slave, stderr=slave)
        assert b"/dev/pts/0" in os.read(master, 4096)
        assert done.returncode == 5, done.returncode
    finally:
        os.close(master)
        os.close(slave)


def _preserved(box: Box) -> None:
    box.shell("cat <&3")
    words = [
        *box.runtime.command,
        "--root",
        str(box.folder / "state"),
        "run",
        "--preserve-fds",
        "1",
    ]
    script = f'exec 3<{box.root}/etc/passwd; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words, "--bundle", str(box.folder), box.id],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "user:x:1000" in done.stdout, done


def _log(box: Box) -> None:
    box.change({"process.args": ["/nope"]})
    box.write()
    log = box.folder / "log.json"
    words = (
        "--log",
        str(log),
        "--log-format",
        "json",
        "create",
        "--bundle",
        str(box.folder),
        box.id,
    )
    done = box.call(*words)
    assert done.returncode != 0
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["level"] == "error", last
    assert "/nope" in last["msg"], last
    assert "time" in last, last


def _exec(name: str, *options: str, script: str, sees: str, status: int = 0) -> Check:
    def life(box: Box) -> None:
        box.create(STAY)
        box.start()
        done = box.call("exec", *options, box.id, "sh", "-c", script)
        seen = (done.returncode, done.stdout.strip())
        assert seen == (status, sees), f"{seen} {done.stderr.strip()[-200:]}"

    return Check(area="exec", name=name, life=life)


def _exec_document(box: Box) -> None:
    box.create(STAY)
    box.start()
    capabilities = {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")}
    document = {
        "args": ["sh", "-c", "id -u; pwd; echo $A; umask; grep CapBnd /proc/self/status"],
        "cwd": "/tmp",
        "env": ["PATH=/bin", "A=b"],
        "user": {"uid": 1000, "gid": 1000, "umask": 0o77},
        "capabilities": capabilities,
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}],
    }
    (box.folder / "process.json").write_text(json.dumps(document))
    done = box.call("exec", "--process", str(box.folder / "process.json"), box.id)
    seen = done.stdout.split()
    expected = ["1000", "/tmp", "b", "0077", "CapBnd:", "0" * 14 + "20"]
    assert seen == expected, f"{seen} {done.stderr.strip()[-200:]}"


def _exec_detached(box: Box) -> None:
    box.create(STAY)
    box.start()
    pid_file = box.folder / "exec.pid"
    words = ("exec", "--detach", "--pid-file", str(pid_file), box.id, "sleep", "1000")
    done = box.call(
        *words, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert done.returncode == 0
    command = Path(f"/proc/{int(pid_file.read_text())}/cmdline")
    assert becomes(lambda: b"sleep" in command.read_bytes())
    assert pid_file.read_text().strip() in _members(box), "it is not in the control group"


def _exec_missing(box: Box) -> None:
    box.create(STAY)
    box.start()
    done = box.call("exec", box.id, "nope")
    assert done.returncode != 0
    assert "nope" in done.stderr, done.stderr
    assert box.status == "running"


def _exec_namespaces(box: Box) -> None:
    box.create(STAY)
    box.start()
    kinds = ("ipc", "mnt", "net", "pid", "uts", "cgroup")
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    pid = box.state()["pid"]
    expected = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
    assert box.output("exec", box.id, "sh", "-c", script).split() == expected


def _exec_terminal(box: Box) -> None:
    box.create(STAY)
    box.start()
    master, slave = pty.openpty()
    try:
        words = ("exec", "--tty", box.id, "sh", "-c", "tty; exit 5")
        done = box.call(*words, capture_output=False, stdin=slave, stdout=slave, stderr=slave)
        assert b"/dev/pts/" in os.read(master, 4096)
        assert done.returncode == 5, done.returncode
    finally:
        os.close(master)
        os.close(slave)


def _events(box: Box) -> None:
    box.create(STAY)
    box.start()
    event = json.loads(box.output("events", "--stats", box.id))
    assert event["type"] == "stats", event
    assert event["data"]["pids"]["current"] == 1, event["data"]["pids"]
    assert event["data"]["memory"]["usage"]["usage"] > 0, event["data"]["memory"]


def _features(box: Box) -> None:
    told = json.loads(box.output("features"))
    assert "bind" in told["mountOptions"], told
    assert "mount" in told["linux"]["namespaces"], told
    assert "createRuntime" in told["hooks"], told


def _spec(box: Box) -> None:
    folder = box.folder / "spec"
    (folder / "rootfs").mkdir(parents=True)
    box.output("spec", "--bundle", str(folder))
    config = json.loads((folder / "config.json").read_text())
    assert config["root"]["path"] == "rootfs", config
    assert box.call("spec", "--bundle", str(folder)).returncode != 0, "it was overwritten"


def _version(box: Box) -> None:
    lines = box.output("--version").splitlines()
    assert lines[0].startswith(f"{Path(box.runtime.command[0]).name} version "), lines
    assert any(line.startswith("spec: 1.") for line in lines), lines


def _bad_ids(box: Box) -> None:
    box.shell("echo RAN")
    for name in ("", "../x", "a/b", ".", "..", "a b", "é"):
        done = box.call("run", "--bundle", str(box.folder), name)
        assert done.returncode != 0, f"{name!r} was accepted"
        assert "RAN" not in done.stdout, name


def _bad_documents(box: Box) -> None:
    box.write()
    whole = (box.folder / "config.json").read_text()
    for text in ("", "{", whole[:-10], "[]", '"words"', "{}"):
        (box.folder / "config.json").write_text(text)
        done = box.call("run", "--bundle", str(box.folder), box.id)
        assert done.returncode != 0, f"{text[:20]!r} was accepted"


def _half_created(box: Box) -> None:
    """A create whose caller is killed leaves no process, and what it left can be deleted."""
    box.shell(STAY)
    hooked = box.shared / "hooked"
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"echo $$ >{hooked}.new; mv {hooked}.new {hooked}; exec sleep 1000"],
        "env": ["PATH=/bin:/usr/bin"],
    }
    box.change({"hooks.createRuntime+": hook})
    box.write()
    words = [*box.runtime.command, "--root", str(box.folder / "state"), "create"]
    with (box.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*words, "--bundle", str(box.folder), box.id], stdout=output, stderr=output
        )
        assert becomes(hooked.exists)
        process.kill()
        process.wait()
    os.kill(int(hooked.read_text()), signal.SIGKILL)  # the host's own program: nobody else ends it
    box.output("delete", "--force", box.id)
    assert becomes(lambda: not _members(box)), _members(box)


_check = functools.partial(Check, area="life cycle")
CHECKS = (
    _check(name="create, and start runs the process", life=_created),
    _check(name="created, running, stopped", life=_states),
    _check(name="state: id, version, bundle, pid, annotations", life=_fields),
    _check(name="the process that was created is the one that runs", life=_same_process),
    _check(name="the process is the caller's to reap", life=_inherited),
    _check(name="run: the status is the command's", life=_status_is_the_commands),
    _check(name="run: the streams are the caller's", life=_streams),
    _check(name="run --detach", life=_detached),
    _check(name="run: nothing is left afterwards", life=_gone_after_run),
    _refuses("create with an id that is in use is refused", "create", last="create"),
    _refuses("start of what does not exist is refused", last="start"),
    _refuses("a second start is refused", "create", "start", last="start"),
    _refuses("start after the end is refused", "create", "start", "kill", "stopped", last="start"),
    _refuses("state of what does not exist is refused", last="state"),
    _refuses("kill after the end is refused", "create", "start", "kill", "stopped", last="kill"),
    _refuses("delete of what runs is refused", "create", "start", last="delete"),
    _refuses("delete of what does not exist is refused", last="delete"),
    _refuses(
        "delete twice is refused", "create", "start", "kill", "stopped", "delete", last="delete"
    ),
    _refuses("exec after the end is refused", "create", "start", "kill", "stopped", last="exec"),
    _refuses("exec while paused is refused", "create", "start", "pause", last="exec"),
    _check(name="delete --force of what runs, and of what does not exist", life=_forced),
    _check(name="delete --force of what was created", life=_forced_created),
    _check(name="delete --force of what is paused", life=_paused_delete),
    _check(name="kill sends SIGTERM", life=_signals),
    _check(name="kill: signals by name and number", life=_signal_names),
    _check(name="kill --all", life=_kill_all),
    _check(name="delete --force without a PID namespace", life=_shared_pids),
    _check(name="pause and resume", life=_paused),
    _check(name="list", life=_listed),
    _check(name="ps", life=_processes),
    _check(name="--console-socket and consoleSize", life=_terminal),
    _check(name="run with a terminal", life=_run_terminal),
    _check(name="--preserve-fds", life=_preserved),
    _check(name="--log in JSON", life=_log),
    _check(name="events --stats", life=_events),
    _check(name="features", life=_features),
    _check(name="spec", life=_spec),
    _check(name="--version", life=_version),
    _check(name="ids that are no names are refused", life=_bad_ids),
    _check(name="documents that are none are refused", life=_bad_documents),
    _check(name="a create that is killed", life=_half_created),
    _check(
        name="unknown fields are ignored",
        change={"nope": {"a": 1}, "linux.nope": [1], "process.nope": "x"},
        run="echo ran",
        sees="ran",
    ),
    _exec("the status is the command's", script="exit 37", sees="", status=37),
    _exec("--env, --cwd", "--env", "A=b", "--cwd", "/tmp", script="echo $A; pwd", sees="b\n/tmp"),
    _exec("--user", "--user", "1000:1000", script="id -u; id -g", sees="1000\n1000"),
    _exec("not the first process", script="test $$ -gt 1 && echo other", sees="other"),
    Check(area="exec", name="--process", life=_exec_document),
    Check(area="exec", name="--detach and --pid-file", life=_exec_detached),
    Check(area="exec", name="a missing program is refused", life=_exec_missing),
    Check(area="exec", name="the container's namespaces", life=_exec_namespaces),
    Check(area="exec", name="--tty", life=_exec_terminal),
)
