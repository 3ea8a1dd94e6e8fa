# SPDX-License-Identifier: Apache-2.0
"""Who runs a script: the kernel is asked the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pycontain._contract._script import (
    HEAD,
    BadScriptError,
    Shebang,
    parse_shebang,
    run_by_env,
)

ECHO = b"/bin/echo"
LINES: dict[str, bytes] = {
    "plain": b"#!" + ECHO + b"\n",
    "without an end": b"#!" + ECHO,
    "spaces": b"#!  \t" + ECHO + b" \t \n",
    "argument": b"#!" + ECHO + b" one\n",
    "argument with spaces": b"#!" + ECHO + b"  one two\tthree  \n",
    "argument without an end": b"#!" + ECHO + b" one",
    "NUL": b"#!" + ECHO + b"\0nothing\n",
    "long argument": b"#!" + ECHO + b" " + b"a" * 1000 + b"\n",
    "comment": b"#!" + ECHO + b" # no comment\nmore\n",
}


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_the_kernel_reads_the_line_as_we_do(text: bytes, tmp_path: Path) -> None:
    said = parse_shebang(text[:HEAD])
    script = tmp_path / "script"
    script.write_bytes(text)
    script.chmod(0o755)
    done = subprocess.run([script, "last"], capture_output=True, check=True)
    words = [] if said.argument is None else [said.argument]
    assert said.interpreter == ECHO
    if len(text) > HEAD:  # the argument is cut where the buffer ends
        words = [words[0][: done.stdout.index(b" ")]]
    assert done.stdout == b" ".join([*words, bytes(script), b"last"]) + b"\n"


NOBODY: dict[str, bytes] = {
    "nothing": b"#!",
    "empty": b"#!\n",
    "spaces": b"#! \t \n",
    "too long": b"#!/" + b"a" * 10_000 + b"\n",
    "spaces to the end": b"#!" + b" " * 10_000 + b"/bin/echo\n",
}


@pytest.mark.parametrize("text", NOBODY.values(), ids=NOBODY)
def test_a_line_that_names_nobody(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadScriptError):
        parse_shebang(text[:HEAD])
    script = tmp_path / "script"
    script.write_bytes(text)
    script.chmod(0o755)
    with pytest.raises(OSError, match=r"Exec format error|Permission denied"):
        subprocess.run([script], check=False)


ENV: dict[bytes, bytes | None] = {
    b"/usr/bin/env python3": b"python3",
    b"/usr/bin/env -S python3 -u": b"python3",
    b"/usr/bin/env": None,
    b"/usr/bin/env -i sh": None,
    b"/usr/bin/env A=1 sh": None,
    b"/bin/sh -e": None,
}


@pytest.mark.parametrize("line, program", ENV.items(), ids=str)
def test_the_program_that_env_is_asked_for(line: bytes, program: bytes | None) -> None:
    assert run_by_env(parse_shebang(b"#!" + line + b"\n")) == program


def test_a_line_is_split_once() -> None:
    assert parse_shebang(b"#! /bin/awk -f x\n") == Shebang(b"/bin/awk", b"-f x")
