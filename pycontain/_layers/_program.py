# SPDX-License-Identifier: Apache-2.0
"""The program `_layer` (src/_layer) at work in a sandbox of its own.

It handles what strangers wrote, so it has nothing but the directories it works on: a root with
these and itself, no network, no process beside it, the few system calls it makes, and only those
ids that an image's files may have.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from pycontain import _capabilities, _fallbacks, _native, _seccomp
from pycontain._attach import attach_at
from pycontain._command import Options, Packer
from pycontain._identity import Identity, Lease, image_identity
from pycontain._image._user import User
from pycontain._native import (
    MOUNT_NODEV,
    MOUNT_NOEXEC,
    MOUNT_NOSUID,
    MOUNT_RDONLY,
    Event,
    Idmap,
    Op,
    OpKind,
)
from pycontain._plan import Plan
from pycontain._runtime import Footing, Reply, Runtime, reply_pair, spawn_error
from pycontain._seccomp import ALLOW, KILL_PROCESS, Arg, Filter, Rule
from pycontain.config import SandboxConfig
from pycontain.errors import ConfigError, StoreError
from pycontain.profile import Profile

from ._limits import Limits, arguments
from ._records import LayerReport, parse

PIPE_SIZE: Final = 1 << 20
# More would not fit in one message, and are opened by their paths.
_TREES_MAX: Final = _native.FDS_MAX - 10
_FICLONE: Final = 0x40049409
_SLACK: Final = 16 << 20
"""Of memory, for what does not grow: the program's own buffers."""

_FILTER: Final = Filter(
    default=KILL_PROCESS,
    foreign=KILL_PROCESS,
    rules=(
        Rule(("ioctl",), ALLOW, (Arg(1, "==", _FICLONE),)),
        Rule(
            (
                *("rt_sigprocmask", "execve", "exit_group", "mmap", "mremap", "munmap", "umask"),
                *("read", "pread64", "write", "pwrite64", "lseek", "close"),
                *("openat", "openat2", "statx"),
                *("fchown", "fchownat", "fchmod", "fchmodat", "utimensat", "ftruncate", "syncfs"),
                *("fsetxattr", "fgetxattr", "flistxattr", "fremovexattr"),
                *("lgetxattr", "llistxattr", "fchdir", "chroot", "getdents64", "readlinkat"),
                *("mkdirat", "mknodat", "symlinkat", "linkat", "unlinkat", "renameat2"),
            ),
            ALLOW,
        ),
    ),
)
_PROFILE: Final = Profile(
    name="layer",
    seccomp=_FILTER,
    capabilities=(
        *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP"),
        "CAP_SYS_CHROOT",  # where there is no openat2
    ),
    securebits=0,
    rlimits={"CORE": (1, 1), "NOFILE": (1024, 1024)},
    user=0,
    umask=0,
)
_RESTRICTED: Final = MOUNT_NOSUID | MOUNT_NODEV
# Of the tree without data that an index is made of: a quarter of a gigabyte at the most.
_SCRATCH: Final = b"size=64m,nr_inodes=262144,mode=700"


@functools.cache
def _program() -> bytes:
    return Path(__file__).parents[1].joinpath("_layer").read_bytes()


@functools.cache
def _filter() -> bytes:
    return _seccomp.compile(_FILTER)


class _Sources:
    """Directories of the caller, given as descriptors, for the set-up."""

    def __init__(self, ids: Identity, count: int) -> None:
        # A clone of the mount that the descriptor is in can be made by whoever may mount there.
        self._cloned = (
            ids.mapping in ("whole", "range") and count <= _TREES_MAX and _fallbacks.shows_trees()
        )
        # The files of layers have other ids than a sandbox's range.
        self._idmap = Idmap.ROOT if ids.mapping == "range" else Idmap.NONE
        self.trees: list[_native.Tree] = []

    def bind(self, fd: int, target: str, attr: int) -> Op:
        path = f"/proc/self/fd/{fd}"
        if not self._cloned:
            source = os.readlink(os.fsencode(path))
            return Op(OpKind.BIND, target, source, _native.OP_RECURSIVE, attr=attr)
        self.trees.append(_native.Tree(path, self._idmap, recursive=True))
        return Op(OpKind.BIND, target, b"", _native.OP_RECURSIVE, len(self.trees) - 1, attr=attr)


