# SPDX-License-Identifier: Apache-2.0
"""A program that loads a seccomp filter and makes raw system calls, for tests to start."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
import threading
from typing import Any

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: bytes) -> None:
    """Load a filter for this thread and its children. OSError if the kernel refuses it."""
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prog = _Program(len(program) // 8, program)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(prog), 0, 0)


def prctl(*arguments: Any) -> None:
    """Call prctl(2)."""
    if libc.prctl(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def call(number: int, *arguments: int) -> int:
    """Make a system call with whole 64-bit registers; the result, or the negative error number."""
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(value) for value in arguments))
    return -ctypes.get_errno() if result == -1 else int(result)


def call_i386(number: int) -> int:
    """Make an i386 call without arguments from 64-bit code: push rbx; mov eax, edi; int 0x80."""
    with mmap.mmap(
        -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ) as page:
        page.write(b"\x53\x89\xf8\x31\xdb\xcd\x80\x5b\xc3")
        window = ctypes.c_char.from_buffer(page)
        entry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(ctypes.addressof(window))
        result = int(entry(number))
        del window
    return result


def main() -> None:
    """Read `{filter, calls, i386, thread}` from stdin; write the results of the calls."""
    order: dict[str, Any] = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # some calls look at it
    if order["filter"]:
        load(bytes.fromhex(order["filter"]))

    def work() -> None:
        found = [call(*arguments) for arguments in order["calls"]]
        found += [call_i386(number) for number in order.get("i386", ())]
        os.write(1, json.dumps(found).encode())

    if order.get("thread"):
        other = threading.Thread(target=work)
        other.start()
        other.join()
        signal.pause()
    work()
    os._exit(0)


if __name__ == "__main__":
    main()
