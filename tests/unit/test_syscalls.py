# SPDX-License-Identifier: Apache-2.0
"""The generated tables against what is known by heart and against the machine's own headers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import _seccomp_model as model
from pycontain import _syscalls

MACHINES = ("x86_64", "x32", "i386", "aarch64", "arm")


@pytest.mark.parametrize(
    "machine, name, number",
    [
        ("x86_64", "read", 0),
        ("x86_64", "clone3", 435),
        ("x86_64", "rseq_slice_yield", 471),
        ("x32", "read", 0x40000000),
        ("x32", "preadv2", 0x40000000 + 546),
        ("i386", "socketcall", 102),
        ("aarch64", "read", 63),
        ("aarch64", "clone3", 435),
        ("arm", "set_tls", 0xF0005),
        ("arm", "sync_file_range2", 341),
    ],
)
def test_numbers(machine: str, name: str, number: int) -> None:
    assert _syscalls.table(machine).numbers[name] == number


@pytest.mark.parametrize("machine", MACHINES)
def test_one_name_a_number(machine: str) -> None:
    table = _syscalls.table(machine)
    aliases = {"arm": 1}.get(machine, 0)  # sync_file_range2 is arm_sync_file_range
    assert len(set(table.numbers.values())) == len(table.numbers) - aliases
    assert (
        max(n & 0xFFFF for n in table.numbers.values() if n < 0xF0000 or machine == "x32")
        == table.newest
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_all_tables_are_of_one_kernel(machine: str) -> None:
    assert _syscalls.table(machine).kernel == _syscalls.table("x86_64").kernel


def test_the_table_agrees_with_the_headers_of_this_machine() -> None:
    machine = os.uname().machine
    found = list(Path("/usr/include").glob(f"**/{machine}-linux-gnu/asm/unistd*.h"))
    if machine not in _syscalls.NATIVE or not found:
        pytest.skip(f"no kernel headers of {machine}")
    source = subprocess.run(
        ["cc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    defined = re.findall(r"^#define __NR_(\w+) (\d+)$", source, re.MULTILINE)
    numbers = _syscalls.table(machine).numbers
    assert len(defined) > 250
    assert {name: int(number) for name, number in defined if name in numbers} == {
        name: number for name, number in numbers.items() if name in dict(defined)
    }


@pytest.mark.parametrize("name", model.WIDTHS)
def test_widths_of_arguments(name: str) -> None:
    table = _syscalls.table("x86_64")
    expected = model.WIDTHS[name]
    assert tuple(table.width(name, index) for index in range(len(expected))) == expected


def test_arguments_of_32_bit_machines_are_narrow() -> None:
    assert _syscalls.table("i386").width("mmap", 0) == 32
    assert _syscalls.table("arm").width("chmod", 1) == 16


@pytest.mark.parametrize(
    "name, exists",
    [
        ("read", True),
        ("chown32", True),
        ("riscv_hwprobe", True),
        ("set_tls", True),
        ("reaad", False),
    ],
)
def test_names_of_any_architecture(name: str, exists: bool) -> None:
    assert _syscalls.exists(name) is exists


def test_only_the_native_table_is_loaded() -> None:
    script = (
        "import sys; from pycontain import _seccomp, profile\n"
        "_seccomp.compile(profile.default.seccomp, 'x86_64')\n"
        "print(*sorted(m.rpartition('.')[2] for m in sys.modules if '_syscalls.' in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["others", "widths", "x86_64"]


def test_the_first_kernels_agree_with_the_headers_of_this_machine() -> None:
    machine = os.uname().machine
    found = list(Path("/usr/include").glob(f"**/{machine}-linux-gnu/asm/unistd_64.h"))
    if machine not in _syscalls.NATIVE or not found:
        pytest.skip(f"no kernel headers of {machine}")
    source = Path("/usr/include/linux/version.h").read_text(encoding="ascii")
    code = int(re.findall(r"LINUX_VERSION_CODE (\d+)", source)[0])
    version = code >> 16, code >> 8 & 0xFF
    there = set(re.findall(r"#define __NR_(\w+)", found[0].read_text(encoding="ascii")))
    names = _syscalls.table(machine).numbers
    assert {
        name for name in names if _syscalls.first_kernel(name, machine) <= version
    } == there & set(names)
