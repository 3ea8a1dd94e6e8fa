# SPDX-License-Identifier: Apache-2.0
"""What a sandbox should be: frozen values, checked when made, that know nothing of the host."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, TypeAlias, TypedDict

from . import profile as profiles
from ._image._root import ImageRoot
from .errors import ConfigError
from .profile import Profile

StrPath: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = int | str
Count: TypeAlias = int | Literal["max"]
Network: TypeAlias = Literal["none", "host"]

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
DEFAULT_NAMESPACES = NAMESPACES[:-1]

_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*(?:([KMGT])(i?B)?|B)?", re.ASCII | re.IGNORECASE)
_UNIT = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DEVICE = re.compile(r"\d+:\d+", re.ASCII)
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?", re.ASCII)
_ID = re.compile(r"\d{1,10}", re.ASCII)
_USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)
# 2**32 - 1 is "no id" to every system call that takes one.
_ID_MAX = 2**32 - 2


NO_BOUND = "max"
"""What a limit is called that is none, as in memory.max and pids.max (cgroup-v2.rst)."""


def parse_size(value: Size, name: str = "size") -> int:
    """Return a number of bytes from an int or a text such as "512M", "1.5GiB" or "64k".

    Raises:
        ConfigError: Not a size, or not positive.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"{name}: {value!r} is not a size; give bytes or a text such as '512M'")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ConfigError(
                f"{name}: {value!r} is not a size; give bytes or a text such as '512M'"
            )
        number, scale = match[1], _UNIT[match[2].upper()] if match[2] else 1
        value = int(float(number) * scale) if "." in number else int(number) * scale
    if not 0 < value < 1 << 63:
        raise ConfigError(f"{name}: {value} bytes is not a positive size")
    return value


