# SPDX-License-Identifier: Apache-2.0
"""What the linker was told to make of the native parts, read from the binaries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import pycontain

PACKAGE = Path(pycontain.__file__).parent
PROGRAMS = ("_init", "_layer", "selftest/_probe")
BINARIES = ("_nsbind*.so", *PROGRAMS)

pytestmark = pytest.mark.requires("nm")


def readelf(option: str, pattern: str) -> str:
    (binary,) = PACKAGE.glob(pattern)
    command = ["readelf", option, "-W", str(binary)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def segments(pattern: str) -> list[tuple[str, str]]:
    """Return the type and the permissions of each."""
    rows = re.findall(
        r"^  (\w+) +(?:0x\w+ +){5}(R?) ?(W?) ?(E?)", readelf("-l", pattern), re.MULTILINE
    )
    assert rows
    return [(kind, "".join(flags)) for kind, *flags in rows]


@pytest.mark.parametrize("pattern", BINARIES)
def test_the_stack_is_not_executable(pattern: str) -> None:
    assert ("GNU_STACK", "RW") in segments(pattern)


@pytest.mark.parametrize("pattern", BINARIES)
def test_nothing_is_writable_and_executable(pattern: str) -> None:
    assert not [kind for kind, flags in segments(pattern) if "W" in flags and "E" in flags]


@pytest.mark.parametrize("pattern", PROGRAMS)
def test_a_program_has_nothing_to_relocate(pattern: str) -> None:
    assert not {"INTERP", "DYNAMIC"} & {kind for kind, _ in segments(pattern)}
    assert "There are no relocations" in readelf("-r", pattern)


def test_the_extension_is_read_only_once_it_is_relocated() -> None:
    assert ("GNU_RELRO", "R") in segments("_nsbind*.so")
    dynamic = readelf("-d", "_nsbind*.so")
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic


def test_code_of_the_extension_is_in_a_segment_of_its_own() -> None:
    loaded = [flags for kind, flags in segments("_nsbind*.so") if kind == "LOAD"]
    assert loaded == ["R", "RE", "R", "RW"]


def test_the_extension_checks_its_stack() -> None:
    assert "__stack_chk_fail" in readelf("--dyn-syms", "_nsbind*.so")
