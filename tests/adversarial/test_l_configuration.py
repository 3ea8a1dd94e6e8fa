# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables
"""L: a configuration that cannot be enforced ends with an error, and nothing untrusted has run.

Options that cannot be right are in tests/sandbox/test_bad_input.py (L1), each failing call of the
core in tests/faults; what `enforcement` says is compared in the catalogue (L6).
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pycontain
from pycontain import ConfigError, IoLimit, UnsupportedError, _seccomp
from pycontain._seccomp import ALLOW, Filter, Rule, deny

LAYERS = [
    "seccomp", "capset", "setresuid", "setresgid", "setgroups", "setgid", "setuid", "mount", "pivot_root", "umount2", "unshare",
    "setns", "mount_setattr", "move_mount", "fsopen", "fsmount", "setsid", "prctl", "prlimit64", "close_range", "sethostname",
    "execveat", "keyctl", "mkdirat", "symlinkat", "openat2", "clone3", "dup3", "fchdir", "chdir", "umask", "socket", "ioctl",
]  # fmt: skip

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import pycontain
import _seccomp_live
from pycontain import Bind
marks = Bind(sys.argv[3], "/v", read_only=False)
options = dict(rootfs=sys.argv[2], mounts=[marks])
script = "echo x > /v/marker; cat /proc/self/status; id -u; ls /; ls /proc/self/fd"
pycontain.Sandbox(**options)  # newuidmap(1), which is set-id, works before no_new_privs only
_seccomp_live.load(bytes.fromhex(sys.argv[4]))
try:
    done = pycontain.run(["sh", "-c", script], **options, text=True, timeout=20)
    said = {"said": done.stdout, "status": done.returncode}
except (pycontain.PycontainError, OSError) as error:
    said = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(said))
"""
SHOWN = (
    "Uid",
    "Gid",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
)


def _run(rules: tuple[Rule, ...], rootfs: Path, marks: Path) -> dict[str, object]:
    program = _seccomp.compile(
        Filter(default=ALLOW, unknown=ALLOW, foreign=ALLOW, rules=rules)
    ).hex()
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", SCRIPT, str(tests), str(rootfs), str(marks), program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def _confinement(said: object) -> dict[str, str]:
    rows = [row.partition(":") for row in str(said).splitlines()]
    return {name: value.strip() for name, _, value in rows if name in SHOWN}


@pytest.fixture(scope="module")
def usual(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what is in force where no call fails."""
    marks = tmp_path_factory.mktemp("marks")
    found = _confinement(_run((), rootfs, marks)["said"])
    assert (marks / "marker").exists()
    assert set(found) == set(SHOWN)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_l2_a_layer_that_cannot_be_had_is_an_error_or_is_there(
    name: str, usual: dict[str, str], rootfs: Path, tmp_path: Path
) -> None:
    told = _run((Rule((name,), deny(errno.EPERM)),), rootfs, tmp_path)
    if "error" in told:
        assert not (tmp_path / "marker").exists(), told
    else:
        assert _confinement(told["said"]) == usual


SEPARATED: list[dict[str, Any]] = [
    {"hostname": "a\nb"}, {"hostname": "a+b"}, {"cpuset": "0\n1"}, {"cpuset": "0 +memory"}, {"cpuset": "0;1"},
    {"memory": "1M\n+pids"}, {"memory": "1M,2M"}, {"disk": "1M,mode=777"}, {"env": {"A=B\n": "c"}},
    {"namespaces": ("user,net",)}, {"profile": "default\n"}, {"user": "0\n0"}, {"user": "root+"}, {"cgroup": "/sys/fs/cgroup\0x"},
]  # fmt: skip


@pytest.mark.parametrize("options", SEPARATED, ids=repr)
def test_l3_a_value_is_one_value(options: dict[str, Any], rootfs: Path) -> None:
    with pytest.raises(ConfigError):
        pycontain.run(["true"], **{"rootfs": rootfs, **options})


@pytest.mark.parametrize("device", ["8:0\n8:16", "8:0 rbps=1", "8:0+", "a\0b"])
def test_l3_a_device_is_one_device(device: str, rootfs: Path) -> None:
    with pytest.raises((ConfigError, UnsupportedError)):
        pycontain.run(["true"], rootfs=rootfs, io=[IoLimit(device, read_bytes=1 << 20)])


@pytest.mark.parametrize("name", ["sysctls", "sysctl", "annotations", "name", "id", "state_dir"])
def test_l3_l4_what_would_need_a_check_of_its_own_cannot_be_given(name: str, rootfs: Path) -> None:
    with pytest.raises(TypeError, match=name):
        pycontain.run(["true"], **{"rootfs": rootfs, name: "../x"})  # type: ignore[arg-type]
