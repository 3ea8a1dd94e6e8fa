# SPDX-License-Identifier: Apache-2.0
"""Root on a kernel without the newer calls: what still holds, and what is said to be missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NEW_CALLS = "clone3,openat2,open_tree,move_mount,fsopen,fsconfig,fsmount,fspick,mount_setattr"
NOSYS = Path(__file__).parents[1] / "tools/nosys.c"
SCRIPT = """
import json, sys, pycontain
from pycontain import Bind
shell = "id -u; cat /etc/passwd | head -1; touch /tmp/x && echo wrote; ls /there"
mounts = [Bind(sys.argv[2], "/there")]
with pycontain.Sandbox(rootfs=sys.argv[1], mounts=mounts) as sb:
    done = sb.run(["sh", "-c", shell], text=True)
    try:
        sb.run(["sh", "-c", "setsid sleep 60 & sleep 60"], timeout=0.2)
    except pycontain.TimeoutExpired:
        killed = True
    controls = {name: row.in_force for name, row in sb.enforcement.items()}
    left = sb.run(["sh", "-c", "cat /proc/[0-9]*/comm"], text=True).stdout.split()
once = pycontain.run(["sh", "-c", "exit 7"], rootfs=sys.argv[1]).returncode
print(json.dumps([done.stdout.split(), controls, killed, left, once]))
"""


@pytest.fixture(scope="module")
def nosys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that hides system calls from another."""
    program = tmp_path_factory.mktemp("nosys") / "nosys"
    subprocess.run(["cc", "-O2", "-o", str(program), str(NOSYS)], check=True)
    return program


@pytest.mark.requires("root")
def test_without_the_newer_calls_the_sandbox_holds_and_says_what_is_missing(
    nosys: Path, rootfs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o755)
    command = [str(nosys), NEW_CALLS, sys.executable, "-c", SCRIPT, str(rootfs), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    output: list[str]
    controls: dict[str, Any]
    output, controls, killed, left, once = json.loads(done.stdout)
    assert output[0] == "1000"
    assert output[-2:] == ["wrote", "file"]
    assert killed
    assert "sleep" not in left
    assert once == 7
    assert not controls["writable root"]
    assert not controls[f"idmap {rootfs}"]
    assert controls["seccomp"]
    assert controls["capabilities"]
