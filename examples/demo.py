#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Python program in a sandbox: its output, verdict, usage, and what was enforced."""

from __future__ import annotations

import sys
import textwrap

import pycontain

# Counts primes with processes and a data base, then looks around.
PROGRAM = r"""
import concurrent.futures, glob, os, platform, socket, sqlite3

def primes(start):
    def is_prime(n):
        return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))
    return [(n,) for n in range(start, start + 2500) if is_prime(n)]

def outcome(action):
    try:
        return action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

if __name__ == "__main__":
    with sqlite3.connect("/tmp/primes.db") as base:
        base.execute("create table primes (n integer)")
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            for rows in pool.map(primes, range(0, 10000, 2500)):
                base.executemany("insert into primes values (?)", rows)
        count, largest = base.execute("select count(*), max(n) from primes").fetchone()
    print(f"Python {platform.python_version()}: {count} primes below 10000, the last is {largest}")
    print("I am        ", f"user {os.getuid()} on {socket.gethostname()}, process {os.getpid()}")
    print("processes   ", outcome(lambda: len(glob.glob("/proc/[0-9]*"))), "to be seen")
    print("interfaces  ", outcome(lambda: " ".join(name for _, name in socket.if_nameindex())))
    print("the network ", outcome(lambda: socket.create_connection(("192.0.2.1", 80), 1)))
    print("homes       ", outcome(lambda: " ".join(os.listdir("/home"))))
    print("write /usr  ", outcome(lambda: open("/usr/mine", "w")))
    print("become root ", outcome(lambda: os.setuid(0)))
"""
LIMITS = {"memory": "256M", "pids": 32, "cpus": 1.5}


def show(title: str, text: str) -> None:
    """Print a block under its title."""
    print(f"\n{title}\n{textwrap.indent(text.rstrip() or '(nothing)', '  ')}")


def describe(usage: pycontain.Usage) -> str:
    """Return a line for each figure that was measured."""
    seconds = {"wall": usage.wall_s, "user": usage.user_s, "system": usage.system_s}
    lines = ["   ".join(f"{k} {v:.3f} s" for k, v in seconds.items() if v is not None)]
    if usage.memory_peak is not None:
        lines.append(f"memory {usage.memory_peak / 2**20:.1f} MiB at most")
    if usage.pids_peak is not None:
        lines.append(f"processes and threads: {usage.pids_peak} at once")
    return "\n".join(lines)


def main() -> int:
    """Run the program and tell."""
    try:
        # An ordinary user may have no control groups: then the limits are missing, and told so.
        with pycontain.Sandbox(wall_limit=60, accept_missing=tuple(LIMITS), **LIMITS) as sandbox:
            sandbox.files.write_text("/tmp/program.py", PROGRAM)
            result = sandbox.run(["python3", "/tmp/program.py"], text=True)
            enforcement = sandbox.enforcement
    except pycontain.PycontainError as error:
        print(f"No sandbox on this host.\n{type(error).__name__}: {error}", file=sys.stderr)
        return 1

    show("Output", result.stdout)
    if result.stderr:
        show("Errors", result.stderr)
    show("Verdict", f"{result.reason}, status {result.returncode}")
    show("Usage", describe(result.usage))
    rows = [
        f"{'yes' if row.in_force else 'NO':4}{name:27}{row}"
        for name, row in enforcement.items()
        if row.in_force or name in LIMITS
    ]
    show("Enforced", "\n".join(rows))
    return 0 if result.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
