#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run a piece of untrusted Python and look at what came of it."""

import sys

import pycontain

PROGRAMS = {
    "well": "print(sum(range(10)))",
    "badly": "raise ValueError('no')",
    "for ever": "print('started', flush=True)\nwhile True: pass",
    "too much": "while True: print('x' * 1000)",
    "the network": "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
}


def main() -> None:
    """Run each program in a sandbox of its own."""
    for how, source in PROGRAMS.items():
        result = pycontain.run(
            ["python3", "-c", source], text=True, wall_limit=2, output_limit="64K"
        )
        last = (result.stdout + result.stderr).strip().splitlines()[-1:]
        print(f"{how:12} {result.reason:13} {result.returncode:4}  {''.join(last)[:60]}")

    try:
        pycontain.run(["python3", "-c", PROGRAMS["for ever"]], text=True, timeout=1)
    except pycontain.TimeoutExpired as error:
        print(f"\nafter {error.timeout:g} s it had printed {error.output!r}")


if __name__ == "__main__":
    sys.exit(main())
