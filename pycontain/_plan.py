# SPDX-License-Identifier: Apache-2.0
"""Compile a configuration into the one message that PID 1 walks: once, for every spawn."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from . import (
    _audit,
    _capabilities,
    _fallbacks,
    _landlock,
    _native,
    _patience,
    _policy,
    _remedies,
    _seccomp,
    _userland,
)
from ._accounts import account
from ._attach import attach_at
from ._contract import PATH
from ._identity import Identity, Lease, identity
from ._image._root import ImageRoot, Shown
from ._image._user import User as Account
from ._native import MOUNT_NODEV, MOUNT_NOEXEC, MOUNT_NOSUID, MOUNT_RDONLY, Idmap, Op, OpKind
from .config import Bind, Mount, Overlay, SandboxConfig, StrPath, Tmpfs
from .enforcement import GROUP_CONTROLS, Control, check_required
from .errors import ConfigError, SpawnError, UnsupportedError
from .profile import Profile

# What a file system cannot do stays so; this may be otherwise in a moment.
PASSING: Final = frozenset(
    (errno.EINTR, errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC)
)
RESTRICTED: Final = MOUNT_NOSUID | MOUNT_NODEV
SHM_SIZE: Final = 64 << 20
# Character devices: name, major << 8 | minor (Documentation/admin-guide/devices.txt).
DEVICES: Final = {
    "null": 0x103,
    "zero": 0x105,
    "full": 0x107,
    "random": 0x108,
    "urandom": 0x109,
    "tty": 0x500,
}
DEV_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# What is taken inside is counted against the owner of the user namespace too (ucounts), so without
# bounds of its own a sandbox could take all that the caller's user has on the host. The numbers are
# those of an old kernel, for a caller whose own namespace says nothing.
COUNTED: Final = {"max_inotify_instances": 128, "max_inotify_watches": 8192}
_UNLIMITED: Final = 2**31 - 1
# A command has one thread when its filter is loaded, and the listener is PID 1's affair.
_FILTER_FLAGS: Final = sum(
    _seccomp.FLAGS[f"SECCOMP_FILTER_FLAG_{name}"] for name in ("LOG", "SPEC_ALLOW")
)
_SHARE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A compiled configuration.

    Attributes:
        binds: Files of the caller are shown.
        namespaces: CLONE_NEW* flags.
        command_flags: EXEC_* flags of every command.
        setup: The packed set-up message.
        trees: What the parent clones and idmaps for each spawn.
        served: Directories and files of the host whose file server may be dead by the next start.
        tree_paths, op_paths: For error messages, by index.
        user, env, cwd, umask: Defaults of commands.
        enforcement: Each control and what holds it, or why nothing does.
        audited: The filter of which refusals are recorded; None: none are.
        shown: What `trees` are copies of, alive as long as this.
    """

    config: SandboxConfig
    profile: Profile
    identity: Identity
    binds: bool
    namespaces: int
    command_flags: int
    setup: bytes
    trees: _native.Trees
    served: tuple[str, ...]
    op_paths: tuple[str, ...]
    user: Account
    env: Mapping[str, str]
    cwd: str
    umask: int
    enforcement: Mapping[str, Control]
    audited: _seccomp.Filter | None = None
    shown: tuple[Shown, ...] = ()


