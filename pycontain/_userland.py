# SPDX-License-Identifier: Apache-2.0
"""The host's own user land as a root: what programs need, and nothing that is anybody's.

Shown read-only: /usr, /bin, /sbin, /lib*, the running interpreter with its virtual environment, and
of /etc a list of files that hold no secrets. Nothing of /home, /root, /run, /var.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Configuration without secrets; a directory is shown whole, a file only if everybody may read it.
ETC: Final = (
    "alternatives",
    "ca-certificates",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/tls/certs",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
USER_NAME: Final = "sandbox"
HOME: Final = f"/home/{USER_NAME}"
# A larger file is bound rather than written for each sandbox.
_COPY_MAX: Final = 8192


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory to make."""

    target: str
    mode: int
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to make."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A small file to write."""

    target: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Show:
    """A file or directory of the host to show read-only at the same path."""

    path: str


Entry = Directory | Link | Text | Show


def passwd(uid: int, gid: int) -> bytes:
    """Return a table of users with root, the sandbox's user and nobody."""
    rows = ["root:x:0:0:root:/root:/bin/sh"]
    if uid not in (0, 65534):
        rows.append(f"{USER_NAME}:x:{uid}:{gid}:{USER_NAME}:{HOME}:/bin/sh")
    rows.append("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin")
    return "".join(f"{row}\n" for row in rows).encode()


def group(gid: int) -> bytes:
    """Return a table of groups with root, tty, the sandbox's group and nogroup."""
    rows = ["root:x:0:", "tty:x:5:"]
    if gid not in (0, 5, 65534):
        rows.append(f"{USER_NAME}:x:{gid}:")
    rows.append("nogroup:x:65534:")
    return "".join(f"{row}\n" for row in rows).encode()


def hosts(hostname: str) -> bytes:
    """Return a table of hosts with the loopback addresses."""
    return f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost {hostname}\n".encode()


def interpreter_prefixes() -> list[str]:
    """Return the directories of the running interpreter that are not part of the system's own.

    A prefix so wide that it would show a whole home directory is left out.
    """
    prefixes: list[str] = []
    for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix):
        path = Path(prefix).resolve()
        inside = any(path.is_relative_to(known) for known in (*SYSTEM, *prefixes))
        if not inside and path.parent != path.parent.parent and path != Path.home():
            prefixes.append(str(path))
    return prefixes


def _path_entry(path: Path) -> Entry | None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return Link(str(path), os.readlink(path))
        if stat.S_ISDIR(mode):
            return Show(str(path))
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            return (
                Text(str(path), path.read_bytes())
                if path.stat().st_size <= _COPY_MAX
                else Show(str(path))
            )
    except OSError:
        return None
    return None


def entries(uid: int, gid: int, hostname: str, *, resolver: bool) -> list[Entry]:
    """Return what the root consists of, parents before children.

    Args:
        uid: The sandbox's default user, who owns the home directory.
        gid: Its group.
        hostname: The sandbox's own.
        resolver: Whether to show the host's resolv.conf, which is of use in the host's network
            only.
    """
    found: list[Entry] = [
        Directory("/etc", 0o755),
        Directory("/tmp", 0o1777),  # noqa: S108 - a path inside
        Directory("/var", 0o755),
        Directory("/var/tmp", 0o1777),  # noqa: S108 - the same
        Directory("/run", 0o755),
        Directory("/home", 0o755),
        Directory(HOME, 0o700, owned=True),
        Directory("/root", 0o755),
        Directory("/proc", 0o555),
        Directory("/dev", 0o755),
        Text("/etc/passwd", passwd(uid, gid)),
        Text("/etc/group", group(gid)),
        Text("/etc/hosts", hosts(hostname)),
        Text("/etc/hostname", f"{hostname}\n".encode()),
    ]
    paths = [Path(path) for path in SYSTEM]
    paths += [Path("/etc", name) for name in ETC]
    paths += [Path(prefix) for prefix in interpreter_prefixes()]
    found += [entry for path in paths if (entry := _path_entry(path)) is not None]
    if resolver:
        with contextlib.suppress(OSError):
            found.append(Text("/etc/resolv.conf", Path("/etc/resolv.conf").read_bytes()))
    return found
