# SPDX-License-Identifier: Apache-2.0
"""The floor's set-up in Python alone: os.fork, and system calls through ctypes.

This is what such a library looks like without native code. It makes the same namespaces, mounts,
cgroups, capabilities and filter; but its children are copies of the interpreter, which pay for the
parent's heap and may only exist because nothing else in this process holds a lock when they start.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import platform
import resource
import select
import signal
import socket
import struct
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.site import Site

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "close_range": 436,
    "mount_setattr": 442,
    **(
        {"pivot_root": 155, "capset": 126, "seccomp": 317, "keyctl": 250, "setgroups": 116}
        if platform.machine() == "x86_64"
        else {"pivot_root": 41, "capset": 91, "seccomp": 277, "keyctl": 219, "setgroups": 159}
    ),
}
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
CLOSE_RANGE_CLOEXEC = 4
OPEN_TREE_CLONE = 1
MOVE_MOUNT_BOTH_EMPTY = 0x44
SET_FLAG, SET_STRING, CREATE = 0, 1, 6
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, IDMAP = 1, 2, 4, 8, 0x100000
MS_PRIVATE_REC = 1 << 18 | 16384
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 1 << 28, 1 << 29, 1 << 30
OTHERS = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP
PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 4, 8, 24, 28
PR_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
CAP_SETPCAP = 8
LAST_CAPABILITY = 40
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
AT_RECURSIVE = 0x8000
HIDDEN = ("interrupts", "keys", "cmdline", "config.gz", "kallsyms", "key-users", "locks")
PROTECTED = ("bus", "fs", "irq", "sys")
LIMITS = {
    resource.RLIMIT_CORE: 1,
    resource.RLIMIT_MEMLOCK: 65536,
    resource.RLIMIT_MSGQUEUE: 819200,
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_NOFILE: 1024,
    resource.RLIMIT_NPROC: 4096,
    resource.RLIMIT_RTPRIO: 0,
    resource.RLIMIT_SIGPENDING: 256,
    resource.RLIMIT_STACK: 8 << 20,
}
SECUREBITS = 0xC3  # NOROOT and NO_CAP_AMBIENT_RAISE, locked
NODES = ("null", "zero", "full", "random", "urandom", "tty")
USER = 1000


def call(name: str, *args: int | bytes | None) -> int:
    """Make a system call; negative results raise OSError."""
    ctypes.set_errno(0)
    # An int would be passed as a C int, whose upper half is undefined in a vararg.
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *values)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def libc(name: str, *args: int | bytes | None) -> None:
    """Call a libc function that returns -1 on failure."""
    ctypes.set_errno(0)
    if getattr(LIBC, name)(*args) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


class Filter:
    """A struct sock_fprog with its instructions."""

    def __init__(self, path: str) -> None:
        self._program = Path(path).read_bytes()
        self._buffer = ctypes.create_string_buffer(self._program)
        count = len(self._program) // 8
        self._header = struct.pack("=H6xQ", count, ctypes.addressof(self._buffer))

    def load(self) -> None:
        """Filter this process and what it executes."""
        call("seccomp", 1, 0, self._header)


def make_user_namespace() -> int:
    """Return a descriptor of a namespace with 64 Ki ids."""
    ready, release = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(release[1])
        libc("unshare", CLONE_NEWUSER)
        os.write(ready[1], b"1")
        os.read(release[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{kind}").write_text("0 100000 65536\n")
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    for fd in (*ready, *release):
        os.close(fd)
    os.waitpid(pid, 0)
    return namespace


def new_mount(kind: bytes, target: int, attr: int, **options: bytes | None) -> int:
    """Mount a new file system on a descriptor and return its root."""
    fs = call("fsopen", kind, 1)
    for key, value in options.items():
        call("fsconfig", fs, SET_FLAG if value is None else SET_STRING, key.encode(), value, 0)
    call("fsconfig", fs, CREATE, None, None, 0)
    mount = call("fsmount", fs, 1, attr)
    os.close(fs)
    return attach(mount, target)


def attach(mount: int, target: int) -> int:
    """Move a detached mount onto a descriptor, which is closed."""
    call("move_mount", mount, b"", target, b"", MOVE_MOUNT_BOTH_EMPTY)
    os.close(target)
    return mount


def set_attr(mount: int, attr: int, userns: int = 0) -> None:
    """Set MOUNT_ATTR_* on a mount."""
    call("mount_setattr", mount, b"", AT_EMPTY_PATH, struct.pack("=4Q", attr, 0, 0, userns), 32)


def directory(root: int, path: str) -> int:
    """Open a directory to mount on."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)


