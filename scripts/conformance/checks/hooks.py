# SPDX-License-Identifier: Apache-2.0
"""Hooks: config.md#posix-platform-hooks, runtime.md#lifecycle."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from conformance.box import Box, becomes
from conformance.check import Check

_check = functools.partial(Check, area="hooks")
KINDS = (
    *("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"),
)
#: Where each runs: in the container's mount namespace, or in the runtime's.
INSIDE = ("createContainer", "startContainer")


def _hook(script: str, **more: Any) -> dict[str, Any]:
    """Return a row: a script of the host's shell, or for `startContainer` of the container's."""
    environment = ["PATH=/bin:/usr/bin:/usr/sbin:/sbin"]
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": environment, **more}


def _file(box: Box, kind: str) -> str:
    """Return where a hook writes, by its own sight."""
    return "/host" if kind == "startContainer" else str(box.shared)


def _whole(box: Box, script: str = "true") -> None:
    """Create, start, wait for the end and delete."""
    box.create(script)
    box.start()
    assert becomes(lambda: box.status == "stopped")
    box.output("delete", box.id)


def _order(box: Box) -> None:
    for kind in KINDS:
        script = f"echo {kind} >>{_file(box, kind)}/order"
        box.change({f"hooks.{kind}+": _hook(script)})
        box.change({f"hooks.{kind}+": _hook(script)})
    _whole(box, "echo process >>/host/order")
    seen = (box.shared / "order").read_text().split()
    expected = [kind for kind in KINDS for _ in range(2)]
    process = seen.index("process")
    del seen[process]
    # After the process has begun, it and poststart are side by side.
    assert seen == expected, seen
    assert process >= 8, "the process ran before startContainer"


def _state(kind: str) -> Check:
    def life(box: Box) -> None:
        box.change({"annotations": {"org.example": "words"}})
        box.change({f"hooks.{kind}+": _hook(f"cat >{_file(box, kind)}/state")})
        _whole(box, "sleep 0.3")
        state = json.loads((box.shared / "state").read_text())
        assert state["id"] == box.id, state
        assert state["ociVersion"], state
        assert state["bundle"] == str(box.folder), state
        assert state["annotations"] == {"org.example": "words"}, state
        status = {"poststart": "running", "poststop": "stopped", "startContainer": "created"}
        assert state["status"] in {status.get(kind, "creating"), "created"} - (
            {"created"} if kind.startswith("post") else set()
        ), state["status"]
        if kind != "poststop":
            assert state["pid"] > 0, state

    return _check(name=f"{kind}: the state on standard input", life=life)


def _namespace(kind: str) -> Check:
    def life(box: Box) -> None:
        script = f"readlink /proc/self/ns/mnt >{_file(box, kind)}/namespace"
        box.change({f"hooks.{kind}+": _hook(script)})
        box.create("readlink /proc/self/ns/mnt >/host/own")
        box.start()
        assert becomes(lambda: box.status == "stopped")
        box.output("delete", box.id)
        seen = (box.shared / "namespace").read_text().strip()
        own = (box.shared / "own").read_text().strip()
        assert seen == (own if kind in INSIDE else os.readlink("/proc/self/ns/mnt")), seen

    where = "container" if kind in INSIDE else "runtime"
    return _check(name=f"{kind}: in the {where}'s namespaces", life=life)


def _failure(kind: str) -> Check:
    def life(box: Box) -> None:
        box.change({f"hooks.{kind}+": _hook("exit 1")})
        box.shell("echo RAN >/host/ran")
        done = box.call("run", "--bundle", str(box.folder), box.id)
        ran = (box.shared / "ran").exists()
        if kind in {"poststart", "poststop"}:
            assert ran, "the process did not run"
        else:
            assert done.returncode != 0, "the failure was not reported"
            assert not ran, "the process ran"

    what = "is logged" if kind.startswith("post") else "is the container's end"
    return _check(name=f"{kind}: a failure {what}", life=life)


def _timeout(box: Box) -> None:
    box.change({"hooks.createRuntime+": _hook("sleep 100", timeout=1)})
    box.shell("echo RAN")
    done = box.call("run", "--bundle", str(box.folder), box.id, timeout=30)
    assert done.returncode != 0, "it was waited for"
    assert "RAN" not in done.stdout, "the process ran"


def _environment(box: Box) -> None:
    hook = _hook(f"env >{box.shared}/env")
    box.change({"hooks.createRuntime+": hook | {"env": ["A=b c"]}})
    box.prints("true")
    lines = (box.shared / "env").read_text().splitlines()
    assert "A=b c" in lines, lines
    assert not any(line.startswith("HOME=") for line in lines), lines


def _relative(box: Box) -> None:
    box.change({"hooks.createRuntime+": {"path": "bin/sh"}})
    assert box.run("echo RAN").returncode != 0, "accepted"


def _network(box: Box) -> None:
    """A prestart hook finds the container's network namespace by the pid, as engines' hooks do."""
    script = (
        "pid=$(tr ',' '\\n' | sed -n 's/.*\"pid\": *//p' | tr -d ' }'); "
        "nsenter --net=/proc/$pid/ns/net ip link add made type veth peer name other"
    )
    box.change({"hooks.prestart+": _hook(script)})
    assert "made" in box.prints("ip link")


CHECKS = (
    _check(name="all kinds, each in its order", life=_order),
    *map(_state, KINDS),
    *map(_namespace, KINDS),
    *map(_failure, KINDS),
    _check(name="a timeout ends a hook, and the container", life=_timeout),
    _check(name="env", life=_environment),
    _check(name="a relative path is refused", life=_relative),
    _check(name="prestart: makes the container's network", life=_network),
)
