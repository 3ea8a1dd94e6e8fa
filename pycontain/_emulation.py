# SPDX-License-Identifier: Apache-2.0
"""Programs of other architectures, through QEMU's user mode.

From Linux 6.7 on each user namespace may have a binfmt_misc of its own: the sandbox's gets an entry
for one architecture, and nothing of the host changes. QEMU is opened when it is registered (flag
F), so it need not be in the root. On older kernels the host's entry serves, if it has that flag.

Source: Documentation/admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import Final, NamedTuple

from . import _fallbacks
from ._contract._architectures import BY_NAME, Architecture, magic_and_mask
from ._contract._elf import BadElfError, read_elf
from ._contract._machine import Machine
from .enforcement import Control
from .errors import ConfigError, UnsupportedError

_REGISTER_MAX: Final = 1920  # MAX_REGISTER_LENGTH of fs/binfmt_misc.c


class Emulation(NamedTuple):
    """How the programs of an architecture are run.

    Attributes:
        control: What runs them.
        entry: What is to be registered in the sandbox's own binfmt_misc; empty: nothing.
    """

    control: Control
    entry: bytes = b""


def prepare(name: str, machine: Machine) -> Emulation:
    """Return how the programs of an architecture are run on a machine, which is this one.

    Raises:
        ConfigError: QEMU does not know it.
        UnsupportedError: There is no QEMU, or this kernel cannot be told of it.
    """
    architecture = BY_NAME.get(name)
    if architecture is None:
        raise ConfigError(f"emulate: no QEMU for {name}; known are {', '.join(sorted(BY_NAME))}")
    if _fallbacks.has_own_binfmt(machine.kernel):
        program = _program(architecture)
        by = f"{program}, registered in a binfmt_misc of the sandbox's own user namespace"
        return Emulation(Control(in_force=True, by=by), _entry(architecture, program))
    head = magic_and_mask(architecture)[0]
    for handler in machine.handlers:
        if handler.fixed and handler.takes(head):
            by = f"{handler.interpreter}, the host's own binfmt_misc entry {handler.name}"
            return Emulation(Control(in_force=True, by=by))
    raise UnsupportedError(
        errno.EOPNOTSUPP,
        f"emulate: this kernel has binfmt_misc for the whole host only (Linux 6.7 has one for each "
        f"user namespace), and that has no entry for {name} with the flag F: register "
        f"qemu-{architecture.qemu}-static there (Debian: qemu-user-static and binfmt-support)",
    )


def _program(architecture: Architecture) -> str:
    """Return the path of a QEMU that needs nothing of the root."""
    tried = []
    for name in (f"qemu-{architecture.qemu}-static", f"qemu-{architecture.qemu}"):
        found = shutil.which(name)
        if found is not None and _is_static(found):
            return os.path.realpath(found)
        tried.append(name if found is None else f"{found}, which is not static")
    raise UnsupportedError(
        errno.ENOENT,
        f"emulate: no QEMU for {architecture.name} (tried {', '.join(tried)}): install "
        "qemu-user-static",
    )


def _is_static(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            fd = file.fileno()
            elf = read_elf(lambda size, at: os.pread(fd, size, at), os.fstat(fd).st_size)
    except (OSError, BadElfError):
        return False
    return elf.interpreter is None


def _entry(architecture: Architecture, program: str) -> bytes:
    """Return the line for `register`; `:` separates, so that it may not be in the path."""
    magic, mask = (
        "".join(f"\\x{byte:02x}" for byte in part) for part in magic_and_mask(architecture)
    )
    entry = f":pycontain-{architecture.qemu}:M::{magic}:{mask}:{program}:F"
    if ":" in program or len(entry) > _REGISTER_MAX:
        raise UnsupportedError(errno.EINVAL, f"emulate: {program!r} cannot be registered")
    return os.fsencode(entry)
