# SPDX-License-Identifier: Apache-2.0
"""The native parts: the cffi extension and four programs. The rest is in pyproject.toml.

Environment: PYCONTAIN_WERROR=1 makes warnings errors; PYCONTAIN_SANITIZE=address,undefined builds
for a sanitizer lane; PYCONTAIN_FAULTS=1 builds for the fault tests; CC chooses the compiler.
"""

import ast
import json
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.command.build_scripts import build_scripts  # isort: skip - setuptools brings it

CORE = Path("src/_nsbind")
FAULTS = os.environ.get("PYCONTAIN_FAULTS") == "1"
SELFTEST = Path("src/_selftest")
LAYER = Path("src/_layer")
FAULT_SOURCE = Path("tests/tools/fault.c")
# Static programs without libc, below the package: PID 1, what `pycontain.selftest` runs inside, and
# what unpacks layers of images.
PROGRAMS = {
    "_init": (
        *sorted(CORE.glob("init*.c")),
        *(CORE / "child.c", CORE / "clone.c"),
        *((FAULT_SOURCE,) if FAULTS else ()),
    ),
    "selftest/_probe": (*sorted(SELFTEST.glob("*.c")), CORE / "init_string.c"),
    "_layer": (*sorted(LAYER.glob("*.c")), CORE / "init_string.c"),
}
# And one in the directory of commands: it starts the interpreter as the OCI runtime wants it.
COMMAND = "pycontain-runtime"
LAUNCHER = Path("src/_launcher")
COMMAND_SOURCES = (LAUNCHER / "launcher.c", CORE / "init_string.c")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
SANITIZE = os.environ.get("PYCONTAIN_SANITIZE", "")

# The generated cffi wrappers leave parameters unused; `make lint` is stricter with our own files.
WARNINGS = (
    ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers")
    if os.environ.get("PYCONTAIN_WERROR") == "1"
    else ()
)

# Each is used if the compiler takes it without a warning: by all that we build,
HARDENING_OF_CODE = (
    "-fstack-clash-protection",
    "-ftrivial-auto-var-init=zero",
    "-fzero-call-used-regs=used-gpr",
    "-fno-delete-null-pointer-checks",
    "-fno-strict-overflow",
    "-fstrict-flex-arrays=3",
    "-mbranch-protection=standard",
)
# and by the extension.
HARDENING = (
    *HARDENING_OF_CODE,
    "-fstack-protector-strong",
    "-fcf-protection=full",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,-z,noexecstack",
    "-Wl,-z,separate-code",
)

# Static, and at fixed addresses: nothing to relocate (relro), no canary without a libc to choose
# one, and no kernel gives a program without libc a shadow stack. Few pages make it start soon.
PROGRAM_FLAGS = (
    "-std=gnu11",
    "-Os",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-fno-pie",
    "-no-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    # gcc would turn the loops inside our own memset and memcpy into calls of themselves.
    "-fno-tree-loop-distribute-patterns",
    "-ffunction-sections",
    "-fdata-sections",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,norelro",
    "-Wl,-z,noseparate-code",
    "-s",
)
# aarch64 kernels may have pages of 64 KiB, there the linker's default stays.
MACHINE_FLAGS = {"x86_64": ("-Wl,-z,max-page-size=4096", "-fcf-protection=none")}


