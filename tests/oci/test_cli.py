# SPDX-License-Identifier: Apache-2.0
"""The command line: arguments, errors and their log, what engines read of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _features import missing
from _oci_command import PROGRAM
from pycontain import __version__
from pycontain._oci._bundle import Bundle
from pycontain._oci._default_spec import default_config
from pycontain._oci_cli._lifecycle import parse_signal
from pycontain._oci_cli._options import Option, UsageError, parse
from pycontain._oci_cli._show import _seconds
from pycontain._oci_cli._update import _value
from pycontain._terminal import set_window_size
from pycontain.errors import UnsupportedError

if TYPE_CHECKING:
    from _oci_command import Runtime

COMMANDS = (
    *("create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps"),
    *("resume", "run", "spec", "start", "state", "update"),
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

# Options -----------------------------------------------------------------------------------------

OPTIONS = (
    Option(name="all", short="a"),
    Option(name="detach", short="d"),
    Option(name="bundle", short="b", value="DIR"),
    Option(name="env", short="e", value="NAME=VALUE..."),
)


@pytest.mark.parametrize(
    "words, given, arguments",
    [
        ([], {}, []),
        (["x", "y"], {}, ["x", "y"]),
        (["--all", "x"], {"all": True}, ["x"]),
        (["-all", "x"], {"all": True}, ["x"]),
        (["x", "--all"], {"all": True}, ["x"]),
        (["-a", "-d"], {"all": True, "detach": True}, []),
        (["-ad", "x"], {"all": True, "detach": True}, ["x"]),
        (["--all=false", "x"], {"all": False}, ["x"]),
        (["--bundle", "b", "x"], {"bundle": "b"}, ["x"]),
        (["--bundle=b=c", "x"], {"bundle": "b=c"}, ["x"]),
        (["--bundle", "--all", "x"], {"bundle": "--all"}, ["x"]),
        (["--bundle=", "x"], {"bundle": ""}, ["x"]),
        (["-b", "b", "x"], {"bundle": "b"}, ["x"]),
        (["-e", "A=1", "--env=B=2", "-e=C"], {"env": ["A=1", "B=2", "C"]}, []),
        (["x", "--", "--all", "-"], {}, ["x", "--all", "-"]),
        (["-", "x"], {}, ["-", "x"]),
    ],
)
def test_options(words: list[str], given: dict[str, Any], arguments: list[str]) -> None:
    assert parse(words, OPTIONS, interleaved=True) == (given, arguments)


def test_options_end_at_the_first_argument_of_exec() -> None:
    words = ["-a", "id", "ls", "--all", "--", "-x"]
    assert parse(words, OPTIONS, interleaved=False) == ({"all": True}, words[1:])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nope"], "flag provided but not defined: --nope"),
        (["-x=1"], "flag provided but not defined: -x"),
        (["-ab"], "flag provided but not defined: -ab"),
        (["--bundle"], "flag needs an argument: --bundle"),
        (["--all=perhaps"], "invalid boolean value 'perhaps' for --all"),
    ],
)
def test_wrong_options(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(words, OPTIONS, interleaved=True)


@pytest.mark.parametrize(
    "text, number",
    [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("RTMIN+3", 37), ("64", 64)],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "NOPE", "KILL+x", "RTMIN+99", "9" * 30, "²"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(UsageError, match="unknown signal"):
        parse_signal(text)


@pytest.mark.parametrize(
    "text, number",
    [("5", 5), ("-1", -1), ("64k", 64 << 10), ("64M", 64 << 20), ("2GiB", 2 << 30), ("1kb", 1024)],
)
def test_sizes(text: str, number: int) -> None:
    assert _value(text, "BYTES", "memory") == number


@pytest.mark.parametrize("text", ["", "x", "1.5G", "M", "1x", "--1", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="invalid value"):
        _value(text, "BYTES", "memory")


def test_times() -> None:
    assert [_seconds(text) for text in ("5s", "500ms", "2m", "3")] == [5, 0.5, 120, 3]
    for text in ("", "0s", "s", "-1s", "1h"):
        with pytest.raises(UsageError):
            _seconds(text)


# The program -------------------------------------------------------------------------------------


def test_version(runtime: Runtime) -> None:
    for words in (["--version"], ["-v"]):
        lines = runtime.ok(*words).splitlines()
        assert lines == [f"pycontain-runtime version {__version__}", "spec: 1.2.0"]


def test_help(runtime: Runtime) -> None:
    whole = runtime.ok("--help")
    assert runtime.ok() == whole
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", whole, re.MULTILINE)
        of_command = runtime.ok(command, "--help")
        assert of_command.startswith(f"pycontain-runtime {command} [options]")
        assert runtime.ok("help", command) == of_command


def test_the_launcher_needs_no_environment_and_follows_links(tmp_path: Path) -> None:
    tmp_path.joinpath("runc").symlink_to(PROGRAM)
    for path in (PROGRAM, tmp_path / "runc"):
        for env in ({}, {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}):
            done = subprocess.run(
                [path, "--version"], env=env, cwd="/", capture_output=True, text=True, check=False
            )
            assert done.stderr == ""
            assert done.stdout.startswith("pycontain-runtime version ")


def test_the_launcher_alone_says_what_is_wrong(tmp_path: Path) -> None:
    shutil.copy2(PROGRAM, tmp_path / "pycontain-runtime")
    done = subprocess.run(
        [tmp_path / "pycontain-runtime"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 127
    assert done.stderr == (
        "pycontain-runtime: no Python beside this program: it must stay where pip put it\n"
    )


# Each command is a process of its own, so what it imports counts.
SLOW = {
    *("_collections_abc", "_socket", "argparse", "dataclasses", "enum", "inspect", "json"),
    *("logging", "os", "pathlib", "re", "select", "stat"),
    *("selectors", "shutil", "signal", "socket", "subprocess", "threading", "typing", "types"),
    *("pycontain.config", "pycontain._seccomp", "pycontain._hints", "pycontain._image_errors"),
}
CORE = {"_cffi_backend", "pycontain._native"}
CONFIGURATION = {"pycontain._oci._parse", "pycontain._oci._spec"}


@pytest.mark.requires("root", "cgroup_pids")
def test_what_is_slow_to_import_is_left_out(runtime: Runtime) -> None:
    bundle = runtime.plain_bundle()
    runtime.imported("run", "--bundle", bundle, "first")  # its filter is kept
    assert runtime.imported("create", "--bundle", bundle, "x") & SLOW == set()
    homeless = runtime.plain_bundle(process__env=["PATH=/bin"])  # as containerd and docker give it
    readers = {"pycontain._image_errors"}  # of the root's passwd(5)
    assert runtime.imported("run", "--bundle", homeless, "homeless") & SLOW == readers
    without = SLOW | CORE | CONFIGURATION
    assert runtime.imported("list") & without == set()
    assert runtime.imported("state", "x") & without == set()
    assert runtime.imported("start", "x") & without == {"_cffi_backend"}
    while runtime.state("x")["status"] != "stopped":
        pass
    assert runtime.imported("delete", "x") & without == set()
    assert runtime.imported("run", "--bundle", bundle, "y") & SLOW == set()
    runtime.create("z", "sleep", "60")
    assert runtime.imported("kill", "z", "KILL") & without == set()


# Errors ------------------------------------------------------------------------------------------

ERRORS = {
    "unknown option": (["--bogus"], "flag provided but not defined: --bogus"),
    "unknown command": (["checkpoint", "x"], "no such command: 'checkpoint'"),
    "no id": (["state"], "state: wrong number of arguments"),
    "two ids": (["start", "a", "b"], "start: wrong number of arguments"),
    "an id that is a path": (["state", "../x"], "invalid container ID '../x'"),
    "absent": (["state", "x"], "container does not exist: x"),
    "start of an absent one": (["start", "x"], "container does not exist: x"),
    "kill of an absent one": (["kill", "x", "9"], "container does not exist: x"),
    "delete of an absent one": (["delete", "x"], "container does not exist: x"),
    "no such signal": (["kill", "x", "NOPE"], "unknown signal 'NOPE'"),
    "no bundle": (["create", "--bundle", "/nowhere", "x"], "/nowhere: No such file or directory"),
    "format": (["list", "--format", "xml"], "invalid format 'xml'"),
    "log format": (["--log-format", "xml", "list"], "unknown log format 'xml'"),
    "manager": (["--cgroup-manager", "x", "list"], "unknown cgroup manager 'x'"),
    "wrong regular expression": (["kill", "--regex", "(", "9"], "no regular expression: '('"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line(runtime: Runtime, tmp_path: Path, name: str) -> None:
    words, message = ERRORS[name]
    done = runtime.call(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pycontain-runtime: {message}")
    assert done.stderr.count("\n") == 1


def test_errors_go_to_the_log_too(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    for _ in range(2):
        done = runtime.call("--log", log, "--log-format", "json", "state", "x")
        assert done.stderr == "pycontain-runtime: container does not exist: x\n"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(row["level"], row["msg"]) for row in rows] == [
        ("error", "container does not exist: x")
    ] * 2
    assert all(TIME.fullmatch(row["time"]) for row in rows)
    runtime.call("--log", tmp_path / "log", "state", 'x"y')
    assert log.with_name("log").read_text().count('level=error msg="invalid container ID') == 1


def test_a_log_that_cannot_be_written_is_said(runtime: Runtime) -> None:
    done = runtime.call("--log", "/nowhere/log", "state", "x")
    assert done.stderr.splitlines() == [
        "pycontain-runtime: cannot write the log /nowhere/log: No such file or directory",
        "pycontain-runtime: container does not exist: x",
    ]


def test_exec_has_a_status_of_its_own_for_errors(runtime: Runtime) -> None:
    done = runtime.call("exec", "x", "true")
    assert done.returncode == 255
    assert done.stderr == "pycontain-runtime: container does not exist: x\n"


def test_deleting_an_absent_container_by_force_succeeds(runtime: Runtime) -> None:
    assert runtime.ok("delete", "--force", "x") == ""


def test_an_empty_list(runtime: Runtime) -> None:
    assert runtime.ok("list").split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert json.loads(runtime.ok("list", "--format", "json")) == []
    assert runtime.ok("list", "-q") == ""


@pytest.mark.parametrize("place", ["hostname", "process__cwd"])
def test_wrong_configurations_are_named(runtime: Runtime, place: str) -> None:
    bundle = runtime.bundle("true", **{place: 7})
    done = runtime.call("run", "--bundle", bundle, "x")
    assert done.returncode == 1
    assert done.stderr == f"pycontain-runtime: {place.replace('__', '.')}: 7 is not a string\n"
    assert runtime.ok("list", "-q") == ""


def test_unsafe_bundles_are_refused(runtime: Runtime) -> None:
    bundle = runtime.bundle("true")
    bundle.chmod(0o777)
    done = runtime.call("create", "--bundle", bundle, "x")
    assert done.stderr == f"pycontain-runtime: {bundle}: every user may write to it: chmod o-w\n"
    bundle.chmod(0o755)
    bundle.joinpath("config.json").chmod(0o666)
    assert "every user may write" in runtime.call("create", "--bundle", bundle, "x").stderr
    bundle.joinpath("config.json").rename(bundle / "other.json")
    bundle.joinpath("config.json").symlink_to("other.json")
    assert "is a symbolic link" in runtime.call("create", "--bundle", bundle, "x").stderr
    assert runtime.ok("list", "-q") == ""


@pytest.mark.requires("root")
def test_bundles_of_others_are_refused(runtime: Runtime, tmp_path: Path) -> None:
    bundle = runtime.bundle("true")
    link = tmp_path / "link"
    link.symlink_to(bundle)
    for path in (link, bundle, bundle / "config.json"):
        os.chown(path, 1234, 1234, follow_symlinks=False)
        done = runtime.call("create", "--bundle", link, "x")
        assert "belongs to user 1234" in done.stderr
        os.chown(path, 0, 0, follow_symlinks=False)


@pytest.mark.requires("root")
def test_a_bundle_may_belong_to_the_root_of_its_container(runtime: Runtime) -> None:
    """Podman gives it away so."""
    ids = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    namespaces = [*default_config()["linux"]["namespaces"], {"type": "user"}]
    bundle = runtime.bundle(
        "true", linux__namespaces=namespaces, linux__uidMappings=ids, linux__gidMappings=ids
    )
    os.chown(bundle, 100000, 200000)
    assert Bundle(bundle).path == str(bundle)
    os.chown(bundle, 100001, 0)
    with pytest.raises(UnsupportedError, match="belongs to user 100001"):
        Bundle(bundle)


# Documents ---------------------------------------------------------------------------------------


def test_spec_writes_a_configuration_once(runtime: Runtime, tmp_path: Path) -> None:
    runtime.ok("spec", cwd=tmp_path)
    assert json.loads(tmp_path.joinpath("config.json").read_text()) == default_config()
    done = runtime.call("spec", "--bundle", tmp_path)
    assert done.stderr == f"pycontain-runtime: {tmp_path}/config.json: File exists\n"


def test_features(runtime: Runtime) -> None:
    found = json.loads(runtime.ok("features"))
    assert (found["ociVersionMin"], found["ociVersionMax"]) == ("1.0.0", "1.3.0")
    linux = found["linux"]
    own = {"net": "network", "mnt": "mount"}
    kinds = {own.get(name, name) for name in os.listdir("/proc/self/ns")}
    assert set(linux["namespaces"]) == {kind for kind in kinds if "_for_children" not in kind}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert len(linux["capabilities"]) == last + 1
    assert {"ro", "rro", "rbind", "tmpcopyup", "idmap", "rslave"} <= set(found["mountOptions"])
    assert "SCMP_ACT_NOTIFY" in linux["seccomp"]["actions"]
    for name in ("apparmor", "selinux"):
        assert linux[name] == {"enabled": True}  # of the runtime alone
        here = str(not missing(name)).lower()
        assert found["annotations"][f"pycontain.host.{name}"] == here


def test_what_is_no_feature_is_refused(runtime: Runtime) -> None:
    features = json.loads(runtime.ok("features"))
    assert features["linux"]["memoryPolicy"] == {"enabled": False}
    bundle = runtime.bundle("true", linux__memoryPolicy={})
    done = runtime.call("run", "-b", bundle, "x")
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]  # behind warnings, of an ordinary user
    assert told.startswith("pycontain-runtime: linux.memoryPolicy: ")


# Life --------------------------------------------------------------------------------------------


@pytest.mark.requires("root", "cgroup")
class TestContainers:
    """Containers by the command."""

    def test_run_returns_the_status_of_the_command(self, runtime: Runtime) -> None:
        done = runtime.call("run", "-b", runtime.bundle("sh", "-c", "echo out; exit 7"), "x")
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")
        assert runtime.ok("list", "-q") == ""

    def test_run_returns_signals_as_shells_do(self, runtime: Runtime) -> None:
        script = "sh -c 'kill -9 $$'; exit $?"
        done = runtime.call("run", "-b", runtime.bundle("sh", "-c", script), "x")
        assert done.returncode == 137

    def test_run_hands_signals_on(self, runtime: Runtime) -> None:
        script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
        bundle = runtime.bundle("sh", "-c", script)
        with subprocess.Popen(
            runtime.command("run", "-b", bundle, "x"), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            assert process.wait() == 5
        assert runtime.ok("list", "-q") == ""

    def test_run_keeps_the_container_if_asked(self, runtime: Runtime) -> None:
        runtime.ok("run", "--keep", "-b", runtime.bundle("true"), "x")
        assert runtime.state("x")["status"] == "stopped"
        runtime.ok("delete", "x")

    def test_run_of_a_missing_program(self, runtime: Runtime) -> None:
        done = runtime.call("run", "-b", runtime.bundle("nope"), "x")
        assert done.returncode == 1
        assert 'exec: "nope": executable file not found in $PATH' in done.stderr
        assert runtime.ok("list", "-q") == ""

    def test_a_life(self, runtime: Runtime, tmp_path: Path) -> None:
        runtime.create("x", "sleep", "1000", annotations={"a": "b"})
        state = runtime.state("x")
        assert state["ociVersion"] == "1.0.2"
        assert (state["id"], state["status"], state["annotations"]) == ("x", "created", {"a": "b"})
        assert state["bundle"] == f"{tmp_path}/bundle1"
        pid = state["pid"]
        assert pid > 0
        assert "already exists" in runtime.call("create", "-b", state["bundle"], "x").stderr
        runtime.ok("start", "x")
        assert runtime.state("x") == {**state, "status": "running"}
        assert "cannot start" in runtime.call("start", "x").stderr
        assert "is not stopped: running" in runtime.call("delete", "x").stderr
        rows = json.loads(runtime.ok("list", "--format", "json"))
        assert [(row["id"], row["pid"], row["status"]) for row in rows] == [("x", pid, "running")]
        assert json.loads(runtime.ok("ps", "--format", "json", "x")) == [pid]
        runtime.ok("kill", "x", "KILL")
        while runtime.state("x")["status"] != "stopped":
            pass
        assert runtime.state("x")["pid"] == 0
        done = runtime.call("kill", "x", "TERM")
        assert (done.returncode, done.stderr) == (1, "pycontain-runtime: container not running\n")
        runtime.ok("delete", "x")
        assert "does not exist" in runtime.call("state", "x").stderr

    def test_the_pid_file(self, runtime: Runtime, tmp_path: Path) -> None:
        bundle = runtime.bundle("sleep", "1000")
        runtime.ok("run", "--detach", "-b", bundle, "--pid-file", tmp_path / "pid", "x",
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        assert tmp_path.joinpath("pid").read_text() == str(runtime.state("x")["pid"])

    def test_exec(self, runtime: Runtime) -> None:
        runtime.create("x", "sleep", "1000")
        runtime.ok("start", "x")
        done = runtime.call("exec", "x", "sh", "-c", "echo out; echo err >&2; exit 4")
        assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")
        words = ("--env", "A=1", "--cwd", "/tmp", "--user", "3:4", "-g", "5")
        script = "echo $A; pwd; id -u; id -g; id -G"
        found = runtime.ok("exec", *words, "x", "sh", "-c", script).split()
        assert found[:4] == ["1", "/tmp", "3", "4"]
        assert "5" in found[4:]
        done = runtime.call("exec", "x", "nope")
        assert done.returncode == 255
        assert 'exec: "nope": executable file not found in $PATH' in done.stderr

    def test_exec_of_a_file_in_the_background(self, runtime: Runtime, tmp_path: Path) -> None:
        runtime.create("x", "sleep", "1000")
        runtime.ok("start", "x")
        process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]}
        tmp_path.joinpath("process.json").write_text(json.dumps(process))
        words = ("--process", tmp_path / "process.json", "--pid-file", tmp_path / "pid")
        runtime.ok("exec", "--detach", *words, "x", stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)  # fmt: skip
        pids = json.loads(runtime.ok("ps", "--format", "json", "x"))
        assert int(tmp_path.joinpath("pid").read_text()) in pids
        assert len(pids) == 2

    def test_ps_shows_rows_of_the_container_only(self, runtime: Runtime) -> None:
        runtime.create("x", "sleep", "1000")
        runtime.ok("start", "x")
        lines = runtime.ok("ps", "x").splitlines()
        assert len(lines) == 2
        assert lines[1].split()[1] == str(runtime.state("x")["pid"])

    def test_pause(self, runtime: Runtime) -> None:
        runtime.create("x", "sleep", "1000")
        runtime.ok("start", "x")
        runtime.ok("pause", "x")
        assert runtime.state("x")["status"] == "paused"
        assert "paused" in runtime.call("exec", "x", "true").stderr
        runtime.ok("resume", "x")
        assert runtime.state("x")["status"] == "running"
        runtime.ok("pause", "x")  # a frozen one can be deleted

    def test_updates_and_events(self, runtime: Runtime) -> None:
        runtime.create("x", "sleep", "1000")
        runtime.ok("start", "x")
        runtime.ok("update", "--pids-limit", "77", "x")
        resources = json.dumps({"memory": {"limit": 64 << 20}})
        runtime.ok("update", "--resources", "-", "x", input=resources)
        event = json.loads(runtime.ok("events", "--stats", "x"))
        assert (event["type"], event["id"]) == ("stats", "x")
        assert event["data"]["pids"]["limit"] == 77
        assert event["data"]["memory"]["usage"]["limit"] == 64 << 20
        done = runtime.call("update", "--memory", "-7", "x")
        assert done.stderr.startswith("pycontain-runtime: memory.limit: -7 is not from -1")

    def test_many_at_once_by_pattern(self, runtime: Runtime) -> None:
        for name in ("a1", "a2", "b1"):
            runtime.create(name, "sleep", "1000")
        runtime.ok("delete", "--force", "--regex", "^a")
        assert runtime.ok("list", "-q").split() == ["b1"]

    def test_unknown_capabilities_are_a_warning(self, runtime: Runtime, tmp_path: Path) -> None:
        bundle = runtime.bundle("true", process__capabilities={"bounding": ["CAP_FLY"]})
        words = ("--log", tmp_path / "log", "--log-format", "json")
        runtime.ok(*words, "run", "-b", bundle, "x")
        row = json.loads(tmp_path.joinpath("log").read_text())
        assert row["level"] == "warning"
        assert "CAP_FLY" in row["msg"]

    def test_a_terminal(self, runtime: Runtime) -> None:
        script = "test -t 0 && stty size; read line; echo got $line; exit 3"
        bundle = runtime.bundle("sh", "-c", script, process__terminal=True)
        master, slave = os.openpty()
        set_window_size(master, 33, 77)
        with subprocess.Popen(
            runtime.command("run", "-b", bundle, "x"), stdin=slave, stdout=slave, stderr=slave
        ) as process:
            os.close(slave)
            shown = b""
            while b"33 77" not in shown:
                shown += os.read(master, 4096)
            os.write(master, b"word\n")
            while b"got word" not in shown:
                shown += os.read(master, 4096)
            assert process.wait() == 3
        os.close(master)

    def test_a_terminal_needs_somebody(self, runtime: Runtime) -> None:
        bundle = runtime.bundle("sh", process__terminal=True)
        done = runtime.call("create", "-b", bundle, "x")
        assert "cannot allocate tty" in done.stderr
        done = runtime.call("create", "-b", runtime.bundle("sh"), "--console-socket", "/x", "x")
        assert "cannot use console socket" in done.stderr

    def test_no_descriptor_of_the_caller_gets_in(self, runtime: Runtime) -> None:
        fd = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(fd, True)
        bundle = runtime.bundle("sh", "-c", "ls /proc/self/fd")
        try:
            assert runtime.ok("run", "-b", bundle, "x", close_fds=False).split() == [*"0123"]
        finally:
            os.close(fd)

    @pytest.mark.parametrize("other", ["crun", "runc"])
    def test_other_runtimes_take_the_default_configuration(
        self, runtime: Runtime, other: str, tmp_path: Path
    ) -> None:
        program = shutil.which(other)
        if program is None:
            pytest.skip(f"{other} is not installed")
        bundle = runtime.bundle("echo", "hello")
        hidden = 'for d in /sys/fs/cgroup/unified; do umount $d 2>/dev/null; done; exec "$@"'
        command = [
            program,
            "--root",
            str(tmp_path / "other"),
            "run",
            "-b",
            str(bundle),
            "pycontain-x",
        ]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", hidden, "sh", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
