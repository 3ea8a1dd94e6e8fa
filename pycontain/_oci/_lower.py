# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the ops of the set-up that `Sandbox` uses, too."""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first

from pycontain import _native
from pycontain import _os as os
from pycontain._native import MOUNT_NODEV, MOUNT_NOEXEC, MOUNT_NOSUID, MOUNT_RDONLY, Op, OpKind
from pycontain._usermap import can_map
from pycontain.errors import ConfigError

from ._options import PROPAGATIONS, Options, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._spec import Config, Device, Mount
    from ._userns import UserNamespaces

# Every container has these (config-linux.md, "Default Devices"): minor numbers by name and major.
DEFAULT_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
DEVICE_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
# What an image must not lead elsewhere: the kernel's own views.
_PLAIN = frozenset(("proc", "sysfs"))
_CGROUP = frozenset(("cgroup", "cgroup2"))
_CGROUP_ROOT = "/sys/fs/cgroup"
# The kernel's views have their labels from the policy; queues are older than their mount.
_UNLABELLED = frozenset(("proc", "sysfs", "mqueue"))


class Lowered:
    """A configuration's ops, with what the parent has to prepare for them.

    Attributes:
        ops: In order.
        paths: What each is about, for errors.
        trees: What the parent opens for them.
        barriers: What is to be done at each SYNC op, by its index.
    """

    def __init__(
        self, config: Config, bundle: str, rootfs: str, cgroups: Mapping[str, str]
    ) -> None:
        self.config = config
        self.bundle = bundle
        self.rootfs = rootfs
        self.cgroups = cgroups
        self.namespaces = {namespace.type: namespace for namespace in config.linux.namespaces}
        self.ops: list[Op] = []
        self.paths: list[str] = []
        self.trees: list[_native.Tree] = []
        self.barriers: dict[int, str] = {}
        self._late: list[tuple[Op, str]] = []
        self._opens_trees = "user" in self.namespaces and can_map()

    def add(self, op: Op, what: str = "") -> None:
        """Append an op; `what` is it about, for errors."""
        self.ops.append(op)
        self.paths.append(what or op.target)

    def barrier(self, name: str) -> None:
        """Let the parent do something at this point."""
        self.barriers[len(self.ops)] = name
        self.add(Op(OpKind.SYNC), name)

    def source(self, path: str, *, recursive: bool = True) -> tuple[bytes, int]:
        """Return source and descriptor of a host's path.

        Who is root of a user namespace may not reach it, so the parent opens it for him; but an
        ordinary user may not (open_tree(2)), and is that root.
        """
        if not self._opens_trees:
            return os.fsencode(path), -1
        self.trees.append(_native.Tree(path, _native.Idmap.NONE, recursive))
        return b"", len(self.trees) - 1

    def root(self) -> None:
        """The root file system, which is the caller's directory itself."""
        source, fd = self.source(self.rootfs)
        flags = _native.OP_RECURSIVE
        self.add(Op(OpKind.ROOT_BIND, "", source, flags, fd), self.rootfs)

    def mounts(self, users: UserNamespaces) -> None:
        """The mounts, in their order."""
        for place, mount in enumerate(self.config.mounts):
            options = parse_options(mount.options, mount.type)
            target = "/" + os.path.normpath(f"/{mount.destination}").lstrip("/")
            what = f"mounts[{place}]: {mount.type or 'bind'} on {target}"
            if options.remount:
                self._change(target, options, what)
            elif options.bind:
                self._bind(mount, target, options, users, what)
            elif mount.type in _CGROUP:
                self._cgroup(target, options, what)
            else:
                self._file_system(mount, target, options, what)

    def _change(self, target: str, options: Options, what: str) -> None:
        self.add(_with(Op(OpKind.ATTRIBUTES, target), options), what)

    def _bind(
        self, mount: Mount, target: str, options: Options, users: UserNamespaces, what: str
    ) -> None:
        path = os.path.join(self.bundle, mount.source)
        if not os.path.lexists(path):
            raise ConfigError(f"{what}: {path} does not exist")
        flags = _native.OP_TOP | (_native.OP_RECURSIVE if options.recursive else 0)
        if options.idmap or mount.uid_mappings:
            self.trees.append(
                _native.Tree(
                    path,
                    _native.Idmap.OWN,
                    options.recursive,
                    options.idmap_recursive,
                    users.of_mount(mount),
                )
            )
            source, fd = b"", len(self.trees) - 1
        else:
            source, fd = self.source(path, recursive=options.recursive)
        self.add(_with(Op(OpKind.BIND, target, source, flags, fd), options), f"{what} from {path}")

    def _file_system(self, mount: Mount, target: str, options: Options, what: str) -> None:
        flags = _native.OP_NO_SYMLINKS if mount.type in _PLAIN else 0
        late = 0
        data = options.data if mount.type in _UNLABELLED else self._labelled(options.data)
        label = self.config.linux.mount_label if mount.type == "mqueue" else ""
        if label:
            late = options.attr & MOUNT_RDONLY
        if mount.type == "tmpfs":
            if "mode=" not in options.data:
                flags |= _native.OP_INHERIT_MODE
            # Other mounts may still need a directory in it.
            late = options.attr & MOUNT_RDONLY
        if options.copy_up:
            flags |= _native.OP_COPY_UP
        source = os.fsencode(mount.source or mount.type) + b"\0" + os.fsencode(data)
        op = _with(Op(OpKind.MOUNT, target, source, flags, type=mount.type), options)
        self.add(op._replace(attr=op.attr & ~late), what)
        if label:
            self.add(Op(OpKind.LABEL, target, label.encode()), what)
        if late:
            self._late.append((Op(OpKind.ATTRIBUTES, target, attr=late), what))

    def _labelled(self, data: str) -> str:
        """Return the options of a file system with the label of all that is in it.

        In quotes, since its categories are separated by commas, as options are. Where the mount
        has a label of its own, that stays.
        """
        label = self.config.linux.mount_label
        if not label or "context=" in data:
            return data
        return f'{data},context="{label}"'.removeprefix(",")

    def _cgroup(self, target: str, options: Options, what: str) -> None:
        """A view of the container's own groups; new instances of these file systems are slow."""
        if self.cgroups.get("", "").startswith(f"{_CGROUP_ROOT}/unified/") or (
            set(self.cgroups) - {""}
        ):
            self._cgroup_v1(target, options, what)
            return
        path = self.cgroups.get("", _CGROUP_ROOT)
        if "cgroup" not in self.namespaces:
            path = _CGROUP_ROOT
        self._show(path, target, options, what)

    def _cgroup_v1(self, target: str, options: Options, what: str) -> None:
        attr = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC
        source = b"tmpfs\0" + self._labelled("mode=755").encode()
        self.add(Op(OpKind.MOUNT, target, source, type="tmpfs", attr=attr), what)
        shown = set()
        for controller, path in sorted(self.cgroups.items()):
            name = path.removeprefix(f"{_CGROUP_ROOT}/").partition("/")[0]
            if name not in shown:
                shown.add(name)
                self._show(path, f"{target}/{name}", options, what)
            if controller and controller != name and "=" not in controller:
                link = Op(OpKind.SYMLINK, f"{target}/{controller}", name.encode())
                self.add(link, what)
        if options.attr & MOUNT_RDONLY:
            self._late.append((Op(OpKind.ATTRIBUTES, target, attr=MOUNT_RDONLY), what))

    def _show(self, path: str, target: str, options: Options, what: str) -> None:
        source, fd = self.source(path)
        flags = _native.OP_RECURSIVE | _native.OP_TOP
        op = _with(Op(OpKind.BIND, target, source, flags, fd), options)
        propagation = options.propagation or (_native.MS_PRIVATE | _native.MS_REC,)
        self.add(op._replace(propagation=propagation), what)

    @property
    def host_devices(self) -> bool:
        """Whether /dev is the caller's, in which nothing is made."""
        return any(
            os.path.normpath(f"/{mount.destination}").lstrip("/") == "dev"
            and parse_options(mount.options, mount.type).bind
            for mount in self.config.mounts
        )

    def devices(self) -> None:
        """The default devices and the configured ones, and the links in /dev."""
        if self.host_devices:
            return
        own = {os.path.normpath(device.path) for device in self.config.linux.devices}
        for name, (major, minor) in DEFAULT_DEVICES.items():
            if f"/dev/{name}" not in own:
                self._node(f"/dev/{name}", stat.S_IFCHR | 0o666, major, minor)
        for device in self.config.linux.devices:
            self._device(device)
        links = dict(DEV_LINKS)
        if os.path.exists("/proc/kcore"):
            links["core"] = "/proc/kcore"
        flags = _native.OP_FOLLOW | _native.OP_OPTIONAL
        for name, text in links.items():
            self.add(Op(OpKind.SYMLINK, f"/dev/{name}", text.encode(), flags))
        flags = _native.OP_FOLLOW | _native.OP_REPLACE
        self.add(Op(OpKind.SYMLINK, "/dev/ptmx", b"pts/ptmx", flags))

    def _device(self, device: Device) -> None:
        mode = DEVICE_TYPES[device.type]
        mode |= 0o666 if device.file_mode is None else device.file_mode & 0o7777
        self._node(
            os.path.normpath(device.path),
            mode,
            device.major,
            device.minor,
            device.uid or 0,
            device.gid or 0,
        )

    def _node(
        self, path: str, mode: int, major: int, minor: int, uid: int = 0, gid: int = 0
    ) -> None:
        number = 0 if stat.S_ISFIFO(mode) else major << 20 | minor
        source = b"" if stat.S_ISFIFO(mode) else os.fsencode(path)
        op = Op(OpKind.NODE, path, source, mode=mode, uid=uid, gid=gid, length=number)
        self.add(op, f"device {path}")

    def restrictions(self) -> None:
        """Console, masks, what is read-only, sysctls and names."""
        linux, process = self.config.linux, self.config.process
        if process is not None and process.terminal:
            self.add(Op(OpKind.CONSOLE, "" if self.host_devices else "/dev/console"))
        for op, what in self._late:
            self.add(op, what)
        for name, value in linux.sysctl.items():
            self.add(Op(OpKind.SYSCTL, f"/sys/{_sysctl(name)}", os.fsencode(value)), name)
        label = self._labelled("").encode()
        for path in linux.masked_paths:
            self.add(Op(OpKind.MASK, path, label, flags=_native.OP_FOLLOW))
        for path in linux.readonly_paths:
            self.add(Op(OpKind.READ_ONLY, path, flags=_native.OP_FOLLOW, attr=MOUNT_RDONLY))
        if self.config.root is not None and self.config.root.readonly:
            self.add(Op(OpKind.ATTRIBUTES, "", attr=MOUNT_RDONLY), "/")

    def names(self) -> None:
        """Names, and the loopback interface of a new network."""
        if self.config.hostname:
            self.add(Op(OpKind.HOSTNAME, "", os.fsencode(self.config.hostname)))
        if self.config.domainname:
            self.add(Op(OpKind.DOMAINNAME, "", os.fsencode(self.config.domainname)))
        if (net := self.namespaces.get("network")) is not None and not net.path:
            self.add(Op(OpKind.LOOPBACK), "lo")

    def enter(self, *, pivot: bool) -> None:
        """Go into the new root."""
        if "mount" not in self.namespaces:
            self.add(Op(OpKind.CHROOT), "/")
        elif pivot:
            self.add(Op(OpKind.PIVOT_ROOT), "/")
        else:
            self.add(Op(OpKind.CHROOT, mode=1), "/")
        if propagation := PROPAGATIONS.get(self.config.linux.rootfs_propagation):
            self.add(Op(OpKind.ATTRIBUTES, "", propagation=(propagation,)), "rootfsPropagation")


def _with(op: Op, options: Options) -> Op:
    return op._replace(
        attr=options.attr,
        attr_clear=options.attr_clear,
        tree_attr=options.tree_attr,
        tree_attr_clear=options.tree_attr_clear,
        propagation=options.propagation,
    )


def _sysctl(name: str) -> str:
    """Return a sysctl's path below /proc/sys; with slashes a name may have dots (sysctl(8))."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate(str.maketrans("./", "/."))


def find_rootfs(config: Config, bundle: str) -> str:
    """Return the root file system's real path.

    Raises:
        ConfigError: There is none, or it is no directory.
    """
    assert config.root is not None  # noqa: S101 - the parser demands it
    path = os.path.join(bundle, config.root.path)
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"root.path: {path}: {os.strerror(error.errno or 0)}") from None
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    if path == "/":
        raise ConfigError("root.path: / is the host's own root")
    return path