def _rlimits(limits: Limits) -> tuple[tuple[int, int, int], ...]:
    rows = []
    wanted = {**{name: hard for name, (_, hard) in _PROFILE.rlimits.items()}}
    wanted["AS"] = limits.memory + _SLACK + len(_program())
    for name, value in wanted.items():
        number = getattr(resource, f"RLIMIT_{name}")
        own = resource.getrlimit(number)[1]
        bound = value if own == resource.RLIM_INFINITY else min(value, own)
        rows.append((number, bound, bound))
    return tuple(rows)


class Lowers(NamedTuple):
    """The layers below, topmost first.

    Attributes:
        fds: Their directories.
        names: They are these directories in the only one of `fds`.
    """

    fds: Sequence[int] = ()
    names: Sequence[str] | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.fds if self.names is None else self.names)

    def ops(self, sources: _Sources) -> Iterator[Op]:
        """Yield what shows them in /lower."""
        at = "/lower" if self.names is None else "/parent"
        for number, fd in enumerate(self.fds):
            yield sources.bind(fd, f"{at}/{number}", _RESTRICTED | MOUNT_RDONLY)
        for number, name in enumerate(self.names or ()):
            yield Op(OpKind.SYMLINK, f"/lower/{number}", os.fsencode(f"/parent/0/{name}"))


def _plan(
    ids: Identity,
    target_fd: int | None,
    lowers: Lowers,
    limits: Limits,
    *,
    read_only: bool,
    scratch: bool,
) -> Plan:
    sources = _Sources(ids, 1 + len(lowers.fds))
    attr = _RESTRICTED | (MOUNT_RDONLY if read_only else 0)
    bound = [] if target_fd is None else [sources.bind(target_fd, "/tree", attr)]
    if scratch:
        bound = [Op(OpKind.TMPFS, "/tree", _SCRATCH, attr=_RESTRICTED | MOUNT_NOEXEC)]
    ops = [
        Op(OpKind.ROOT_TMPFS, "", b"size=4m,nr_inodes=2048,mode=755", attr=_RESTRICTED),
        Op(OpKind.FILE, "/layer", _program(), mode=0o555),
        *bound,
        *lowers.ops(sources),
        Op(OpKind.KEYRING),
        Op(OpKind.READ_ONLY, "", attr=MOUNT_RDONLY),
        Op(OpKind.PIVOT_ROOT),
    ]
    names = ("mnt", "pid", "net", "ipc", "uts", *(("user",) if ids.mapping == "single" else ()))
    capabilities = _capabilities.mask(_PROFILE.capabilities)
    setup = _native.Setup(
        ops=tuple(ops),
        attach_at=attach_at(),
        uid_map=ids.uid_map,
        gid_map=ids.gid_map,
        uid=ids.init_uid,
        gid=ids.init_gid,
        time_namespace=False,
        rlimits=_rlimits(limits),
        seccomp=_filter(),
        no_new_privs=True,
        securebits=0,
        drop_groups=ids.drop_groups,
        bounding=capabilities,
        permitted=capabilities,
        inheritable=0,
        ambient=0,
    )
    return Plan(
        config=SandboxConfig(),
        profile=_PROFILE,
        identity=ids,
        binds=False,
        served=(),
        namespaces=sum(_native.CLONE_NEW[name] for name in names),
        command_flags=0,
        setup=_native.pack_setup(setup),
        trees=_native.Trees(sources.trees),
        op_paths=tuple(op.target for op in ops),
        user=User(uid=0, gid=0),
        env=MappingProxyType({}),
        cwd="/",
        umask=0,
        enforcement=MappingProxyType({}),
    )


def _identity_of(owner: Runtime | None) -> Identity:
    """Of a sandbox of one id all files are the caller's, and so user 0's."""
    if owner is None or owner.plan.identity.mapping == "single":
        return image_identity()
    return owner.plan.identity


def _check_directories(fds: Sequence[int]) -> None:
    for fd in fds:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise ConfigError(f"layer: descriptor {fd} is not of a directory")


def _identifying(fd: int) -> tuple[str, str]:
    """Return what the directory must be where it arrives."""
    found = os.fstat(fd)
    device = os.major(found.st_dev) << 32 | os.minor(found.st_dev)
    return f"device={device}", f"inode={found.st_ino}"


def pipe() -> tuple[int, int]:
    """Return the ends of a large pipe, above the standard streams."""
    ends = os.pipe()
    with contextlib.suppress(OSError):  # more than the user may have
        fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return ends