def supported(compiler: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return the flags with which `compiler` builds an empty program without a warning."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("int main(void)\n{\n\treturn 0;\n}\n")
        command = [*compiler, "-Werror", str(source), "-o", str(Path(folder, "probe"))]
        return [
            flag
            for flag in flags
            if subprocess.run([*command, flag], capture_output=True, check=False).returncode == 0
        ]


# With these, each system call of ours asks FAULT_SOURCE first.
FAULT_FLAGS = ("-DNSB_FAULT_INJECTION", "-Wl,--wrap=sys_clone3,--wrap=sys_clone2")
FAULT_WRAPPED = (  # the libc calls of spawn.c
    *("close", "fcntl", "memfd_create", "mmap", "mprotect", "munmap", "pipe2", "poll", "read"),
    *("sendmsg", "socketpair", "waitid", "write"),
)


def c_compiler() -> list[str]:
    """Return the C compiler's command."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def build_program(compiler: list[str], sources: tuple[Path, ...], target: Path, *more: str) -> None:
    """Build a static program with `more` flags."""
    flags = [*PROGRAM_FLAGS, *MACHINE_FLAGS.get(platform.machine(), ()), *WARNINGS, *more]
    flags += supported(compiler, HARDENING_OF_CODE)
    if FAULT_SOURCE in sources:
        flags += FAULT_FLAGS
    if "undefined" in SANITIZE.split(","):
        flags += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [*compiler, *flags, f"-I{CORE}", *map(str, sources), "-o", str(target)], check=True
    )
    target.chmod(0o755)


def embedded(source: Path) -> str:
    """Return a Python program as C, a string of its name, without its comments and docstring."""
    tree = ast.parse(source.read_text())
    del tree.body[0]  # the docstring
    lines = [json.dumps(f"{line}\n") for line in ast.unparse(tree).splitlines()]
    text = "\n\t".join(lines)
    return f"extern const char {source.stem}[];\nconst char {source.stem}[] =\n\t{text};\n"


class BuildNative(build_ext):
    """Add hardening to the extension and build the static programs beside it."""

    def build_extensions(self) -> None:
        """Build the extension, then the programs, all with the compiler in CC."""
        compiler = c_compiler()
        for extension in self.extensions:
            self._add_flags(extension, compiler)
        super().build_extensions()
        for name, sources in PROGRAMS.items():
            build_program(compiler, sources, Path(self.build_lib, "pycontain", name))

    @staticmethod
    def _add_flags(extension: Extension, compiler: list[str]) -> None:
        flags = supported(compiler, HARDENING)
        if SANITIZE:
            flags += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover", "-fno-omit-frame-pointer"]
            compile_only = ["-O1", "-g", "-U_FORTIFY_SOURCE"]
        else:
            compile_only = ["-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
        if FAULTS:  # fortified calls have other names
            flags += [*FAULT_FLAGS, *(f"-Wl,--wrap={name}" for name in FAULT_WRAPPED)]
            compile_only.append("-U_FORTIFY_SOURCE")
            extension.sources = [*extension.sources, str(FAULT_SOURCE)]
        linked = [flag for flag in flags if flag.startswith(("-Wl,", "-fsanitize="))]
        compiled = [flag for flag in flags if not flag.startswith("-Wl,")]
        extension.extra_compile_args += [*compile_only, *compiled, *WARNINGS]
        extension.extra_link_args += linked

    def copy_extensions_to_source(self) -> None:
        """Put all into the work tree, for an editable installation."""
        super().copy_extensions_to_source()
        for name in PROGRAMS:
            # A new file instead of new contents: a running PID 1 keeps the old one busy.
            staged = Path("pycontain", f"{name}.new")
            shutil.copy2(Path(self.build_lib, "pycontain", name), staged)
            staged.replace(Path("pycontain", name))

    def get_outputs(self) -> list[str]:
        """Return what an installation owns."""
        programs = [str(Path(self.build_lib, "pycontain", name)) for name in PROGRAMS]
        return [*super().get_outputs(), *programs]


class BuildCommand(build_scripts):
    """Build the launcher of the OCI runtime, which is installed as a script is."""

    editable_mode = False
    """Set by setuptools."""

    def run(self) -> None:
        """Build it; in an editable installation it knows the work tree."""
        tree = f'-DSOURCE_TREE="{Path.cwd()}"' if self.editable_mode else '-DSOURCE_TREE=""'
        with tempfile.TemporaryDirectory() as folder:
            bootstrap = Path(folder, "bootstrap.c")
            bootstrap.write_text(embedded(LAUNCHER / "bootstrap.py"))
            sources = (*COMMAND_SOURCES, bootstrap)
            build_program(c_compiler(), sources, Path(self.build_dir, COMMAND), tree)

    def get_source_files(self) -> list[str]:
        """Return nothing: MANIFEST.in names the sources."""
        return []


OPTIONS: dict[str, dict[str, str]] = {}
if not FREE_THREADED:  # which has no abi3; cffi leaves it out of the extension by itself
    OPTIONS["bdist_wheel"] = {"py_limited_api": "cp311"}
if SANITIZE:  # whose objects are not those of a normal build
    OPTIONS["build"] = {"build_base": "build/sanitize"}

setup(
    cffi_modules=["src/_nsbind/build.py:ffi"],
    cmdclass={"build_ext": BuildNative, "build_scripts": BuildCommand},
    scripts=[COMMAND],
    options=OPTIONS,
)
