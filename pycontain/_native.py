# SPDX-License-Identifier: Apache-2.0
"""The only door to the C core: packs messages, calls, turns failures into values.

Layouts and constants come from `src/_nsbind/api.h` by way of cffi, so there is no second table
here.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from _thread import allocate_lock

from pycontain._nsbind import ffi, lib

from . import _os as os
from ._record import NamedTuple
from .errors import PycontainError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any, Final, NotRequired, TypedDict, Unpack

    class SpawnArguments(TypedDict):
        """How PID 1 is cloned: the fields of struct nsb_spawn_args.

        With `keeper_fd`, the control socket of a keeper, that clones it in our place, and before
        that enters the namespaces of `joins`: descriptor and CLONE_NEW* of each.
        """

        namespaces: int
        flags: int
        userns_fd: int
        cgroup_fd: int
        tasks_fds: NotRequired[Sequence[int]]
        cpus: NotRequired[Collection[int] | None]
        keeper_fd: NotRequired[int]
        joins: NotRequired[Sequence[tuple[int, int]]]


API_VERSION: Final = 1
if lib.NSB_API_VERSION != API_VERSION:
    raise ImportError(
        "pycontain: the extension is of another version than the package; build it again"
    )


def steps() -> dict[int, str]:
    """Return the names of the steps that can fail, by number (enum nsb_step)."""
    elements = ffi.typeof("enum nsb_step").elements
    return {number: text.removeprefix("NSB_STEP_") for number, text in elements.items()}


def _step(number: int) -> str:
    if (name := steps().get(number)) is None:
        raise ValueError(f"there is no step {number}")
    return name


# Not enums: a program's start would wait for each to be built.
class OpKind:
    """Steps of a set-up (enum nsb_op_kind)."""

    ROOT_TMPFS = lib.NSB_OP_ROOT_TMPFS
    ROOT_BIND = lib.NSB_OP_ROOT_BIND
    STAGE = lib.NSB_OP_STAGE
    LOWER = lib.NSB_OP_LOWER
    LAYERS = lib.NSB_OP_LAYERS
    LAYER = lib.NSB_OP_LAYER
    ROOT_OVERLAY = lib.NSB_OP_ROOT_OVERLAY
    MKDIR = lib.NSB_OP_MKDIR
    SYMLINK = lib.NSB_OP_SYMLINK
    FILE = lib.NSB_OP_FILE
    BIND = lib.NSB_OP_BIND
    DEVICE = lib.NSB_OP_DEVICE
    TMPFS = lib.NSB_OP_TMPFS
    OVERLAY = lib.NSB_OP_OVERLAY
    PROC = lib.NSB_OP_PROC
    DEVPTS = lib.NSB_OP_DEVPTS
    MQUEUE = lib.NSB_OP_MQUEUE
    MASK = lib.NSB_OP_MASK
    READ_ONLY = lib.NSB_OP_READ_ONLY
    SYSCTL = lib.NSB_OP_SYSCTL
    HOSTNAME = lib.NSB_OP_HOSTNAME
    DOMAINNAME = lib.NSB_OP_DOMAINNAME
    LOOPBACK = lib.NSB_OP_LOOPBACK
    BINFMT = lib.NSB_OP_BINFMT
    KEYRING = lib.NSB_OP_KEYRING
    PIVOT_ROOT = lib.NSB_OP_PIVOT_ROOT
    CHROOT = lib.NSB_OP_CHROOT
    MOUNT = lib.NSB_OP_MOUNT
    ATTRIBUTES = lib.NSB_OP_ATTRIBUTES
    LABEL = lib.NSB_OP_LABEL
    NODE = lib.NSB_OP_NODE
    CONSOLE = lib.NSB_OP_CONSOLE
    SYNC = lib.NSB_OP_SYNC


class Idmap:
    """Whose user namespace maps the ids of a tree (enum nsb_idmap)."""

    NONE = lib.NSB_IDMAP_NONE
    ROOT = lib.NSB_IDMAP_ROOT
    BIND = lib.NSB_IDMAP_BIND
    OWN = lib.NSB_IDMAP_OWN


class Event:
    """What PID 1 reports (enum nsb_event)."""

    READY = lib.NSB_EVENT_READY
    FAILED = lib.NSB_EVENT_FAILED
    STARTED = lib.NSB_EVENT_STARTED
    EXITED = lib.NSB_EVENT_EXITED
    DONE = lib.NSB_EVENT_DONE
    LISTENER = lib.NSB_EVENT_LISTENER
    DENIALS = lib.NSB_EVENT_DENIALS
    CALLS = lib.NSB_EVENT_CALLS
    SYNC = lib.NSB_EVENT_SYNC


class Probe:
    """System calls with a fallback (enum nsb_probe)."""

    CLONE3 = lib.NSB_PROBE_CLONE3
    OPENAT2 = lib.NSB_PROBE_OPENAT2
    OPEN_TREE = lib.NSB_PROBE_OPEN_TREE
    FSOPEN = lib.NSB_PROBE_FSOPEN
    MOVE_MOUNT = lib.NSB_PROBE_MOVE_MOUNT
    MOUNT_SETATTR = lib.NSB_PROBE_MOUNT_SETATTR
    CLOSE_RANGE = lib.NSB_PROBE_CLOSE_RANGE
    PIDFD_OPEN = lib.NSB_PROBE_PIDFD_OPEN
    LANDLOCK = lib.NSB_PROBE_LANDLOCK
    LISTENER = lib.NSB_PROBE_LISTENER


OP_RECURSIVE: Final[int] = lib.NSB_OP_RECURSIVE
OP_NO_SYMLINKS: Final[int] = lib.NSB_OP_NO_SYMLINKS
OP_REPLACE: Final[int] = lib.NSB_OP_REPLACE
OP_OPTIONAL: Final[int] = lib.NSB_OP_OPTIONAL
OP_FOLLOW: Final[int] = lib.NSB_OP_FOLLOW
OP_COPY_UP: Final[int] = lib.NSB_OP_COPY_UP
OP_INHERIT_MODE: Final[int] = lib.NSB_OP_INHERIT_MODE
OP_TOP: Final[int] = lib.NSB_OP_TOP

SETUP_BECOME: Final[int] = lib.NSB_SETUP_BECOME
SETUP_OPEN_ROOT: Final[int] = lib.NSB_SETUP_OPEN_ROOT

EXEC_ONLY: Final[int] = lib.NSB_EXEC_ONLY
EXEC_PTY: Final[int] = lib.NSB_EXEC_PTY
EXEC_TELL_START: Final[int] = lib.NSB_EXEC_TELL_START
EXEC_CGROUP: Final[int] = lib.NSB_EXEC_CGROUP
EXEC_MARK: Final[int] = lib.NSB_EXEC_MARK
EXEC_SESSION: Final[int] = lib.NSB_EXEC_SESSION
EXEC_WAIT: Final[int] = lib.NSB_EXEC_WAIT
EXEC_MAKE_CWD: Final[int] = lib.NSB_EXEC_MAKE_CWD
EXEC_OWN_STDIO: Final[int] = lib.NSB_EXEC_OWN_STDIO

OPEN_FOLLOW: Final[int] = lib.NSB_OPEN_FOLLOW
OPEN_MKDIR: Final[int] = lib.NSB_OPEN_MKDIR
OPEN_PARENTS: Final[int] = lib.NSB_OPEN_PARENTS
OPEN_DIRECTORY: Final[int] = lib.NSB_OPEN_DIRECTORY
OPEN_UNLINK: Final[int] = lib.NSB_OPEN_UNLINK
OPEN_UPPER: Final[int] = lib.NSB_OPEN_UPPER

SPAWN_FORK: Final[int] = lib.NSB_SPAWN_FORK
SPAWN_CLONE2: Final[int] = lib.NSB_SPAWN_CLONE2
SPAWN_EARLY: Final[int] = lib.NSB_SPAWN_EARLY

FDS_MAX: Final[int] = lib.NSB_FDS_MAX
KEEP_ID: Final[int] = 0xFFFFFFFF
CONTROL_FD: Final[int] = lib.NSB_CONTROL_FD
REPORT_SIZE: Final[int] = ffi.sizeof("struct nsb_report")
CALLS_MAX: Final[int] = lib.NSB_CALLS_MAX
DENIALS_MAX: Final[int] = lib.NSB_DENIALS_MAX

# <sched.h>; PID 1 itself makes the time namespace, and each command its own cgroup namespace.
CLONE_NEW: Final = {
    "mnt": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
MOUNT_RDONLY: Final = 1
MOUNT_NOSUID: Final = 2
MOUNT_NODEV: Final = 4
MOUNT_NOEXEC: Final = 8
# <linux/mount.h>, of mount(2): propagation
MS_REC: Final = 1 << 14
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20

_HEADER = struct.Struct("=4I")
_REPORT = struct.Struct("=IIiIiiQQQQQ")
_DENIAL = struct.Struct("=6QQIIIIiI16s")
MESSAGE_SIZE: Final = REPORT_SIZE + DENIALS_MAX * _DENIAL.size
"""Of a report with as many denials as there can be."""
_CALL = struct.Struct("=IIQ")
LONG_MESSAGE_SIZE: Final = REPORT_SIZE + CALLS_MAX * _CALL.size
"""The same of calls."""
_EXEC = struct.Struct("=24I")
_EXEC_FIELDS = (
    *("header", "flags", "uid", "gid", "n_groups", "groups", "n_paths", "paths", "n_argv", "argv"),
    *(
        "n_env",
        "env",
        "cwd",
        "umask",
        "process_group",
        "n_tasks",
        "n_fds",
        "fds",
        "rows",
        "columns",
    ),
    "reserved",
)
# signal(7); the module of that name is slow to import.
SIGKILL: Final = 9
SIGTERM: Final = 15
_MFD_EXEC = 0x10
_CLONE_MODE = "PYCONTAIN_CLONE"


class Failure(NamedTuple):
    """Which step failed, with which errno, on which element."""

    step: str
    errno: int
    index: int  # type: ignore[assignment]  # a field, not the method of tuples


class NativeError(Exception):
    """A call into the core failed; the caller knows the paths and makes a SpawnError of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.step} failed: {os.strerror(failure.errno)}")
        self.failure = failure


