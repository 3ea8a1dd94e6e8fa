# SPDX-License-Identifier: Apache-2.0
"""J: files go in and come out without the caller being led, blocked or programmed.

Planted links, special files, growth, names, modes and races are in tests/sandbox/test_files.py (J1
to J5, J7, J8).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from _attackers import SECRET
from _box import python
from pycontain import Bind, FilesError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pycontain import Sandbox


@pytest.mark.parametrize("what", ["write", "put", "append"])
def test_j6_a_hard_link_to_what_is_read_only_inside_is_not_written(
    what: str, box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    for name in ("shown", "volume"):
        (tmp_path / name).mkdir()
    (tmp_path / "shown/file").write_text(SECRET)
    (tmp_path / "source").write_text("new")
    mounts = [Bind(tmp_path / "shown", "/shown"), Bind(tmp_path / "volume", "/v", read_only=False)]
    with box(mounts=mounts) as sandbox:
        # Mounts are a border for links, whatever fs.protected_hardlinks says.
        linked = sandbox.run(["ln", "/shown/file", "/v/link"], text=True)
        assert "ross-device" in linked.stderr
        actions: dict[str, Callable[[], object]] = {
            "write": lambda: sandbox.files.write_bytes("/v/link", b"new"),
            "put": lambda: sandbox.files.put(tmp_path / "source", "/v/link"),
            "append": lambda: sandbox.files.open("/v/link", "ab").close(),
        }
        actions[what]()
    assert (tmp_path / "shown/file").read_text() == SECRET


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "i=0; while [ $i -lt 1000 ]; do mkdir d && cd d || break; i=$((i+1)); done; echo made",
        "i=0; while [ $i -lt 2000 ]; do : > f$i; i=$((i+1)); done; echo made",
        "mkdir -p a/b; : > a/b/f; chmod 000 a/b a; ln -s / up; mkfifo p; echo made",
    ],
    ids=["deep", "wide", "closed"],
)
def test_j10_a_hostile_tree_is_gone_with_the_sandbox(
    script: str, box: Callable[..., Sandbox]
) -> None:
    with box() as sandbox:
        assert b"made" in sandbox.run(["sh", "-c", script], cwd="/tmp").stdout
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


TRAPPED = """
    import os, re, sys
    import pycontain
    root, volume, outside = sys.argv[1:]
    os.chdir(outside)
    options = dict(rootfs=root, mounts=[pycontain.Bind(volume, "/v", read_only=False)],
                   env={"LD_PRELOAD": "/lib/libtrap.so", "PYTHONPATH": "/v", "GCONV_PATH": "/v",
                        "LD_LIBRARY_PATH": "/v", "PATH": "/v:/bin"})
    with pycontain.Sandbox(**options, user="trapped") as sb:
        sb.run(["/bin/echo", "well"], text=True, encoding="utf-7")
        sb.files.put(outside, "/v/put")
        sb.files.get("/v", outside + "/got")
        for name in sb.files.list("/v"):
            repr(name)
    try:
        pycontain.run(["nothing"], **options)
    except OSError as error:
        str(error)
    maps = open("/proc/self/maps").read()
    modules = [str(getattr(module, "__file__", "")) for module in sys.modules.values()]
    print([row for row in maps.splitlines() + modules if root in row or volume in row])
    print(sorted(os.listdir(outside)))
"""


def test_j11_nothing_of_a_root_or_a_volume_is_loaded_by_the_caller(
    rootfs: Path, tmp_path: Path
) -> None:
    root, volume, outside = (tmp_path / name for name in ("root", "volume", "outside"))
    for folder in (root, volume, outside):
        folder.mkdir()
    for name in ("bin", "etc", "lib", "usr/lib/python3"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes((rootfs / "bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    (root / "bin/echo").symlink_to("busybox")
    (root / "etc/passwd").write_text("trapped:x:1000:1000::/:/bin/sh\n")
    (root / "etc/group").write_text("trapped:x:1000:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: trap\n")
    (root / "etc/ld.so.preload").write_text("/lib/libtrap.so\n")
    trap = f"import os; os.mkdir({str(outside / 'sprung')!r})"
    for folder, names in (
        (root / "lib", ("libnss_trap.so.2", "libtrap.so", "libc.so.6")),
        (volume, ("gzip", "tar", "newuidmap", "sitecustomize.py", "json.py", "encodings.py")),
        (root / "usr/lib/python3", ("sitecustomize.py",)),
    ):
        for name in names:
            (folder / name).write_text(trap if name.endswith(".py") else f"#!/bin/sh\n{trap}\n")
            (folder / name).chmod(0o755)
    said = python(TRAPPED, root, volume, outside).splitlines()
    assert said == ["[]", "['got']"]


def test_j1_a_refused_copy_leaves_no_file(sb: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    sb.run(["ln", "-s", str(tmp_path / "secret"), "/tmp/output"], check=True)
    with pytest.raises(FilesError):
        sb.files.get("/tmp/output", tmp_path / "copied")
    assert os.listdir(tmp_path) == ["secret"]
