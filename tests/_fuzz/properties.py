# SPDX-License-Identifier: Apache-2.0
"""What holds of the Python parsers and the seccomp compiler, whatever they are given.

Bad input is an error of the type that is documented, and no other.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import strategies as st

import _bpf
import _seccomp_model as model
from _elves import abi, elf, isa
from pycontain import _native, _seccomp, _syscalls
from pycontain._cgroup import _cpus, _files, _hierarchy
from pycontain._cli import _run
from pycontain._configure import configured
from pycontain._contract._elf import BadElfError, read_elf
from pycontain._contract._machine import parse_handler
from pycontain._contract._script import HEAD, BadScriptError, parse_shebang, run_by_env
from pycontain._seccomp import from_oci
from pycontain.config import SandboxOptions, check_env, parse_size, parse_user
from pycontain.errors import ConfigError

WORD = 2**64 - 1
DIGITS = st.sampled_from([20, 400, 5000]).map("9".__mul__)
"""More of them than a number, a double and int() take."""


class Property(NamedTuple):
    """An input, and what must hold of it."""

    given: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def _near(*words: str) -> st.SearchStrategy[str]:
    """Return texts of a format's own words and whatever may be between them."""
    return st.lists(st.sampled_from(words) | DIGITS | st.text(max_size=3), max_size=8).map("".join)


def check_size(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 0 < parse_size(text) < 1 << 63


def check_user(text: str) -> None:
    with contextlib.suppress(ConfigError):
        user = parse_user(text)
        for ident in (user.uid, user.gid):
            assert ident is None or isinstance(ident, str) or 0 <= ident < 2**32 - 1


def check_cpuset(text: str) -> None:
    with contextlib.suppress(ConfigError):
        cpus = _cpus.parse_cpuset(text)
        assert _cpus.parse_cpuset(_cpus.format_cpuset(cpus)) == cpus


def check_environment(env: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        for name, value in check_env(env):
            assert "=" not in name
            assert "\0" not in name + value


def check_options(options: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        configured(options)


def check_words(text: str) -> None:
    for parse in (_run._bind, _run._tmpfs, _run._io):
        with contextlib.suppress(ConfigError):
            parse(text)


def check_counters(text: str) -> None:
    table = _files.flat(text)
    assert all(value >= 0 for value in table.values())
    found = _files.number(text)
    assert found is None or found >= 0


def check_mounts(texts: tuple[str, str]) -> None:
    host = _hierarchy.discover(*texts)
    assert host.mode in {"v2", "hybrid", "v1", "none"}


def check_own_group(name: str) -> None:
    point = "".join(f"\\{ord(char):03o}" if char in " \t\\#" else char for char in name)
    mounts = f"30 20 0:26 / /{point} rw - cgroup2 cgroup2 rw,nsdelegate\n"
    host = _hierarchy.discover(mounts, f"0::/{name}\n")
    assert host.v2 is not None
    assert (host.v2.mount, host.v2.own) == (f"/{name}", f"/{name}/{name}")


def check_report(data: bytes) -> None:
    with contextlib.suppress(struct.error):
        report = _native.parse_report(data)
        assert len(data) == _native.REPORT_SIZE
        with contextlib.suppress(ValueError):  # a step that there is not
            assert report.failure.errno == report.errno


def check_oci(document: dict[str, Any]) -> None:
    """A document is refused, or becomes a program that the kernel would load."""
    with contextlib.suppress(ConfigError):
        for machine in _bpf.NATIVE:
            _bpf.parse(_seccomp.compile(from_oci(document), machine))


def check_compiler(case: tuple[dict[str, Any], list[tuple[str, tuple[int, ...]]]]) -> None:
    """A program answers each call as the rules say."""
    document, calls = case
    rules = from_oci(json.loads(json.dumps(document)))
    with contextlib.suppress(ConfigError):  # a comparison that can never hold
        _check_program(rules, calls)


def _check_program(rules: _seccomp.Filter, calls: list[tuple[str, tuple[int, ...]]]) -> None:
    for machine, arch in _bpf.NATIVE.items():
        program = _bpf.parse(_seccomp.compile(rules, machine))
        numbers = _syscalls.table(machine).numbers
        for name, args in calls:
            nr = numbers.get(name, 5000)
            assert _bpf.run(program, arch, nr, args) == model.verdict(
                rules, machine, arch, nr, args
            )


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_actions = st.sampled_from(
    ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "TRACE", "LOG", "NOTIFY"]
).map("SCMP_ACT_".__add__)
_operators = st.sampled_from(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]).map(
    "SCMP_CMP_".__add__
)
_names = st.sampled_from(sorted(model.WIDTHS))
_values = (
    st.integers(0, WORD)
    | st.integers(0, 3)
    | st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63, WORD])
)