def check_text(value: str, name: str) -> str:
    """Return `value`, which must be a str without NUL bytes: the kernel would cut it there."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {value!r} is not a str")
    if "\0" in value:
        raise ConfigError(f"{name}: {value!r} has a NUL byte")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ConfigError(f"{name}: {value!r} cannot be encoded for the kernel") from None
    return value


def check_path_text(value: StrPath, name: str) -> str:
    """Return a path as text; bytes and numbers are no paths here."""
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name}: {value!r} is not a path")
    return check_text(os.fspath(value), name)


def check_inside_path(value: StrPath, name: str) -> str:
    """Return an absolute, normal path inside a sandbox.

    Raises:
        ConfigError: Empty, relative, with a NUL byte or with `..`, which could mean another place
            than it seems.
    """
    path = check_path_text(value, name)
    if not path:
        raise ConfigError(f"{name}: the path is empty")
    if not path.startswith("/"):
        raise ConfigError(
            f"{name}: {path!r} is relative; give the absolute path inside the sandbox"
        )
    if ".." in PurePosixPath(path).parts:
        raise ConfigError(f"{name}: {path!r} contains '..'")
    if len(os.fsencode(path)) >= os.pathconf("/", "PC_PATH_MAX"):
        raise ConfigError(f"{name}: the path is longer than the kernel takes ({path[:40]!r}...)")
    return "/" + path.strip("/")


def check_host_path(value: StrPath, name: str) -> str:
    """Return the absolute form of a path on the host, links not resolved.

    Raises:
        ConfigError: Empty, or with a NUL byte.
    """
    path = check_path_text(value, name)
    if not path:
        raise ConfigError(f"{name}: the path is empty")
    return os.path.abspath(path)


def check_mount_point(value: StrPath, name: str) -> str:
    """Return an absolute path inside that something can be mounted on.

    Raises:
        ConfigError: Not such a path, or the root, which is what `rootfs` is for.
    """
    path = check_inside_path(value, name)
    if path == "/":
        raise ConfigError(f"{name}: '/' is the root itself; use rootfs=")
    return path


def check_count(value: int, name: str) -> int:
    """Return a number of files, processes or operations that the kernel takes as a limit."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise ConfigError(f"{name}: {value!r} is not a positive number below 2**31")
    return value


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host, with all that is mounted below it, shown inside.

    Attributes:
        source: Path on the host; relative to the current directory when the Bind is made.
        target: Absolute path inside. A missing mount point is made, but never in another Bind.
        read_only: Also for what is mounted below. With False, the sandbox's default user acts on
            these files as the caller does.
    """

    source: StrPath
    target: StrPath
    read_only: bool = True

    def __post_init__(self) -> None:
        """Check and normalise both paths."""
        object.__setattr__(self, "source", check_host_path(self.source, "Bind source"))
        object.__setattr__(self, "target", check_mount_point(self.target, "Bind target"))


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A private file system in memory, gone with the sandbox.

    Attributes:
        target: Absolute path inside.
        size: Limit in bytes, or a text such as "64M".
        inodes: Limit on the number of files.
        mode: Permission bits of its root.
    """

    target: StrPath
    size: Size = "64M"
    inodes: int = 16384
    mode: int = 0o1777

    def __post_init__(self) -> None:
        """Check all fields."""
        object.__setattr__(self, "target", check_mount_point(self.target, "Tmpfs target"))
        object.__setattr__(self, "size", parse_size(self.size, "Tmpfs size"))
        check_count(self.inodes, "Tmpfs inodes")
        if not isinstance(self.mode, int) or not 0 <= self.mode <= 0o1777:
            raise ConfigError(f"Tmpfs mode: {self.mode!r} is not between 0 and 0o1777")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Directories of the host shown as one, topmost first, under a private layer (overlayfs).

    Attributes:
        lowers: Directories on the host, read only, never changed.
        target: Absolute path inside. What is written there is bounded by the sandbox's `disk` and
            gone with it.
    """

    lowers: tuple[StrPath, ...]
    target: StrPath

    def __post_init__(self) -> None:
        """Check and normalise all paths."""
        lowers = (
            (self.lowers,) if isinstance(self.lowers, str | os.PathLike) else tuple(self.lowers)
        )
        if not lowers:
            raise ConfigError("Overlay lowers: at least one directory is needed")
        object.__setattr__(
            self, "lowers", tuple(check_host_path(lower, "Overlay lower") for lower in lowers)
        )
        object.__setattr__(self, "target", check_mount_point(self.target, "Overlay target"))


Mount: TypeAlias = Bind | Tmpfs | Overlay


@dataclass(frozen=True, slots=True)
class IoLimit:
    """Bounds of what goes from and to one block device; None leaves one open.

    Attributes:
        device: `major:minor` of a whole disk, its device file, or any path that is stored on it.
        read_bytes, write_bytes: Bytes a second, or a text such as "10M".
        read_ops, write_ops: Operations a second.
    """

    device: StrPath
    read_bytes: Size | None = None
    write_bytes: Size | None = None
    read_ops: int | None = None
    write_ops: int | None = None

    def __post_init__(self) -> None:
        """Check all fields."""
        device = check_path_text(self.device, "IoLimit device")
        if not _DEVICE.fullmatch(device):
            device = check_host_path(device, "IoLimit device")
        object.__setattr__(self, "device", device)
        for name in ("read_bytes", "write_bytes"):
            if (size := getattr(self, name)) is not None:
                object.__setattr__(self, name, parse_size(size, f"IoLimit {name}"))
        for name in ("read_ops", "write_ops"):
            if (count := getattr(self, name)) is not None:
                check_count(count, f"IoLimit {name}")


@dataclass(frozen=True, slots=True)
class User:
    """Numeric ids, or names that the sandbox's own passwd and group files resolve."""

    uid: int | str
    gid: int | str | None = None


def _check_id(text: str, what: str) -> int | str:
    if _ID.fullmatch(text):
        number = int(text)
        if number > _ID_MAX:
            raise ConfigError(f"user: {what} {text} is out of range (0 to {_ID_MAX})")
        return number
    if _USER_NAME.fullmatch(text):
        return text
    raise ConfigError(f"user: {text!r} is neither a decimal number nor a name")


def parse_user(value: int | str) -> User:
    """Return the user that 1000, "1000", "1000:1000", "www-data" or "name:group" names.

    Numbers are decimal, ASCII and below 2**32 - 1; anything else that looks like a number is an
    error, never a wrapped id (CVE-2024-40635).

    Raises:
        ConfigError: Neither a number nor a name.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"user: {value!r} is neither a number nor a name")
    uid, colon, gid = str(value).partition(":")
    if colon and not gid:
        raise ConfigError(f"user: {value!r} has no group after the colon")
    return User(_check_id(uid, "uid"), _check_id(gid, "gid") if colon else None)


def check_env(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return an environment's variables.

    Raises:
        ConfigError: A name that is empty or has `=`, or a NUL byte anywhere.
    """
    if not isinstance(env, Mapping):
        raise ConfigError(f"env: {env!r} is not a mapping of names to values")
    for name, value in env.items():
        check_text(name, "env name")
        check_text(value, f"env {name!r}")
        if not name or "=" in name:
            raise ConfigError(f"env: {name!r} is not a variable's name")
    return tuple(env.items())