class _Builder:
    """Collects ops; the order in which they are added is the order in which PID 1 does them."""

    def __init__(
        self, config: SandboxConfig, profile: Profile, ids: Identity, lease: Lease
    ) -> None:
        self.config = config
        self.profile = profile
        self.ids = ids
        self.ops: list[Op] = []
        self.paths: list[str] = []
        self.userns_fds = {Idmap.ROOT: lease.userns_fd, Idmap.BIND: lease.bind_userns_fd}
        self.trees: list[_native.Tree] = []
        self.notes: dict[str, Control] = {}

    def add(self, op: Op, path: str = "") -> None:
        self.ops.append(op)
        self.paths.append(path or op.target)

    def source(self, path: str, idmap: int) -> tuple[bytes, int]:
        """Return the source and descriptor fields for a path of the host.

        Where ids are mapped the parent makes an idmapped copy of the tree, and opens what the
        mapped root of PID 1 could not traverse. Else PID 1 opens the path itself, which only it can
        do in its own mount namespace.
        """
        if self.ids.mapping != "range":
            return os.fsencode(path), -1
        cloned = _fallbacks.shows_trees()
        problem = errno.ENOSYS
        if cloned:
            problem = _native.can_idmap(path, self.userns_fds[idmap])
            if problem in PASSING:
                raise SpawnError("IDMAP", problem, os.strerror(problem), path)
        if problem:
            self.notes[f"idmap {path}"] = Control(
                in_force=False,
                why=f"{os.strerror(problem)}: its files show as nobody's",
                remedy=_remedies.IDMAP,
            )
        if not cloned:
            return os.fsencode(path), -1
        self.trees.append(_native.Tree(path, Idmap.NONE if problem else idmap, recursive=True))
        return b"", len(self.trees) - 1

    def bind(self, source: str, target: str, idmap: int, *, attr: int) -> None:
        text, fd = self.source(source, idmap)
        self.add(
            Op(OpKind.BIND, target, text, _native.OP_RECURSIVE, fd, attr=attr),
            f"{source} on {target}",
        )

    def root(self) -> None:
        """The root: a directory under a private layer, or the host's user land on a tmpfs."""
        limits = f"size={self.config.disk},nr_inodes={self.config.inodes}"
        path = self.config.rootfs
        image = self.config.image
        layered = image is not None or (path is not None and not self.config.read_only)
        if layered or any(isinstance(mount, Overlay) for mount in self.config.mounts):
            stage = f"{limits},mode=700".encode()
            self.add(Op(OpKind.STAGE, "", stage, attr=RESTRICTED), "the writable layers")
        if image is not None:
            self._image(image)
            return
        if path is None:
            self.add(Op(OpKind.ROOT_TMPFS, "", f"{limits},mode=755".encode(), attr=RESTRICTED), "/")
            self._userland()
            return
        text, fd = self.source(path, Idmap.ROOT)
        if self.config.read_only:
            attr = RESTRICTED | MOUNT_RDONLY
            self.add(Op(OpKind.ROOT_BIND, "", text, _native.OP_RECURSIVE, fd, attr=attr), path)
            return
        self.add(
            Op(OpKind.LOWER, "", text, _native.OP_RECURSIVE, fd, attr=RESTRICTED | MOUNT_RDONLY),
            path,
        )
        self._layered(path, path)

    def _image(self, image: ImageRoot) -> None:
        """An image's layers: directories by one mount of what holds them, others by their own."""
        attr = RESTRICTED | MOUNT_RDONLY
        if len(image.shown) < len(image.layers):
            text, fd = self.source(image.directory, Idmap.ROOT)
            self.add(Op(OpKind.LAYERS, "", text, fd=fd, attr=attr), image.directory)
        for layer in image.layers:
            if layer in image.shown:
                text, fd = self.source(image.shown[layer].path, Idmap.ROOT)
                self.add(Op(OpKind.LOWER, "", text, fd=fd, attr=attr), layer)
            else:
                self.add(Op(OpKind.LAYER, "", os.fsencode(layer)), f"{image.directory}/{layer}")
        self._layered(image.name, image.directory)
        for path in (*image.config.volumes, self.config.cwd or image.config.working_dir):
            self.add(Op(OpKind.MKDIR, path, mode=0o755))
        name = self.config.hostname
        self._replace("/etc/hosts", _userland.hosts(name))
        self._replace("/etc/hostname", f"{name}\n".encode())
        if self.config.network == "host":
            with contextlib.suppress(OSError):
                self._replace("/etc/resolv.conf", Path("/etc/resolv.conf").read_bytes())

    def _replace(self, path: str, content: bytes) -> None:
        flags = _native.OP_REPLACE
        self.add(Op(OpKind.FILE, path, content, flags, mode=0o644))

    def _layered(self, name: str, source: str) -> None:
        """A private layer over those of `source`."""
        self.add(Op(OpKind.ROOT_OVERLAY, "", attr=RESTRICTED), name)
        self.add(Op(OpKind.MKDIR, "/tmp", mode=0o1777))  # noqa: S108
        if f"idmap {source}" in self.notes:
            # The layer cannot take over files whose owners do not exist inside (EOVERFLOW).
            self.notes["writable root"] = Control(
                in_force=False,
                why="the owners of its files cannot be mapped; only /tmp can be written",
                remedy=self.notes[f"idmap {source}"].remedy,
            )
            limits = f"size={self.config.disk},nr_inodes={self.config.inodes},mode=1777"
            self.add(Op(OpKind.TMPFS, "/tmp", limits.encode(), attr=RESTRICTED))  # noqa: S108

    def _userland(self) -> None:
        ids = self.ids
        for entry in _userland.entries(
            ids.user_uid, ids.user_gid, self.config.hostname, resolver=self.config.network == "host"
        ):
            match entry:
                case _userland.Directory(target, mode, owned):
                    uid, gid = (ids.user_uid, ids.user_gid) if owned else (0, 0)
                    self.add(Op(OpKind.MKDIR, target, mode=mode, uid=uid, gid=gid))
                case _userland.Link(target, text):
                    self.add(Op(OpKind.SYMLINK, target, text.encode()))
                case _userland.Text(target, content):
                    self.add(Op(OpKind.FILE, target, content, mode=0o644))
                case _userland.Show(path):
                    self.bind(path, path, Idmap.ROOT, attr=RESTRICTED | MOUNT_RDONLY)

    def devices(self) -> None:
        """A /dev of six harmless devices, with terminals, shared memory and queues of its own."""
        options = b"size=65536,nr_inodes=64,mode=755"
        self.add(
            Op(
                OpKind.TMPFS,
                "/dev",
                options,
                _native.OP_NO_SYMLINKS,
                attr=MOUNT_NOSUID | MOUNT_NOEXEC,
            )
        )
        for name, number in DEVICES.items():
            self.add(Op(OpKind.DEVICE, f"/dev/{name}", f"/dev/{name}".encode(), mode=number))
        for name, text in DEV_LINKS.items():
            self.add(Op(OpKind.SYMLINK, f"/dev/{name}", text.encode()))
        attr = MOUNT_NOSUID | MOUNT_NOEXEC
        self.add(Op(OpKind.DEVPTS, "/dev/pts", b"ptmxmode=0666,mode=0620", attr=attr))
        shm = f"size={SHM_SIZE},nr_inodes=4096,mode=1777".encode()
        self.add(Op(OpKind.TMPFS, "/dev/shm", shm, attr=RESTRICTED | MOUNT_NOEXEC))  # noqa: S108
        if "ipc" in self.config.namespaces:
            self.add(Op(OpKind.MQUEUE, _landlock.MQUEUE, attr=RESTRICTED | MOUNT_NOEXEC))

    def emulation(self) -> None:
        """An entry for another architecture's programs, in a binfmt_misc that /proc then covers."""
        from . import _emulation  # noqa: PLC0415 - few sandboxes need it
        from ._contract._machine import Machine  # noqa: PLC0415 - the same

        emulation = _emulation.prepare(self.config.emulate, Machine.here())
        if emulation.entry and self.ids.mapping == "single" and self.ids.user_uid:
            raise UnsupportedError(
                errno.EPERM,
                "emulate: binfmt_misc belongs to user 0 inside, and there is one id only: give "
                "user=0 (more ids need root, or newuidmap and /etc/subuid)",
            )
        self.notes["emulation"] = emulation.control
        if emulation.entry:
            attr = RESTRICTED | MOUNT_NOEXEC
            op = Op(OpKind.BINFMT, "/proc", emulation.entry, _native.OP_NO_SYMLINKS, attr=attr)
            self.add(op, f"binfmt_misc for {self.config.emulate}")

    def proc(self) -> None:
        """A procfs of the sandbox's own PID namespace, with what concerns the host masked."""
        attr = RESTRICTED | MOUNT_NOEXEC
        self.add(
            Op(
                OpKind.PROC,
                "/proc",
                b"subset=pid" if self.profile.proc_subset else b"",
                _native.OP_NO_SYMLINKS,
                attr=attr,
            )
        )
        if not self.profile.nested and not self.profile.proc_subset:
            self.add(Op(OpKind.SYSCTL, "/sys/user/max_user_namespaces", b"0"))
        if not self.profile.proc_subset:
            for name, usual in COUNTED.items():
                if value := _share(name, usual):
                    self.add(Op(OpKind.SYSCTL, f"/sys/user/{name}", value))
        for path in self.profile.masked_paths:
            if self._readable(path):
                self.add(Op(OpKind.MASK, path))
        for path in self.profile.readonly_paths:
            self.add(Op(OpKind.READ_ONLY, path, attr=MOUNT_RDONLY))

    def _readable(self, path: str) -> bool:
        """Whether a path of procfs exists and shows anything to ids but the host's root.

        Its files have the same owners and modes in every instance, and what the host's root alone
        may open needs no mask, nor the time of one, unless a command could have the host's root as
        its own id.
        """
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return False
        except OSError:  # who knows: masked it is
            return True
        if self.ids.mapping == "single" and os.geteuid() == 0:
            return True
        return stat.S_ISDIR(mode) or bool(mode & (stat.S_IRWXG | stat.S_IRWXO))

    def mounts(self) -> None:
        """The caller's own mounts, in the caller's order."""
        for mount in self.config.mounts:
            match mount:
                case Bind(source, target, read_only):
                    if not read_only:
                        self._check_owner(target)
                    attr = RESTRICTED | (MOUNT_RDONLY if read_only else 0)
                    self.bind(str(source), str(target), Idmap.BIND, attr=attr)
                case Tmpfs(target, size, inodes, mode):
                    options = f"size={size},nr_inodes={inodes},mode={mode:o}"
                    self.add(Op(OpKind.TMPFS, str(target), options.encode(), attr=RESTRICTED))
                case Overlay(lowers, target):
                    self._overlay([str(lower) for lower in lowers], str(target))

    def _check_owner(self, target: StrPath) -> None:
        """Say it where the default user is not the caller."""
        if self.config.image is not None and self.ids.mapping == "subids" and self.ids.user_uid:
            self.notes[f"owner {target}"] = Control(
                in_force=False,
                why="in an image the caller's files are user 0's, for the default user is another",
                remedy="user=0, or run as root",
            )

    def _overlay(self, lowers: list[str], target: str) -> None:
        for lower in lowers:
            text, fd = self.source(lower, Idmap.ROOT)
            self.add(
                Op(
                    OpKind.LOWER, "", text, _native.OP_RECURSIVE, fd, attr=RESTRICTED | MOUNT_RDONLY
                ),
                lower,
            )
        self.add(Op(OpKind.OVERLAY, target, attr=RESTRICTED))

    def finish(self, names: tuple[str, ...]) -> None:
        """Names, network and the change of root."""
        if "uts" in names:
            self.add(Op(OpKind.HOSTNAME, "", self.config.hostname.encode()))
        if "net" in names:
            self.add(Op(OpKind.LOOPBACK), "lo")
        self.add(Op(OpKind.KEYRING), "session keyring")
        if self.config.read_only and self.config.rootfs is None:  # a directory is bound so
            self.add(Op(OpKind.READ_ONLY, "", attr=MOUNT_RDONLY), "/")
        self.add(Op(OpKind.PIVOT_ROOT), "/")


