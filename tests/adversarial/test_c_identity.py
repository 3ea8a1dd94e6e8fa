# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501, RUF001 - tables of hostile strings
"""C: nobody inside is, or becomes, somebody of the host."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

import pycontain
from _attackers import INSIDE, MOUNT
from pycontain import ConfigError, profile
from pycontain.selftest._programs import lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pycontain import Sandbox

WRAPPED = [
    "4294967295", "4294967296", "2147483648", "2147483648:0", "-1", "0x0", "00", "1e3", "+0", " 0", "0 ",
    "１０００", "١", "1000:", ":", ":0", "", "0:-1", "0:4294967296", "1000:0x0", "root\n", "ro\0ot", "a b", "18446744073709551616",
]  # fmt: skip


@pytest.mark.parametrize("user", WRAPPED, ids=repr)
def test_c4_a_user_is_never_another(user: str, rootfs: Path) -> None:
    try:
        done = pycontain.run(["id", "-u"], rootfs=rootfs, user=user, text=True)
    except ConfigError:
        return
    assert (int(done.stdout), done.returncode) == (int(user.partition(":")[0]), 0)


def test_c4_a_number_is_not_looked_up_as_a_name(rootfs: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("1000:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n")
    mounts = [pycontain.Bind(rootfs, "/v")]
    done = pycontain.run(
        ["/v/bin/busybox", "id", "-u"], rootfs=tmp_path, mounts=mounts, user="1000", text=True
    )
    assert done.stdout == "1000\n"


def _passwd(kind: str, folder: Path, secret: Path) -> None:
    path = folder / "etc/passwd"
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "link of the directory":
        path.parent.rmdir()
        path.parent.symlink_to(secret.parent)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(10 << 30)
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 4096)
    elif kind == "absent":
        path.parent.rmdir()


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "link",
            "link of the directory",
            "fifo",
            "device",
            "directory",
            "huge",
            "binary",
            "absent",
        ),
    ],
)
def test_c5_a_hostile_passwd_is_an_error_in_time(kind: str, tmp_path: Path) -> None:
    root, hosts = tmp_path / "root", tmp_path / "hosts"
    root.mkdir()
    hosts.mkdir()
    (hosts / "passwd").write_text("victim:x:0:0::/:/bin/sh\n")
    _passwd(kind, root, hosts / "passwd")
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="user"):
        pycontain.run(["true"], rootfs=root, user="victim")
    assert time.monotonic() - begun < 20


SAME = (
    *("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"),
    *("Seccomp", "Seccomp_filters", "SigBlk", "SigIgn", "SigCgt", "ShdPnd"),
)
SHOWN = (
    "/proc/self/status", "/proc/self/limits", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/cgroup",
    "/proc/self/oom_score_adj", "/proc/self/ns/mnt", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts",
    "/proc/self/ns/user", "/proc/self/ns/pid", "/proc/self/ns/time", "/proc/self/attr/current", "/proc/self/loginuid",
)  # fmt: skip


def _seen(output: str) -> dict[str, str]:
    found = {line.what: line.text for line in lines(output)}
    status = dict(
        row.split(":\t", 1) for row in found.pop("/proc/self/status").splitlines() if ":\t" in row
    )
    return found | {name: status[name] for name in SAME if name in status}


@pytest.mark.parametrize("name", profile.names())
def test_c8_every_command_is_as_confined_as_the_first(
    name: str, box: Callable[..., Sandbox]
) -> None:
    first = pycontain.run([INSIDE, "show", *SHOWN], profile=name, mounts=[MOUNT], text=True)
    with box(profile=name, mounts=[MOUNT]) as sandbox:
        seen = [_seen(sandbox.run([INSIDE, "show", *SHOWN], text=True).stdout) for _ in range(3)]
        with sandbox.popen([INSIDE, "show", *SHOWN], pty=True, text=True) as process:
            seen.append(_seen(process.communicate(timeout=20)[0]))
    assert seen[1:] == seen[:1] * 3
    once = _seen(first.stdout)
    assert {what for what in once if once[what] != seen[0][what] and "/ns/" not in what} == set()
