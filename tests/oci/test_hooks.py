# SPDX-License-Identifier: Apache-2.0
"""Hooks: when, where and with what they are run, and what their failure does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain.oci import HookError, container_ids

if TYPE_CHECKING:
    from _containers import Containers, Edit

pytestmark = pytest.mark.requires("root", "busybox")

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
# Standard input and the namespaces, one line for each hook.
SCRIPT = """
    read -r state
    echo "$KIND $(readlink /proc/self/ns/pid) $(readlink /proc/self/ns/mnt) $state" >>"$LOG"
"""


def hook(kind: str, log: Path, script: str = SCRIPT, **fields: Any) -> dict[str, Any]:
    """Return a hook that says that it was run."""
    env = ["PATH=/bin:/usr/bin", f"KIND={kind}", f"LOG={log}"]
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": env, **fields}


def hooks(log: Path, *kinds: str, **fields: Any) -> Edit:
    """Return an edit that adds a hook of each kind."""

    def edit(config: dict[str, Any]) -> None:
        config["hooks"] = {kind: [hook(kind, log, **fields)] for kind in kinds}
        config["mounts"].append({
            "destination": str(log.parent), "type": "bind", "source": str(log.parent),
            "options": ["rbind"],
        })  # fmt: skip

    return edit


def said(log: Path) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return kind, PID namespace, mount namespace and state of each line."""
    rows = []
    for line in log.read_text().splitlines() if log.exists() else []:
        kind, pid_namespace, mount_namespace, state = line.split(" ", 3)
        rows.append((kind, pid_namespace, mount_namespace, json.loads(state)))
    return rows


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a file that is shown inside by the same name."""
    (tmp_path / "log").mkdir()
    return tmp_path / "log/said"


def test_order_namespaces_and_state(containers: Containers, log: Path) -> None:
    container = containers.create(
        containers.bundle("sh", "-c", f"echo process >>{log}.order", edit=hooks(log, *KINDS))
    )
    pid = container.pid
    assert [row[0] for row in said(log)] == list(KINDS[:3])
    assert not Path(f"{log}.order").exists()
    container.start()
    container.wait()
    container.delete()
    rows = said(log)
    assert [row[0] for row in rows] == list(KINDS)
    own = os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/mnt")
    for kind, pid_namespace, mount_namespace, state in rows:
        assert ((pid_namespace, mount_namespace) == own) == (kind in OUTSIDE), kind
        assert state["id"] == container.id
    statuses = [row[3]["status"] for row in rows]
    assert statuses == ["creating", "creating", "creating", "created", "running", "stopped"]
    assert [row[3]["pid"] for row in rows] == [pid] * 5 + [0]


@pytest.mark.parametrize(
    "kinds", [KINDS, tuple(kind for kind in KINDS if kind != "startContainer")]
)
def test_order_and_state_of_a_start_at_once(
    containers: Containers, log: Path, kinds: tuple[str, ...]
) -> None:
    bundle = containers.bundle("sleep", "60", edit=hooks(log, *kinds))
    container = containers.create(bundle, start=True)
    pid = container.pid
    assert container.status() == "running"
    container.kill(9)
    container.wait()
    container.delete()
    rows = said(log)
    assert [row[0] for row in rows] == list(kinds)
    assert [row[3]["pid"] for row in rows] == [pid] * (len(kinds) - 1) + [0]
    assert [row[3]["status"] for row in rows][-2:] == ["running", "stopped"]


@pytest.mark.parametrize("told", [True, False], ids=["now", "before records told of hooks"])
def test_another_process_knows_of_them(containers: Containers, log: Path, told: bool) -> None:
    made = containers.create(containers.bundle("true", edit=hooks(log, *KINDS)))
    record = containers.state / made.id / "state.json"
    fields = json.loads(record.read_text())
    assert fields["hooks"]
    if not told:
        del fields["hooks"]
        record.write_text(json.dumps(fields))
    other = containers.load(made.id)
    other.start()
    made.wait()
    other.delete()
    assert [row[0] for row in said(log)] == list(KINDS)


def test_several_in_their_order(containers: Containers, log: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        hooks(log)(config)
        script = 'echo "$KIND" >>"$LOG"'
        config["hooks"] = {
            "createRuntime": [hook(f"runtime{n}", log, script) for n in range(3)],
            "createContainer": [hook(f"container{n}", log, script) for n in range(3)],
        }

    containers.run("true", edit=edit)
    expected = [f"{place}{n}" for place in ("runtime", "container") for n in range(3)]
    assert log.read_text().split() == expected


def test_paths_are_the_host_s_before_the_start_and_the_container_s_then(
    containers: Containers, log: Path
) -> None:
    script = 'echo "$KIND $(cat /etc/where 2>/dev/null || echo host)" >>"$LOG"'
    bundle = containers.bundle(
        "true", edit=hooks(log, "createContainer", "startContainer", script=script)
    )
    (bundle / "rootfs/etc/where").write_text("inside")
    containers.run_bundle(bundle)
    assert log.read_text().splitlines() == ["createContainer host", "startContainer inside"]


def test_the_container_can_be_seen_before_its_root_is_entered(
    containers: Containers, log: Path
) -> None:
    """For hooks that mount something at the bundle's root."""
    bundle = containers.bundle("cat", "/mnt/file")
    script = f"mount --bind {log.parent} {bundle}/rootfs/mnt"

    def edit(config: dict[str, Any]) -> None:
        config["hooks"] = {"createContainer": [hook("", log, script)]}

    containers.write(bundle, "cat", "/mnt/file", edit=edit)
    (bundle / "rootfs/mnt").mkdir()
    (log.parent / "file").write_text("mounted\n")
    before = Path("/proc/self/mountinfo").read_text()
    assert containers.run_bundle(bundle).output == "mounted\n"
    assert Path("/proc/self/mountinfo").read_text() == before


