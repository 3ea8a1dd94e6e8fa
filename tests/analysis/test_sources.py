# SPDX-License-Identifier: Apache-2.0
"""What compilers and analysers have to say about the C sources: nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
UNITS = sorted(REPOSITORY.glob("src/*/*.c"))
INCLUDE = f"-I{REPOSITORY / 'src/_nsbind'}"
# An analyser reads no assembly: with this, a system call is a function that it knows nothing of.
FAKE_KERNEL = "-DNSB_FAKE_KERNEL"
GCC = (
    *("gcc", "-std=gnu11", "-O2", "-fanalyzer", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"),
    *("-Wvla", "-Wformat=2", "-Wstack-usage=16384", "-Werror", INCLUDE, "-c", "-o", "/dev/null"),
)
# Structs are the kernel's, also where we leave fields alone; declarations start a function.
CPPCHECK = (
    *("cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", INCLUDE, FAKE_KERNEL),
    *("--enable=warning,style,performance,portability", "--inline-suppr"),
    *("--suppress=unusedStructMember", "--suppress=variableScope"),
)
CLANG_TIDY = ("clang-tidy", "--quiet", f"--config-file={REPOSITORY / '.clang-tidy'}")

pytestmark = pytest.mark.requires("analysis", "gcc", "clang_tidy", "cppcheck")


def gcc(unit: Path) -> str:
    return complaints(*GCC, unit)


def clang_tidy(unit: Path) -> str:
    return complaints(*CLANG_TIDY, unit, "--", "-std=gnu11", INCLUDE, FAKE_KERNEL)


def cppcheck(unit: Path) -> str:
    return complaints(*CPPCHECK, unit)


def complaints(*command: str | Path) -> str:
    """Return what the tool says; "" where it ends well."""
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace", check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


TOOLS = {"gcc": gcc, "clang-tidy": clang_tidy, "cppcheck": cppcheck}


@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
@pytest.mark.parametrize("find", TOOLS.values(), ids=TOOLS)
def test_nothing_is_found(find: Callable[[Path], str], unit: Path) -> None:
    assert not find(unit)


FREED = """
#include <stdlib.h>
int main(void)
{
	char *text = malloc(8);

	if (!text)
		return 1;
	free(text);
	return text[0];
}
"""
BEYOND = "int main(void)\n{\n\tchar text[2] = { 0 };\n\n\ttext[5] = 2;\n\treturn text[0];\n}\n"


@pytest.mark.parametrize(
    "find, defect", [(gcc, FREED), (clang_tidy, FREED), (cppcheck, BEYOND)], ids=TOOLS
)
def test_a_defect_would_be_found(find: Callable[[Path], str], defect: str, tmp_path: Path) -> None:
    unit = tmp_path / "defect.c"
    unit.write_text(defect)
    assert "text" in find(unit)