class Op(NamedTuple):
    """One step of the set-up (struct nsb_op). `fd` is an index among the message's descriptors."""

    kind: int
    target: str = ""
    source: bytes = b""
    flags: int = 0
    fd: int = -1
    mode: int = 0
    uid: int = 0
    gid: int = 0
    attr: int = 0
    length: int | None = None
    type: str = ""
    attr_clear: int = 0
    tree_attr: int = 0
    tree_attr_clear: int = 0
    propagation: tuple[int, ...] = ()


class Landlock(NamedTuple):
    """Access rights (linux/landlock.h) of every command.

    Attributes:
        handled: What is denied where it is not granted.
        net: What is denied of TCP.
        scoped: What ends at the border of the domain.
        below_root, below_paths: What is granted below the root, and below `paths`.
    """

    handled: int
    net: int
    scoped: int
    below_root: int
    below_paths: int
    paths: tuple[str, ...]


class Setup(NamedTuple):
    """A whole set-up message (struct nsb_setup)."""

    ops: tuple[Op, ...]
    attach_at: str
    uid_map: str | None
    gid_map: str | None
    uid: int
    gid: int
    time_namespace: bool
    rlimits: tuple[tuple[int, int, int], ...]
    seccomp: bytes
    no_new_privs: bool
    securebits: int
    drop_groups: bool
    bounding: int
    permitted: int
    inheritable: int
    ambient: int
    timens_offsets: str | None = None
    seccomp_flags: int = 0
    audit: bytes = b""
    hand_listener: bool = False
    trace: bool = False
    landlock: Landlock | None = None
    effective: int | None = None  # as permitted
    flags: int = 0
    propagation: int = MS_PRIVATE | MS_REC
    personality: int = 0


