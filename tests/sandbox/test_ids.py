# SPDX-License-Identifier: Apache-2.0
"""No two living sandboxes of root share an id of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycontain import Sandbox

pytestmark = pytest.mark.requires("rootrange", "root")


def base_of(sandbox: Sandbox) -> int:
    return int(Path(f"/proc/{sandbox.pid}/uid_map").read_text().split()[1])


def test_living_sandboxes_have_ids_of_their_own() -> None:
    with Sandbox() as one, Sandbox() as two:
        bases = {base_of(one), base_of(two)}
        code = "import pycontain as p; s = p.Sandbox().start(); print(s.pid); input()"
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
            assert other.stdout is not None
            pid = other.stdout.readline().strip()
            bases.add(int(Path(f"/proc/{pid}/uid_map").read_text().split()[1]))
            other.communicate("\n")
        assert len(bases) == 3
        assert os.stat(f"/proc/{one.pid}/root/tmp").st_uid in range(min(bases), 2**31)
    with Sandbox() as again:
        assert base_of(again) in bases


def test_a_forked_child_takes_ranges_of_its_own() -> None:
    with Sandbox() as sandbox:
        base = base_of(sandbox)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            with Sandbox() as inner:
                os.write(write, str(base_of(inner)).encode())
            os._exit(0)
        os.close(write)
        assert os.waitpid(pid, 0)[1] == 0
        assert int(os.read(read, 64)) != base
        os.close(read)
        assert sandbox.run(["true"]).returncode == 0