def make_root(tree: int) -> int:
    """Lay an overlay on a tmpfs over the root directory."""
    host = os.open("/tmp", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stage = new_mount(b"tmpfs", host, NO_SUID | NO_DEV, size=b"64M", mode=b"0700")
    for name in ("l0", "u0", "w0", "root"):
        os.mkdir(name, 0o755, dir_fd=stage)
    set_attr(attach(tree, directory(stage, "l0")), READ_ONLY | NO_SUID | NO_DEV)
    os.fchdir(stage)
    return new_mount(
        b"overlay",
        directory(stage, "root"),
        NO_SUID | NO_DEV,
        lowerdir=b"l0",
        upperdir=b"u0",
        workdir=b"w0",
        userxattr=None,
    )


def make_devices(root: int, sources: list[int]) -> None:
    """Mount a /dev with six devices, their links, pts and shm."""
    new_mount(b"tmpfs", directory(root, "dev"), NO_SUID, size=b"64k", mode=b"0755")
    for name, source in zip(NODES, sources, strict=True):
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(f"dev/{name}", flags, 0o644, dir_fd=root)
        set_attr(attach(source, target), NO_SUID | NO_EXEC)
    links = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
    links |= {"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}
    for name, target_path in links.items():
        os.symlink(target_path, f"dev/{name}", dir_fd=root)
    os.mkdir("dev/pts", 0o755, dir_fd=root)
    new_mount(b"devpts", directory(root, "dev/pts"), NO_SUID | NO_EXEC)
    os.mkdir("dev/shm", 0o755, dir_fd=root)
    attr = NO_SUID | NO_DEV | NO_EXEC
    new_mount(b"tmpfs", directory(root, "dev/shm"), attr, size=b"64M", mode=b"1777")


def restrict_proc(root: int, proc: int) -> None:
    """Limit what is made below, hide what tells of the host, protect what changes it."""
    fd = os.open("sys/user/max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    os.write(fd, b"0")
    os.close(fd)
    null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        attr = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC
        empty = {"size": b"0", "nr_inodes": b"1", "mode": b"555"}
        new_mount(b"tmpfs", directory(root, "proc/acpi"), attr, **empty)
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    for name in HIDDEN:
        with contextlib.suppress(FileNotFoundError):
            target = os.open(f"proc/{name}", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
            os.close(attach(call("open_tree", null, b"", flags), target))
    for name in PROTECTED:
        target = os.open(f"proc/{name}", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
        copy = call("open_tree", target, b"", flags | AT_RECURSIVE)
        set_attr(attach(copy, target), READ_ONLY)


def loopback_up() -> None:
    """Bring the new network namespace's lo up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("=16sH14x", b"lo", 0))
        flags = struct.unpack_from("=H", request, 16)[0] | IFF_UP
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("=16sH14x", b"lo", flags))


def set_up(tree: int) -> None:
    """Build the sandbox around PID 1, which is this process."""
    os.umask(0)
    libc("mount", None, b"/", None, MS_PRIVATE_REC, None)
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    sources = [call("open_tree", AT_FDCWD, f"/dev/{name}".encode(), flags) for name in NODES]
    call("setgroups", 0, None)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    libc("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    root = make_root(tree)
    make_devices(root, sources)
    proc = new_mount(b"proc", directory(root, "proc"), NO_SUID | NO_DEV | NO_EXEC)
    restrict_proc(root, proc)
    socket.sethostname("sandbox")
    loopback_up()
    call("keyctl", 1, None)
    os.fchdir(root)
    call("pivot_root", b".", b".")
    libc("umount2", b".", MNT_DETACH)
    os.chdir("/")
    for capability in range(LAST_CAPABILITY + 1):
        libc("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)


def execute(program: str, streams: tuple[int, int, int], tasks: list[int], rules: Filter) -> None:
    """Become the command."""
    for fd in tasks:
        os.write(fd, b"0")
    os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    for kind, limit in LIMITS.items():
        resource.setrlimit(kind, (limit, limit))
    os.umask(0o022)
    libc("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    call("setgroups", 0, None)
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.chdir("/")
    libc("prctl", PR_CAP_AMBIENT, 4, 0, 0, 0)
    header, bit = struct.pack("=Ii", 0x20080522, 0), 1 << CAP_SETPCAP
    call("capset", header, struct.pack("=6I", bit, bit, 0, 0, 0, 0))
    libc("prctl", PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0)
    call("capset", header, bytes(24))
    libc("prctl", PR_NO_NEW_PRIVS, 1, 0, 0, 0)
    rules.load()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, [program], {"PATH": "/bin", "HOME": "/tmp"})


def in_child(function: Callable[[], int]) -> int:
    """Fork; the child ends with the function's result, 125 for an exception. Returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 125
    try:
        status = function()
    except BaseException:  # noqa: BLE001  a child must never return into its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(pid: int) -> int:
    """Return the exit code, 128 + signal number for a signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def read_both(*fds: int) -> tuple[bytes, bytes]:
    """Read two pipes to their ends and close them."""
    chunks: dict[int, list[bytes]] = {fd: [] for fd in fds}
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = set(fds)
    while left:
        for fd, _ in poll.poll():
            if chunk := os.read(fd, 65536):
                chunks[fd].append(chunk)
            else:
                poll.unregister(fd)
                left.discard(fd)
                os.close(fd)
    first, second = (b"".join(chunks[fd]) for fd in fds)
    return first, second


def remove_group(path: str) -> None:
    """Remove a cgroup; a process that was reaped may still be on its way out of it."""
    while True:
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return


class PurePython:
    """Sandboxes of one configuration."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._filter = Filter(site.filter)
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._user_namespace = make_user_namespace()
        self._serial = itertools.count()

    @contextlib.contextmanager
    def _groups(self) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the v1 `tasks` files and the v2 directories of a new sandbox."""
        number = next(self._serial)
        tasks: list[int] = []
        v2: list[int] = []
        made: list[str] = []
        try:
            for group in self._site.groups:
                path = f"{group.parent}/py{os.getpid()}-{number}"
                os.mkdir(path)
                made.append(path)
                for file, value in group.limits.items():
                    Path(path, file).write_text(value)
                file = "tasks" if group.version == 1 else "cgroup.procs"
                fds = tasks if group.version == 1 else v2
                fds.append(os.open(f"{path}/{file}", os.O_WRONLY | os.O_CLOEXEC))
            yield tasks, v2
        finally:
            for fd in (*tasks, *v2):
                os.close(fd)
            for path in made:
                remove_group(path)

    def _tree(self) -> int:
        flags = OPEN_TREE_CLONE | os.O_CLOEXEC
        tree = call("open_tree", AT_FDCWD, self._site.root.encode(), flags)
        set_attr(tree, IDMAP, self._user_namespace)
        return tree

    def _enter(self, v2: list[int], init: Callable[[], int]) -> int:
        """Run `init` as PID 1 of new namespaces, from a helper; returns the helper's pid."""

        def helper() -> int:
            for fd in v2:
                os.write(fd, b"0")
            libc("setns", self._user_namespace, CLONE_NEWUSER)
            libc("unshare", OTHERS)
            return wait(in_child(init))

        return in_child(helper)

    def _captured(self, start: Callable[[tuple[int, int, int]], int]) -> bytes:
        output, errors = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        pid = start((self._null, output[1], errors[1]))
        os.close(output[1])
        os.close(errors[1])
        out, err = read_both(output[0], errors[0])
        status = wait(pid)
        if status:
            raise RuntimeError(f"status {status}: {err.decode()}")
        return out

    def run(self, program: str) -> bytes:
        """Run a program in a sandbox of its own and return its output."""
        with self._groups() as (tasks, v2):
            tree = self._tree()

            def start(streams: tuple[int, int, int]) -> int:
                def init() -> int:
                    os.dup2(streams[2], 2)
                    set_up(tree)
                    return wait(in_child(lambda: self._execute(program, streams, tasks)))

                return self._enter(v2, init)

            try:
                return self._captured(start)
            finally:
                os.close(tree)

    def _execute(self, program: str, streams: tuple[int, int, int], tasks: list[int]) -> int:
        execute(program, streams, tasks, self._filter)
        return 127

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        """Yield a function that runs a program in one sandbox, again and again.

        The command's process joins the namespaces, as every tool without a PID 1 of its own does.
        """
        with self._groups() as (tasks, v2), self._first_process(v2) as pidfd:

            def run(program: str) -> bytes:
                def start(streams: tuple[int, int, int]) -> int:
                    def joined() -> int:
                        libc("setns", pidfd, CLONE_NEWUSER | OTHERS)
                        return wait(in_child(lambda: self._execute(program, streams, tasks)))

                    return in_child(joined)

                return self._captured(start)

            yield run

    @contextlib.contextmanager
    def _first_process(self, v2: list[int]) -> Iterator[int]:
        """Yield a pidfd of a PID 1 that only waits for its end."""
        tree, life = self._tree(), os.pipe2(os.O_CLOEXEC)
        ready, told = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)

        def init() -> int:
            os.close(life[1])
            set_up(tree)
            os.write(ready[1], b"1")
            os.read(life[0], 1)
            return 0

        def helper() -> int:
            for fd in v2:
                os.write(fd, b"0")
            libc("setns", self._user_namespace, CLONE_NEWUSER)
            libc("unshare", OTHERS)
            pid = in_child(init)
            for fd in (life[1], ready[1]):
                os.close(fd)
            os.write(told[1], struct.pack("=i", pid))
            return wait(pid)

        pid = in_child(helper)
        for fd in (ready[1], told[1], life[0], tree):
            os.close(fd)
        if os.read(ready[0], 1) != b"1":
            raise RuntimeError(f"set-up failed: status {wait(pid)}")
        pidfd = os.pidfd_open(struct.unpack("=i", os.read(told[0], 4))[0])
        try:
            yield pidfd
        finally:
            for fd in (ready[0], told[0], life[1], pidfd):
                os.close(fd)
            wait(pid)
