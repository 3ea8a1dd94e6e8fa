# SPDX-License-Identifier: Apache-2.0
"""Each example runs, and prints what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pycontain
from portability.recipes import archive

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "async_judge": ("ada    accepted         3/3", "dan    wall_limit       0/3", "finn   output"),
    "compile_and_run_c": ("6 3    -> 2   right", "1 0    ->     signaled, status -8"),
    "daemon": ("a page of the sandbox's own web server", "the server runs: True", "-9 killed"),
    "distributions": (
        "BusyBox v",
        "(bookworm)   ldd (Debian GLIBC 2.36",
        "Debian GNU/Linux 13 (trixie)     ldd (Debian GLIBC 2.41",
        "Perl v5.40",
    ),
    "demo": ("1229 primes", "Network is unreachable", "exited, status 0", "yes seccomp"),
    "git_in_a_sandbox": ("hook runs as sandbox on sandbox", "A: first", "1 insertion"),
    "interactive_shell": ("/dev/pts/0", "50 132", "status 7"),
    "pytest_project": ("PASSED test_project.py::test_arithmetic", "::test_wrong", "the report has"),
    "run_python": ("wall_limit", "output_limit", "unreachable", "printed 'started\\n'"),
    "shell_pipeline": ("apple 3", "3 apple"),
}
NEEDS = {
    "compile_and_run_c": ["gcc"],
    "distributions": ["root", "overlay", "mmdebstrap"],
    "git_in_a_sandbox": ["git"],
}
ROOTS = {"distributions": ("busybox", "bookworm", "trixie")}


def run(name: str) -> subprocess.CompletedProcess[str]:
    roots = [f"{root}={archive(root)}" for root in ROOTS.get(name, ())]
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *roots]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_every_example_is_tested() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.requires(*NEEDS.get(name, []))) for name in SAYS],
    ids=list(SAYS),
)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCONTAIN_STORE", str(tmp_path / "store"))
    done = run(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert [text for text in SAYS[name] if text not in done.stdout] == []


@pytest.mark.requires("mount_api")
def test_the_demo_says_in_a_line_why_this_host_has_no_sandboxes() -> None:
    package = Path(pycontain.__file__).parents[1]
    roots = {EXAMPLES.parent, package}
    result = pycontain.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        mounts=[pycontain.Tmpfs("/mnt"), *(pycontain.Bind(root, root) for root in roots)],
        env={"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "No sandbox on this host."
    assert len(lines) == 2
    assert "failed" in lines[1]
