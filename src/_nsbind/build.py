# SPDX-License-Identifier: Apache-2.0
"""cffi recipe of `pycontain._nsbind`: api.h is the declaration, setup.py adds the flags."""

from pathlib import Path

from cffi import FFI

# Relative when setuptools runs this file, which is what an sdist needs.
HERE = Path(__file__).parent
# init*.c is the PID 1 program, a separate executable (setup.py).
SOURCES = sorted(str(path) for path in HERE.glob("*.c") if not path.name.startswith("init"))
HEADERS = sorted(str(path) for path in HERE.glob("*.h"))
PROLOGUE = '#include <stddef.h>\n#include <stdint.h>\n\n#include "api.h"\n'

ffi = FFI()
ffi.cdef((HERE / "api.h").read_text(encoding="utf-8"))
ffi.set_source(
    "pycontain._nsbind",
    PROLOGUE,
    sources=SOURCES,
    depends=HEADERS,
    include_dirs=[str(HERE)],
    extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread"],
)
