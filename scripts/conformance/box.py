# SPDX-License-Identifier: Apache-2.0
"""A bundle, and a container made of it by a runtime's command."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.check import changed

PATIENCE_S = 60.0
BUSYBOX = "/bin/busybox"
APPLETS = (
    *("cat", "chmod", "cut", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "id"),
    *("ip", "ln", "ls", "mkdir", "mknod", "mount", "pwd", "readlink", "rm", "sed", "seq", "sh"),
    *("sleep", "sort", "stat", "stty", "tail", "test", "touch", "tr", "true", "tty", "umount"),
    *("uname", "unshare", "wc", "chown", "kill", "ping", "awk", "sysctl", "find"),
)
CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"),
    *("CAP_NET_BIND_SERVICE", "CAP_MKNOD"),
)
NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_serial = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime's command."""

    name: str
    command: tuple[str, ...]

    @property
    def version(self) -> str:
        """What it calls itself."""
        done = subprocess.run(
            [self.command[0], "--version"], capture_output=True, text=True, check=False
        )
        return done.stdout.splitlines()[0] if done.stdout else "absent"


def mount(destination: str, kind: str, source: str = "", *options: str) -> dict[str, Any]:
    """Return a row of the configuration's mounts."""
    return {
        "destination": destination,
        "type": kind,
        "source": source or kind,
        "options": list(options),
    }


def base(folder: Path, cgroup: str) -> dict[str, Any]:
    """Return the configuration that the checks change."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": ["sh"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")
            },
        },
        "root": {"path": str(folder / "rootfs")},
        "hostname": "box",
        "mounts": [
            mount("/proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755", "size=64k"),
            mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "nodev", "mode=1777", "size=1m"),
            mount("/groups", "bind", "/sys/fs/cgroup", "rbind", "ro"),
            mount("/host", "bind", str(folder / "shared"), "bind", "rw"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }


# What scripts of checks may call; `group` prints a file of the container's control group, by the
# name of version 1 (memory/memory.limit_in_bytes) or else by that of version 2.
_PROFILE = r"""
group() {
	v1=$(sed -n "s/^[0-9]*:${1%%/*}:/\/groups\/${1%%/*}/p" /proc/self/cgroup)
	v2=$(sed -n 's/^0::/\/groups/p' /proc/self/cgroup)
	cat "$v1/${1#*/}" 2>/dev/null || cat "$v2/$2"
}
options() { # of the mount at a place
	awk -v place="$1" '$5 == place { print $6 }' /proc/self/mountinfo | tail -n 1
}
has() { # the mount at $1 has each of the options
	place=$1; shift
	for word; do
		case ,$(options "$place"), in
			*,"$word",*) ;;
			*) echo "no $word: $(options "$place")" ;;
		esac
	done
	echo ok
}
"""


def build_probe(folder: Path) -> Path:
    """Compile the program that tells what busybox cannot."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    source = Path(__file__).with_name("probe.c")
    subprocess.run([*compiler, "-O2", "-static", source, "-o", folder / "probe"], check=True)
    return folder / "probe"


def make_root(root: Path, probe: Path) -> None:
    """Make a root directory: busybox, a few names for it, and places for mounts."""
    for name in ("bin", "dev", "etc", "groups", "host", "proc", "root", "srv", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "tmp").chmod(0o1777)
    (root / "srv/file").touch()
    (root / "etc/profile").write_text(_PROFILE)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    shutil.copy2(probe, root / "bin/probe")


class Box:
    """A bundle and the container that a check makes of it."""

    def __init__(self, runtime: Runtime, folder: Path, probe: Path) -> None:
        self.runtime = runtime
        self.folder = folder
        self.id = f"conformance-{os.getpid()}-{next(_serial)}"
        self.cgroup = f"/{self.id}"
        self.root = folder / "rootfs"
        self.shared = folder / "shared"
        self.shared.mkdir()
        make_root(self.root, probe)
        self.config = base(folder, self.cgroup)

    def change(self, change: Mapping[str, Any]) -> None:
        """Change the configuration; `BOX` in a string stands for the folder."""
        filled = json.loads(json.dumps(change).replace("BOX", str(self.folder)))
        self.config = changed(self.config, filled)

    def write(self) -> None:
        """Write config.json."""
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def call(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of the runtime."""
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE_S}
        if not {"input", "stdin"} & more.keys():
            options["input"] = ""  # crun chowns what it is given for the user, /dev/null as well
        command = [*self.runtime.command, "--root", str(self.folder / "state"), *words]
        return subprocess.run(command, cwd=self.folder, check=False, **{**options, **more})

    def output(self, *words: str, **more: Any) -> str:
        """Run a command of the runtime that has to succeed; return what it printed."""
        done = self.call(*words, **more)
        said = f"{done.stderr or ''}{done.stdout or ''}".strip()[-300:]
        assert done.returncode == 0, f"{words[0]}: status {done.returncode}: {said}"
        return done.stdout or ""

    def shell(self, script: str) -> None:
        """Let the container run a script, or what the configuration says if there is none."""
        if script:
            self.config["process"]["args"] = ["sh", "-c", f". /etc/profile\n{script}"]
        self.write()

    def run(self, script: str = "") -> subprocess.CompletedProcess[str]:
        """Run a script in the container, from its creation to its end."""
        self.shell(script)
        return self.call("run", "--bundle", str(self.folder), self.id)

    def prints(self, script: str = "") -> str:
        """Run a script that has to succeed; return what it printed."""
        done = self.run(script)
        assert done.returncode == 0, f"status {done.returncode}: {done.stderr.strip()[-300:]}"
        return done.stdout.strip()

    def create(self, script: str = "", *options: str) -> None:
        """Create the container; what it prints is in the file `output`."""
        self.shell(script)
        with (self.folder / "output").open("wb") as output:
            words = ("create", "--bundle", str(self.folder), *options, self.id)
            errors = self.folder / "errors"
            with errors.open("wb") as said:
                done = self.call(*words, capture_output=False, stdout=output, stderr=said)
        assert done.returncode == 0, f"create: {errors.read_text().strip()[-300:]}"

    def start(self) -> None:
        """Start what was created."""
        self.output("start", self.id)

    def state(self) -> dict[str, Any]:
        """Return the container's state."""
        state: dict[str, Any] = json.loads(self.output("state", self.id))
        return state

    @property
    def status(self) -> str:
        """Return the container's status."""
        return str(self.state()["status"])

    def printed(self) -> str:
        """Return what a created container has printed so far."""
        return (self.folder / "output").read_text().strip()

    def clean(self) -> None:
        """Remove the container and its control groups."""
        self.call("delete", "--force", self.id)
        for group in self.groups():
            with contextlib.suppress(OSError):
                group.rmdir()

    def groups(self) -> list[Path]:
        """Return the control groups of the container, the innermost first."""
        # Somebody else's groups may go meanwhile, and be deep: neither glob nor os.walk likes that.
        words = ("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*{self.id}*")
        found = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        return [Path(path) for path in found.splitlines()]


def becomes(condition: Any) -> bool:
    """Wait for what is about to be true."""
    deadline = time.monotonic() + PATIENCE_S / 2
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def box(runtime: Runtime, folder: Path, probe: Path) -> Iterator[Box]:
    """Make a bundle in an empty folder; its container is gone at the end."""
    made = Box(runtime, folder, probe)
    try:
        yield made
    finally:
        made.clean()
