# SPDX-License-Identifier: Apache-2.0
"""The seccomp policy that all runners get: BPF for those that take it, names for the others."""

from __future__ import annotations

import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
# What container engines refuse by default as well (moby's profiles/seccomp/default.json).
REFUSED_TEXT = """
    acct add_key adjtimex bpf clock_adjtime clock_settime create_module delete_module
    finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module
    io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load
    keyctl lookup_dcookie mbind mount mount_setattr move_mount move_pages nfsservctl
    open_by_handle_at open_tree perf_event_open pivot_root process_vm_readv process_vm_writev
    ptrace query_module quotactl quotactl_fd reboot request_key set_mempolicy setdomainname
    sethostname setns settimeofday swapoff swapon sysfs _sysctl umount2 unshare uselib
    userfaultfd ustat vhangup vmsplice
"""
REFUSED = frozenset(REFUSED_TEXT.split())
ALLOW, EPERM_VERDICT, KILL = 0x7FFF0000, 0x00050001, 0x80000000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Policy:
    """Allowed system calls by name, and the same as a program."""

    allowed: tuple[str, ...]
    program: bytes


def system_calls() -> dict[str, int]:
    """Return this machine's system calls from the kernel's headers."""
    machine = platform.machine()
    for path in map(Path, HEADERS[machine]):
        if path.exists():
            pairs = re.findall(
                r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), re.MULTILINE
            )
            return {name: int(number) for name, number in pairs if name != "syscalls"}
    raise FileNotFoundError(HEADERS[machine][0])


def make_policy() -> Policy:
    """Allow all but REFUSED."""
    numbers = system_calls()
    allowed = sorted(name for name in numbers if name not in REFUSED)
    program = compile_allow_list({numbers[name] for name in allowed})
    return Policy(tuple(allowed), program)


def compile_allow_list(allowed: set[int]) -> bytes:
    """Return struct sock_filter[]: a binary search over runs of numbers with the same verdict."""
    numbers = range(1, max(allowed) + 2)
    edges = [0, *(n for n in numbers if (n in allowed) != (n - 1 in allowed))]
    verdicts = [ALLOW if edge in allowed else EPERM_VERDICT for edge in edges]
    head = [
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[platform.machine()]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
    ]
    tree = _search(list(zip(edges, verdicts, strict=True)))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in head + tree)


def _search(runs: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    if len(runs) == 1:
        return [(RETURN, 0, 0, runs[0][1])]
    middle = len(runs) // 2
    low, high = _search(runs[:middle]), _search(runs[middle:])
    return [(JUMP_AT_LEAST, len(low), 0, runs[middle][0]), *low, *high]