class Streams(NamedTuple):
    """What a program reads and writes.

    Attributes:
        input, output: Its standard streams; None: /dev/null.
        growth: The input is a file that grows, and what is written into this pipe says so.
    """

    input: int | None = None
    output: int | None = None
    growth: int | None = None


NO_STREAMS: Final = Streams()


class Program:
    """One run of the program. Killed, and waited for, when it is closed.

    Args:
        verb: What it does.
        target_fd: The directory it works on; None: an empty one of its own, in memory.
        lowers: The layers below, read-only.
        limits: Of the archive.
        options: More arguments.
        streams: Its descriptors; they stay the caller's.
        read_only: It only reads the directory.
        owner: A living sandbox, whose ids the directory's files have, and in whose own mounts it
            is, so that it is handed over as it is. None: the caller's.

    Raises:
        SpawnError, UnsupportedError: It could not be started.
    """

    def __init__(
        self,
        verb: str,
        target_fd: int | None,
        lowers: Lowers,
        limits: Limits,
        options: Sequence[str] = (),
        *,
        streams: Streams = NO_STREAMS,
        read_only: bool = False,
        owner: Runtime | None = None,
    ) -> None:
        self._limits = limits
        self._ids = _identity_of(owner)
        self._userns_fd = -1 if owner is None else owner.lease.userns_fd
        self._runtime: Runtime | None = None
        self._reply: Reply | None = None
        self._report_fd = -1
        with contextlib.ExitStack() as theirs:
            theirs.push(self._close_after_failure)
            self._report_fd, report_end = os.pipe()
            theirs.callback(os.close, report_end)
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            theirs.callback(os.close, null)
            fds = tuple(null if fd is None else fd for fd in (streams.input, streams.output))
            growth = () if streams.growth is None else (streams.growth,)
            given = () if target_fd is None else (target_fd,)
            _check_directories((*given, *lowers.fds))
            handed = () if owner is None else given
            self._start(
                _plan(
                    self._ids,
                    None if handed else target_fd,
                    lowers,
                    limits,
                    read_only=read_only,
                    scratch=target_fd is None,
                ),
                [
                    *("layer", verb, *arguments(limits), f"lowers={lowers.total}"),
                    *(text for fd in given for text in _identifying(fd)),
                    f"handed={len(handed)}",
                    f"squash={int(self._ids.mapping == 'single')}",
                    *options,
                ],
                (*fds, null, report_end, *handed, *growth),
            )

    def _close_after_failure(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is not None:
            self.close()

    def _start(self, plan: Plan, argv: list[str], fds: tuple[int, ...]) -> None:
        packed = Packer(plan).pack(
            (b"/layer", *(text.encode() for text in argv[1:])),
            Options(),
            ident=1,
            flags=_native.EXEC_ONLY,
            fds=tuple(range(len(fds))),
        )
        self._reply, theirs = reply_pair()
        userns_fd = plan.identity.userns_fd
        if plan.identity.mapping == "range":
            userns_fd = self._userns_fd
        with theirs:
            self._runtime = Runtime.start(
                plan,
                Footing(Lease(userns_fd=userns_fd), None, None),
                packed,
                (theirs.fileno(), *fds),
            )

    def result(self) -> LayerReport:
        """Wait for the end, and return what was done.

        Raises:
            LayerError, UnsafeLayerError, LimitExceededError, StoreError: As `_records.parse`.
            SpawnError: It was never started.
        """
        data = bytearray()
        while piece := os.read(self._report_fd, 1 << 16):
            data += piece
        report = parse(bytes(data), self._limits, self._ids)
        if report is None:
            self._explain()
        assert report is not None  # noqa: S101
        return report

    def _explain(self) -> None:
        """It did not come to a report: the set-up failed, or it was killed."""
        assert self._runtime is not None  # noqa: S101
        assert self._reply is not None  # noqa: S101
        self._runtime.check_ready()
        self._reply.wait(None)
        report = self._reply.receive()
        if report is not None and report.event == Event.FAILED:
            raise spawn_error(report.failure, "/layer")
        status = None if report is None else os.waitstatus_to_exitcode(report.status)
        raise StoreError(0, f"the program that handles layers was ended (status {status})")

    def close(self) -> None:
        """Kill the program if it runs, and let go of everything. Idempotent."""
        if self._runtime is not None:
            self._runtime.kill()
        if self._reply is not None:
            self._reply.close()
        if self._report_fd >= 0:
            os.close(self._report_fd)
        self._report_fd = -1