class Exec(NamedTuple):
    """A request to start a command (struct nsb_exec)."""

    id: int
    flags: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    paths: tuple[bytes, ...]
    argv: tuple[bytes, ...]
    env: bytes
    n_env: int
    cwd: bytes
    umask: int
    process_group: int
    n_tasks: int
    fds: tuple[int, ...]
    rows: int = 24
    columns: int = 80


class DeniedCall(NamedTuple):
    """A system call that the filter refused (struct nsb_denial)."""

    args: tuple[int, ...]
    count: int  # type: ignore[assignment]  # a field, not the method of tuples
    number: int
    arch: int
    verdict: int
    examined: int
    pid: int
    name: bytes


class Report(NamedTuple):
    """What PID 1 says (struct nsb_report), and the records that follow it."""

    event: int
    step: int
    errno: int
    index: int  # type: ignore[assignment]  # a field, not the method of tuples
    pid: int
    status: int
    user_us: int
    system_us: int
    read_blocks: int
    written_blocks: int
    denied: int = 0
    records: bytes = b""

    @property
    def failure(self) -> Failure:
        """The failure that a FAILED report carries."""
        return Failure(_step(self.step), self.errno, self.index)

    @property
    def denials(self) -> tuple[DeniedCall, ...]:
        """The calls that a DENIALS report carries."""
        return tuple(
            DeniedCall._make((fields[:6], *fields[6:12], fields[13].rstrip(b"\0")))
            for fields in _DENIAL.iter_unpack(self.records)
        )

    @property
    def calls(self) -> tuple[tuple[int, int, int], ...]:
        """Number, AUDIT_ARCH_* and count of each call that a CALLS report carries."""
        return tuple(_CALL.iter_unpack(self.records))


