#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A shell on a terminal of the sandbox's own, typed into by a program.

For people: `pycontain run -it -- bash`.
"""

import os

import pycontain


def read_until(fd: int, end: bytes) -> bytes:
    """Read from the terminal until `end` appears."""
    seen = b""
    while end not in seen:
        seen += os.read(fd, 4096)
    return seen


def main() -> None:
    """Type commands, resize the terminal, leave."""
    env = {"PS1": "inside> ", "TERM": "dumb"}
    with (
        pycontain.Sandbox() as sandbox,
        sandbox.popen(["sh", "-i"], pty=True, size=(24, 80), env=env, bufsize=0) as shell,
    ):
        terminal = shell.stdout.fileno()
        shown = read_until(terminal, b"inside> ")
        for command in ("tty", "stty size", "id -un"):
            shell.stdin.write(f"{command}\n".encode())
            shown += read_until(terminal, b"inside> ")
            shell.resize(50, 132)
        shell.stdin.write(b"exit 7\n")
        status = shell.wait()
    print(shown.decode().replace("\r", ""))
    print("status", status)


if __name__ == "__main__":
    main()
