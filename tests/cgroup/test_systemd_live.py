# SPDX-License-Identifier: Apache-2.0
"""Scopes of a real systemd, for callers in three places, each a process of its own.

`root` asks the system manager; `inside` is a user below the user's own manager; `outside` is a user
who is not, as in a login session, and so may not clone into what that manager gives.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import _features
from pycontain._cgroup._remove import until

SECONDS = 60.0
CALLERS = [
    pytest.param("root", marks=pytest.mark.requires("systemd")),
    pytest.param("inside", marks=pytest.mark.requires("systemd_user")),
    pytest.param("outside", marks=pytest.mark.requires("systemd", "systemd_outside")),
]
USERS = CALLERS[1:]

HEAD = """
import json, os, signal, sys, threading
import pycontain
from pycontain import _cgroup
OPTIONS = {"memory": "16M", "pids": 20}
def own_group():
    with open("/proc/self/cgroup") as file:
        return file.read()
def scope_of(sb):
    return sb.enforcement["tracking"].by.rpartition(" ")[2]
def keepers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended
        if name == "pycontain-keep" and int(rest.split()[1]) == os.getpid():
            found.append(pid)
    return found
def say(**facts):
    print(json.dumps(facts), flush=True)
"""


@contextmanager
def running(caller: str, code: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Start a caller, which ends when its standard input does."""
    prefix: list[str] = []
    if caller == "outside":
        user = pwd.getpwuid(_features.user_with_manager())
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups")
        prefix = [shutil.which("setpriv") or "setpriv", *ids]  # whatever PATH `env` has
        env = {"XDG_RUNTIME_DIR": f"/run/user/{user.pw_uid}", "TMPDIR": "/tmp", **env}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HEAD + code],
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the caller has ended"
    facts: dict[str, Any] = json.loads(line)
    return facts


def facts_of(caller: str, code: str, **env: str) -> dict[str, Any]:
    """Return what a caller says, once it has ended well."""
    with running(caller, code, **env) as process:
        facts = heard(process)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
    return facts


