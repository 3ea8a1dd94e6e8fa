# SPDX-License-Identifier: Apache-2.0
"""The command line but for `run`, and what it costs those who do not use it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pycontain
from pycontain import profile
from pycontain._cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pycontain {pycontain.__version__}\n"


def test_profile_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "list"]) == 0
    assert capsys.readouterr().out.split() == list(profile.names())
    assert main(["profile", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list(profile.names())


@pytest.mark.parametrize("name", profile.names())
def test_profile_show_tells_the_profile(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"name               {name}\n")
    assert main(["profile", "show", name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    known = profile.get(name)
    assert told["capabilities"] == list(known.capabilities)
    assert told["masked_paths"] == list(known.masked_paths)
    assert told["rlimits"] == {limit: list(pair) for limit, pair in known.rlimits.items()}
    assert [rule["calls"] for rule in told["seccomp"]["rules"]] == [
        list(rule.names) for rule in known.seccomp.rules
    ]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["profile"], ["profile", "show", "none"], ["run", "--memry", "1"]]
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: pycontain" in capsys.readouterr().err


def test_the_library_does_not_import_what_only_the_command_line_needs() -> None:
    code = "import sys, pycontain; print({'argparse', 'json', 'tty'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_command_does_not_import_what_only_others_need() -> None:
    code = """
import sys
from pycontain._cli import main
main(["profile", "list"])
print(*sorted({"json", "pwd", "pycontain._cgroup", "pycontain._living"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[len(profile.names()) :] == [""]
