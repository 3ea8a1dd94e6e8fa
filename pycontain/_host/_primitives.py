# SPDX-License-Identifier: Apache-2.0
"""What sandboxes ask of the kernel, each as a program of system calls.

They are made as the core makes them: a clone with all its flags, a map of one id, mounts on /proc,
which is there wherever a sandbox can start at all. Nothing outside the child's own namespaces
changes, and these are gone with it.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pycontain._calls import PROBE, Call, Program, Result, Struct, Word, Zeros

CLONE_NEW: Final = {
    "time": 0x80,
    "mnt": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_FILES: Final = {"uid_map": "/proc/self/uid_map", "gid_map": "/proc/self/gid_map"}
_SIGCHLD: Final = 17
_CLONE_PIDFD: Final = 0x1000
_CLONE_FS: Final = 0x200
_HERE: Final = -100
_RDONLY, _WRONLY, _CLOEXEC = 0, 1, 0x80000
_MS_REC_PRIVATE: Final = 0x44000
_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_ALLOW: Final = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
_P_PIDFD, _WEXITED, _AT_EMPTY_PATH = 3, 4, 0x1000


class Caller(NamedTuple):
    """Who the programs are for.

    Attributes:
        uid, gid: Effective ids.
        clone3: Whether the core clones by clone3(2); else by clone(2).
    """

    uid: int
    gid: int
    clone3: bool


class Script:
    """A program that is being written; `Result` stands for what an earlier call returned."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.calls: list[Call] = []

    def do(self, name: str, *words: Word, fork: bool = False) -> Result:
        """Add a call."""
        self.calls.append(Call(name, words, fork=fork))
        return Result(len(self.calls) - 1)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        fd = self.do("openat", _HERE, path, _WRONLY | _CLOEXEC, 0)
        self.do("write", fd, text, len(text))

    def enter(self, *names: str) -> None:
        """Go on in a child, in new namespaces."""
        flags = sum(CLONE_NEW[name] for name in names)
        if self._caller.clone3:
            args = struct.pack("8Q", flags, 0, 0, 0, _SIGCHLD, 0, 0, 0)
            self.do("clone3", args, len(args), fork=True)
        else:
            self.do("clone", flags | _SIGCHLD, 0, 0, 0, 0, fork=True)

    def user(self, *names: str, inside: tuple[int, int] | None = None) -> None:
        """Go on in a user namespace as its root, in new namespaces that it owns.

        Args:
            names: The others.
            inside: Who maps; None: the caller.
        """
        uid, gid = inside or (self._caller.uid, self._caller.gid)
        self.enter("user", *names)
        self.write("/proc/self/setgroups", "deny")
        self.write(_FILES["uid_map"], f"0 {uid} 1")
        self.write(_FILES["gid_map"], f"0 {gid} 1")

    def mounts(self, *names: str) -> None:
        """The same with a mount namespace from which nothing gets out."""
        self.user("mnt", *names)
        self.do("mount", "none", "/", 0, _MS_REC_PRIVATE, 0)

    def mount(self, kind: str, target: str = "/proc", options: str = "") -> None:
        """Mount a file system."""
        self.do("mount", kind, target, kind, _NOSUID_NODEV_NOEXEC, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """Something that a kernel grants or not.

    Attributes:
        name: What it is called.
        purpose: What needs it.
        done: What the program does, as one that has done it says.
        write: Writes the program.
        needed: Whether the default sandbox cannot do without.
        since: The first kernel that grants it; its calls may be older.
        option: The kernel's build option that it needs.
        otherwise: How to do without, as a part of a remedy.
        steps: Of a start, which fail without it (enum nsb_step).
    """

    name: str
    purpose: str
    write: Callable[[Script], None]
    done: str = ""
    needed: bool = True
    since: tuple[int, int] = (2, 6)
    option: str = ""
    otherwise: str = ""
    steps: tuple[str, ...] = ()

    def program(self, caller: Caller) -> Program:
        """Return the program."""
        script = Script(caller)
        self.write(script)
        return tuple(script.calls)


def _clone3(script: Script) -> None:
    args = struct.pack("8Q", 0, 0, 0, 0, _SIGCHLD, 0, 0, 0)
    child = script.do("clone3", args, len(args))
    script.do("wait4", child, 0, 0, 0)


def _pidfd(script: Script) -> None:
    child = script.do("clone", _SIGCHLD | _CLONE_PIDFD, 0, Zeros(4), 0, 0)
    pidfd = script.do("pidfd_open", child, 0)
    script.do("waitid", _P_PIDFD, pidfd, Zeros(128), _WEXITED, 0)
    own = script.do("pidfd_open", script.do("getpid"), 0)
    script.do("pidfd_send_signal", own, 0, 0, 0)


def _sealed_program(script: Script) -> None:
    memory = script.do("memfd_create", "pycontain-probe", 1)
    program = script.do("openat", _HERE, str(PROBE), _RDONLY | _CLOEXEC, 0)
    script.do("sendfile", memory, program, 0, 1 << 20)
    argv = Struct(bytes(24), {0: b"probe", 8: b"calls"})
    script.do("execveat", memory, "", argv, Zeros(8), _AT_EMPTY_PATH)


def _openat2(script: Script) -> None:
    in_root_no_magic_links = struct.pack("3Q", _CLOEXEC, 0, 0x10 | 0x02)
    script.do("openat2", _HERE, "/", in_root_no_magic_links, 24)


def _close_range(script: Script) -> None:
    script.do("close_range", 900, 1000, 4)  # CLOSE_RANGE_CLOEXEC


def _mount_api(script: Script) -> None:
    script.mounts()
    context = script.do("fsopen", "tmpfs", 1)
    script.do("fsconfig", context, 1, "mode", "755", 0)  # FSCONFIG_SET_STRING
    script.do("fsconfig", context, 6, 0, 0, 0)  # FSCONFIG_CMD_CREATE
    made = script.do("fsmount", context, 1, 0)
    script.do("move_mount", made, "", _HERE, "/proc", 4)  # MOVE_MOUNT_F_EMPTY_PATH
    script.do("open_tree", _HERE, "/proc", 1 | _CLOEXEC)  # OPEN_TREE_CLONE


def _mount_attributes(script: Script) -> None:
    script.mounts()
    script.mount("tmpfs")
    read_only = struct.pack("4Q", 1, 0, 0, 0)
    script.do("mount_setattr", _HERE, "/proc", 0x8000, read_only, 32)  # AT_RECURSIVE


def _uts(script: Script) -> None:
    script.user("uts")
    script.do("sethostname", "x", 1)


def _mnt(script: Script) -> None:
    script.mounts()
    script.mount("tmpfs")
    script.do("mkdirat", _HERE, "/proc/x", 0o755)


def _pid(script: Script) -> None:
    script.user("pid")
    script.do("getpid")


def _net(script: Script) -> None:
    script.user("net")
    socket = script.do("socket", 2, 2 | _CLOEXEC, 0)
    request = struct.pack("16sh22x", b"lo", 0x41)  # IFF_UP | IFF_RUNNING
    script.do("ioctl", socket, 0x8914, request)  # SIOCSIFFLAGS


def _ipc(script: Script) -> None:
    script.mounts("ipc")
    script.mount("mqueue")


def _cgroup(script: Script) -> None:
    script.user()
    script.do("unshare", CLONE_NEW["cgroup"])


def _time(script: Script) -> None:
    script.user()
    script.do("unshare", CLONE_NEW["time"])
    clocks = script.do("openat", _HERE, "/proc/self/ns/time_for_children", _CLOEXEC, 0)
    script.do("setns", clocks, CLONE_NEW["time"])


def _joining(script: Script) -> None:
    script.user("uts")
    namespace = script.do("openat", _HERE, "/proc/self/ns/uts", _CLOEXEC, 0)
    script.do("setns", namespace, CLONE_NEW["uts"])


def _nested(script: Script) -> None:
    script.user()
    script.user(inside=(0, 0))


def _proc(script: Script) -> None:
    script.mounts("pid")
    script.mount("proc")


def _devpts(script: Script) -> None:
    script.mounts()
    script.do("mount", "devpts", "/proc", "devpts", 2 | 8, "newinstance,ptmxmode=0666,mode=0620")


def _overlay(script: Script) -> None:
    script.mounts()
    script.mount("tmpfs")
    for name in ("lower", "upper", "work", "merged"):
        script.do("mkdirat", _HERE, f"/proc/{name}", 0o755)
    layers = "lowerdir=/proc/lower,upperdir=/proc/upper,workdir=/proc/work,userxattr"
    script.mount("overlay", "/proc/merged", layers)


def _pivot_root(script: Script) -> None:
    script.mounts()
    script.mount("tmpfs")
    script.do("chdir", "/proc")
    script.do("pivot_root", ".", ".")
    script.do("umount2", ".", 2)  # MNT_DETACH


def _load_filter(script: Script, flags: int) -> None:
    script.do("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = Struct(struct.pack("HxxxxxxQ", 1, 0), {8: _ALLOW})
    script.do("seccomp", 1, flags, program)  # SECCOMP_SET_MODE_FILTER


def _filter(script: Script) -> None:
    _load_filter(script, 0)


def _listener(script: Script) -> None:
    _load_filter(script, 8)  # SECCOMP_FILTER_FLAG_NEW_LISTENER


def _landlock(script: Script) -> None:
    script.do("landlock_create_ruleset", 0, 0, 1)  # LANDLOCK_CREATE_RULESET_VERSION
    script.do("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    rules = script.do("landlock_create_ruleset", struct.pack("Q", 1), 8, 0)
    script.do("landlock_restrict_self", rules, 0)


def _keyring(script: Script) -> None:
    script.do("keyctl", 1, 0)  # KEYCTL_JOIN_SESSION_KEYRING


def _binfmt(script: Script) -> None:
    script.mounts()
    script.mount("binfmt_misc")


# In the order of a start.
_EVERY: Final = "every sandbox"
_CLONES: Final = ("CLONE", "CLONE_NAMESPACES")
PRIMITIVES: Final = (
    Primitive(name="clone3", purpose="starts", write=_clone3, needed=False),
    Primitive(
        name="pidfd",
        purpose=_EVERY,
        done="a child waited for, a signal sent",
        write=_pidfd,
        since=(5, 4),
    ),
    Primitive(
        name="sealed program",
        purpose=_EVERY,
        done="executed from a memfd",
        write=_sealed_program,
        steps=("EXEC_INIT",),
    ),
    Primitive(
        name="user namespace",
        purpose=_EVERY,
        done="made, one id mapped",
        write=Script.user,
        option="USER_NS",
        since=(3, 8),
        steps=(*_CLONES, "ID_MAP"),
    ),
    Primitive(
        name="mount namespace",
        purpose=_EVERY,
        done="made, a tmpfs mounted",
        write=_mnt,
        steps=(*_CLONES, "PROPAGATION", "ROOT", "TMPFS"),
    ),
    Primitive(
        name="pid namespace",
        purpose=_EVERY,
        done="made",
        write=_pid,
        option="PID_NS",
        steps=_CLONES,
    ),
    Primitive(
        name="network namespace",
        purpose=_EVERY,
        done="made, loopback up",
        write=_net,
        option="NET_NS",
        steps=(*_CLONES, "LOOPBACK"),
    ),
    Primitive(
        name="ipc namespace",
        purpose=_EVERY,
        done="made, mqueue mounted",
        write=_ipc,
        option="IPC_NS",
        steps=(*_CLONES, "MQUEUE"),
    ),
    Primitive(
        name="uts namespace",
        purpose=_EVERY,
        done="made, host name set",
        write=_uts,
        option="UTS_NS",
        steps=(*_CLONES, "HOSTNAME"),
    ),
    Primitive(
        name="cgroup namespace",
        purpose=_EVERY,
        done="made",
        write=_cgroup,
        option="CGROUPS",
        since=(4, 6),
        steps=("TASKS", "START"),
    ),
    Primitive(
        name="time namespace",
        purpose='namespaces=(..., "time")',
        write=_time,
        needed=False,
        option="TIME_NS",
        since=(5, 6),
        steps=("TIME_NAMESPACE",),
    ),
    Primitive(
        name="joining a namespace",
        purpose="a range of ids",
        write=_joining,
        needed=False,
        steps=("JOIN_USER_NAMESPACE",),
    ),
    Primitive(
        name="procfs",
        purpose=_EVERY,
        done="mounted",
        write=_proc,
        option="PROC_FS",
        steps=("PROC",),
    ),
    Primitive(
        name="devpts",
        purpose=_EVERY,
        done="mounted",
        write=_devpts,
        option="UNIX98_PTYS",
        steps=("DEVPTS",),
    ),
    Primitive(
        name="pivot_root", purpose=_EVERY, done="done", write=_pivot_root, steps=("PIVOT_ROOT",)
    ),
    Primitive(
        name="overlay",
        purpose="images, and a writable layer over rootfs=",
        write=_overlay,
        needed=False,
        option="OVERLAY_FS",
        since=(5, 11),
        otherwise="a directory goes without by read_only=True",
        steps=("OVERLAY",),
    ),
    Primitive(name="new mount API", purpose="mounts by descriptor", write=_mount_api, needed=False),
    Primitive(
        name="mount_setattr",
        purpose="a whole tree read-only at once",
        write=_mount_attributes,
        needed=False,
    ),
    Primitive(name="openat2", purpose="paths below a hostile root", write=_openat2, needed=False),
    Primitive(
        name="close_range",
        purpose="closing descriptors",
        write=_close_range,
        needed=False,
        since=(5, 11),
    ),
    Primitive(
        name="seccomp filter",
        purpose=_EVERY,
        done="loaded",
        write=_filter,
        option="SECCOMP_FILTER",
        steps=("SECCOMP",),
    ),
    Primitive(
        name="seccomp listener",
        purpose="audit=True and traces",
        write=_listener,
        needed=False,
        since=(5, 0),
        option="SECCOMP_FILTER",
        steps=("LISTENER",),
    ),
    Primitive(
        name="Landlock",
        purpose="a second layer over files",
        write=_landlock,
        needed=False,
        option="SECURITY_LANDLOCK",
        steps=("LANDLOCK",),
    ),
    Primitive(
        name="session keyring",
        purpose="no keys of the caller's",
        write=_keyring,
        needed=False,
        option="KEYS",
        steps=("KEYRING",),
    ),
    Primitive(name="nested user namespace", purpose="profile nested", write=_nested, needed=False),
    Primitive(
        name="own binfmt_misc",
        purpose="emulate=True without the host's",
        write=_binfmt,
        needed=False,
        option="BINFMT_MISC",
        since=(6, 7),
        otherwise="the host's own entry serves if it has the flag F",
        steps=("BINFMT",),
    ),
)


# What the kernel itself answers to arguments at which it looks before it asks who calls. Another
# answer is a filter's. A clone shares its file system information, which no namespace may.
def witness(call: Call) -> tuple[Call, int] | None:
    """Return a call whose answer tells whether the kernel gets to see such calls, and that answer.

    None: every call of this name is refused to those who lack a capability.
    """
    match call.name:
        case "clone":
            flags = call.words[0] if isinstance(call.words[0], int) else 0
            return Call("clone", (flags | _CLONE_FS, 0, 0, 0, 0)), errno.EINVAL
        case "clone3":
            return Call("clone3", (0, 0)), errno.EINVAL
        case "unshare":
            flags = call.words[0] if isinstance(call.words[0], int) else 0
            return Call("unshare", (flags | 1,)), errno.EINVAL
    words, expected = _WITNESSES.get(str(call.name), ((), 0))
    return (Call(call.name, words), expected) if expected else None


_WITNESSES: Final[dict[str, tuple[tuple[Word, ...], int]]] = {
    "setns": ((-1, 0), errno.EBADF),
    "mount": ((0, 0, 1, 0, 0), errno.EFAULT),
    "open_tree": ((-1, "", -1), errno.EINVAL),
    "mount_setattr": ((-1, "", -1, 0, 0), errno.EINVAL),
    "openat2": ((-1, 0, 0, 0), errno.EINVAL),
    "close_range": ((2, 1, 0), errno.EINVAL),
    "memfd_create": (("", -1), errno.EINVAL),
    "execveat": ((-1, "", 0, 0, -1), errno.EINVAL),
    "pidfd_open": ((-1, 0), errno.EINVAL),
    "pidfd_send_signal": ((-1, 0, 0, 0), errno.EBADF),
    "waitid": ((-1, 0, 0, 4, 0), errno.EINVAL),
    "socket": ((2, -1, 0), errno.EINVAL),
    "ioctl": ((-1, 0, 0), errno.EBADF),
    "seccomp": ((99, 0, 0), errno.EINVAL),
    "keyctl": ((9999, 0, 0, 0, 0), errno.EOPNOTSUPP),
    "landlock_create_ruleset": ((0, 0, -1), errno.EINVAL),
    "prctl": ((-1, 0, 0, 0, 0), errno.EINVAL),
}