if (
    _REPORT.size != REPORT_SIZE
    or _CALL.size != ffi.sizeof("struct nsb_call")
    or _DENIAL.size != ffi.sizeof("struct nsb_denial")
    or tuple(name for name, _ in ffi.typeof("struct nsb_exec").fields) != _EXEC_FIELDS
):
    raise ImportError("pycontain: a struct has another layout than expected")


def parse_report(data: bytes) -> Report:
    """Unpack a report and what follows it; struct.error: the message is too short."""
    return Report._make((*_REPORT.unpack_from(data), data[REPORT_SIZE:]))


class _Message:
    """A struct followed by the strings and arrays that it names by offset."""

    def __init__(self, struct_name: str) -> None:
        self._head = ffi.new(f"struct {struct_name} *")
        self._base: int = ffi.sizeof(f"struct {struct_name}")
        self._tail = bytearray()

    @property
    def head(self) -> Any:
        return self._head

    def add(self, data: bytes) -> int:
        offset = self._base + len(self._tail)
        self._tail += data
        return offset

    def text(self, text: str) -> int:
        return self.add(os.fsencode(text) + b"\0")

    def array(self, data: bytes) -> int:
        self._tail += b"\0" * (-(self._base + len(self._tail)) % 8)
        return self.add(data)

    def finish(self, kind: int, ident: int = 0) -> bytes:
        header = self._head.header
        header.kind = kind
        header.size = self._base + len(self._tail)
        header.id = ident
        return bytes(ffi.buffer(self._head)) + bytes(self._tail)


def pack_setup(setup: Setup) -> bytes:
    """Pack a set-up message."""
    message = _Message("nsb_setup")
    head = message.head
    head.attach_at = message.text(setup.attach_at)
    if setup.uid_map is not None and setup.gid_map is not None:
        head.uid_map = message.text(setup.uid_map)
        head.gid_map = message.text(setup.gid_map)
    for name in (
        "uid",
        "gid",
        "time_namespace",
        "no_new_privs",
        "securebits",
        "drop_groups",
        "bounding",
        "permitted",
        "inheritable",
        "ambient",
        "flags",
        "propagation",
        "personality",
    ):
        setattr(head, name, getattr(setup, name))
    head.effective = setup.permitted if setup.effective is None else setup.effective
    if setup.timens_offsets is not None:
        head.timens_offsets = message.text(setup.timens_offsets)
    rlimits = b"".join(
        struct.pack("=IIQQ", number, 0, soft, hard) for number, soft, hard in setup.rlimits
    )
    head.n_rlimits = len(setup.rlimits)
    head.rlimits = message.array(rlimits)
    if setup.landlock is not None:
        head.landlock_handled, head.landlock_scoped = setup.landlock.handled, setup.landlock.scoped
        head.landlock_net = setup.landlock.net
        head.landlock_below_root = setup.landlock.below_root
        head.landlock_below_paths = setup.landlock.below_paths
        head.n_landlock_paths = len(setup.landlock.paths)
        paths = b"".join(os.fsencode(path) + b"\0" for path in setup.landlock.paths)
        head.landlock_paths = message.array(paths)
    head.n_seccomp = len(setup.seccomp) // 8
    head.seccomp = message.array(setup.seccomp)
    head.seccomp_flags = setup.seccomp_flags
    head.n_audit = len(setup.audit) // 8
    head.audit = message.array(setup.audit)
    head.hand_listener = setup.hand_listener
    head.trace = setup.trace
    ops = ffi.new("struct nsb_op[]", len(setup.ops))
    for slot, op in zip(ops, setup.ops, strict=True):
        slot.kind, slot.flags, slot.fd, slot.attr = op.kind, op.flags, op.fd, op.attr
        slot.mode, slot.uid, slot.gid = op.mode, op.uid, op.gid
        slot.target = message.text(op.target.lstrip("/"))
        slot.length = len(op.source) if op.length is None else op.length
        slot.source = message.add(op.source + b"\0")
        slot.type = message.text(op.type) if op.type else 0
        slot.attr_clear = op.attr_clear
        slot.tree_attr, slot.tree_attr_clear = op.tree_attr, op.tree_attr_clear
        for place, flags in enumerate(op.propagation):
            slot.propagation[place] = flags
    head.n_ops = len(setup.ops)
    head.ops = message.array(bytes(ffi.buffer(ops)))
    return message.finish(lib.NSB_REQUEST_SETUP)


