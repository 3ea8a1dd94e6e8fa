# SPDX-License-Identifier: Apache-2.0
"""The fault build, and a driver of sweeps with it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _faults import Drive

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
ENTER = REPOSITORY / "scripts/enter_lane.py"
UID = 54321
WHOLE = os.environ.get("PYCONTAIN_FAULTS_WHOLE") == "1"
"""Whether each call is to fail with each errno, which takes ten minutes instead of one."""


@pytest.fixture(scope="session")
def fault_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the package, built with PYCONTAIN_FAULTS=1."""
    folder = tmp_path_factory.mktemp("faults")
    folder.chmod(0o755)
    command = [sys.executable, "setup.py", "-q", "build"]
    command += [f"--build-base={folder}/build", f"--build-lib={folder}/site"]
    env = {**os.environ, "PYCONTAIN_FAULTS": "1"}
    subprocess.run(command, cwd=REPOSITORY, env=env, check=True, stdout=subprocess.DEVNULL)
    return folder / "site"


@pytest.fixture(scope="session")
def state_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that holds the compiled state.c."""
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o755)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    source = TESTS / "tools/state.c"
    subprocess.run([*compiler, "-O2", "-static", source, "-o", folder / "state"], check=True)
    return folder


@pytest.fixture(scope="session")
def user_rootfs(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root directory that belongs to the ordinary user."""
    copy = tmp_path_factory.mktemp("user") / "rootfs"
    shutil.copytree(rootfs, copy, symlinks=True)
    for path in (copy.parent, copy, *copy.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)
    return copy


@pytest.fixture
def drive(
    fault_site: Path,
    state_program: Path,
    rootfs: Path,
    user_rootfs: Path,
    record_property: Callable[[str, object], None],
) -> Drive:
    """Return what runs a sweep as PID 1 of namespaces of its own, and returns its report."""

    def run(sweep: str, scenario: str, *, caller: str = "root", **more: Any) -> dict[str, Any]:
        job = {"sweep": sweep, "scenario": scenario, "every": WHOLE, **more}
        root = user_rootfs if caller == "user" else rootfs
        job |= {"rootfs": str(root), "probe": str(state_program)}
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--ipc"]
        if caller == "user":
            needed = (fault_site, state_program, root, TESTS, sys.prefix, sys.base_prefix)
            command += ["--", sys.executable, str(ENTER), f"--uid={UID}"]
            command += [f"--need={path}" for path in needed]
        command += ["--", sys.executable, "-P", "-m", "_faults.driver"]
        env = {
            **os.environ,
            "PYTHONPATH": f"{fault_site}:{TESTS}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYCONTAIN_CLONE": more.get("clone", "vm"),
        }
        done = subprocess.run(
            command, input=json.dumps(job), env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        about = {"sweep": sweep, "scenario": scenario, "caller": caller, "every": WHOLE}
        record_property("faults", about | {"clone": more.get("clone", "vm")} | report)
        assert report["findings"] == [], "\n".join([*report["findings"], done.stderr])
        return report

    return run