def _or(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return mostly what belongs there."""
    return st.one_of(good, good, good, _json)


_wild_args = st.fixed_dictionaries(
    {"index": _or(st.integers(-1, 7)), "op": _or(_operators), "value": _or(_values)},
    optional={"valueTwo": _or(_values)},
)
_wild_rules = st.fixed_dictionaries(
    {"names": _or(st.lists(_or(_names), max_size=3)), "action": _or(_actions)},
    optional={"errnoRet": _or(st.integers(0, 5000)), "args": _or(st.lists(_or(_wild_args)))},
)
_wild_documents = st.fixed_dictionaries(
    {"defaultAction": _or(_actions)},
    optional={
        "defaultErrnoRet": _or(st.integers(0, 5000)),
        "architectures": _or(st.lists(_or(st.sampled_from(["SCMP_ARCH_X86", "SCMP_ARCH_ARM"])))),
        "flags": _or(st.lists(_or(st.sampled_from(["SECCOMP_FILTER_FLAG_LOG"])))),
        "syscalls": _or(st.lists(_or(_wild_rules), max_size=4)),
    },
)


def width(name: str, index: int) -> int:
    return (1 << model.WIDTHS[name][index]) - 1


@st.composite
def _compiled(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[str, tuple[int, ...]]]]:
    rules, constants = [], [0, WORD]
    for _ in range(draw(st.integers(1, 5))):
        name = draw(_names)
        args: list[dict[str, Any]] = [
            {"index": index, "op": draw(_operators), "value": draw(_values) & width(name, index),
             "valueTwo": draw(_values) & width(name, index)}
            for index in draw(st.sets(st.integers(0, len(model.WIDTHS[name]) - 1), max_size=3))
        ]  # fmt: skip
        constants += [arg[key] for arg in args for key in ("value", "valueTwo")]
        rules.append({"names": [name], "action": draw(_plain), "args": args})
    near = [(value + step) & WORD for value in constants for step in (-1, 0, 1)]
    words = st.sampled_from([*near, *(value ^ 1 << 32 for value in near)])
    calls = st.tuples(_names | st.just("none"), st.tuples(*[words] * 6))
    default = draw(_plain.filter("SCMP_ACT_NOTIFY".__ne__))
    return {"defaultAction": default, "syscalls": rules}, draw(st.lists(calls, max_size=12))


_plain = st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
_group_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\n/\0"), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."} and not name.endswith(" (deleted)"))
_options = st.dictionaries(
    st.sampled_from(sorted(SandboxOptions.__annotations__)),
    _json | _near("/", "a", "0", "-", ":", "M", "max", "1"),
    max_size=3,
)


def check_elf(data: bytes) -> None:
    asked: list[int] = []

    def read(size: int, at: int) -> bytes:
        assert 0 <= at < 1 << 63
        asked.append(size)
        return data[at : at + size]

    with contextlib.suppress(BadElfError):
        said = read_elf(read, len(data))
        assert said.interpreter is None or 0 < len(said.interpreter) < 4096
        assert 0 <= said.level <= 32
    assert sum(asked) < 20 * 65536


@st.composite
def _elves(draw: st.DrawFn) -> bytes:
    """Return a program in which a few bytes are others."""
    data = bytearray(
        elf(
            bits=draw(st.sampled_from([32, 64])),
            order=draw(st.sampled_from(["<", ">"])),
            interpreter=draw(st.sampled_from([None, b"/lib/ld.so\0"])),
            notes=(isa(7), abi(5, 10, 0)),
        )
    )
    for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=6)):
        data[at] = draw(st.sampled_from([0, 1, 7, 127, 128, 255]))
    return bytes(data[: draw(st.integers(0, len(data)))])


def check_shebang(line: bytes) -> None:
    with contextlib.suppress(BadScriptError):
        said = parse_shebang((b"#!" + line)[:HEAD])
        assert said.interpreter
        assert not set(said.interpreter) & set(b" \t\n\0")
        run_by_env(said)


def check_handler(text: str) -> None:
    with contextlib.suppress(ValueError):
        handler = parse_handler("name", text)
        handler.takes(b"\x7fELF" + bytes(252))


PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {
        "sizes": Property(_near(".", "1", "k", "KiB", "M", "GB", " ", "-"), check_size),
        "users": Property(_near(":", "0", "1000", "-", "root", "4294967295"), check_user),
        "cpusets": Property(_near("-", ",", "0", "3", " ", "65536"), check_cpuset),
        "environments": Property(
            st.dictionaries(st.text(max_size=4), st.text(max_size=4)), check_environment
        ),
        "options": Property(_options, check_options),
        "command line": Property(_near(":", ",", "=", "/", "rbps", "riops", "ro"), check_words),
        "counters": Property(
            _near("\n", " ", "oom_kill", "max", "user_usec", "=", "1").filter(
                lambda text: len(text) < 4000  # the kernel's numbers have 20 digits
            ),
            check_counters,
        ),
        "mounts": Property(
            st.tuples(
                _near("\n", " ", " - ", "cgroup2", "cgroup", "\\040", "/", "rw", "1", "cpu"),
                _near("\n", ":", "0::", "/", "..", "cpu", " (deleted)"),
            ),
            check_mounts,
        ),
        "own group": Property(_group_names, check_own_group),
        "reports": Property(
            st.binary(max_size=80)
            | st.binary(min_size=_native.REPORT_SIZE, max_size=_native.REPORT_SIZE),
            check_report,
        ),
        "ELF files": Property(st.binary(max_size=200) | _elves(), check_elf),
        "first lines": Property(
            st.lists(
                st.sampled_from([b" ", b"\t", b"\n", b"\0", b"/bin/env", b"a" * 200, b"-S"])
            ).map(b"".join),
            check_shebang,
        ),
        "binfmt": Property(
            _near("enabled\n", "magic ", "7f", "mask ", "offset ", "flags: ", "F", "\n"),
            check_handler,
        ),
        "OCI seccomp": Property(_wild_documents, check_oci),
        "seccomp compiler": Property(_compiled(), check_compiler),
    }
)
