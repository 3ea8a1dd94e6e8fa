# SPDX-License-Identifier: Apache-2.0
"""What the native parts are linked with: after the clone, system calls and nothing else."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

import pycontain

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
CORE = REPOSITORY / "src/_nsbind"
INIT = Path(pycontain.__file__).with_name("_init")
# Ours, in assembly, and what the stack protector jumps to when the child has gone wrong.
ALLOWED = {"sys_clone2", "sys_clone3", "__stack_chk_fail"}

pytestmark = pytest.mark.requires("gcc", "nm")


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """Return the names of setup.py, which is the only place that knows the flags."""
    with mock.patch("setuptools.setup"), pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return runpy.run_path("setup.py")


@pytest.fixture(scope="module")
def compiled(
    recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that compiles a file of the core with the flags of the build."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = [*recipe["supported"](compiler, recipe["HARDENING"]), "-O2", "-D_FORTIFY_SOURCE=3"]
    flags = [flag for flag in flags if not flag.startswith("-Wl,")]
    base = shlex.split(sysconfig.get_config_var("CFLAGS") or "")
    folder = tmp_path_factory.mktemp("objects")
    command = [*compiler, *base, "-std=gnu11", "-fPIC", "-U_FORTIFY_SOURCE", *flags, f"-I{CORE}"]

    def compile_unit(name: str) -> Path:
        target = folder / f"{name}.o"
        subprocess.run([*command, "-c", CORE / f"{name}.c", "-o", target], check=True)
        return target

    return compile_unit


@pytest.fixture(scope="module")
def child_object(compiled: Callable[[str], Path]) -> Path:
    """Return child.c, compiled."""
    return compiled("child")


def _nm(*arguments: str | Path) -> set[str]:
    done = subprocess.run(["nm", *arguments], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in done.stdout.splitlines()}


def test_the_child_calls_nothing_but_the_clones(child_object: Path) -> None:
    used = _nm("--undefined-only", child_object) - {"_GLOBAL_OFFSET_TABLE_"}
    assert {"sys_clone2", "sys_clone3"} <= used <= ALLOWED


def _sections(path: Path) -> dict[str, int]:
    done = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    rows = re.findall(r"\] (\S+) +\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+)", done.stdout)
    return {name: int(size, 16) for name, size in rows}


@pytest.mark.parametrize("name", [".data", ".bss", ".tdata", ".tbss"])
def test_the_child_has_no_writable_data_of_its_own(child_object: Path, name: str) -> None:
    sections = _sections(child_object)
    assert sections[".text"] > 0
    assert sections.get(name, 0) == 0


@pytest.mark.requires("x86_64")
@pytest.mark.parametrize("name", ["child", "clone", "spawn"])
def test_the_core_is_ready_for_a_shadow_stack(compiled: Callable[[str], Path], name: str) -> None:
    # The linker says so of the whole only where libc's own start files do.
    command = ["readelf", "-n", str(compiled(name))]
    note = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "x86 feature: IBT, SHSTK" in note


def test_init_needs_nothing() -> None:
    done = subprocess.run(["readelf", "-dlSW", INIT], capture_output=True, text=True, check=True)
    assert "There is no dynamic section" in done.stdout
    assert "INTERP" not in done.stdout


def test_init_was_built_without_undefined_symbols(recipe: dict[str, Any], tmp_path: Path) -> None:
    # The linker accepts only undefined symbols that are weak, and the program itself is stripped.
    flags = [flag for flag in recipe["PROGRAM_FLAGS"] if flag != "-s"]
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    sources = [REPOSITORY / path for path in recipe["PROGRAMS"]["_init"]]
    command = [*compiler, *flags, f"-I{CORE}", *sources, "-o", tmp_path / "init"]
    subprocess.run(command, check=True)
    assert _nm("--undefined-only", tmp_path / "init") == set()


def test_no_segment_of_init_is_writable_and_executable() -> None:
    done = subprocess.run(["readelf", "-lW", INIT], capture_output=True, text=True, check=True)
    flags = re.findall(
        r"^  (?:LOAD|GNU_STACK) .*0x\S+ ([R ][W ][E ]) 0x", done.stdout, re.MULTILINE
    )
    assert flags
    assert not [flag for flag in flags if "W" in flag and "E" in flag]


def test_init_is_small() -> None:
    assert INIT.stat().st_size < 64 << 10


def test_what_is_shipped_has_no_trace_of_fault_injection() -> None:
    (library,) = INIT.parent.glob("_nsbind*.so")
    for binary in (INIT, library):
        content = binary.read_bytes()
        assert b"nsb_fault" not in content
        assert b"pycontain faults" not in content


def test_the_extension_has_one_public_name() -> None:
    (library,) = INIT.parent.glob("_nsbind*.so")
    exported = {name for name in _nm("--dynamic", "--defined-only", library) if name[0] != "_"}
    assert exported <= {"PyInit__nsbind"}
