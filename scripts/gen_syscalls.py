#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the system call tables below pycontain/_syscalls/ from kernel headers.

The two Debian packages hold all that is needed; any newer pair of the same kernel will do:

    apt-get download linux-libc-dev linux-headers-VERSION-common
    for package in *.deb; do dpkg-deb -x "$package" headers; done
    scripts/gen_syscalls.py headers

linux-libc-dev (7.0 or newer) has asm/unistd*.h of every architecture, linux-headers-*-common has
the prototypes in include/linux/syscalls.h, from which the widths of arguments are taken.
"""

from __future__ import annotations

import argparse
import re
import sys
from operator import itemgetter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "pycontain/_syscalls"
COPYRIGHT = "# SPDX-License-Identifier: Apache-2.0"

# Our module: the header below linux-libc-dev's directory of all architectures.
TABLES = {
    "x86_64": "x86/asm/unistd_64.h",
    "x32": "x86/asm/unistd_x32.h",
    "i386": "x86/asm/unistd_32.h",
    "aarch64": "arm64/asm/unistd_64.h",
    "arm": "arm/asm/unistd-eabi.h",
}
NUMBER = re.compile(r"^#define\s+__NR_(\w+)\s+\(?(?:(\w+)\s*\+\s*)?(\d+)\)?\s*$", re.MULTILINE)
# Bases by name: the EABI counts from 0, x32 sets bit 30 (asm/unistd.h of either).
BASES = {"": 0, "__NR_SYSCALL_BASE": 0, "__X32_SYSCALL_BIT": 0x40000000, "__NR_Linux": 0}
# asm/unistd.h of arm: calls that are private to that architecture.
ARM_BASE = 0x0F0000
ARM_PRIVATE = re.compile(r"^#define\s+__ARM_NR_(\w+)\s+\(__ARM_NR_BASE\+(\d+)\)", re.MULTILINE)

PROTOTYPE = re.compile(r"^asmlinkage long sys_(\w+)\(([^)]*)\);", re.MULTILINE)
# C type: the number of its bits, where the kernel uses fewer than the register has.
NARROW = {
    **dict.fromkeys(
        (
            *("int", "unsigned", "enum", "u32", "__u32", "__s32", "uint32_t", "pid_t", "uid_t"),
            *("gid_t", "qid_t", "clockid_t", "timer_t", "mqd_t", "key_t", "key_serial_t", "rwf_t"),
        ),
        32,
    ),
    "umode_t": 16,
}
WIDE = {
    *("long", "size_t", "loff_t", "off_t", "u64", "aio_context_t", "old_sigset_t"),
    *("cap_user_header_t", "cap_user_data_t", "__sighandler_t"),
}
# Names under which the kernel implements a call.
IMPLEMENTED_AS = {
    "fstat": "newfstat",
    "lstat": "newlstat",
    "stat": "newstat",
    "umount2": "umount",
    "uname": "newuname",
}
# Calls without a usable prototype: bits of each argument. clone is declared with long flags, of
# which kernel/fork.c takes lower_32_bits(); the others are defined below arch/.
OVERRIDES = {
    "arch_prctl": (32, 64),
    "clone": (32, 64, 64, 64, 64),
    "ioperm": (64, 64, 32),
    "iopl": (32,),
    "mmap": (64, 64, 64, 64, 64, 64),
    "modify_ldt": (32, 64, 64),
    "map_shadow_stack": (64, 64, 32),
}


def read_numbers(path: Path) -> dict[str, int]:
    """Return name and number of every call that an asm/unistd header defines."""
    return {
        name: BASES[base] + int(number)
        for name, base, number in NUMBER.findall(path.read_text())
        if base in BASES and not name.endswith(("syscalls", "SYSCALL_BASE", "Linux"))
    }


def kernel_version(path: Path) -> str:
    """Return the version that linux/version.h states."""
    found = re.search(r"LINUX_VERSION_CODE (\d+)", path.read_text())
    if not found:
        raise SystemExit(f"{path}: no LINUX_VERSION_CODE")
    code = int(found[1])
    return f"{code >> 16}.{code >> 8 & 255}.{code & 255}"


def bits(parameter: str) -> int:
    """Return the bits of a C parameter that the kernel looks at."""
    if "*" in parameter:
        return 64
    words = [word for word in parameter.split() if word != "const"]
    if "long" in words or words[0] in WIDE:
        return 64
    if words[0] in NARROW:
        return NARROW[words[0]]
    if words[0] in {"old_uid_t", "old_gid_t"}:
        return 16
    raise SystemExit(f"linux/syscalls.h: unknown type in {parameter!r}")


def read_widths(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the bits of each argument of every call that linux/syscalls.h declares."""
    widths = {}
    for name, parameters in PROTOTYPE.findall(path.read_text()):
        listed = [" ".join(parameter.split()) for parameter in parameters.split(",")]
        widths[name] = () if listed == ["void"] else tuple(map(bits, listed))
    return widths