def pack_exec(request: Exec) -> bytes:
    """Pack a request to start a command. On the hot path, so without cffi's slower structs."""
    groups = struct.pack(f"={len(request.groups)}I", *request.groups)
    fds = struct.pack(f"={len(request.fds)}I", *request.fds)
    paths = b"\0".join(request.paths) + b"\0"
    argv = b"\0".join(request.argv) + b"\0"
    env = request.env + b"\0"
    at_fds = _EXEC.size + len(groups)
    at_paths = at_fds + len(fds)
    at_argv = at_paths + len(paths)
    at_env = at_argv + len(argv)
    at_cwd = at_env + len(env)
    size = at_cwd + len(request.cwd) + 1
    head = _EXEC.pack(
        *(lib.NSB_REQUEST_EXEC, size, 0, request.id),
        *(request.flags, request.uid, request.gid, len(request.groups), _EXEC.size),
        *(len(request.paths), at_paths, len(request.argv), at_argv, request.n_env, at_env, at_cwd),
        *(request.umask, request.process_group, request.n_tasks, len(request.fds), at_fds),
        *(request.rows, request.columns, 0),
    )
    return b"".join((head, groups, fds, paths, argv, env, request.cwd, b"\0"))


def pack_hook(
    path: bytes, argv: Sequence[bytes], env: Sequence[bytes], timeout_s: float | None
) -> bytes:
    """Pack a request to run a program while a process waits that is to become its command."""
    message = _Message("nsb_hook")
    head = message.head
    head.path = message.add(path + b"\0")
    head.n_argv, head.n_env = len(argv), len(env)
    head.argv = message.add(b"\0".join(argv) + b"\0")
    head.env = message.add(b"\0".join(env) + b"\0")
    head.timeout_ms = 0 if timeout_s is None else max(1, int(timeout_s * 1000))
    return message.finish(lib.NSB_REQUEST_HOOK)


def pack_kill(ident: int, number: int, everything: int) -> bytes:
    """Pack a request to signal a command; `everything`: 0 itself, 1 its processes, 2 all inside."""
    message = _Message("nsb_kill")
    message.head.signal = number
    message.head.everything = everything
    return message.finish(lib.NSB_REQUEST_KILL, ident)


def pack_denials(ident: int) -> bytes:
    """Pack a request for the denials of a command, or with 0 of the whole sandbox."""
    return _Message("nsb_denials").finish(lib.NSB_REQUEST_DENIALS, ident)


def pack_calls() -> bytes:
    """Pack a question for the system calls of a trace."""
    return _Message("nsb_denials").finish(lib.NSB_REQUEST_CALLS)


def pack_open(path: bytes, flags: int, open_flags: int, mode: int, uid: int, gid: int) -> bytes:
    """Pack a request to open or make a file."""
    message = _Message("nsb_open")
    head = message.head
    head.flags, head.open_flags, head.mode, head.uid, head.gid = flags, open_flags, mode, uid, gid
    head.path = message.add(path + b"\0")
    return message.finish(lib.NSB_REQUEST_OPEN)


class Tree(NamedTuple):
    """A directory tree of the host, or a file (struct nsb_tree).

    Attributes:
        map_all: Of Idmap.OWN: what is mounted below is mapped as well.
        userns_fd: Of Idmap.OWN: whose maps.
    """

    path: str
    idmap: int
    recursive: bool
    map_all: bool = False
    userns_fd: int = -1


