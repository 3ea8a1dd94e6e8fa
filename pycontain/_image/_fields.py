# SPDX-License-Identifier: Apache-2.0
"""The fields of an image's configuration, each checked as it is read.

What is wrong raises the error of the object that holds the field, which names it.
"""

from __future__ import annotations

import posixpath
import re
import signal
from datetime import UTC, datetime, timedelta, timezone

from pycontain.errors import ImageConfigError

from ._descriptor import parse_digest
from ._digest import Digest
from ._json import Object

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp|sctp))?", re.ASCII)
_REAL_TIME = re.compile(r"RT(MIN|MAX)([+-]\d{1,2})?", re.ASCII)


def parse_time(value: Object, name: str) -> datetime | None:
    """Return a time of RFC 3339; None if absent or Go's zero time. Raises `value.error`."""
    text = value.text(name)
    if not text or text.startswith("0001-01-01T00:00:00"):
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise value.wrong(name, f"{text[:60]!r} is not a time such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    offset = timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    micro = int((match[7] or "0")[:6].ljust(6, "0"))
    try:
        zone = timezone(-offset if match[8] == "-" else offset)
        # A leap second counts as the one before.
        return datetime(year, month, day, hour, minute, min(second, 59), micro, tzinfo=zone)
    except ValueError as error:
        raise value.wrong(name, f"{text[:60]!r}: {error}") from None


def format_time(time: datetime | None) -> str | None:
    """Return a time as `parse_time` reads it, in UTC."""
    if time is None:
        return None
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def parse_texts(run: Object, name: str) -> tuple[str, ...] | None:
    """Return a list of strings, None if absent."""
    values = run.texts(name)
    for text in values or ():
        if "\0" in text:
            raise run.wrong(name, f"{text[:60]!r} has a NUL byte")
    return values


def parse_command(run: Object, name: str) -> tuple[str, ...] | None:
    """Return a program and its arguments, None if absent."""
    values = parse_texts(run, name)
    if values and not values[0]:
        raise run.wrong(name, "the program's name is empty")
    return values


def parse_env(run: Object) -> tuple[str, ...]:
    """Return variables, each NAME=VALUE."""
    values = parse_texts(run, "Env") or ()
    for entry in values:
        if entry.find("=") < 1:
            raise run.wrong("Env", f"{entry[:60]!r} is not NAME=VALUE")
    return values


def parse_working_dir(run: Object) -> str:
    """Return an absolute, normal path; what leads above the root stays there."""
    path = run.text("WorkingDir")
    if "\0" in path:
        raise run.wrong("WorkingDir", f"{path[:60]!r} has a NUL byte")
    return posixpath.normpath(f"/{path.lstrip('/')}")


def parse_user(run: Object) -> str:
    """Return USER or USER:GROUP."""
    user = run.text("User")
    if user.count(":") > 1 or "\0" in user or "\n" in user or user.startswith(":"):
        raise run.wrong("User", f"{user[:60]!r} is not USER or USER:GROUP")
    return user


def parse_volume(run: Object, path: str) -> str:
    """Return a normal path below the root."""
    normal = posixpath.normpath(f"/{path.lstrip('/')}")
    if not path.startswith("/") or normal == "/" or ".." in path.split("/") or "\0" in path:
        raise run.wrong("Volumes", f"{path[:100]!r} is not an absolute path below the root")
    return normal


def parse_port(run: Object, text: str) -> str:
    """Return a port with its protocol."""
    match = _PORT.fullmatch(text.lower())
    if match is None or not 0 < int(match[1]) < 1 << 16:
        raise run.wrong(
            "ExposedPorts", f"{text[:60]!r} is not PORT, PORT/tcp, PORT/udp or PORT/sctp"
        )
    return f"{int(match[1])}/{match[2] or 'tcp'}"


def parse_signal(run: Object) -> int | None:
    """Return a signal's number, None if absent."""
    text = run.text("StopSignal")
    if not text:
        return None
    name = text.upper().removeprefix("SIG")
    number = 0
    if text.isdecimal() and len(text) < 3:
        number = int(text)
    elif match := _REAL_TIME.fullmatch(name):
        base = signal.SIGRTMIN if match[1] == "MIN" else signal.SIGRTMAX
        number = base + int(match[2] or 0)
    elif f"SIG{name}" in signal.Signals.__members__:
        number = signal.Signals[f"SIG{name}"]
    if not 0 < number <= signal.SIGRTMAX:
        raise run.wrong("StopSignal", f"{text[:60]!r} is not a signal such as SIGTERM or 15")
    return int(number)


def parse_diff_ids(value: Object) -> tuple[Digest, ...]:
    """Return the digests of the uncompressed layers."""
    rootfs = value.object("rootfs")
    if rootfs is None:
        return ()
    if rootfs.text("type") != "layers":
        raise rootfs.wrong("type", f"{rootfs.text('type')[:60]!r} is not 'layers'")
    rows = rootfs.texts("diff_ids") or ()
    return tuple(
        parse_digest(Object({"diff_ids": row}, rootfs.where, ImageConfigError), "diff_ids")
        for row in rows
    )
