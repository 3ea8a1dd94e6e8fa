# SPDX-License-Identifier: Apache-2.0
"""The options of a mount, as words, and what they mean (runtime-spec config.md, "mounts")."""

from __future__ import annotations

from pycontain._native import (
    MOUNT_NODEV,
    MOUNT_NOEXEC,
    MOUNT_NOSUID,
    MOUNT_RDONLY,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)

from ._value import Value

# <linux/mount.h>
NOATIME, STRICTATIME, ATIME = 0x10, 0x20, 0x70
NODIRATIME, NOSYMFOLLOW = 0x80, 0x200000

# Attributes of one mount: what a word sets and what it clears.
ATTRIBUTES = {
    "ro": (MOUNT_RDONLY, 0),
    "rw": (0, MOUNT_RDONLY),
    "nosuid": (MOUNT_NOSUID, 0),
    "suid": (0, MOUNT_NOSUID),
    "nodev": (MOUNT_NODEV, 0),
    "dev": (0, MOUNT_NODEV),
    "noexec": (MOUNT_NOEXEC, 0),
    "exec": (0, MOUNT_NOEXEC),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
    "relatime": (0, ATIME),
    "norelatime": (0, ATIME),
    "noatime": (NOATIME, ATIME),
    "atime": (0, ATIME),
    "strictatime": (STRICTATIME, ATIME),
    "nostrictatime": (0, ATIME),
}
PROPAGATIONS = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}
PROPAGATIONS |= {f"r{name}": MS_REC | bits for name, bits in PROPAGATIONS.items()}
# Of a file system as a whole: its own affair (fsconfig(2)), and nothing to a bind.
OF_FILE_SYSTEMS = frozenset(
    ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand")
)
# They have no meaning any more, or none that is visible.
IGNORED = frozenset(("defaults", "silent", "loud", "iversion", "noiversion"))
OTHERS = frozenset(("bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"))
KNOWN = (
    *ATTRIBUTES,
    *(f"r{name}" for name in ATTRIBUTES),
    *PROPAGATIONS,
    *sorted(OF_FILE_SYSTEMS),
    *sorted(IGNORED),
    *sorted(OTHERS),
)


class Options(Value):
    """What the words of a mount ask for.

    The attributes are MOUNT_ATTR_* to set and to clear, of the mount alone and of all below it.
    """

    attr: int = 0
    attr_clear: int = 0
    tree_attr: int = 0
    tree_attr_clear: int = 0
    propagation: tuple[int, ...] = ()
    bind: bool = False
    recursive: bool = False
    remount: bool = False
    copy_up: bool = False
    idmap: bool = False
    idmap_recursive: bool = False
    data: str = ""
    """What the file system itself is told."""


def parse_options(words: tuple[str, ...], kind: str) -> Options:
    """Return what the words of a mount of type `kind` mean; later ones win."""
    top = [0, 0]
    tree = [0, 0]
    propagation: dict[int, None] = {}
    data = []
    for word in words:
        if word in ATTRIBUTES:
            _change(top, ATTRIBUTES[word])
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            _change(tree, ATTRIBUTES[word[1:]])
        elif word in PROPAGATIONS:
            propagation[PROPAGATIONS[word]] = None
        elif word not in IGNORED and word not in OTHERS:
            data.append(word)
    recursive = "rbind" in words or kind == "rbind"
    bind = recursive or "bind" in words or kind == "bind"
    return Options(
        attr=top[0],
        attr_clear=top[1],
        tree_attr=tree[0],
        tree_attr_clear=tree[1],
        propagation=tuple(propagation)[-2:],
        bind=bind,
        recursive=recursive,
        remount="remount" in words,
        copy_up="tmpcopyup" in words,
        idmap="idmap" in words or "ridmap" in words,
        idmap_recursive="ridmap" in words,
        data="" if bind else ",".join(data),
    )


def _change(bits: list[int], change: tuple[int, int]) -> None:
    to_set, to_clear = change
    bits[0] = bits[0] & ~to_clear | to_set
    bits[1] |= to_clear
    if not to_clear:  # else it is a field of several bits, which is cleared as a whole
        bits[1] &= ~to_set
