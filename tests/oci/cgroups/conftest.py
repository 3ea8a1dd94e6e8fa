# SPDX-License-Identifier: Apache-2.0
"""Containers' groups that end with their test, and processes in them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from pycontain import _cgroup
from pycontain._cgroup import Host
from pycontain._oci import _cgroups
from pycontain._oci._cgroups import _homes
from pycontain._oci._spec import Config, DeviceRule, Linux, Resources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pycontain._oci._cgroups import Cgroup

_serial = itertools.count()


def unique() -> str:
    """Return a name that no other test, here or beside this run, gives a group."""
    return f"pycontain-test-{os.getpid()}-{next(_serial)}"


def config(path: str, resources: Resources | None = None) -> Config:
    """Return what of a configuration is about groups."""
    linux = Linux(cgroups_path=path, resources=resources or Resources())
    return Config(oci_version="1.2.0", linux=linux)


DENY_ALL = DeviceRule(allow=False)
ALLOW_ALL = DeviceRule(allow=True)


def rule(
    allow: bool, type_: str, major: int | None, minor: int | None, access: str = "rwm"
) -> DeviceRule:
    return DeviceRule(allow=allow, type=type_, major=major, minor=minor, access=access)


class Make(Protocol):
    def __call__(self, resources: Resources | None = None, path: str | None = None) -> Cgroup: ...


class Start(Protocol):
    def __call__(
        self, cgroup: Cgroup, script: str = ...
    ) -> AbstractContextManager[subprocess.Popen[str]]: ...


def views() -> list[str]:
    """Return the hosts that this machine can be: as it is, and with v1 alone."""
    return ["as it is"] + (["v1 alone"] if _cgroup.detect().v1_of("freezer") else [])


@pytest.fixture(params=views())
def view(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Show the machine to the code as it is, or without v2."""
    if request.param == "v1 alone":
        host = _cgroup.detect()
        alone = Host(v2=None, v1=host.v1, named=host.named)
        monkeypatch.setattr(_homes, "detect", lambda **_: alone)
    return str(request.param)


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a maker of containers' groups, whose processes are killed after the test."""
    made: list[Cgroup] = []

    def make(resources: Resources | None = None, path: str | None = None) -> Cgroup:
        where = f"/{unique()}" if path is None else path
        cgroup = _cgroups.create(config(where, resources), unique(), systemd=False)
        made.append(cgroup)
        return cgroup

    yield make
    for cgroup in made:
        if cgroup.paths:
            cgroup.kill(signal.SIGKILL)
        cgroup.remove()


# Joins as a container's process does, but that it is born into no group of v2.
_JOIN = """
import os, sys
for fd in sys.argv[2].split(","):
    if fd:
        os.write(int(fd), b"0")
if sys.argv[1]:
    with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
        procs.write("0")
print("joined", flush=True)
exec(sys.argv[3])
"""


@pytest.fixture
def start() -> Start:
    """Return a starter of a Python script in groups; at the end of the block it is killed."""

    @contextmanager
    def started(cgroup: Cgroup, script: str = "input()") -> Iterator[subprocess.Popen[str]]:
        fds = cgroup.tasks_fds
        arguments = [cgroup.paths.get("", ""), ",".join(map(str, fds)), script]
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _JOIN, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "joined\n"
                yield process
            finally:
                process.kill()
                cgroup.thaw()

    return started


def value(cgroup: Cgroup, controller: str, v1: str, v2: str) -> str:
    """Return what is in the file of the version that carries the controller."""
    directory = cgroup.dir(controller)
    assert directory is not None
    return Path(directory.path, v2 if directory.is_v2 else v1).read_text().strip()


def left(name: str) -> list[str]:
    """List the groups with this name in all hierarchies."""
    host = _cgroup.detect()
    hierarchies = [h for h in (host.v2, *host.v1, *host.named) if h is not None]
    roots = {root for h in hierarchies for root in (h.mount, h.own) if root}
    return [str(path) for root in roots for path in Path(root).glob(f"{name}*")]
