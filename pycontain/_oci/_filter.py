# SPDX-License-Identifier: Apache-2.0
"""A container's seccomp filter, which is kept for the next container with the same rules.

Engines give nearly every container the same hundreds of rules, and to compile them takes as long as
all else that a creation does.
"""

from __future__ import annotations

from _blake2 import blake2b  # hashlib loads OpenSSL

from pycontain import _os as os

from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ._state import StateDir

# One thread, and the parent answers no listener of its own.
_FILTER_FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW")
_COMPILER = ("_seccomp", "_syscalls")  # the packages that a filter is made by


class Filter(Value):
    """A seccomp filter as it is loaded.

    Attributes:
        program: Classic BPF.
        flags: SECCOMP_FILTER_FLAG_*.
        notifies: Some calls wait for who has its listener.
    """

    program: bytes = b""
    flags: int = 0
    notifies: bool = False


def compile_filter(seccomp: Mapping[str, Any]) -> Filter:
    """Return the filter that `linux.seccomp` describes. Raises ConfigError."""
    from pycontain import _seccomp  # noqa: PLC0415 - slow to import

    rules = _seccomp.from_oci(seccomp, secondary=True, newer=True)
    flags = sum(_seccomp.FLAGS[name] for name in _FILTER_FLAGS)
    return Filter(
        program=_seccomp.compile(rules),
        flags=rules.flag_bits & flags,
        notifies=any(rule.action.kind == "notify" for rule in rules.rules),
    )


def find_filter(seccomp: Mapping[str, Any] | None, state: StateDir) -> Filter:
    """Return the filter of `linux.seccomp`, kept or compiled. Raises ConfigError."""
    if seccomp is None:
        return Filter()
    name = f"filter.{_digest(seccomp)}"
    found = unpack(state.read_kept(name))
    if found is None:
        found = compile_filter(seccomp)
        state.keep(name, pack(found))
    return found


def pack(filter_: Filter) -> bytes:
    """Return a filter as it is kept."""
    head = f"{filter_.flags} {filter_.notifies:d} {len(filter_.program)}\n"
    return head.encode() + filter_.program


def unpack(data: bytes) -> Filter | None:
    """Return a filter that was kept; None if it is not there whole."""
    head, _, program = data.partition(b"\n")
    try:
        flags, notifies, length = map(int, head.split())
    except ValueError:
        return None
    if length != len(program):
        return None
    return Filter(program=program, flags=flags, notifies=bool(notifies))


def _digest(seccomp: Mapping[str, Any]) -> str:
    """Name what a filter depends on: the rules, this machine, and the code that compiles them."""
    package = os.path.dirname(os.path.dirname(__file__))
    code = sorted(file for name in _COMPILER for file in _files(f"{package}/{name}"))
    text = repr((os.uname().machine, code, seccomp))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=20).hexdigest()


def _files(directory: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found = entry.stat()
                yield entry.name, found.st_size, found.st_mtime_ns
