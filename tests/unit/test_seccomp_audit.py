# SPDX-License-Identifier: Apache-2.0
"""The audit's filter asks where the filter refuses, and PID 1 reads that as the kernel does."""

from __future__ import annotations

import ctypes
import itertools
import shlex
import struct
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import _bpf
from _seccomp_calls import WORD, Call, corner_calls
from pycontain import _seccomp, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Decide = Callable[[bytes, int, int, tuple[int, ...]], tuple[int, int]]

CORE = Path(__file__).parents[2] / "src/_nsbind"
ASKED = {_bpf.ERRNO, _bpf.KILL_PROCESS}

profiles = pytest.mark.parametrize("name", profile.names())


def calls_for(name: str) -> Iterator[Call]:
    for args in ((0,) * 6, (WORD,) * 6):
        for arch in (_bpf.X86_64, _bpf.I386):
            yield from ((arch, nr, args) for nr in (*range(600), _bpf.X32_BIT, (1 << 32) - 1))
    yield from corner_calls(profile.get(name).seccomp, "x86_64")


@pytest.fixture(scope="module")
def decide(tmp_path_factory: pytest.TempPathFactory) -> Decide:
    """Return PID 1's interpreter: the verdict, and the arguments that it looked at."""
    target = tmp_path_factory.mktemp("bpf") / "bpf.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = ["-std=gnu11", "-O2", "-shared", "-fPIC", f"-I{CORE}"]
    subprocess.run([*compiler, *flags, CORE / "init_bpf.c", "-o", target], check=True)
    function = ctypes.CDLL(str(target)).filter_decide
    function.restype = ctypes.c_uint32

    def decide(program: bytes, arch: int, nr: int, args: tuple[int, ...]) -> tuple[int, int]:
        data = struct.pack("=IIQ6Q", nr, arch, 0x7F00DEADBEEF, *(value & WORD for value in args))
        examined = ctypes.c_uint32()
        verdict = function(program, len(program) // 8, data, ctypes.byref(examined))
        return verdict, examined.value

    return decide


@profiles
def test_refusals_become_questions_and_nothing_else_changes(name: str) -> None:
    plain = _seccomp.compile(profile.get(name).seccomp, "x86_64")
    asking = _bpf.parse(_seccomp.notifying(plain))
    parsed = _bpf.parse(plain)
    assert len(asking) == len(parsed)
    for arch, nr, args in calls_for(name):
        verdict = _bpf.run(parsed, arch, nr, args)
        expected = _bpf.NOTIFY if verdict & 0xFFFF0000 in ASKED else verdict
        assert _bpf.run(asking, arch, nr, args) == expected


@pytest.mark.requires("gcc")
@profiles
def test_pid_1_reads_a_filter_as_the_kernel_does(name: str, decide: Decide) -> None:
    program = _seccomp.compile(profile.get(name).seccomp, "x86_64")
    parsed = _bpf.parse(program)
    for arch, nr, args in calls_for(name):
        verdict, examined = decide(program, arch, nr, args)
        assert verdict == _bpf.run(parsed, arch, nr, args)
        others = tuple(v if examined >> i & 1 else v ^ WORD for i, v in enumerate(args))
        assert _bpf.run(parsed, arch, nr, others) == verdict


@pytest.mark.requires("gcc")
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255),
                          st.integers(0, 2**32 - 1)), max_size=20))  # fmt: skip
def test_what_is_no_filter_refuses_everything(
    decide: Decide, instructions: list[tuple[int, int, int, int]]
) -> None:
    program = b"".join(itertools.starmap(struct.Struct("=HBBI").pack, instructions))
    verdict, _ = decide(program, _bpf.X86_64, 0, (0,) * 6)
    returned = {k for code, _, _, k in instructions if code == 0x06}
    assert verdict in {*returned, _bpf.KILL_PROCESS}
