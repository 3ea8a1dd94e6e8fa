# SPDX-License-Identifier: Apache-2.0
"""Python projects in the default sandbox: environments, wheels without a network, pytest."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import pycontain
from _programs import output_of

WHEEL = "greeting-1.0-py3-none-any.whl"
WHEEL_FILES = {
    "greeting.py": "def main():\n    print('hello from a wheel')\n",
    "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
    "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
}
PROJECT = {
    "stack.py": "class Stack(list):\n    push = list.append\n",
    "tests/test_stack.py": """
import pytest
from stack import Stack

@pytest.mark.parametrize("items", [[1], [1, 2], "abc"])
def test_last_in_first_out(items, tmp_path):
    stack = Stack()
    for item in items:
        stack.push(item)
    assert [stack.pop() for _ in items] == list(reversed(items))

def test_an_empty_stack_gives_nothing():
    assert Stack().pop() is None
""",
}


def make_wheel(folder: Path) -> Path:
    path = folder / WHEEL
    record = "".join(f"{name},,\n" for name in (*WHEEL_FILES, "greeting-1.0.dist-info/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**WHEEL_FILES, "greeting-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    return path


@pytest.mark.slow
def test_a_wheel_is_installed_in_a_new_environment_without_a_network(
    sandbox: pycontain.Sandbox, tmp_path: Path
) -> None:
    wheel = f"/tmp/{WHEEL}"
    sandbox.files.put(make_wheel(tmp_path), wheel)
    output_of(sandbox.run([sys.executable, "-m", "venv", "/tmp/env"], text=True, timeout=120))
    pip = ["/tmp/env/bin/python", "-m", "pip", "install", "--no-index", wheel]
    assert "Successfully installed greeting-1.0" in output_of(sandbox.run(pip, text=True))
    assert output_of(sandbox.run(["/tmp/env/bin/greet"], text=True)) == "hello from a wheel\n"


@pytest.mark.slow
def test_pytest_runs_a_project(sandbox: pycontain.Sandbox, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name, text in PROJECT.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    sandbox.files.put(project, "/home/sandbox/project")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = sandbox.run(command, cwd="/home/sandbox/project", env={"PYTHONPATH": "."}, text=True)
    assert (result.returncode, result.reason) == (1, pycontain.Reason.EXITED), result.stderr
    assert "1 failed, 3 passed" in result.stdout
    assert "IndexError: pop from empty list" in result.stdout