def systemctl(caller: str, *words: str) -> str:
    manager = {
        "root": ["--system"],
        "inside": ["--user"],
        "outside": ["--user", f"--machine={_features.user_with_manager()}@.host"],
    }[caller]
    command = ["systemctl", *manager, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def groups_of(unit: str) -> list[Path]:
    # Not Path.glob, for which a directory that goes meanwhile is an error.
    return [Path(at, unit) for at, names, _ in os.walk("/sys/fs/cgroup") if unit in names]


def vanishes(caller: str, unit: str) -> bool:
    """Tell whether the unit and its groups are gone, or are so before long."""
    assert unit.startswith("pycontain-")
    assert unit.endswith(".scope")
    deadline = time.monotonic() + SECONDS
    shown = ("show", "--property=LoadState", "--value", unit)
    return until(lambda: not groups_of(unit), deadline) and until(
        lambda: systemctl(caller, *shown) == "not-found", deadline
    )


LIMITS = """
before = own_group()
with pycontain.Sandbox(**OPTIONS) as sb:
    bomb = sb.run(["sh", "-c", "tail /dev/zero"])
    forks = sb.run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; "
                                "do sleep 1000 & done; exit 1"])
    controls = {name: control.in_force for name, control in sb.enforcement.items()}
    once = pycontain.run(["echo", "once"], **OPTIONS)
    say(scope=scope_of(sb), tracking=sb.enforcement["tracking"].by, controls=controls,
        bomb=bomb.reason, peak=bomb.usage.memory_peak, forks=forks.reason,
        once=once.stdout.decode(), unchanged=own_group() == before,
        cloned_by_keeper=sb._runtime.tree.keeper_fd >= 0)
"""


@pytest.mark.parametrize("caller", CALLERS)
def test_limits_are_in_force_in_a_scope_and_the_caller_stays_where_it_is(caller: str) -> None:
    facts = facts_of(caller, LIMITS)
    assert facts["unchanged"]
    assert facts["tracking"] == f"cgroup v2, systemd scope {facts['scope']}"
    needed = ("memory", "pids", "swap", "tracking", "kill", "freeze", "oom_group")
    assert [name for name in needed if not facts["controls"][name]] == []
    assert (facts["bomb"], facts["forks"], facts["once"]) == ("oom", "pids_limit", "once\n")
    assert 15 << 20 <= facts["peak"] <= 16 << 20
    assert facts["cloned_by_keeper"] == (caller == "outside")
    assert vanishes(caller, facts["scope"])


@pytest.mark.requires("systemd", "systemd_outside")
def test_a_user_with_a_single_id_has_limits_too() -> None:
    facts = facts_of("outside", LIMITS, PATH="/nowhere")  # so that newuidmap is not found
    assert (facts["bomb"], facts["cloned_by_keeper"]) == ("oom", True)
    assert vanishes("outside", facts["scope"])


@pytest.mark.parametrize("caller", CALLERS)
def test_the_scope_is_delegated_and_without_a_limit_of_its_own(caller: str) -> None:
    code = """
with pycontain.Sandbox(**OPTIONS) as sb:
    say(scope=scope_of(sb))
    sys.stdin.read()
"""
    with running(caller, code) as process:
        unit = heard(process)["scope"]
        names = ("Delegate", "CollectMode", "TasksMax", "KillSignal", "OOMPolicy")
        found = systemctl(caller, "show", f"--property={','.join(names)}", unit)
        (group,) = groups_of(unit)
        busy = [str(path.parent.relative_to(group)) for path in group.glob("**/cgroup.procs")
                if path.read_text()]  # fmt: skip
    assert dict(line.split("=") for line in found.splitlines()) == {
        "Delegate": "yes",
        "CollectMode": "inactive-or-failed",
        "TasksMax": "infinity",
        "KillSignal": "9",
        "OOMPolicy": "continue",
    }
    assert "keeper" in busy
    assert "." not in busy
    assert vanishes(caller, unit)


LIVING = """
with pycontain.Sandbox(**OPTIONS) as sb:
    process = sb.popen(["sh", "-c", "echo ready; exec sleep 1000"], stdout=-1)
    process.stdout.readline()
    (keeper,) = keepers()
    say(scope=scope_of(sb), pids=[int(keeper), sb._runtime.pid])
    sys.stdin.read()
"""


@pytest.mark.parametrize("caller", CALLERS)
def test_nothing_remains_of_a_caller_that_was_killed(caller: str) -> None:
    with running(caller, LIVING) as process:
        facts = heard(process)
        pidfds = [os.pidfd_open(pid) for pid in facts["pids"]]
        process.kill()
        assert process.wait() == -9
    try:
        assert [fd for fd in pidfds if not select.select([fd], [], [], SECONDS)[0]] == []
        assert vanishes(caller, facts["scope"])
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


@pytest.mark.parametrize("caller", CALLERS)
def test_a_scope_that_is_stopped_ends_at_once_and_is_asked_for_again(caller: str) -> None:
    code = """
with pycontain.Sandbox(**OPTIONS) as sb:
    process = sb.popen(["sh", "-c", "trap '' TERM; echo ready; while :; do :; done"], stdout=-1)
    process.stdout.readline()
    say(scope=scope_of(sb))
    sys.stdin.readline()
    process.wait()
with pycontain.Sandbox(**OPTIONS) as sb:
    say(scope=scope_of(sb), out=sb.run(["echo", "again"]).stdout.decode())
"""
    with running(caller, code) as process:
        assert process.stdin is not None
        first = heard(process)["scope"]
        systemctl(caller, "stop", first)
        assert vanishes(caller, first)
        process.stdin.write("\n")
        process.stdin.flush()
        facts = heard(process)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
    assert (facts["scope"] != first, facts["out"]) == (True, "again\n")
    assert vanishes(caller, facts["scope"])


@pytest.mark.parametrize("caller", CALLERS)
def test_threads_that_start_at_once_share_one_scope(caller: str) -> None:
    code = """
gate, scopes, out = threading.Barrier(8), set(), []
def work():
    gate.wait()
    with pycontain.Sandbox(**OPTIONS) as sb:
        out.append(sb.run(["echo", "x"]).stdout.decode())
        scopes.add(scope_of(sb))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
say(scopes=sorted(scopes), out=out, keepers=len(keepers()))
"""
    facts = facts_of(caller, code)
    assert (facts["out"], facts["keepers"]) == (["x\n"] * 8, 1)
    (unit,) = facts["scopes"]
    assert vanishes(caller, unit)


@pytest.mark.parametrize("caller", CALLERS)
def test_without_limits_no_scope_is_asked_for(caller: str) -> None:
    code = """
with pycontain.Sandbox(memory="max", pids="max") as sb:
    sb.run(["true"])
    say(keepers=len(keepers()))
"""
    assert facts_of(caller, code) == {"keepers": 0}


@pytest.mark.parametrize("caller", CALLERS)
def test_a_forked_child_has_a_scope_of_its_own(caller: str) -> None:
    code = """
with pycontain.Sandbox(**OPTIONS) as sb:
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        with pycontain.Sandbox(**OPTIONS) as own:
            own.run(["true"], check=True)
            os.write(write, scope_of(own).encode())
        _cgroup.current_owner().close()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    say(scope=scope_of(sb), child=os.read(read, 1000).decode(), status=status,
        out=sb.run(["echo", "parent"]).stdout.decode(),
        once=pycontain.run(["echo", "once"], **OPTIONS).stdout.decode())
"""
    facts = facts_of(caller, code)
    assert (facts["status"], facts["out"], facts["once"]) == (0, "parent\n", "once\n")
    assert facts["child"] != facts["scope"]
    assert vanishes(caller, facts["scope"])
    assert vanishes(caller, facts["child"])


NO_LIBRARY = """
sys.modules["jeepney"] = None
"""
REFUSED = """
try:
    pycontain.run(["true"], **OPTIONS)
    error = ""
except pycontain.UnsupportedError as caught:
    error = str(caught)
with pycontain.Sandbox(**OPTIONS, accept_missing=("memory", "pids")) as sb:
    memory = sb.enforcement["memory"]
    say(error=error, in_force=memory.in_force, why=memory.why, remedy=memory.remedy,
        out=sb.run(["echo", "without"]).stdout.decode(), keepers=len(keepers()))
"""


@pytest.mark.requires("systemd", "systemd_outside")
@pytest.mark.parametrize(
    "code, env, why, remedy",
    [
        (
            "sys.modules['jeepney'] = None\n",
            {},
            "not installed",
            "pip install 'pycontain[systemd]'",
        ),
        ("", {"XDG_RUNTIME_DIR": "/nowhere"}, "cannot be reached", "loginctl enable-linger"),
    ],
    ids=["no library", "no bus"],
)
def test_what_keeps_a_user_from_a_scope_is_said_with_its_remedy(
    code: str, env: dict[str, str], why: str, remedy: str
) -> None:
    facts = facts_of("outside", code + REFUSED, **env)
    assert (facts["in_force"], facts["out"], facts["keepers"]) == (False, "without\n", 0)
    assert (why in facts["why"], remedy in facts["remedy"]) == (True, True)
    assert (why in facts["error"], remedy in facts["error"]) == (True, True)


@pytest.mark.requires("systemd")
def test_without_the_library_root_has_limits_in_the_root_group() -> None:
    code = (
        NO_LIBRARY
        + """
with pycontain.Sandbox(**OPTIONS) as sb:
    say(tracking=sb.enforcement["tracking"].by, bomb=sb.run(["sh", "-c", "tail /dev/zero"]).reason)
"""
    )
    assert facts_of("root", code) == {"tracking": "cgroup v2", "bomb": "oom"}


@pytest.mark.parametrize("caller", USERS)
def test_a_controller_that_the_manager_was_not_given_is_named_with_the_drop_in(caller: str) -> None:
    code = """
options = {**OPTIONS, "cpuset": "0", "cpuset_exclusive": True, "accept_missing": ("cpuset",)}
with pycontain.Sandbox(**options) as sb:
    cpuset = sb.enforcement["cpuset"]
    say(scope=scope_of(sb), memory=sb.enforcement["memory"].in_force, in_force=cpuset.in_force,
        remedy=cpuset.remedy)
"""
    facts = facts_of(caller, code)
    assert facts["memory"]
    if not facts["in_force"]:  # the administrator may have given it
        assert "/etc/systemd/system/user@.service.d/delegate.conf" in facts["remedy"]
    assert vanishes(caller, facts["scope"])