class Trees:
    """Directory trees that the parent clones and idmaps for each spawn (struct nsb_tree[])."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self.paths = []
        self._keep = []
        rows = []
        for tree in trees:
            self.paths.append(tree.path)
            text = ffi.new("char[]", os.fsencode(tree.path))
            self._keep.append(text)
            rows.append({**tree._asdict(), "path": text})
        self.cdata = ffi.new("struct nsb_tree[]", rows)


def spawn_flags() -> int:
    """Return the clone mode: shared memory, unless PYCONTAIN_CLONE=fork asks for a fork-like one.

    Raises:
        PycontainError: It asks for something else.
    """
    mode = os.getenv(_CLONE_MODE, "vm")
    if mode not in ("vm", "fork"):
        raise PycontainError(f"{_CLONE_MODE}={mode!r}: known are 'vm' and 'fork'")
    return SPAWN_FORK if mode == "fork" else 0


class Pid1:
    """A running PID 1, killed with this object unless its descriptors were taken over.

    An exception such as KeyboardInterrupt may come between any two steps of the caller, so that
    somebody owns the process at each instant.
    """

    __slots__ = ("_result",)

    def __init__(self) -> None:
        self._result = ffi.new("struct nsb_sandbox *", {"pidfd": -1, "control_fd": -1})

    @property
    def raw(self) -> Any:
        """The struct that nsb_spawn() fills."""
        return self._result

    @property
    def pid(self) -> int:
        """Process id as the caller sees it."""
        return int(self._result.pid)

    def take(self, owner: Any) -> None:
        """Hand the descriptors to `owner._pidfd` and `owner._control_fd`; it closes and reaps."""
        result = self._result
        # Nothing is called from here on, so no signal handler runs in between.
        owner._pidfd = result.pidfd  # noqa: SLF001
        owner._control_fd = result.control_fd  # noqa: SLF001
        result.pidfd = -1

    def __del__(self) -> None:
        """Kill a process that nobody took over."""
        if self._result.pidfd >= 0:
            kill(self._result.pidfd, SIGKILL)
            reap(self._result.pidfd, None)
            os.close(self._result.pidfd)
            os.close(self._result.control_fd)


def _failure(error: Any) -> Failure:
    return Failure(_step(error.step), error.err, error.index)


def _cpu_mask(cpus: Collection[int]) -> Any:
    """Return the processors as sched_setaffinity(2) takes them."""
    mask = ffi.new("uint64_t[]", max(cpus) // 64 + 1)
    for cpu in cpus:
        mask[cpu // 64] |= 1 << cpu % 64
    return mask


class _Arguments:
    """How PID 1 is cloned (struct nsb_spawn_args)."""

    def __init__(
        self,
        *,
        namespaces: int,
        flags: int,
        userns_fd: int,
        cgroup_fd: int,
        tasks_fds: Sequence[int] = (),
        cpus: Collection[int] | None = None,
        keeper_fd: int = -1,
        joins: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.cdata = args = ffi.new("struct nsb_spawn_args *")
        tasks = ffi.new("int32_t[]", list(tasks_fds))
        join_fds = ffi.new("int32_t[]", [fd for fd, _ in joins])
        join_types = ffi.new("uint32_t[]", [kind for _, kind in joins])
        self._keep = [tasks, join_fds, join_types]
        args.namespaces, args.flags, args.userns_fd = namespaces, flags, userns_fd
        args.init_fd, args.null_fd = _program.fds()
        args.keeper_fd = keeper_fd
        args.cgroup_fd, args.tasks_fds, args.n_tasks = cgroup_fd, tasks, len(tasks_fds)
        if cpus is not None:
            mask = _cpu_mask(cpus)
            self._keep.append(mask)
            args.affinity, args.n_affinity = mask, len(mask)
        args.join_fds, args.joins, args.n_joins = join_fds, join_types, len(joins)


class _Messages:
    """What PID 1 reads first (struct nsb_spawn_messages)."""

    def __init__(
        self,
        trees: Trees,
        setup: bytes,
        command: bytes | None,
        command_fds: Sequence[int],
        bind_userns_fd: int = -1,
    ) -> None:
        self.cdata = messages = ffi.new("struct nsb_spawn_messages *")
        data, fds = ffi.from_buffer(setup), ffi.new("int32_t[]", list(command_fds))
        self._keep = [trees, data, fds]
        messages.bind_userns_fd = bind_userns_fd
        messages.trees, messages.n_trees = trees.cdata, len(trees.paths)
        messages.setup, messages.setup_size = data, len(setup)
        if command is not None:
            self._keep.append(ffi.from_buffer(command))
            messages.command, messages.command_size = self._keep[-1], len(command)
            messages.command_fds, messages.n_command_fds = fds, len(command_fds)


def spawn(
    *,
    trees: Trees,
    setup: bytes,
    command: bytes | None,
    command_fds: Sequence[int],
    bind_userns_fd: int = -1,
    **how: Unpack[SpawnArguments],
) -> Pid1:
    """Clone PID 1 of a new sandbox, with its set-up and perhaps its first command queued.

    Args:
        trees, setup, command, command_fds, bind_userns_fd: The messages.
        how: See SpawnArguments.

    Raises:
        NativeError: A step before the execution of PID 1 failed; nothing is left.
    """
    args = _Arguments(**how)
    messages = _Messages(trees, setup, command, command_fds, bind_userns_fd)
    pid1 = Pid1()
    error = ffi.new("struct nsb_failure *")
    if lib.nsb_spawn(args.cdata, messages.cdata, pid1.raw, error) < 0:
        raise NativeError(_failure(error))
    return pid1


class Spawning:
    """The same in three steps: with SPAWN_EARLY the clone goes on while its messages are made.

    The descriptors of `how` have to stay open until it has ended or is closed.

    Raises:
        NativeError: It cannot begin.
    """

    def __init__(self, **how: Unpack[SpawnArguments]) -> None:
        """Begin."""
        none = dict.fromkeys(("control_fd", "init_control_fd", "reply_fd"), -1)
        self._spawning = ffi.new("struct nsb_spawning *", {**none, "sandbox": {"pidfd": -1}})
        self._args = _Arguments(**how)
        self._error = ffi.new("struct nsb_failure *")
        if lib.nsb_spawn_begin(self._args.cdata, self._spawning, self._error) < 0:
            raise NativeError(_failure(self._error))

    def queue(
        self, *, trees: Trees, setup: bytes, command: bytes | None, command_fds: Sequence[int]
    ) -> None:
        """Give PID 1 its messages.

        Raises:
            NativeError: That failed; it is to be closed.
        """
        messages = _Messages(trees, setup, command, command_fds)
        if lib.nsb_spawn_queue(self._spawning, messages.cdata, self._error) < 0:
            raise NativeError(_failure(self._error))

    def end(self) -> Pid1:
        """Wait for the clone, or make it now, and return PID 1.

        Raises:
            NativeError: A step before its execution failed; nothing is left.
        """
        pid1 = Pid1()
        if lib.nsb_spawn_end(self._spawning, pid1.raw, self._error) < 0:
            raise NativeError(_failure(self._error))
        return pid1

    def close(self) -> None:
        """End it as it is: without its messages PID 1 is killed. Idempotent."""
        lib.nsb_spawn_end(self._spawning, Pid1().raw, self._error)

    def __del__(self) -> None:
        """Close what nobody has ended."""
        if hasattr(self, "_error"):
            self.close()


def spawn_keeper(flags: int) -> Pid1:
    """Start a keeper (struct nsb_clone in api.h) in our own control group.

    Raises:
        NativeError: A step before its execution failed; nothing is left.
    """
    return spawn(
        namespaces=0,
        flags=flags,
        userns_fd=-1,
        cgroup_fd=-1,
        trees=Trees(()),
        setup=_Message("nsb_clone").finish(lib.NSB_REQUEST_KEEP),
        command=None,
        command_fds=(),
    )


class Holder:
    """A process in a new user namespace, which is in need of one until it is mapped and open.

    Raises:
        NativeError: The namespace could not be made.
    """

    def __init__(self) -> None:
        self._raw = ffi.new("struct nsb_userns_holder *")
        error = ffi.new("struct nsb_failure *")
        if lib.nsb_userns_hold(0, self._raw, error) < 0:
            raise NativeError(_failure(error))

    @property
    def pid(self) -> int:
        """Process id as the caller sees it."""
        return int(self._raw.pid)

    def open(self) -> int:
        """Return a descriptor of the namespace. Raises OSError."""
        return os.open(f"/proc/{self.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)

    def end(self) -> None:
        """Let it end, without waiting for that."""
        lib.nsb_userns_end(self._raw)

    def release(self) -> None:
        """End it and wait for that. Idempotent."""
        lib.nsb_userns_release(self._raw)

    def __del__(self) -> None:
        """Leave no process behind."""
        self.release()


def make_user_namespace(
    write_maps: Callable[[int, str, str], None], uid_map: str, gid_map: str
) -> int:
    """Return a descriptor of a new user namespace; `write_maps(pid, uid_map, gid_map)` maps it.

    Raises:
        NativeError: The namespace could not be made.
    """
    holder = Holder()
    try:
        write_maps(holder.pid, uid_map, gid_map)
        return holder.open()
    finally:
        holder.release()


def can_idmap(path: str, userns_fd: int) -> int:
    """Return 0 if `path` can be shown through an idmapped mount, else the errno that says why."""
    return -int(lib.nsb_can_idmap(os.fsencode(path), userns_fd))


def mount_index(index_fd: int, archive_fd: int) -> int:
    """Return a descriptor of a mount of an archive by its index, which is in no namespace.

    Raises:
        OSError: The kernel or the file system they are on cannot do this (ENODEV, ENOTBLK, EINVAL,
            EPERM).
    """
    fd = int(lib.nsb_mount_index(index_fd, archive_fd))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return fd


def write_back(fd: int) -> None:
    """Let the disk begin to write what an open file has so far; nobody waits."""
    lib.nsb_write_back(fd)


def socket_in(netns_fd: int, domain: int, kind: int, protocol: int) -> int:
    """Return the descriptor of a socket of another network namespace. Raises OSError."""
    fd = lib.nsb_socket_in(netns_fd, domain, kind, protocol)
    _check(fd)
    return fd


def set_scheduler(pid: int, **fields: int) -> None:
    """Set a process's scheduling: the fields of struct nsb_scheduler. Raises OSError."""
    scheduler = ffi.new("struct nsb_scheduler *", fields)
    _check(lib.nsb_set_scheduler(pid, scheduler))