def _share(name: str, usual: int) -> bytes:
    """Return a part of the caller's own limit, as a sysctl's text; nothing if there is no such."""
    try:
        own = int(Path("/proc/sys/user", name).read_text(encoding="ascii"))
    except OSError:
        return b""
    return b"%d" % max(1, (usual if own == _UNLIMITED else own) // _SHARE)


def _check_rootfs(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise ConfigError(f"rootfs: {path!r}: {os.strerror(error.errno or 0)}") from None
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"rootfs: {path!r} is not a directory")


def _sources(mount: Mount) -> tuple[str, ...]:
    """Return the paths of the host that a mount shows."""
    if isinstance(mount, Bind):
        return (os.fspath(mount.source),)
    return tuple(os.fspath(path) for path in mount.lowers) if isinstance(mount, Overlay) else ()


def _checked_sources(config: SandboxConfig) -> tuple[str, ...]:
    """Check all paths of the host; return those on file systems with a server.

    Raises:
        ConfigError: There is no such file, or it is none that can be shown.
        SpawnError: A server does not answer.
    """
    paths = [path for mount in config.mounts for path in _sources(mount)]
    if config.rootfs is not None:
        paths.append(config.rootfs)
    if not paths:
        return ()

    def look() -> tuple[str, ...]:
        if config.rootfs is not None:
            _check_rootfs(config.rootfs)
        for mount in config.mounts:
            for path in _sources(mount):
                _check_source(mount, path)
        return _patience.served(paths)

    try:
        return _patience.patiently(paths, look)
    except TimeoutError:
        raise _patience.set_up_hangs("PREPARE") from None


def _check_source(mount: Mount, path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ConfigError(
            f"{type(mount).__name__}: {path!r}: {os.strerror(error.errno or 0)}"
        ) from None
    if isinstance(mount, Overlay) and not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"Overlay: {path!r} is not a directory")


def _rlimits(profile: Profile, cpu_limit: float | None) -> tuple[tuple[int, int, int], ...]:
    """The profile's limits, lowered to the caller's hard ones, which only root could raise.

    The limit of processor time bounds each process too, whoever waits for the command. It comes
    later than the exact one: the kernel checks it by ticks, which may count a quarter too much.
    """
    rows = []
    limits = dict(profile.rlimits)
    if cpu_limit is not None:
        seconds = math.ceil(1.25 * cpu_limit) + 1
        limits["CPU"] = (seconds, seconds + 1)
    for name, (soft, hard) in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        own = resource.getrlimit(number)[1]
        if own != resource.RLIM_INFINITY:
            soft, hard = min(soft, own), min(hard, own)  # noqa: PLW2901
        rows.append((number, soft, hard))
    return tuple(rows)


def _namespaces(config: SandboxConfig, ids: Identity) -> tuple[str, ...]:
    shared = {"net"} if config.network == "host" else set()
    if ids.mapping != "single":
        shared.add("user")  # joined, not made
    return tuple(name for name in config.namespaces if name not in shared)


def _enforcement(
    config: SandboxConfig, profile: Profile, ids: Identity, names: tuple[str, ...]
) -> dict[str, Control]:
    rows = {f"namespace {name}": Control(in_force=True, by="new") for name in names}
    mapped = {
        "range": "64 Ki ids that no other living sandbox has",
        "subids": "64 Ki ids of /etc/subuid; the default user is the caller",
        "single": "one id, the caller's own",
    }
    rows["namespace user"] = Control(in_force=True, by=mapped[ids.mapping])
    for name in ("net", "ipc", "uts", "cgroup"):
        rows.setdefault(
            f"namespace {name}",
            Control(
                in_force=False,
                why="shared with the host, as asked",
                remedy="leave it in namespaces=",
            ),
        )
    layer = "read-only" if config.read_only else f"a private layer of at most {config.disk} bytes"
    rows["root"] = Control(in_force=True, by=layer)
    kept = " ".join(profile.capabilities)
    rows["capabilities"] = Control(in_force=True, by=f"only {kept}" if kept else "none in any set")
    rows["seccomp"] = Control(in_force=True, by=f"filter of the profile {profile.name}")
    if config.pinned:
        rows["cpuset"] = Control(in_force=True, by="sched_setaffinity(2), locked by seccomp")
    choices = {
        "no_new_privileges": (profile.no_new_privileges, "PR_SET_NO_NEW_PRIVS"),
        "no nested user namespaces": (
            not profile.nested,
            "seccomp" if profile.proc_subset else "max_user_namespaces 0, and seccomp",
        ),
    }
    for name, (on, by) in choices.items():
        off = Control(in_force=False, why=f"the profile {profile.name} leaves it off")
        rows[name] = Control(in_force=True, by=by) if on else off
    return rows


def filter_of(config: SandboxConfig, profile: Profile, ids: Identity) -> _seccomp.Filter:
    """Return the profile's filter with what this configuration adds to it.

    No other processors than those of `cpuset`; no set-id bits on files that would be the host's
    root's.
    """
    filter_ = profile.seccomp
    if config.pinned:
        filter_ = filter_.first(_policy.NO_OTHER_PROCESSORS)
    writable = any(isinstance(mount, Bind) and not mount.read_only for mount in config.mounts)
    if not writable or ids.mapping != "range":
        return filter_
    return filter_.first(*_policy.NO_SET_ID)


def _check_controls(config: SandboxConfig, enforcement: Mapping[str, Control]) -> None:
    """Those that need control groups are checked when these are made."""
    known = {**dict.fromkeys(GROUP_CONTROLS, Control(in_force=True)), "audit": _audit.NOT_ASKED}
    asked = ("audit",) if config.audit else ()
    check_required({**known, **enforcement}, config.require, config.accept_missing, asked)


def _build(
    config: SandboxConfig, profile: Profile, ids: Identity, names: tuple[str, ...], *, binds: bool
) -> _Builder:
    lease = ids.lease(binds=binds)
    try:
        builder = _Builder(config, profile, ids, lease)
        builder.root()
        builder.devices()
        if config.emulate:
            builder.emulation()
        builder.proc()
        builder.mounts()
        builder.finish(names)
    finally:
        lease.release()
    return builder


def compile_plan(config: SandboxConfig) -> Plan:
    """Return the plan of a configuration.

    Raises:
        ConfigError: A path, a user or a combination that cannot be right.
        UnsupportedError: A user namespace cannot be had.
    """
    profile = config.profile
    served = _checked_sources(config)
    default = (profile.user, profile.user)
    user = account(config, config.user, default)
    uid, gid = user.uid, user.gid
    ids = identity(
        uid,
        gid,
        nested=profile.nested,
        image=config.image is not None,
        emulated=config.emulate,
    )
    if not (ids.has_id(uid) and ids.has_group(gid)):
        raise ConfigError(f"user: {uid}:{gid} is outside the sandbox's ids 0 to {65535}")
    binds = any(isinstance(mount, Bind) for mount in config.mounts)
    names = _namespaces(config, ids)
    builder = _build(config, profile, ids, names, binds=binds)
    enforcement = _enforcement(config, profile, ids, names) | builder.notes
    abi = _native.landlock_abi()
    rules = _landlock.ruleset(config, profile, abi)
    enforcement["landlock"] = _landlock.control(rules, profile, abi)
    audit = _audit.prepare(config, filter_of(config, profile, ids))
    if config.audit:
        enforcement["audit"] = audit.control
    if config.trace:
        enforcement["trace"] = audit.control
    _check_controls(config, enforcement)
    capabilities = _capabilities.mask(profile.capabilities)
    setup = _native.Setup(
        ops=tuple(builder.ops),
        attach_at=attach_at(),
        uid_map=ids.uid_map,
        gid_map=ids.gid_map,
        uid=ids.init_uid,
        gid=ids.init_gid,
        time_namespace="time" in config.namespaces,
        rlimits=_rlimits(profile, config.cpu_limit),
        seccomp=_seccomp.compile(audit.rules),
        seccomp_flags=audit.rules.flag_bits & _FILTER_FLAGS,
        audit=audit.program,
        hand_listener=audit.handed,
        trace=audit.traces,
        no_new_privs=profile.no_new_privileges,
        landlock=rules,
        securebits=profile.securebits,
        drop_groups=ids.drop_groups,
        bounding=capabilities,
        permitted=capabilities,
        inheritable=0,
        ambient=0,
    )
    return Plan(
        config=config,
        profile=profile,
        identity=ids,
        binds=binds,
        namespaces=sum(_native.CLONE_NEW.get(name, 0) for name in names),
        command_flags=_native.EXEC_MARK if "cgroup" in names else 0,
        setup=_native.pack_setup(setup),
        trees=_native.Trees(builder.trees),
        served=served,
        op_paths=tuple(builder.paths),
        user=user,
        env=MappingProxyType(_default_env(config, user)),
        cwd=_default_cwd(config),
        umask=profile.umask,
        enforcement=MappingProxyType(enforcement),
        audited=audit.rules if audit.program and not audit.handed else None,
        shown=() if config.image is None else tuple(config.image.shown.values()),
    )


def _default_cwd(config: SandboxConfig) -> str:
    if config.cwd is not None:
        return config.cwd
    if config.image is not None:
        return config.image.config.working_dir
    return "/" if config.rootfs is not None else _userland.HOME


def _default_env(config: SandboxConfig, user: Account) -> dict[str, str]:
    if config.image is not None:
        image = config.image.config.environment
        return {"PATH": PATH, "HOME": user.home, **image, **dict(config.env)}
    path = PATH
    if config.rootfs is None:
        home = _userland.HOME
        path = ":".join(
            [f"{prefix}/bin" for prefix in reversed(_userland.interpreter_prefixes())] + [PATH]
        )
    else:
        home = "/root" if user.uid == 0 else "/tmp"  # noqa: S108
    return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **dict(config.env)}
