# SPDX-License-Identifier: Apache-2.0
"""What a sweep repeats with one fault after the other.

Each is a generator: up to its first `yield` it prepares, which no fault touches; what follows is
swept, and yields what a process inside says of itself, for comparison with a run without faults.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Generator
from typing import Any

import pycontain
from pycontain import Bind, Overlay, Sandbox, Tmpfs

STATE = ("/probe/state",)
STAY = ("sh", "-c", "echo ready; exec sleep 1000")
Steps = Generator[str, None, None]
Options = dict[str, Any]


class LostError(Exception):
    """A sandbox does not work any more after the failure of one command."""


def facts(text: str) -> str:
    """Return the program's output with inodes of namespaces and host's ids replaced by words."""
    if found := re.search(r"^/proc/self/uid_map +0 (\d+) ", text, re.MULTILINE):
        text = text.replace(found[1], "BASE")
    lines = text.replace("\r", "").splitlines()
    for i, line in enumerate(lines):
        if line.startswith("namespace "):
            _, name, link = line.split()
            own = os.readlink(f"/proc/self/ns/{name}") == link
            lines[i] = f"namespace {name} {'of the caller' if own else 'new'}"
    return "\n".join(lines)


def _state_of(sandbox: Sandbox) -> str:
    return facts(sandbox.run(STATE, text=True, check=True).stdout) + _controls(sandbox)


def _controls(sandbox: Sandbox) -> str:
    rows = sorted((name, control.in_force) for name, control in sandbox.enforcement.items())
    return f"\nenforcement {rows}"


calm: Callable[[], None] = lambda: None  # noqa: E731
"""Ends the faults; set by who runs a scenario."""


def _still_works(sandbox: Sandbox) -> None:
    calm()
    try:
        done = sandbox.run(["true"])
    except pycontain.SandboxClosedError:
        raise LostError("it has ended") from None
    except pycontain.PycontainError as error:
        raise LostError(str(error)) from None
    if done.reason is pycontain.Reason.KILLED:
        raise LostError("it has ended")
    if done.returncode != 0:
        raise LostError("`true` fails")


def one_shot(options: Options) -> Steps:
    """A sandbox for one command, with each kind of mount."""
    mounts = (*options["mounts"], Tmpfs("/scratch"), Overlay(("/etc",), "/layered"))
    mounts += (Bind("/etc/passwd", "/etc/passwd"),)
    options = {**options, "mounts": mounts}
    yield ""
    done = pycontain.run(STATE, text=True, check=True, **options)
    yield facts(done.stdout) + _controls(Sandbox(**options))


def start(options: Options) -> Steps:
    """The start of a living sandbox."""
    sandbox = Sandbox(**options)
    yield ""
    sandbox.start()
    try:
        yield _state_of(sandbox)
    finally:
        sandbox.close()


def command(options: Options) -> Steps:
    """A command in a living sandbox."""
    with Sandbox(**options) as sandbox:
        yield ""
        try:
            found = _state_of(sandbox)
        except pycontain.PycontainError:
            _still_works(sandbox)
            raise
        yield found


def audited(options: Options) -> Steps:
    """A command whose refusals are told."""
    with Sandbox(**options, audit=True) as sandbox:
        yield ""
        try:
            done = sandbox.run(["unshare", "-U", "true"], text=True)
        except pycontain.PycontainError:
            _still_works(sandbox)
            raise
        if done.reason is not pycontain.Reason.EXITED:  # it was killed
            raise pycontain.CalledProcessError(done.returncode, done.args)
        told = [(row.syscall, row.outcome, row.count) for row in done.denials or ()]
        yield f"{done.returncode} {done.stderr} {told}"


def big_command(options: Options) -> Steps:
    """A command whose request is too long for a message."""
    with Sandbox(**options) as sandbox:
        env = {f"VARIABLE_{number}": "x" * 4096 for number in range(40)}
        yield ""
        try:
            done = sandbox.run(STATE, env=env, text=True, check=True)
        except pycontain.PycontainError:
            _still_works(sandbox)
            raise
        yield facts(done.stdout)


def pty(options: Options) -> Steps:
    """A command with a terminal."""
    with Sandbox(**options) as sandbox:
        yield ""
        try:
            with sandbox.popen(STATE, pty=True, text=True) as process:
                found, _ = process.communicate()
            if process.returncode:
                raise pycontain.CalledProcessError(process.returncode, STATE)
        except pycontain.PycontainError:
            _still_works(sandbox)
            raise
        yield facts(found)


def kill(options: Options) -> Steps:
    """The end of a command that left others behind."""
    with Sandbox(**options) as sandbox:
        script = "setsid sleep 1000 & echo ready; exec sleep 1000"
        process = sandbox.popen(["sh", "-c", script], stdout=pycontain.PIPE, text=True)
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield ""
            process.kill_all()
            yield "" if sandbox.runtime.closed else _names(sandbox)
        finally:
            process.stdout.close()


def _names(sandbox: Sandbox) -> str:
    done = sandbox.run(["sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null"], text=True)
    return " ".join(name for name in done.stdout.split() if name == "sleep")


def close(options: Options) -> Steps:
    """The end of a sandbox in which something runs."""
    sandbox = Sandbox(**options).start()
    try:
        process = sandbox.popen(STAY, stdout=pycontain.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        yield ""
        sandbox.close()
        yield ""
    finally:
        sandbox.close()


def files(options: Options) -> Steps:
    """Files of a living sandbox."""
    with Sandbox(**options) as sandbox:
        yield ""
        try:
            found = _use_files(sandbox)
        except pycontain.PycontainError:
            _still_works(sandbox)
            raise
        yield found


def _use_files(sandbox: Sandbox) -> str:
    made = sandbox.files
    made.write_text("/tmp/folder/deep/file", "content")
    made.mkdir("/tmp/folder/other")
    text = made.read_text("/tmp/folder/deep/file")
    made.remove("/tmp/folder/deep/file")
    names = [(entry.name, entry.kind) for entry in made.list("/tmp/folder")]
    return f"{text} {names}"


LIMITS: Options = {"memory": "64M", "pids": 20}


def limited(options: Options) -> Steps:
    """A sandbox for one command, with control groups."""
    yield ""
    done = pycontain.run(STATE, text=True, check=True, **options, **LIMITS)
    counted = sorted(name for name in ("memory_peak", "pids_peak") if getattr(done.usage, name))
    yield f"{facts(done.stdout)}\ncounted {counted}"


def limited_command(options: Options) -> Steps:
    """A living sandbox with control groups, a command in it, and its end."""
    yield ""
    with Sandbox(**options, **LIMITS) as sandbox:
        process = sandbox.popen(STAY, stdout=pycontain.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            if not process.stdout.readline():  # it was killed
                raise pycontain.CalledProcessError(process.wait(), STAY)
            groups = _groups_of(process.pid)
            process.kill_all()
        found = f"{_state_of(sandbox)}\n{groups}"
    yield found


def asynchronous(options: Options) -> Steps:
    """An asynchronous sandbox, a command with a terminal and its end."""
    yield ""
    yield asyncio.run(_use_async(options))


async def _use_async(options: Options) -> str:
    async with pycontain.AsyncSandbox(**options) as sandbox:
        done = await sandbox.run(STATE, text=True, check=True)
        process = await sandbox.popen(STAY, pty=True)
        await process.kill_all()
        return facts(str(done.stdout))


def _groups_of(pid: int) -> str:
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.strip().rpartition("/pycontain-")[::2] for line in file]
    return "\n".join(f"{before} {after.partition('/')[2]}" for before, after in lines)


SCENARIOS: dict[str, Callable[[Options], Steps]] = {
    "one-shot": one_shot,
    "start": start,
    "command": command,
    "audited": audited,
    "big-command": big_command,
    "pty": pty,
    "kill": kill,
    "close": close,
    "files": files,
    "limited": limited,
    "limited-command": limited_command,
    "async": asynchronous,
}
