# SPDX-License-Identifier: Apache-2.0
"""What all runners of one session share: programs, a root directory, the filter, cgroups to use."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.policy import make_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
MEMORY = 256 << 20
PIDS = 64
CGROUPS = Path("/sys/fs/cgroup")
# As the package's own PID 1 is built: no libc, no page more than needed.
PROGRAM_FLAGS = tuple(
    f"-{flag}"
    for flag in (
        *("std=gnu11", "Os", "ffreestanding", "nostdlib", "static", "fno-pie", "no-pie"),
        *("fno-stack-protector", "fno-asynchronous-unwind-tables"),
        *("fno-tree-loop-distribute-patterns", "Wl,-z,norelro", "Wl,-z,noseparate-code"),
        *("Wl,--build-id=none", "s"),
    )
)
V2_NAMES = {"memory.limit_in_bytes": "memory.max", "pids.max": "pids.max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A cgroup hierarchy, a directory in it that is ours, and the limits to write in each group."""

    version: int
    parent: str
    limits: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Paths and groups; travels to the worker processes as JSON."""

    work: str
    name: str
    groups: tuple[Group, ...]
    allowed: tuple[str, ...]
    remark: str

    @property
    def root(self) -> str:
        """The root directory of every sandbox."""
        return f"{self.work}/root"

    @property
    def filter(self) -> str:
        """The file with the BPF program."""
        return f"{self.work}/filter"

    def floor_command(self, heap_mb: int) -> list[str]:
        """Return the argv of the floor's process."""
        groups = [
            f"v{group.version}:{group.parent}:"
            + ",".join(f"{file}={value}" for file, value in group.limits.items())
            for group in self.groups
        ]
        programs = (f"{self.work}/floor", self.root, f"{self.work}/floor_init", self.filter)
        return [*programs, str(heap_mb), *groups]

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Site:
        """Return the site that another process described."""
        fields = json.loads(text)
        fields["groups"] = tuple(Group(**group) for group in fields["groups"])
        fields["allowed"] = tuple(fields["allowed"])
        return cls(**fields)


def hierarchies() -> dict[str, tuple[str, str]]:
    """Return this process's directory in each v1 hierarchy by controller, v2's under ""."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    found = {}
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        for _, controllers, path in own:
            wanted = controllers.split(",")
            if (kind == "cgroup2" and wanted == [""]) or (
                kind == "cgroup" and wanted != [""] and set(wanted) <= set(options)
            ):
                found.update(dict.fromkeys(wanted, (fields[4], path)))
    return found


def make_groups(name: str) -> Iterator[Group]:
    """Make a directory of ours in each hierarchy that counts; yields what could be made."""
    found = hierarchies()
    limits = {
        "memory": {"memory.limit_in_bytes": str(MEMORY)},
        "pids": {"pids.max": str(PIDS)},
    }
    for controller in ("memory", "pids"):
        if controller in found:
            mount, path = found[controller]
            parent = f"{mount}{path.rstrip('/')}/{name}"
            os.mkdir(parent)
            yield Group(version=1, parent=parent, limits=limits[controller])
    if "" in found:
        mount, path = found[""]
        yield _make_v2_group(f"{mount}{path.rstrip('/')}", name, limits)


def _make_v2_group(base: str, name: str, limits: dict[str, dict[str, str]]) -> Group:
    parent = f"{base}/{name}"
    os.mkdir(parent)
    written: dict[str, str] = {}
    for controller, files in limits.items():
        with contextlib.suppress(OSError):
            for directory in (base, parent):
                Path(directory, "cgroup.subtree_control").write_text(f"+{controller}")
            written |= {V2_NAMES[file]: value for file, value in files.items()}
    return Group(version=2, parent=parent, limits=written)


def remove_groups(name: str) -> None:
    """Remove our directories, and those that crun and runc made, from every hierarchy."""
    deadline = time.monotonic() + 5
    mounts = {mount for mount, _ in hierarchies().values()}
    while left := [path for mount in mounts for path in _find(mount, name)]:
        for path in left:
            for directory, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        if time.monotonic() > deadline:
            raise RuntimeError(f"cgroups are left: {left}")
        time.sleep(0.01)


def _find(mount: str, name: str) -> list[str]:
    """Return the directories with this name; os.walk bears that others come and go meanwhile."""
    return [f"{top}/{name}" for top, names, _ in os.walk(mount) if name in names]


def build(work: Path) -> None:
    """Compile the programs and lay out the root directory."""
    compiler = os.environ.get("CC", "cc")
    builds = {
        "floor": ("-std=gnu11", "-O2", "-pthread", str(HERE / "floor.c")),
        "floor_init": (*PROGRAM_FLAGS, str(HERE / "floor_init.c")),
        "payload": (*PROGRAM_FLAGS, str(HERE / "payload.c")),
        "true": ("-std=gnu11", "-Os", "-static", str(HERE / "true.c")),
        "probe": ("-std=gnu11", "-Os", "-static", str(HERE / "probe.c")),
        "filtered": ("-std=gnu11", "-O2", str(HERE / "filtered.c")),
    }
    for target, options in builds.items():
        subprocess.run([compiler, *options, "-o", str(work / target)], check=True)
    root = work / "root"
    for directory in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (root / directory).mkdir(parents=True)
    programs = {"true": "true", "bare": "payload", "hold": "payload", "probe": "probe"}
    for program, source in programs.items():
        os.link(work / source, root / "bin" / program)
    (root / "etc/marker").write_text("pycontain benchmark\n")


@contextlib.contextmanager
def make_site(work: Path) -> Iterator[Site]:
    """Prepare everything in `work`; removes it and the cgroups afterwards."""
    name = f"pycontain-bench-{os.getpid()}"
    work.chmod(0o755)  # ids of a user namespace have to reach the root directory
    build(work)
    policy = make_policy()
    (work / "filter").write_bytes(policy.program)
    try:
        try:
            groups, remark = tuple(make_groups(name)), ""
        except OSError as error:
            groups, remark = (), f"no cgroups: {error}"
        yield Site(work=str(work), name=name, groups=groups, allowed=policy.allowed, remark=remark)
    finally:
        shutil.rmtree(work)
        remove_groups(name)