def set_io_priority(pid: int, priority: int) -> None:
    """Set a process's I/O priority, its class shifted by 13 (ioprio_set(2)). Raises OSError."""
    _check(lib.nsb_set_io_priority(pid, priority))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def kill(pidfd: int, number: int) -> None:
    """Send a signal by pidfd; a process that is already gone is fine."""
    error = -lib.nsb_kill(pidfd, number)
    if error not in (0, errno.ESRCH):
        raise OSError(error, os.strerror(error))


def reap(pidfd: int, timeout_s: float | None) -> int | None:
    """Wait for PID 1 and reap it. Returns its wait status, or None when the time is over."""
    milliseconds = -1 if timeout_s is None else max(0, int(timeout_s * 1000))
    status: int = lib.nsb_reap(pidfd, milliseconds)
    if status == -errno.EAGAIN:
        return None
    if status == -errno.ECHILD:  # as the kernel does it while SIGCHLD is ignored
        return SIGKILL
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return status


BPF_INSTRUCTION_SIZE: Final = 8


def attach_device_program(cgroup_fd: int, program: bytes) -> None:
    """Let a BPF program decide about device nodes in a v2 group, which is open for reading.

    Raises:
        OSError: EPERM without CAP_BPF or CAP_SYS_ADMIN, EINVAL for a program that the kernel does
            not accept or where it has none of this kind.
    """
    n = len(program) // BPF_INSTRUCTION_SIZE
    error = -lib.nsb_cgroup_device(cgroup_fd, ffi.from_buffer(program), n)
    if error:
        raise OSError(error, os.strerror(error))


