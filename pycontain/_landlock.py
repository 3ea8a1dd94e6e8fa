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
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1
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
        profile: A nested sandbox mounts, which no domain may. Commands that stand alone have no TCP
            and nothing to do with each other.
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
    return _native.Landlock(
        handled=handled,
        net=BIND_TCP | CONNECT_TCP if profile.alone and _fallbacks.bounds_tcp(abi) else 0,
        scoped=_scopes(config, profile) if _fallbacks.has_scopes(abi) else 0,
        below_root=_READ if config.read_only else everything,
        below_paths=everything,
        paths=(*queues, *_WRITABLE, *writable) if config.read_only else queues,
    )


def _scopes(config: SandboxConfig, profile: Profile) -> int:
    if profile.alone:
        return SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL
    return SCOPE_ABSTRACT_UNIX_SOCKET if config.network == "host" else 0


def control(rules: _native.Landlock | None, profile: Profile, abi: int) -> Control:
    """Say what Landlock holds, or why it does not."""
    if rules is not None:
        more = {
            "no TCP": rules.net,
            "no abstract sockets of others": rules.scoped & SCOPE_ABSTRACT_UNIX_SOCKET,
            "no signals to others": rules.scoped & SCOPE_SIGNAL,
        }
        parts = ["nothing outside the root", *(part for part, there in more.items() if there)]
        return Control(in_force=True, by=f"Landlock ABI {abi}: {', '.join(parts)}")
    if profile.nested:
        return Control(in_force=False, why=f"the profile {profile.name} leaves it off")
    return Control(
        in_force=False,
        why=f"this kernel's Landlock is too old (ABI {abi})" if abi else "this kernel has none",
        remedy=_remedies.LANDLOCK,
    )
