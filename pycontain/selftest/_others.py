# SPDX-License-Identifier: Apache-2.0
"""Attacks on identity, limits, the terminal, keyrings and the network."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from ._attack import KEEPS, Attack, attack, attacks, call, opened
from ._programs import Program, Result

IDENTITY: Final = (
    attack("C3", "setgroups", call("setgroups", 0, 0), granted=KEEPS),
    *(
        attack(
            "C3",
            f"{name} to another id",
            call(name, 4242, 4242, 4242),
            also=(errno.EINVAL,),  # an id without a map
            granted=KEEPS,
        )
        for name in ("setresuid", "setresgid")
    ),
    attack("C2", "raise a capability", call(
        "capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0)
    )),
    attack("C2", "an ambient capability", call("prctl", 47, 2, 21, 0, 0)),
    attack("C10", "take no_new_privs back", call("prctl", 38, 0, 0, 0, 0), also=(errno.EINVAL,),
           outside="the kernel has no such thing"),
)  # fmt: skip

LIMITS: Final = (
    attack("E9", "a higher RLIMIT_NOFILE", call(
        "prlimit64", 0, 7, struct.pack("2Q", 1 << 20, 1 << 20), 0), granted=("compat",)),
    attack("E9", "a higher RLIMIT_MEMLOCK", call(
        "prlimit64", 0, 8, struct.pack("2Q", 1 << 40, 1 << 40), 0), granted=("compat",)),
    attack("E9", "limits of PID 1", call("prlimit64", 1, 7, struct.pack("2Q", 1, 1), 0),
           outside="the host's PID 1 would lose descriptors"),
    attack("E9", "a better nice value", call("setpriority", 0, 0, -5)),
    attack("E9", "SCHED_FIFO", call("sched_setscheduler", 0, 1, struct.pack("I", 1))),
    attack("E9", "the real-time class of I/O", call("ioprio_set", 1, 0, 1 << 13)),
)  # fmt: skip

_SLOWED: Final = "the host's PID 1 would be slowed"
INIT: Final = (
    attack("I3", "a worse nice value for PID 1", call("setpriority", 0, 1, 19), outside=_SLOWED),
    attack("I3", "one processor for PID 1", call(
        "sched_setaffinity", 1, 8, struct.pack("Q", 1)), outside=_SLOWED),
    attack("I3", "SCHED_IDLE for PID 1", call(
        "sched_setscheduler", 1, 5, struct.pack("I", 0)), outside=_SLOWED),
    attack("I3", "the idle class of I/O for PID 1", call(
        "ioprio_set", 1, 1, 3 << 13), outside=_SLOWED),
    attack("I3", "reap the memory of PID 1", call("pidfd_open", 1, 0), call(
        "process_mrelease", Result(0), 0), also=(errno.EINVAL, errno.ESRCH), outside=_SLOWED),
)  # fmt: skip

TERMINAL: Final = (
    *(
        attack("F1", f"ioctl {name}", call("ioctl", 0, number, "x"), granted=("compat",))
        for name, number in {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423}.items()
    ),
    attack("F2", "open /dev/tty", opened("/dev/tty", 2), also=(errno.ENXIO,)),
    attack("F2", "open /dev/console", opened("/dev/console", 2), also=(errno.ENOENT,)),
    attack("F2", "open /dev/tty0", opened("/dev/tty0", 2), also=(errno.ENOENT,)),
)

# Keys of a thread that ends with the program.
KEYS: Final = (
    attack("G1", "add_key", call("add_key", "user", "pycontain", "x", 1, -1)),
    attack("G1", "keyctl", call("keyctl", 0, -1, 1, 0, 0)),
    attack("G1", "request_key", call("request_key", "user", "pycontain", 0, -1)),
    attack("G1", "a persistent keyring", call("keyctl", 22, -1, -1, 0, 0)),
)

LOCKS: Final = tuple(
    attack("G4", what, opened("."), call(name, Result(0), *words), also=(errno.ENOLCK,),
           granted=("default", "build", "nested", "compat"))
    for what, name, words in (
        ("flock", "flock", (2,)),
        ("fcntl lock", "fcntl", (6, struct.pack("hhxxxxqqi", 0, 0, 0, 0, 0))),
    )
)  # fmt: skip


def _connects(address: str, port: int = 80) -> Program:
    """Without a byte on the wire: connecting a datagram socket asks for a route."""
    peer = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address)
    return call("socket", socket.AF_INET, 2, 0), call("connect", Result(0), peer + bytes(8), 16)


NO_NETWORK: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT)
NETWORK: Final = (
    attacks(
        "G6",
        "a route to other hosts",
        (
            _connects(address)
            for address in ("169.254.169.254", "10.0.0.1", "192.168.0.1", "1.1.1.1")
        ),
        also=NO_NETWORK,
    ),
)

ALL: Final[tuple[Attack, ...]] = (*IDENTITY, *LIMITS, *INIT, *TERMINAL, *KEYS, *LOCKS, *NETWORK)
