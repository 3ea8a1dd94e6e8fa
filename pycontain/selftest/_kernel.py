# SPDX-License-Identifier: Apache-2.0
"""Attacks on the kernel's interface: namespaces, dangerous calls, filters, sockets."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Final

from pycontain import _syscalls

from ._attack import KEEPS, Attack, Outside, attack, attacks, call, opened
from ._programs import MACHINE, Program, Result, Struct, Zeros

_APART: Final = Outside.APART
_SIGCHLD: Final = 17
_HERE: Final = -100
_HIGH: Final = (1 << 32, 1 << 63, 0xFFFFFFFF << 32)
_NEW: Final = {
    "NEWTIME": 0x80,
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}


def _namespaces() -> Iterator[Attack]:
    for name, flag in _NEW.items():
        clone3 = struct.pack("8Q", flag, 0, 0, 0, _SIGCHLD, 0, 0, 0)
        ways = {"unshare": (flag,), "clone3": (clone3, 64)}
        if flag > 0xFF:  # below are the bits of the signal
            ways["clone"] = (flag | _SIGCHLD, 0, 0, 0, 0)
        user = name == "NEWUSER"
        for way, words in ways.items():
            yield attack(
                "C7",
                f"{way} {name}",
                call(way, *words),
                granted=("nested",) if user else (),
                outside=Outside.AS_IT_IS if user else _APART,
            )
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"):
        yield attack(
            "C7",
            f"setns to its own {name}",
            opened(f"/proc/self/ns/{name}"),
            call("setns", Result(0), 0),
            # The kernel refuses the user namespace that one is in.
            also=(errno.EINVAL,) if name == "user" else (),
            outside=_APART,
        )


NAMESPACES: Final = tuple(_namespaces())

_HANDLE: Final = struct.pack("IiQ", 8, 1, 0)
_MAP: Final = struct.pack("4I", 2, 4, 8, 1) + bytes(112)
_NOWHERE: Final = "/no/such/file"

# Outside, each gets as far as complaining about its arguments, and no further.
DANGEROUS: Final = (
    attacks(
        "D1",
        "every number from the newest known call to 1023",
        ((call(number),) for number in range(_syscalls.table(MACHINE).newest + 1, 1024)),
    ),
    *(
        attack("D2", name, call(name, *words), outside=_APART)
        for name, words in {
            "open_tree": (_HERE, "/", 1),
            "move_mount": (-1, "", -1, "", 0),
            "fsopen": ("tmpfs", 0),
            "fspick": (_HERE, "/", 0),
            "fsmount": (-1, 0, 0),
            "sethostname": ("x", 1),
            "setdomainname": ("x", 1),
        }.items()
    ),
    *(
        attack("D2", name, call(name, *words))
        for name, words in {
            "kexec_load": (0, 1, 0, 0xFFFF),
            "kexec_file_load": (-1, -1, 0, 0, 0xFFFFFFFF),
            "bpf": (0, _MAP, 128),
            "perf_event_open": (0, 0, -1, -1, 0),
            "quotactl": (0x80000700, "/dev/null", 0, Zeros(64)),
            "open_by_handle_at": (_HERE, _HANDLE, 0),
            "fanotify_init": (0, 0),
            "init_module": (Zeros(64), 64, ""),
            "finit_module": (-1, "", 0),
            "delete_module": ("pycontain-has-no-module", 0),
            "reboot": (0, 0, 0, 0),
            "swapon": (_NOWHERE, 0),
            "swapoff": (_NOWHERE,),
            "acct": (_NOWHERE,),
            "syslog": (10, 0, 0),
            "settimeofday": (0, 0),
            "clock_settime": (0, struct.pack("2q", 0, -1)),
            "iopl": (3,),
            "ioperm": (0x80, 1, 1),
            "pidfd_getfd": (-1, 0, 0),
            "kcmp": (1, 1, 0, 0, 0),
            "move_pages": (0, 0, 0, 0, 0, 0),
            "process_madvise": (-1, 0, 0, 0, 0),
            "lookup_dcookie": (0, 0, 0),
        }.items()
    ),
    attack("D2", "modify_ldt", call("modify_ldt", 0, Zeros(64), 64), granted=("compat",)),
    attack("D2", "vhangup", call("vhangup"), outside="it would hang up the caller's terminal"),
    attack(
        "E10",
        "adjtimex sets the tick",
        call("adjtimex", struct.pack("Q", 0x4000) + bytes(256)),
        outside="it would change the host's clock",
    ),
    attack("D6", "io_uring_setup", call("io_uring_setup", 1, Zeros(120))),
    attack("D6", "io_uring_enter", call("io_uring_enter", -1, 0, 0, 0, 0, 0)),
    attack("D6", "io_uring_register", call("io_uring_register", -1, 0, 0, 0)),
    attack("D6", "userfaultfd", call("userfaultfd", 0)),
    attack("D6", "userfaultfd for user mode", call("userfaultfd", 1)),
)


def _high(name: str, index: int, *words: int) -> Iterator[Program]:
    """Yield a call whose argument has bits that the kernel does not look at."""
    for bits in _HIGH:
        yield (call(name, *words[:index], words[index] | bits, *words[index + 1 :]),)


_X32: Final = (0, 39, 41, 56, 165, 512, 520, 545)
_ALLOW: Final = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET
_UNSHARE: Final = call("unshare", _NEW["NEWNS"])

FILTERS: Final = (
    attacks("D3", "socket(AF_ALG) with high bits", _high("socket", 0, 38, 5, 0), also=(97,)),
    attacks("D3", "socket(AF_VSOCK) with high bits", _high("socket", 0, 40, 1, 0), also=(97,)),
    attacks("D3", "socket(AF_PACKET) with high bits", _high("socket", 0, 17, 3, 0), also=(97,),
            granted=KEEPS),
    attacks("D3", "SOCK_PACKET with high bits", _high("socket", 1, 2, 10, 0x300), also=(97, 93),
            granted=KEEPS),
    attacks("D3", "TIOCSTI with high bits", _high("ioctl", 1, 0, 0x5412, 0),
            granted=("compat",)),
    attacks("D3", "TIOCLINUX with high bits", _high("ioctl", 1, 0, 0x541C, 0),
            granted=("compat",)),
    attacks("D3", "PR_SET_MM with high bits", _high("prctl", 0, 35, 1, 0, 0, 0),
            granted=("compat",)),
    attacks("D3", "personality with high bits", _high("personality", 0, 0x40000)),
    attacks("D3", "clone NEWUSER with high bits",
            _high("clone", 0, _NEW["NEWUSER"] | _SIGCHLD, 0, 0, 0, 0), granted=("nested",)),
    attacks("D5", "calls of i386", ((call("getpid", i386=True),),
                                    (call("socketcall", 1, 0, i386=True),),
                                    (call("socket", 38, 5, 0, i386=True),),
                                    (call("clone", _NEW["NEWUSER"] | _SIGCHLD, i386=True),))),
    *(
        (attacks("D5", "calls of x32", ((call(0x40000000 | number, 0),) for number in _X32)),)
        if MACHINE == "x86_64" else ()
    ),
    attack("D8", "a filter of its own that allows all",
           call("prctl", 38, 1, 0, 0, 0, optional=True),
           call("seccomp", 1, 0, Struct(struct.pack("HxxxxxxQ", 1, 0), {8: _ALLOW})),
           _UNSHARE, outside=_APART),
    attack("D8", "no filter again", call("prctl", 22, 0, 0, 0, 0, optional=True), _UNSHARE,
           outside=_APART),
    attack("D8", "strict mode and back", call("prctl", 38, 0, 0, 0, 0, optional=True),
           call("prctl", 22, 2, 0, 0, 0, optional=True), _UNSHARE, outside=_APART),
    attack("D8", "a tracer's PTRACE_O_SUSPEND_SECCOMP", call("getppid"),
           call("ptrace", 0x4206, Result(0), 0, 1 << 21), also=(errno.ESRCH,),
           outside="the caller would be traced"),
)  # fmt: skip

_DGRAM, _RAW = 2, 3
_ORDINARY_FAMILIES: Final = frozenset((1, 2, 10, 16))
# Those that Docker's profile refuses (see COMPAT_FAMILIES of the policy) and those it lets pass.
_REFUSED_BY_ALL: Final = (12, 19, 20, 23, 25, 34, 37, 38, 40, *range(46, 65))
_LET_PASS_BY_DOCKER: Final = tuple(
    family
    for family in range(65)
    if family not in _ORDINARY_FAMILIES and family not in _REFUSED_BY_ALL
)
_LOADS: Final = "the kernel would load modules for it"
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


def _families(call_name: str, families: tuple[int, ...]) -> Iterator[Program]:
    more = (Zeros(8),) if call_name == "socketpair" else ()
    return (
        (call(call_name, family, kind, 0, *more),) for family in families for kind in (_DGRAM, _RAW)
    )


SOCKETS: Final = (
    attack("D4", "socket(AF_ALG)", call("socket", 38, 5, 0), also=_NO_FAMILY),
    attack("G5", "socket(AF_VSOCK)", call("socket", 40, 1, 0), also=_NO_FAMILY),
    attack("G5", "socket(AF_PACKET)", call("socket", 17, _RAW, 0), also=_NO_FAMILY, granted=KEEPS),
    attack("G5", "socket(SOCK_RAW)", call("socket", 2, _RAW, 1), also=_NO_FAMILY, granted=KEEPS),
    attack("G5", "SOCK_PACKET", call("socket", 2, 10, 0x300), also=_NO_FAMILY, granted=KEEPS),
    attack(
        "D4", "SCTP", call("socket", 2, 1, 132), also=_NO_FAMILY, granted=("compat",),
        outside=_LOADS,
    ),
    attacks(
        "D4", "sockets of the families that nobody lets pass",
        _families("socket", _REFUSED_BY_ALL), also=_NO_FAMILY, outside=_LOADS,
    ),
    attacks(
        "D4", "sockets of other families", _families("socket", _LET_PASS_BY_DOCKER),
        also=_NO_FAMILY, granted=("compat",), outside=_LOADS,
    ),
    attacks(
        "D4", "pairs of sockets of other families",
        _families("socketpair", tuple(range(2, 65))), also=(*_NO_FAMILY, errno.EOPNOTSUPP),
        granted=("compat",), outside=_LOADS,
    ),
    attacks(
        "D4", "netlink but for routes",
        ((call("socket", 16, _RAW, protocol),) for protocol in range(1, 32)),
        also=_NO_FAMILY, granted=("compat", "nested"),
    ),
)  # fmt: skip

ALL: Final[tuple[Attack, ...]] = (*NAMESPACES, *DANGEROUS, *FILTERS, *SOCKETS)
