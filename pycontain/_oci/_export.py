# SPDX-License-Identifier: Apache-2.0
"""A sandbox's plan as a bundle that any OCI runtime runs.

What config.json has no words for is either part of how `Sandbox` works (Landlock, the bound of the
writable layer, verdicts, owners of shown files) and named in docs/runtime.md, or an option whose
loss nobody would notice, and then an error.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from typing import Any

from pycontain import _ranges, _userland
from pycontain._command import encode_args
from pycontain._json import dumps
from pycontain._plan import Plan, filter_of
from pycontain._seccomp._to_oci import to_oci
from pycontain.config import Bind, Mount, Overlay, SandboxConfig, Tmpfs
from pycontain.errors import ConfigError

from ._copy import Copy
from ._default_spec import VERSION

BASE = _ranges.FIRST - _ranges.SIZE
"""The host's id of id 0 in a bundle that root makes: below those of living sandboxes."""
_KINDS = {"mnt": "mount", "net": "network"}
_RESTRICTED = ("nosuid", "nodev")


def export(plan: Plan, directory: str, args: Sequence[str | bytes | os.PathLike[str]]) -> None:
    """Write a bundle; the directory must not exist.

    Raises:
        ConfigError: An option that cannot be expressed, or arguments that cannot be right.
        OSError: It cannot be written.
    """
    config = plan.config
    argv = [os.fsdecode(arg) for arg in encode_args(args)]
    _check(config)
    os.mkdir(directory, 0o755)
    try:
        _write(plan, directory, argv)
    except BaseException:
        shutil.rmtree(directory)
        raise


def _write(plan: Plan, directory: str, argv: list[str]) -> None:
    config, ranged = plan.config, plan.identity.mapping == "range"
    root = _Root(plan, directory)
    document = {
        "ociVersion": VERSION,
        "process": _process(plan, argv),
        "root": {"path": root.path, "readonly": config.read_only},
        "mounts": [*_system(config, ranged=ranged), *root.mounts, *map(_mount, config.mounts)],
        "linux": _linux(plan),
    }
    if "uts" in config.namespaces:
        document["hostname"] = config.hostname
    with open(os.path.join(directory, "config.json"), "w", encoding="ascii") as file:
        file.write(f"{dumps(document, indent=2)}\n")


def _check(config: SandboxConfig) -> None:
    asked = {
        "wall_limit": config.wall_limit is not None,
        "cpu_limit": config.cpu_limit is not None,
        "output_limit": config.kill_on_output,
        "io": bool(config.io),
        "cpuset_exclusive": config.cpuset_exclusive,
        "audit": config.audit,
        "trace": config.trace,
        "seccomp_listener": config.seccomp_listener is not None,
        "emulate": bool(config.emulate),
        "mounts: an Overlay": any(isinstance(mount, Overlay) for mount in config.mounts),
    }
    for name, given in asked.items():
        if given:
            raise ConfigError(f"{name} cannot be expressed in a bundle: leave it out")


class _Root:
    """The root of a bundle: `path`, and `mounts` that complete it."""

    def __init__(self, plan: Plan, directory: str) -> None:
        config = plan.config
        self.mounts: list[dict[str, Any]] = []
        self.path = "rootfs"
        if config.rootfs is not None and config.read_only:
            self.path = config.rootfs
            return
        self._shift = BASE if plan.identity.mapping == "range" else None
        self._target = os.path.join(directory, "rootfs")
        os.mkdir(self._target, 0o755)
        copy = Copy(self._target, self._shift)
        if config.image is not None:
            for layer in reversed(config.image.paths):
                copy.add(layer)
        elif config.rootfs is not None:
            copy.add(config.rootfs)
        else:
            self._userland(plan)
        for name in ("proc", "dev"):
            os.makedirs(os.path.join(self._target, name), exist_ok=True)

    def _userland(self, plan: Plan) -> None:
        config, user = plan.config, plan.user
        self._own("", 0, 0, 0o755)
        for entry in _userland.entries(
            user.uid, user.gid, config.hostname, resolver=config.network == "host"
        ):
            match entry:
                case _userland.Directory(target, mode, owned):
                    os.mkdir(self._target + target)
                    ids = (user.uid, user.gid) if owned else (0, 0)
                    self._own(target, *ids, mode)
                case _userland.Link(target, text):
                    os.symlink(text, self._target + target)
                case _userland.Text(target, content):
                    with open(self._target + target, "wb") as file:
                        file.write(content)
                    self._own(target, 0, 0, 0o644)
                case _userland.Show(path):
                    self.mounts.append(_bind(path, path, "ro"))

    def _own(self, target: str, uid: int, gid: int, mode: int) -> None:
        if self._shift is not None:
            os.chown(self._target + target, uid + self._shift, gid + self._shift)
        os.chmod(self._target + target, mode)