def available(probe: int) -> bool:
    """Whether this kernel (and what filters our system calls) has a call; asked by calling it."""
    return bool(lib.nsb_probe(probe) != -errno.ENOSYS)


def landlock_abi() -> int:
    """Return the version of Landlock's ABI; 0: this kernel has none, or it is switched off."""
    return max(0, int(lib.nsb_probe(Probe.LANDLOCK)))


def listener_problem() -> int:
    """Return the errno with which the kernel refuses a seccomp listener; 0: it grants one."""
    return -int(lib.nsb_probe(Probe.LISTENER))


class _Program:
    """The descriptors that every spawn shares: the sealed program of PID 1, and /dev/null."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._fds: tuple[int, int] | None = None

    def fds(self) -> tuple[int, int]:
        if self._fds is None:
            with self._lock:
                if self._fds is None:
                    self._fds = (_above_stdio(_sealed_init()), _above_stdio(_open_null()))
        return self._fds


def null_fd() -> int:
    """Return the descriptor of /dev/null that this process keeps."""
    return _program.fds()[1]


def _above_stdio(fd: int) -> int:
    """Move a descriptor out of the range that the child overwrites."""
    if fd > CONTROL_FD:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, CONTROL_FD + 1)
    os.close(fd)
    return moved


def _open_null() -> int:
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def _sealed_init() -> int:
    """Copy the program to a sealed memfd: /proc/1/exe is no file of the host (CVE-2019-5736)."""
    path = f"{os.path.dirname(__file__)}/_init"
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("pycontain-init", flags | _MFD_EXEC)
    except OSError as error:  # Linux < 6.3 knows no MFD_EXEC
        if error.errno != errno.EINVAL:
            raise
        fd = os.memfd_create("pycontain-init", flags)
    try:
        with open(path, "rb") as file:
            while os.sendfile(fd, file.fileno(), None, 1 << 20):
                pass
        fcntl.fcntl(
            fd,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE,
        )
        os.fchmod(fd, 0o555)
    except BaseException:
        os.close(fd)
        raise
    return fd


_program = _Program()
