# SPDX-License-Identifier: Apache-2.0
"""The first line of a script, as the kernel's fs/binfmt_script.c reads it (execve(2))."""

from __future__ import annotations

from typing import Final, NamedTuple

HEAD: Final = 256
"""As many bytes of a file decide what it is (BINPRM_BUF_SIZE; 128 before Linux 5.1)."""
NESTED_MAX: Final = 5
"""So many interpreters may be scripts themselves; more is ELOOP."""


class BadScriptError(ValueError):
    """A script whose first line the kernel does not take."""


class Shebang(NamedTuple):
    """Who runs a script, as bytes: a path and at most one argument."""

    interpreter: bytes
    argument: bytes | None


def parse_shebang(head: bytes) -> Shebang:
    """Return who runs a script.

    Args:
        head: The file's first bytes, `HEAD` of them if it has as many; they begin with `#!`.

    Raises:
        BadScriptError: Nobody, or a name that does not end in time.
    """
    text = head[2:HEAD]
    line, newline, _ = text.partition(b"\n")
    whole = bool(newline) or len(head) < HEAD
    line = line.strip(b" \t") if whole else line.lstrip(b" \t")
    ends = [at for at in map(line.find, (b" ", b"\t", b"\0")) if at >= 0]
    if not whole and line and not ends:
        raise BadScriptError(f"names an interpreter in more than {HEAD} bytes")
    end = min(ends, default=len(line))
    if not line[:end]:
        raise BadScriptError("begins with #! and names no interpreter")
    argument = line[end:].strip(b" \t").partition(b"\0")[0]
    return Shebang(line[:end], argument or None)


def run_by_env(shebang: Shebang) -> bytes | None:
    """Return the program that env(1) is asked to run, if it is env and that is easily told."""
    if shebang.interpreter.rpartition(b"/")[2] != b"env" or shebang.argument is None:
        return None
    words = shebang.argument.split()
    if words and words[0] == b"-S":
        words = words[1:]
    if not words or words[0].startswith(b"-") or b"=" in words[0]:
        return None
    return words[0]