def write(name: str, doc: str, lines: list[str]) -> None:
    """Write one generated module."""
    text = "\n".join([COPYRIGHT, f'"""{doc}"""', "", *lines])
    (PACKAGE / f"{name}.py").write_text(text + "\n")


def mapping(name: str, kind: str, items: dict[str, object]) -> list[str]:
    """Return the lines of a dictionary literal."""
    return [
        f"{name}: {kind} = {{",
        *(f'    "{key}": {value},' for key, value in items.items()),
        "}",
    ]


def write_table(machine: str, numbers: dict[str, int], version: str) -> None:
    """Write the numbers of one architecture, in their order."""
    regular = [number & ~BASES["__X32_SYSCALL_BIT"] for number in numbers.values()]
    newest = max(number for number in regular if number < ARM_BASE)
    ordered: dict[str, object] = dict(sorted(numbers.items(), key=itemgetter(1)))
    shown = "newest without bit 30" if machine == "x32" else "newest"
    doc = (
        f"System calls of {machine}, Linux {version}, {shown} {newest}: by scripts/gen_syscalls.py."
    )
    write(
        machine,
        doc,
        [
            f'KERNEL = "{version}"',
            f"NEWEST = {newest}",
            *mapping("NUMBERS", "dict[str, int]", ordered),
        ],
    )


def write_widths(widths: dict[str, tuple[int, ...]], names: set[str], version: str) -> None:
    """Write the narrow arguments: index and bits, for every call that has one."""
    narrow: dict[str, object] = {}
    for name in sorted(names):
        known = (
            OVERRIDES.get(name) or widths.get(name) or widths.get(IMPLEMENTED_AS.get(name, ""), ())
        )
        found = {index: width for index, width in enumerate(known) if width != 64}
        if found:
            narrow[name] = found
    doc = f"""Arguments that the kernel truncates, Linux {version}: by scripts/gen_syscalls.py.

Per call, the index of the argument and the bits that the kernel looks at; all others have 64.
"""
    write("widths", doc, mapping("NARROW", "dict[str, dict[int, int]]", narrow))


def write_others(names: set[str], version: str) -> None:
    """Write the names that not both of our native architectures have."""
    lines: list[str] = []
    line = ""
    for name in sorted(names):
        if len(line) + len(name) >= 94:
            lines.append(line.rstrip())
            line = ""
        line += name + " "
    doc = f"Calls that x86_64 or aarch64 lacks, Linux {version}: by scripts/gen_syscalls.py."
    body = [*lines, line.rstrip()]
    write("others", doc, ['_NAMES = """', *body, '"""', "NAMES = frozenset(_NAMES.split())"])


def main() -> None:
    """Generate all modules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("headers", type=Path, help="directory with both packages extracted")
    root = parser.parse_args().headers
    uapi = root / "usr/lib/linux/uapi"
    version = kernel_version(root / "usr/include/linux/version.h")
    prototypes = sorted(root.glob("usr/src/linux-headers-*-common/include/linux/syscalls.h"))
    if len(prototypes) != 1 or f"-{version}" not in str(prototypes[0]):
        raise SystemExit(f"want one linux-headers-{version}-common, have {prototypes}")

    tables = {machine: read_numbers(uapi / header) for machine, header in TABLES.items()}
    private = ARM_PRIVATE.findall((uapi / "arm/asm/unistd.h").read_text())
    tables["arm"] |= {name: ARM_BASE + int(number) for name, number in private}
    tables["arm"]["sync_file_range2"] = tables["arm"]["arm_sync_file_range"]
    ours = {name for numbers in tables.values() for name in numbers}
    everywhere = {name for header in uapi.glob("*/asm/unistd*.h") for name in read_numbers(header)}
    widths = read_widths(prototypes[0])
    unknown = [
        name
        for name in sorted(tables["x86_64"].keys() | tables["aarch64"].keys())
        if not {name, IMPLEMENTED_AS.get(name, name)} & (widths.keys() | OVERRIDES.keys())
    ]
    print("without a prototype, so all their arguments count as wide:", *unknown, file=sys.stderr)

    for machine, numbers in tables.items():
        write_table(machine, numbers, version)
    write_widths(widths, ours, version)
    both = tables["x86_64"].keys() & tables["aarch64"].keys()
    write_others((everywhere | ours) - both, version)


if __name__ == "__main__":
    main()
