# SPDX-License-Identifier: Apache-2.0
"""Other sandboxes with the selftest's probe inside, started as their users start them."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pycontain
from pycontain import Bind, Sandbox, profile
from pycontain.selftest._programs import PROBE

REPOSITORY = Path(__file__).parents[2]
UID = 54321
TIMEOUT_S = 120
IS_ROOT = os.geteuid() == 0
INSIDE = "/probe"

Run = Callable[[Sequence[str]], str]
"""Runs the probe with some words and returns what it says."""


class UnusableError(Exception):
    """A peer that cannot be used on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A sandbox.

    Attributes:
        name: Of a column.
        how: Version and options, for a reader.
        caller: Who starts it.
        enter: What makes a place in which the probe can be run.
    """

    name: str
    how: str
    caller: str
    enter: Callable[[Path], contextlib.AbstractContextManager[Run]]


def _ordinary() -> list[str]:
    """Return the command line that makes an ordinary user of root."""
    if not IS_ROOT:
        return []
    needed = {REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    return [
        *("unshare", "--mount", "--propagation", "private", "--"),
        *(sys.executable, str(REPOSITORY / "scripts/enter_lane.py"), f"--uid={UID}"),
        *(f"--need={path}" for path in sorted(needed)),
        "--",
    ]


def _said(command: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        input="",  # crun chowns what it is given for the user, /dev/null as well
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", "TMPDIR": "/tmp"},  # noqa: S108
    )
    if done.returncode:
        error = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UnusableError(f"status {done.returncode}: {''.join(error)}")
    return done.stdout


def _version(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise UnusableError("not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]


BWRAP = (
    *("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    *("--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108
)


@contextlib.contextmanager
def _bubblewrap(folder: Path) -> Iterator[Run]:
    def run(words: Sequence[str]) -> str:
        place = ("--ro-bind", str(PROBE), "/tmp/probe")  # noqa: S108
        return _said([*_ordinary(), *BWRAP, *place, "/tmp/probe", *words], folder)  # noqa: S108

    yield run


def _bundle(folder: Path, runtime: str) -> Path:
    """Make the runtime's own default configuration run the probe in an empty root."""
    bundle = folder / runtime
    (bundle / "rootfs").mkdir(parents=True)
    subprocess.run([runtime, "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    for name in ("proc", "dev", "sys", "tmp"):
        (bundle / "rootfs" / name).mkdir()
    shutil.copy(PROBE, bundle / f"rootfs{INSIDE}")
    config["process"] |= {"terminal": False, "cwd": "/tmp"}  # noqa: S108
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})  # noqa: S108
    path.write_text(json.dumps(config))
    return bundle


def _oci(runtime: str) -> Callable[[Path], contextlib.AbstractContextManager[Run]]:
    @contextlib.contextmanager
    def enter(folder: Path) -> Iterator[Run]:
        if not IS_ROOT:
            raise UnusableError("its default configuration needs root")
        bundle, state = _bundle(folder, runtime), folder / f"{runtime}-state"
        # crun refuses a hybrid machine's v2 hierarchy.
        hide = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
        apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh"]
        manager = ["--cgroup-manager=cgroupfs"] if runtime == "crun" else []

        def run(words: Sequence[str]) -> str:
            path = bundle / "config.json"
            config = json.loads(path.read_text())
            config["process"]["args"] = [INSIDE, *words]
            path.write_text(json.dumps(config))
            name = f"pycontain-report-{os.getpid()}"
            return _said([*apart, runtime, *manager, "--root", str(state), "run", name], bundle)

        yield run

    return enter


SANDLOCK_OPTIONS = (
    "fs_readable=['/usr', '/lib', '/lib64', '/bin', '/etc', '/proc', '/dev'], "
    "fs_writable=['/tmp'], clean_env=True, cwd='/tmp'"
)
SANDLOCK = f"""
import sys
import sandlock
options = dict({SANDLOCK_OPTIONS})
options["fs_readable"].append(sys.argv[1])
result = sandlock.Sandbox(**options).run(sys.argv[1:])
sys.stdout.buffer.write(result.stdout)
if not result.success:
    sys.exit(repr(result))
"""


@contextlib.contextmanager
def _sandlock(folder: Path) -> Iterator[Run]:
    def run(words: Sequence[str]) -> str:
        return _said([*_ordinary(), sys.executable, "-c", SANDLOCK, str(PROBE), *words], folder)

    yield run


def _ours(name: str) -> Callable[[Path], contextlib.AbstractContextManager[Run]]:
    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Run]:
        with Sandbox(profile=name, mounts=(Bind(PROBE, INSIDE),)) as sandbox:
            yield lambda words: str(
                sandbox.run([INSIDE, *words], cwd="/tmp", text=True, check=True).stdout  # noqa: S108
            )

    return enter


SPEC = (
    "`run` of the configuration that `spec` writes: user 0, no user namespace, no seccomp; an "
    "empty root, a tmpfs at /tmp"
)
CALLER = "root" if IS_ROOT else "an ordinary user"


def _oci_peer(name: str) -> Peer:
    how = f"{_version(name, '--version')}: {SPEC}"
    return Peer(name=name, how=how, caller=CALLER, enter=_oci(name))


def _our_peer(name: str) -> Peer:
    uid = profile.get(name).user
    how = f"{pycontain.__version__}: `Sandbox(profile={name!r})`, user {uid}"
    return Peer(name=f"pycontain {name}", how=how, caller=CALLER, enter=_ours(name))


def _bubblewrap_peer() -> Peer:
    how = f"{_version('bwrap', '--version')}: `{' '.join(BWRAP)}`"
    return Peer(name="bubblewrap", how=how, caller="an ordinary user", enter=_bubblewrap)


def _sandlock_peer() -> Peer:
    version = importlib.metadata.version("sandlock")
    how = f"{version}: `Sandbox({SANDLOCK_OPTIONS})`, and the probe readable"
    return Peer(name="sandlock", how=how, caller="an ordinary user", enter=_sandlock)


MAKERS: dict[str, Callable[[], Peer]] = {
    "bubblewrap": _bubblewrap_peer,
    "runc": functools.partial(_oci_peer, "runc"),
    "crun": functools.partial(_oci_peer, "crun"),
    "sandlock": _sandlock_peer,
    "pycontain default": functools.partial(_our_peer, "default"),
    "pycontain judge": functools.partial(_our_peer, "judge"),
}


def peers() -> Iterator[Peer | tuple[str, str]]:
    """Yield the peers; those that are not here by name and reason."""
    for name, make in MAKERS.items():
        try:
            yield make()
        except (UnusableError, importlib.metadata.PackageNotFoundError) as error:
            yield name, str(error) or "not installed"
