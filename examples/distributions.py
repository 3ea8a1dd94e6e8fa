#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other distributions on this kernel: each brings its own C library and its own interpreter.

distributions.py                      # images, pulled: busybox, Debian 12 and 13
distributions.py trixie=trixie.tar    # root directories, as archives that mmdebstrap makes, say
"""

from __future__ import annotations

import sys

import pycontain
from pycontain import images

PULLED = ("busybox:latest", "debian:bookworm-slim", "debian:trixie-slim")

# Whatever is there says which it is.
SCRIPT = """
name=$(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")
libc=$(ldd --version 2>/dev/null | head -n 1)
perl=$(perl -e 'print "Perl $^V"' 2>/dev/null)
echo "${name:-$(busybox | head -n 1 | cut -d' ' -f1-2)}|${libc:-none, it is static}|${perl:-sh}"
"""


def describe(name: str, **options: str) -> None:
    """Print what a root directory says of itself, and which kernel runs it."""
    done = pycontain.run(["sh", "-c", f"{SCRIPT} uname -r"], text=True, check=True, **options)
    what, kernel = done.stdout.splitlines()
    system, libc, interpreter = what.split("|")
    print(f"{name:22} {system:32} {libc:40} {interpreter:14} Linux {kernel}")


def main() -> None:
    """Run the same script on this host's user land and in each image."""
    describe("this host")
    if not sys.argv[1:]:
        for name in PULLED:
            describe(name, image=name)
        return
    for argument in sys.argv[1:]:
        name, _, archive = argument.partition("=")
        images.import_rootfs(archive, name)
        describe(name, image=name)


if __name__ == "__main__":
    main()
