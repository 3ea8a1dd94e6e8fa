# SPDX-License-Identifier: Apache-2.0
"""How the C targets are built: with AddressSanitizer, UBSan and libFuzzer, by clang."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "src/_nsbind"
LAYER = CORE.with_name("_layer")
KERNEL = tuple(sorted(HERE.glob("kernel*.c")))
# Not the assembly: the target calls init_main(), and the kernel clones.
INIT = tuple(path for path in sorted(CORE.glob("init*.c")) if path.name != "init_start.c")
PROGRAM = (*INIT, CORE / "child.c")
PLAIN = (HERE / "program.c",)
READER = (
    *sorted(LAYER.glob("tar*.c")),
    *(LAYER / name for name in ("memory.c", "path.c", "stream.c")),
    CORE / "init_string.c",
)
INDEX = (
    *(LAYER / name for name in ("index.c", "memory.c", "path.c", "tree.c", "visit.c")),
    CORE / "init_string.c",
)

SANITIZE = "-fsanitize=address,undefined"
FLAGS = (
    *(
        "clang",
        "-std=gnu11",
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        f"-I{CORE}",
        f"-I{LAYER}",
        f"-I{HERE}",
    ),
    *("-DNSB_FAKE_KERNEL", SANITIZE, "-fno-sanitize-recover=undefined", "-Wall", "-Werror"),
)
# Coverage is that of what is fuzzed, not of the target and the kernel.
FUZZED = "-fsanitize=fuzzer-no-link"
# Names that libc has, too.
OWN_NAMES = ("-Dmemcpy=own_memcpy", "-Dmemset=own_memset")

TARGETS: Mapping[str, tuple[tuple[Path, ...], tuple[Path, ...]]] = MappingProxyType(
    {
        "setup": (PROGRAM, KERNEL),
        "requests": (PROGRAM, KERNEL),
        "paths": ((CORE / "init_path.c", CORE / "init_string.c"), ()),
        "archives": (READER, PLAIN),
        "index": (INDEX, PLAIN),
        "strings": ((CORE / "init_string.c",), ()),
    }
)
"""Of each target_*.c: what is fuzzed, and what else is linked."""


class BuildError(Exception):
    """A target cannot be built."""


def build(target: str, folder: Path, changed: Path | None = None) -> Path:
    """Build a target below `folder` and return the program.

    Args:
        target: A name in `TARGETS`.
        folder: Where objects are, and are found again by the next target.
        changed: A source that takes the place of the one with its name.

    Raises:
        BuildError: With what the compiler says.
    """
    fuzzed, others = TARGETS[target]
    folder.mkdir(parents=True, exist_ok=True)
    objects = [_compile(path, folder, FUZZED, *OWN_NAMES) for path in fuzzed]
    if changed:
        other = _compile(changed, changed.parent, FUZZED, *OWN_NAMES)
        objects = [other if path.name == other.name else path for path in objects]
        folder = changed.parent
    program = folder / f"{target}-program.o"
    # All variables in one place, so that kernel.c can make them what they were at the start.
    _run("ld", "-r", "-o", program, *objects)
    _run("objcopy", "--rename-section", ".bss=program_bss", program)
    rest = [_compile(path, folder) for path in (HERE / f"target_{target}.c", *others)]
    executable = folder / target
    _run("clang", SANITIZE, "-fsanitize=fuzzer", *rest, program, "-o", executable)
    return executable


def _compile(source: Path, folder: Path, *flags: str) -> Path:
    target = folder / f"{source.stem}.o"
    inputs = [source, *CORE.glob("*.h"), *LAYER.glob("*.h"), *HERE.glob("*.h")]
    newest = max(path.stat().st_mtime for path in inputs)
    if not target.exists() or target.stat().st_mtime < newest:
        _run(*FLAGS, *flags, "-c", source, "-o", target)
    return target


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
