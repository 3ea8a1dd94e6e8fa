# SPDX-License-Identifier: Apache-2.0
"""`pycontain doctor`: a table for people, JSON for programs, an exit status for scripts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from _circumstances import in_namespaces
from pycontain._cli import main

pytestmark = pytest.mark.requires("userns")
DOCTOR = (sys.executable, "-m", "pycontain", "doctor")
NO_NETWORK = in_namespaces("echo 0 >/proc/sys/user/max_net_namespaces")


def on_a_terminal(command: Sequence[str], env: Mapping[str, str]) -> str:
    """Return what a program prints on a terminal."""
    master, slave = pty.openpty()
    try:
        done = subprocess.Popen(command, stdout=slave, env={**os.environ, **env})
        os.close(slave)
        said = b""
        while chunk := _read(master):
            said += chunk
        done.wait()
    finally:
        os.close(master)
    return said.decode()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # EIO: the other end is closed
        return b""


def test_where_sandboxes_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith(f"Linux {os.uname().release}, ")
    assert "  ok  user namespace" in out
    assert lines[-1] == "The default sandbox has all that it needs"
    assert "\x1b" not in out


def test_json_tells_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    names = [row["name"] for row in told["findings"]]
    main(["doctor"])
    out = capsys.readouterr().out
    assert [name for name in names if f"  {name}" not in out] == []


def test_where_they_do_not() -> None:
    done = subprocess.run([*NO_NETWORK, *DOCTOR], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["NO", "network", "namespace", "limits", "[1]"] in rows
    assert ["NO", "a", "sandbox", "limits", "[1]"] in rows
    assert (
        done.stdout.count("[1] limits: user.max_net_namespaces is 0\n    as root: sysctl -w") == 1
    )
    assert done.stdout.endswith(
        "The default sandbox does not start: network namespace, a sandbox\n"
    )


@pytest.mark.parametrize(
    "env, coloured",
    [
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb", "NO_COLOR": ""}, False),
    ],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_colours_are_for_terminals(env: dict[str, str], coloured: bool) -> None:
    said = on_a_terminal([*NO_NETWORK, *DOCTOR], env)
    assert ("\x1b[31mNO\x1b[0m  network namespace" in said) is coloured
    assert ("\x1b" in said) is coloured
