# SPDX-License-Identifier: Apache-2.0
"""update."""

from __future__ import annotations

import os
import sys

from pycontain._json import LIMIT
from pycontain._oci._container import Container
from pycontain._oci._parse import parse_resources

from ._command import Command
from ._options import Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._command import Settings

# Option, field of `linux.resources`, kind of value, help.
_FIELDS = (
    ("memory", "memory.limit", "BYTES", "bound of memory"),
    ("memory-reservation", "memory.reservation", "BYTES", "memory that is kept under pressure"),
    ("memory-swap", "memory.swap", "BYTES", "bound of memory with swap"),
    ("kernel-memory", "memory.kernel", "BYTES", "bound of kernel memory (cgroup v1)"),
    ("kernel-memory-tcp", "memory.kernelTCP", "BYTES", "bound of TCP buffers (cgroup v1)"),
    ("cpu-period", "cpu.period", "US", "period of the quota"),
    ("cpu-quota", "cpu.quota", "US", "time in a period; -1 is no bound"),
    ("cpu-burst", "cpu.burst", "US", "what may be saved for later"),
    ("cpu-share", "cpu.shares", "N", "weight among others"),
    ("cpu-rt-period", "cpu.realtimePeriod", "US", "period of the real-time quota"),
    ("cpu-rt-runtime", "cpu.realtimeRuntime", "US", "real-time quota"),
    ("cpu-idle", "cpu.idle", "N", "1: run only when others do not"),
    ("cpuset-cpus", "cpu.cpus", "LIST", "processors, such as 0-3"),
    ("cpuset-mems", "cpu.mems", "LIST", "memory nodes"),
    ("pids-limit", "pids.limit", "N", "bound of processes; -1 is none"),
    ("blkio-weight", "blockIO.weight", "N", "weight of block I/O"),
)
# The same of `linux.intelRdt`.
_RDT_FIELDS = (
    ("l3-cache-schema", "l3CacheSchema", "SCHEMA", "share of L3 caches, such as L3:0=ff;1=f"),
    ("mem-bw-schema", "memBwSchema", "SCHEMA", "memory bandwidth, such as MB:0=50;1=70"),
)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _update(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    container = Container.load(words[0], state_root=settings.root)
    if "resources" in given:
        container.update(parse_resources(_read(given["resources"])))
        return 0
    document: dict[str, dict[str, Any]] = {}
    for option, field, kind, _ in _FIELDS:
        if option in given:
            group, _, name = field.partition(".")
            document.setdefault(group, {})[name] = _value(given[option], kind, option)
    container.update(parse_resources(document))
    if rdt := {field: given[option] for option, field, *_ in _RDT_FIELDS if option in given}:
        container.update_rdt(rdt)
    return 0


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(LIMIT + 1)
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        return file.read(LIMIT + 1)


def _value(text: str, kind: str, option: str) -> int | str:
    if kind == "LIST":
        return text
    digits, factor = text, 1
    if kind == "BYTES":
        digits = text.lower().removesuffix("b").removesuffix("i").rstrip("kmgt")
        unit = text.lower().removesuffix("b").removesuffix("i")[len(digits) :]
        factor = _UNITS.get(unit, 0)
    if not factor or not digits.removeprefix("-").isdecimal() or len(digits) > 20:
        raise UsageError(f"invalid value {text[:40]!r} for --{option}")
    return int(digits) * factor


COMMANDS = {
    "update": Command(
        name="update",
        arguments="ID",
        text="change the bounds of a container",
        call=_update,
        options=(
            Option(
                name="resources",
                short="r",
                value="FILE",
                text="linux.resources as JSON, - for standard input; other options are ignored",
            ),
            *(
                Option(name=name, value=kind, text=text)
                for name, _, kind, text in (*_FIELDS, *_RDT_FIELDS)
            ),
        ),
    )
}
