# SPDX-License-Identifier: Apache-2.0
"""What Landlock grants to commands: a second layer over mounts and ids, where the kernel has it.

Source: Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

from typing import Final

from . import _fallbacks, _native, _remedies
from .config import Bind, SandboxConfig
from .enforcement import Control
from .profile import Profile

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, *_REST = (1 << bit for bit in range(16))
MAKE_CHAR, MAKE_BLOCK, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 15
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
# By ABI: how many rights it knows.
_RIGHTS: Final = {2: 14, 3: 15, 4: 15, 5: 16}
_READ: Final = EXECUTE | READ_FILE | READ_DIR
_DEVICES: Final = MAKE_CHAR | MAKE_BLOCK
MQUEUE: Final = "/dev/mqueue"
_WRITABLE: Final = ("/dev", "/proc")


def ruleset(config: SandboxConfig, profile: Profile, abi: int) -> _native.Landlock | None:
    """Return the rules of a sandbox; None: it goes without.

    Args:
        config: What can be written, and whether the host's network is shared.
        profile: A nested sandbox mounts, which no domain may.
        abi: The kernel's version.
    """
    if profile.nested or not _fallbacks.uses_landlock(abi):
        return None
    handled = (1 << _RIGHTS.get(abi, 16)) - 1
    everything = handled & ~_DEVICES if "CAP_MKNOD" not in profile.capabilities else handled
    writable = [
        str(mount.target)
        for mount in config.mounts
        if not (isinstance(mount, Bind) and mount.read_only)
    ]
    # mq_open(3) takes another way than by the root, to the same directory.
    queues = (MQUEUE,) if "ipc" in config.namespaces else ()
    shares_sockets = config.network == "host" and abi >= 6
    return _native.Landlock(
        handled=handled,
        scoped=SCOPE_ABSTRACT_UNIX_SOCKET if shares_sockets else 0,
        below_root=_READ if config.read_only else everything,
        below_paths=everything,
        paths=(*queues, *_WRITABLE, *writable) if config.read_only else queues,
    )


def control(rules: _native.Landlock | None, profile: Profile, abi: int) -> Control:
    """Say what Landlock holds, or why it does not."""
    if rules is not None:
        scope = ", no abstract sockets of the host" if rules.scoped else ""
        return Control(in_force=True, by=f"Landlock ABI {abi}: nothing outside the root{scope}")
    if profile.nested:
        return Control(in_force=False, why=f"the profile {profile.name} leaves it off")
    return Control(
        in_force=False,
        why=f"this kernel's Landlock is too old (ABI {abi})" if abi else "this kernel has none",
        remedy=_remedies.LANDLOCK,
    )
