# SPDX-License-Identifier: Apache-2.0
"""Disks: the Debian root of a machine, directories of this host, and space to write to."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from machine.shell import call

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build/vm"
PACKAGES = REPOSITORY / "scripts/debian-packages.txt"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
UID, USER = 54321, "pycontain-test"
SCRATCH_BYTES = 8 << 30

# Left out of the images, as regular expressions on paths.
NOT_OF_THE_ROOT = r"^(dev|proc|sys|tmp|var/cache/apt|var/lib/apt/lists|usr/share/(doc|man))/.+"
NOT_OF_A_TREE = (
    r"\.a$",
    r"^(\.git|build|dist|\.[a-z]+_cache)/.+",
    r"^lib/python[^/]*/(test|idlelib|ensurepip|config-[^/]*)/.+",
)


def root() -> Path:
    """Return the image of the Debian root, made at the first call and when its recipe changes."""
    recipe = _recipe()
    key = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    image = BUILD / f"root-{key}.erofs"
    if not image.exists():
        for old in BUILD.glob("root-*.erofs"):
            old.unlink()
        print(f"vm: making {image.name} with mmdebstrap", file=sys.stderr, flush=True)
        # It mounts /proc, /sys and /dev for its chroot: not where others see them.
        call("unshare", "--mount", "--propagation", "private", "--", *recipe)
        (BUILD / "root.erofs").rename(image)
    return image


def _recipe() -> list[str]:
    words = ["mmdebstrap", "--variant=minbase", "--format=null", f"--keyring={KEYRING}"]
    words += [f"--include={','.join(_packages('base', 'test', 'vm-root'))}"]
    # The image is made while mmdebstrap has the tree, which it then removes, whatever happens.
    # No extended attributes (-x-1): looking for them fails in the /proc that is mounted there.
    hooks = (
        f'chroot "$1" useradd --create-home --uid {UID} --shell /bin/bash {USER}',
        f'mkdir -p "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/{USER}"',
        f'mkfs.erofs -x-1 --exclude-regex="{NOT_OF_THE_ROOT}" "{BUILD}/root.erofs" "$1"',
    )
    words += [f"--customize-hook={hook}" for hook in hooks]
    return [*words, _suite(), "-", MIRROR]


def _suite() -> str:
    """Return the release of this host, so that what was built here runs there."""
    release = platform.freedesktop_os_release()
    codename = release.get("VERSION_CODENAME", "")
    return codename if release.get("ID") == "debian" and codename else "bookworm"


def _packages(*purposes: str) -> list[str]:
    rows = (line.split() for line in PACKAGES.read_text().splitlines() if line[:1] != "#")
    return sorted({row[1] for row in rows if row[0] in purposes})


def trees() -> list[Path]:
    """Return the directories of this host that a machine has at the same place, parents first."""
    # Debian's own interpreter is in the root.
    return sorted({REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr")})


def tree(path: Path, image: Path, without: Iterable[str] = NOT_OF_A_TREE) -> Path:
    """Make a read-only image of a directory, everything in it owned by root; return the image.

    What has an image of its own is left out, except for the directory to mount that on.
    """
    words = ["mkfs.erofs", "--all-root", "-x-1"]
    words += [f"--exclude-regex={pattern}" for pattern in without]
    for other in trees():
        if path in other.parents:
            inner = str(other.relative_to(path)).replace(".", r"\.")
            words.append(f"--exclude-regex=^{inner}/.+")
    call(*words, image, path)
    return image


def scratch(path: Path) -> Path:
    """Make an empty file system to write to; the file is sparse."""
    with path.open("wb") as file:
        file.truncate(SCRATCH_BYTES)
    call("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", path)
    return path