def _process(plan: Plan, argv: list[str]) -> dict[str, Any]:
    profile, user = plan.profile, plan.user
    held = list(profile.capabilities)
    who: dict[str, Any] = {"uid": user.uid, "gid": user.gid, "umask": plan.umask}
    if user.groups and plan.identity.mapping == "range":
        who["additionalGids"] = list(user.groups)
    return {
        "args": argv,
        "cwd": plan.cwd,
        "env": [f"{name}={value}" for name, value in plan.env.items()],
        "user": who,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
        "rlimits": [_rlimit(name, *limits) for name, limits in profile.rlimits.items()],
        "noNewPrivileges": profile.no_new_privileges,
    }


def _rlimit(name: str, soft: int, hard: int) -> dict[str, Any]:
    own = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
    if own != resource.RLIM_INFINITY:
        soft, hard = min(soft, own), min(hard, own)
    return {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard}


def _linux(plan: Plan) -> dict[str, Any]:
    config, profile = plan.config, plan.profile
    ranged = plan.identity.mapping == "range"
    kinds = [name for name in config.namespaces if name != "net" or config.network != "host"]
    ids = {
        "uidMappings": (plan.user.uid, os.geteuid()),
        "gidMappings": (plan.user.gid, os.getegid()),
    }
    found: dict[str, Any] = {
        "namespaces": [{"type": _KINDS.get(name, name)} for name in kinds],
        "seccomp": to_oci(filter_of(config, profile, plan.identity)),
        "maskedPaths": list(profile.masked_paths),
        "readonlyPaths": list(profile.readonly_paths),
    }
    for name, (inside, outside) in ids.items():
        first, host, size = (0, BASE, _ranges.SIZE) if ranged else (inside, outside, 1)
        found[name] = [{"containerID": first, "hostID": host, "size": size}]
    if resources := _resources(config, ranged=ranged):
        found["resources"] = resources
    return found


def _resources(config: SandboxConfig, *, ranged: bool) -> dict[str, Any]:
    """Return the limits: of an ordinary user, who may have no groups, those asked for."""
    found: dict[str, Any] = {}
    given = {
        name: getattr(config, name)
        for name in ("memory", "pids")
        if ranged or name not in config.defaulted
    }
    if given.get("memory") is not None:
        found["memory"] = {"limit": given["memory"], "swap": given["memory"]}
    if given.get("pids") is not None:
        found["pids"] = {"limit": given["pids"]}
    cpu: dict[str, Any] = {}
    if config.cpus is not None:
        cpu = {"period": 100_000, "quota": int(config.cpus * 100_000)}
    if config.cpuset is not None:
        cpu["cpus"] = config.cpuset
    if cpu:
        found["cpu"] = cpu
    if ranged:
        found["devices"] = [{"allow": False, "access": "rwm"}]
    return found


def _system(config: SandboxConfig, *, ranged: bool) -> list[dict[str, Any]]:
    pts = ["newinstance", "ptmxmode=0666", "mode=0620", *(["gid=5"] if ranged else [])]
    rows = [
        ("/proc", "proc", [*_RESTRICTED, "noexec"]),
        ("/dev", "tmpfs", ["nosuid", "noexec", "size=65536", "mode=755"]),
        ("/dev/pts", "devpts", ["nosuid", "noexec", *pts]),
        ("/dev/shm", "tmpfs", [*_RESTRICTED, "noexec", "size=64m", "mode=1777"]),  # noqa: S108 - inside
    ]
    if "ipc" in config.namespaces:
        rows.append(("/dev/mqueue", "mqueue", [*_RESTRICTED, "noexec"]))
    return [
        {"destination": target, "type": kind, "source": kind, "options": options}
        for target, kind, options in rows
    ]


def _mount(mount: Mount) -> dict[str, Any]:
    match mount:
        case Bind(source, target, read_only):
            return _bind(str(source), str(target), "ro" if read_only else "rw")
        case Tmpfs(target, size, inodes, mode):
            options = [*_RESTRICTED, f"size={size}", f"nr_inodes={inodes}", f"mode={mode:o}"]
            kind = {"type": "tmpfs", "source": "tmpfs", "options": options}
            return {"destination": str(target), **kind}
    raise ConfigError(f"mounts: {mount!r} cannot be expressed in a bundle")


def _bind(source: str, target: str, access: str) -> dict[str, Any]:
    options = ["rbind", access, *_RESTRICTED]
    return {"destination": target, "type": "bind", "source": source, "options": options}