FAILURES = {
    "status": ({"script": "echo why; exit 3"}, "exit status 3, output: why"),
    "signal": ({"script": "kill -9 $$"}, "signal: SIGKILL"),
    "time": ({"script": "sleep 1000", "timeout": 1}, "killed after 1 s"),
    "program": ({"path": "/no/where"}, "/no/where: No such file or directory"),
}


@pytest.mark.parametrize(
    "kind, fields, message",
    [
        pytest.param(kind, *FAILURES[name], id=f"{kind}-{name}")
        for kind in KINDS[:3]
        for name in FAILURES
        if (kind, name) != ("createRuntime", "time")  # which takes a second, as prestart's does
    ],
)
def test_a_failure_ends_the_creation(
    containers: Containers, log: Path, kind: str, fields: dict[str, Any], message: str
) -> None:
    bundle = containers.bundle("true", edit=hooks(log, kind, **fields))
    with pytest.raises(HookError, match=rf"error running {kind} hook #0: .*{message}"):
        containers.create(bundle)
    assert container_ids(containers.state) == []


def test_hooks_after_one_that_failed_are_not_run(containers: Containers, log: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["hooks"] = {
            "createRuntime": [hook("first", log, "exit 1"), hook("second", log)],
            "createContainer": [hook("third", log)],
        }

    with pytest.raises(HookError):
        containers.create(containers.bundle("true", edit=edit))
    assert said(log) == []


def test_a_failure_at_the_start_stops_the_container(containers: Containers, log: Path) -> None:
    edit = hooks(log, "startContainer", script="exit 4")
    container = containers.create(containers.bundle("touch", "/ran", edit=edit))
    with pytest.raises(HookError, match="error running startContainer hook #0: exit status 4"):
        container.start()
    assert container.status() == "stopped"
    assert not Path(container.state()["bundle"], "rootfs/ran").exists()
    container.delete()


@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_failure_afterwards_is_a_warning(containers: Containers, log: Path, kind: str) -> None:
    assert containers.run("true", edit=hooks(log, kind, script="exit 5")).status == 0
    assert [text for text in containers.warnings if "hook" in text] == [
        f"error running {kind} hook #0: exit status 5"
    ]


def test_a_hook_inherits_nothing(containers: Containers, log: Path) -> None:
    script = 'ls /proc/self/fd | wc -l >>"$LOG"; env | sort | cut -d= -f1 >>"$LOG"'
    containers.run("true", edit=hooks(log, "createContainer", script=script))
    count, *names = log.read_text().split()
    assert int(count) == 4  # with that of ls
    assert set(names) <= {"KIND", "LOG", "PATH", "PWD", "SHLVL", "_"}
