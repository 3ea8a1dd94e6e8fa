# SPDX-License-Identifier: Apache-2.0
"""The commands for images, and `pycontain run IMAGE`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from _archives import archive, entry
from _boxes import Add, add, busybox, store_path
from pycontain._cli import main

__all__ = ["add", "busybox", "store_path"]

pytestmark = [pytest.mark.requires("overlay"), pytest.mark.usefixtures("store_path")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pycontain", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command and returns what it prints."""

    def told(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments) == status
        out, err = capsys.readouterr()
        return out if status == 0 else err

    return told


RUNS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "its own command": ({"cmd": ("echo", "made for")}, ["box"], "made for\n"),
    "another command": ({"cmd": ("false",)}, ["box", "echo", "-n", "hi"], "hi"),
    "entrypoint": ({"entrypoint": ("echo", "in"), "cmd": ("cmd",)}, ["box"], "in cmd\n"),
    "entrypoint, words": ({"entrypoint": ("echo", "in")}, ["box", "a", "--", "b"], "in a -- b\n"),
    "another entrypoint": (
        {"entrypoint": ("false",), "cmd": ("x",)},
        ["--entrypoint", "echo", "box", "y"],
        "y\n",
    ),
    "options": (
        {"env": ("A=1", "B=1"), "user": "alice"},
        ["-e", "B=2", "--user", "0", "--cwd", "/etc", "box", "sh", "-c", "echo $A$B $(pwd; id -u)"],
        "12 /etc 0\n",
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_an_image_is_run(add: Add, name: str) -> None:
    config, arguments, output = RUNS[name]
    add("box", **config)
    done = run(*arguments)
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


def test_an_image_with_nothing_to_run(add: Add) -> None:
    add("box", cmd=())
    done = run("box")
    assert done.returncode == 125
    assert "no Entrypoint and no Cmd" in done.stderr


def test_an_image_that_is_nowhere() -> None:
    done = run("127.0.0.1:1/none/such", "id")
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in done.stderr


def test_an_archive_is_run_as_it_is(add: Add, told: Any, tmp_path: Path) -> None:
    add("box", archive(entry("file", data=b"text")), cmd=("cat", "/file"))
    told("save", "box", "-o", f"docker-archive:{tmp_path}/box.tar")
    told("rmi", "box")
    assert run(f"docker-archive:{tmp_path}/box.tar").stdout == "text"


def test_lists_show_what_is_there(add: Add, told: Any) -> None:
    assert told("images").split() == ["NAME", "ID", "PLATFORM", "SIZE"]
    made = add("box")
    image_id = str(made.config.digest)
    assert told("images", "--quiet") == f"{image_id}\n"
    heading, row = told("images").splitlines()
    assert row.split()[:3] == ["box:latest", image_id[7:19], "linux/amd64"]
    [listed] = json.loads(told("images", "--json"))
    assert (listed["name"], listed["id"]) == ("box:latest", image_id)
    shown = json.loads(told("inspect", "box"))
    assert shown["id"] == image_id
    assert shown["config"]["config"]["Cmd"] == ["sh"]
    assert json.loads(told("df", "--json"))["names"] == 1
    assert heading.startswith("NAME")


def test_removed_by_name_and_by_id(add: Add, told: Any) -> None:
    made = add("box")
    add("other", archive(entry("x")))
    assert told("rmi", "box").startswith("removed: ")
    assert "no image 'box'" in told("rmi", "box", status=125)
    assert str(made.config.digest) not in told("images", "-q")
    told("prune", "--all")
    assert told("images", "-q").split() == []


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_saved_and_loaded(add: Add, told: Any, tmp_path: Path, form: str) -> None:
    made = add("box")
    told("save", "box", "-o", f"{form}:{tmp_path}/saved")
    told("rmi", "box")
    assert told("load", f"{form}:{tmp_path}/saved", "--name", "new").split() == ["new:latest"]
    assert json.loads(told("inspect", "new"))["id"] == str(made.config.digest)


def test_a_root_directory_becomes_an_image(told: Any, busybox: bytes, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(busybox)
    told("import", str(tmp_path / "root.tar"), "mine:1", "--cmd", "echo", "hello")
    assert run("mine:1").stdout == "hello\n"


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["inspect", "none"], "no image 'none'"),
        (["load", "/no/such"], "/no/such"),
        (["save", "none", "-o", "x"], "no image 'none'"),
        (["pull", "UPPER/x"], "UPPER"),
        (["push", "none", "127.0.0.1:1/a/b"], "no image 'none'"),
        (["import", "/no/such", "x"], "/no/such"),
    ],
)
def test_mistakes_are_one_line(
    told: Any, arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = told(*arguments, status=125)
    assert len(error.splitlines()) == 1
    assert error.startswith("pycontain: ")
    assert text in error
    assert os.listdir(tmp_path) in ([], ["store"])


def test_an_image_is_checked_against_a_host(add: Add, told: Any, capsys: Any) -> None:
    add("box")
    assert told("inspect", "--host", "box").endswith("\nit fits\n")
    shown = json.loads(told("inspect", "--host", "--json", "--kernel", "99.1", "box"))
    assert (shown["fits"], shown["libc"], shown["problems"]) == (True, "static", [])
    assert shown["machine"].endswith("Linux 99.1.0")
    assert main(["inspect", "--host", "--on", "linux/s390x", "--program", "ls", "box"]) == 125
    out = capsys.readouterr().out
    assert "PROBLEM  '/bin/ls' is for amd64, this host is linux/s390x" in out
    assert out.endswith("\nit does not fit\n")


@pytest.mark.requires("emulation", "x86_64")
def test_another_platform_is_emulated_if_asked_for(add: Add) -> None:
    add("box", platform="linux/arm64", cmd=("echo", "well"))
    done = run("--json", "--emulate", "--platform", "linux/arm64", "box", "echo", "well")
    told = json.loads(done.stdout)
    assert told["stdout"] == "well\n"
    assert "qemu-aarch64" in told["enforcement"]["emulation"]["by"]


COMMITS: dict[str, tuple[list[str], int, str, str]] = {
    "done": (["box", "touch", "/new"], 0, "", "/new\n"),
    "as JSON": (["--json", "box", "touch", "/new"], 0, "", "/new\n"),
    "failed": (["box", "sh", "-c", "touch /new; exit 3"], 3, "not committed", ""),
    "failed, as JSON": (["--json", "box", "sh", "-c", "touch /new; exit 3"], 3, "", ""),
    "on a terminal": (["-t", "box", "sh", "-c", "touch /new; exit 3"], 3, "", "/new\n"),
}


@pytest.mark.parametrize("name", COMMITS)
def test_what_a_command_leaves_behind_becomes_an_image(
    add: Add, told: Any, tmp_path: Path, name: str
) -> None:
    arguments, status, text, left = COMMITS[name]
    add("box")
    done = run("--commit", "new:1", *arguments)
    assert done.returncode == status
    assert text in done.stderr
    assert ("new:1" in told("images")) == bool(left)
    if left:
        assert run("new:1", "ls", "/new").stdout == left
    if "--json" in arguments:
        committed = json.loads(done.stdout).get("committed")
        digest = json.loads(told("inspect", "new:1"))["digest"] if left else None
        assert committed == digest


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--commit", "UPPER", "box", "true"], "UPPER"),
        (["--commit", f"a@sha256:{'0' * 64}", "box", "true"], "digest"),
        (["--commit", "new", "--", "true"], "Name one: pycontain run --commit NAME IMAGE"),
    ],
)
def test_a_bad_name_is_told_before_the_command_runs(
    add: Add, arguments: list[str], text: str
) -> None:
    add("box")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (125, "")
    assert text in done.stderr