def check_positive(value: float | None, name: str) -> float | None:
    """Return `value`, which must be None or a finite number above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name}: {value!r} is not a number")
    if not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{name}: {value!r} is not a positive number")
    return value


def check_names(values: Sequence[str], name: str) -> tuple[str, ...]:
    """Return a list of names, which one name alone is not. Raises ConfigError."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{name}: {values!r} is not a list of names")
    return tuple(check_text(value, name) for value in values)


def check_namespaces(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the namespaces that are new, in the order of NAMESPACES.

    Raises:
        ConfigError: An unknown name, or user, mnt or pid left out: without them there is no root of
            the sandbox's own and no kill that cannot be escaped.
    """
    unknown = sorted(set(names) - set(NAMESPACES))
    if unknown:
        raise ConfigError(
            f"namespaces: unknown {', '.join(unknown)}; known are {', '.join(NAMESPACES)}"
        )
    missing = [name for name in ("user", "mnt", "pid") if name not in names]
    if missing:
        raise ConfigError(f"namespaces: {', '.join(missing)} cannot be shared with the host")
    return tuple(name for name in NAMESPACES if name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """What a sandbox is. The fields are `Sandbox`'s parameters, checked.

    Two configurations are equal if they are compiled to the same plan, whatever their limits are.

    Attributes:
        image: The root that an image gives.
        rootfs: Directory of the host used as lower, read-only root; None, and no image: the host's
            own userland.
        mounts: In the order in which they are mounted.
        network: "none" (a loopback interface alone) or "host".
        namespaces: Which are new.
        cpuset_exclusive: The processors are for this sandbox alone.
        memory, pids, cpus, cpuset, io: Limits of all commands together; bytes, number, processors,
            list, bounds per device.
        cgroup: Directories to make control groups in, at most one for each hierarchy.
        disk: Bytes of everything that can be written but Tmpfs mounts and writable Binds.
        inodes: Files in the same.
        wall_limit: Seconds that a command may take; more ends it with a verdict.
        cpu_limit: Seconds of processor time that a command and its descendants may use; the same.
        output_limit: Bytes kept of each captured stream.
        kill_on_output: Whether a command that writes more is ended, with a verdict.
        read_only: Whether the root itself is read-only too, without a writable layer.
        env: Of every command, over the defaults; None: the defaults alone.
        cwd, user, hostname: Defaults of commands; a user of None is the profile's.
        profile: The policy.
        require: Controls that must be in force.
        accept_missing: Controls that may be missing.
        defaulted: Limits that nobody asked for, the profile's: they hold where they can.
        audit: Whether what the seccomp filter refuses is recorded.
        seccomp_listener: Gets each command's seccomp listener.
        emulate: The architecture that is emulated; "": none.
        trace: Whether every system call is counted.
        pinned: The cpuset holds by sched_setaffinity(2), without a control group.
    """

    image: ImageRoot | None = None
    rootfs: str | None = None
    mounts: tuple[Mount, ...] = ()
    network: Network = "none"
    namespaces: tuple[str, ...] = DEFAULT_NAMESPACES
    memory: int | None = field(default=None, compare=False)
    pids: int | None = field(default=None, compare=False)
    cpus: float | None = field(default=None, compare=False)
    cpuset: str | None = field(default=None, compare=False)
    cpuset_exclusive: bool = field(default=False, compare=False)
    io: tuple[IoLimit, ...] = field(default=(), compare=False)
    cgroup: tuple[str, ...] = field(default=(), compare=False)
    disk: int = 64 << 20
    inodes: int = 16384
    wall_limit: float | None = field(default=None, compare=False)
    cpu_limit: float | None = None
    output_limit: int = field(default=1 << 20, compare=False)
    kill_on_output: bool = field(default=False, compare=False)
    read_only: bool = False
    env: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    user: User | None = None
    hostname: str = "sandbox"
    profile: Profile = profiles.default
    require: tuple[str, ...] = ()
    accept_missing: tuple[str, ...] = ()
    defaulted: tuple[str, ...] = field(default=(), compare=False)
    audit: bool = False
    seccomp_listener: Callable[[int], object] | None = None
    emulate: str = ""
    trace: bool = False
    pinned: bool = field(init=False)

    def __post_init__(self) -> None:
        """Check what is not checked by the types of the fields."""
        if self.image is not None and self.rootfs is not None:
            raise ConfigError("rootfs: the image is the root; give one of the two")
        object.__setattr__(self, "pinned", self.cpuset is not None and not self.cpuset_exclusive)
        if self.cpuset_exclusive and self.cpuset is None:
            raise ConfigError("cpuset_exclusive: which processors? Name them with cpuset=")
        if not (isinstance(self.hostname, str) and _HOSTNAME.fullmatch(self.hostname)):
            raise ConfigError(
                f"hostname: {self.hostname!r} is not a host name of at most 64 characters"
            )
        check_count(self.inodes, "inodes")
        if self.network not in ("none", "host"):
            raise ConfigError(f"network: {self.network!r} is unknown; known are 'none' and 'host'")


class SandboxOptions(TypedDict, total=False):
    """The options of `Sandbox`, `AsyncSandbox` and `run`, as the caller writes them.

    Attributes:
        rootfs: Directory of the host used as lower, read-only root; left out: the host's user land.
        mounts: More of the file system, in the order in which it is mounted.
        network: "none" (a loopback interface alone) or "host".
        namespaces: Which are new; user, mnt and pid always are.
        memory: Bytes of all commands together, or a text such as "512M"; swap is 0. "max" is no
            bound; left out, it is the profile's, which holds where control groups can be had.
        cpus: Processors' worth of time, 1.5 being one and a half.
        pids: Processes and threads at once; "max" and left out: the same.
        cpuset: The processors to run on, such as "0-2,5".
        cpuset_exclusive: Those processors are for this sandbox alone; `enforcement` says against
            whom.
        io: Bounds of what goes from and to block devices.
        cgroup: The cgroup directory to make groups in, or one for each hierarchy; left out: a
            delegated one, else none.
        disk, inodes: Bytes and files of all that can be written in the root.
        wall_limit: Seconds that a command may take; more ends it with a verdict. This and
            `cpu_limit` are watched by whoever waits: `run`, `wait`, `communicate`, `poll`.
        cpu_limit: Seconds of processor time that a command and its descendants may use.
        output_limit: Bytes kept of each captured stream; given, more ends it with a verdict.
        env: Variables of every command, over PATH, HOME and LANG.
        cwd, user: Of every command; a user is a number or a name, with or without `:group`.
        hostname: Of the sandbox.
        profile: "default", "judge", "build", "nested" or "compat", or a `Profile` of your own.
        read_only: Whether the root is read-only, without a private layer.
        require: Controls that must be in force (names of `enforcement`).
        accept_missing: Limits that may be missing although they were asked for.
        seccomp_listener: Called with the descriptor of each command's seccomp listener
            (seccomp_unotify(2)), which it owns from then on, before the program is executed; for
            profiles with rules of the action notify. It must not block, and somebody has to answer:
            the calls of a listener that is closed fail with ENOSYS.
        audit: Record the system calls that the seccomp filter refuses, in `Result.denials`. Each
            such call then takes some microseconds more; what is allowed takes no longer, and what
            is decided stays the same. Programs cannot have a seccomp listener of their own then,
            and with the profile `judge` no filter of their own.
        trace: Count all system calls, for `contract.trace`. Each then takes ten microseconds or
            more through PID 1, which lets it go on if the filter permits it, and a signal whose
            handler is without SA_RESTART can end any of them with EINTR.
        platform: Which of an image's, such as "linux/arm64"; left out: this machine's.
        emulate: Run the programs of `platform`, of an image or of another root, through QEMU's user
            mode (`qemu-user-static`) if this machine does not run them itself. It is slow, and
            takes every system call of a program through QEMU, which is no boundary of its own.
    """

    rootfs: StrPath | None
    mounts: Sequence[Mount]
    network: Network
    namespaces: Sequence[str]
    memory: Size | None
    cpus: float | None
    pids: Count | None
    disk: Size
    inodes: int
    cpuset: str | None
    cpuset_exclusive: bool
    io: Sequence[IoLimit]
    cgroup: StrPath | Sequence[StrPath] | None
    wall_limit: float | None
    cpu_limit: float | None
    output_limit: Size | None
    env: Mapping[str, str] | None
    cwd: StrPath | None
    user: int | str | None
    hostname: str
    platform: str | None
    profile: str | Profile
    read_only: bool
    require: Sequence[str]
    accept_missing: Sequence[str]
    emulate: bool
    audit: bool
    trace: bool
    seccomp_listener: Callable[[int], object] | None


class RunOptions(SandboxOptions, total=False):
    """Those of `run`, which has the image among its options.

    Attributes:
        image: A reference such as "python:3.12-slim", pulled if the store does not have it.
    """

    image: str | None


class LiveLimits(TypedDict, total=False):
    """The limits that `update` can change in a living sandbox; None or "max" lifts one.

    Attributes: as in `SandboxOptions`.
    """

    memory: Size | None
    cpus: float | None
    pids: Count | None
    cpuset: str | None
    io: Sequence[IoLimit]
