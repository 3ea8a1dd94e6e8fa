# SPDX-License-Identifier: Apache-2.0
"""Compilers, version control, data bases, archives and shells in the default sandbox."""

from __future__ import annotations

import json

import pytest

import pycontain
from _programs import output_of

C_PROJECT = {
    "greet.h": "const char *greeting(void);\n",
    "greet.c": '#include "greet.h"\nconst char *greeting(void) { return "hello from C"; }\n',
    "main.c": '#include <stdio.h>\n#include "greet.h"\nint main(void) { puts(greeting()); }\n',
    "Makefile": "greet: main.o greet.o\n\t$(CC) -o $@ $^\nmain.o greet.o: greet.h\n",
}


@pytest.mark.slow
@pytest.mark.requires("gcc", "make")
def test_make_and_gcc_build_a_project_that_runs(sandbox: pycontain.Sandbox) -> None:
    for name, text in C_PROJECT.items():
        sandbox.files.write_text(f"/home/sandbox/{name}", text)
    output_of(sandbox.run(["make", "-j2", "CC=gcc"], text=True))
    assert output_of(sandbox.run(["./greet"], text=True)) == "hello from C\n"
    assert "up to date" in output_of(sandbox.run(["make", "CC=gcc"], text=True))


@pytest.mark.requires("gcc")
def test_a_program_that_crashes_has_that_verdict(sandbox: pycontain.Sandbox) -> None:
    sandbox.files.write_text("/tmp/bad.c", "int main(void) { __builtin_trap(); }\n")
    output_of(sandbox.run(["gcc", "-o", "/tmp/bad", "/tmp/bad.c"], text=True))
    result = sandbox.run(["/tmp/bad"])
    assert (result.returncode, result.reason) == (-4, pycontain.Reason.SIGNALED)


@pytest.mark.requires("git")
def test_git_commits_and_clones(sandbox: pycontain.Sandbox) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")

    def git(*arguments: str, cwd: str = "/home/sandbox/project") -> str:
        return output_of(sandbox.run(["git", *who, *arguments], cwd=cwd, text=True))

    git("init", "--quiet", "project", cwd="/home/sandbox")
    sandbox.files.write_text("/home/sandbox/project/read.me", "first\n")
    git("add", "read.me")
    git("commit", "--quiet", "--message", "one")
    sandbox.files.write_text("/home/sandbox/project/read.me", "second\n")
    git("commit", "--quiet", "--all", "--message", "two")
    git("clone", "--quiet", "project", "copy", cwd="/home/sandbox")
    assert git("log", "--format=%s %an", cwd="/home/sandbox/copy") == "two A\none A\n"
    assert sandbox.files.read_text("/home/sandbox/copy/read.me") == "second\n"
    git("fsck", "--strict", cwd="/home/sandbox/copy")


PIPELINE = r"""
set -eu
for word in pear apple fig apple pear apple; do echo "$word"; done |
    sort | uniq -c | sort -rn | awk '{ print $2 "=" $1 }' | tee counts | tr '\n' ' '
wc -l < counts
"""


def test_a_shell_pipeline() -> None:
    result = pycontain.run(["sh", "-c", PIPELINE], text=True, cwd="/tmp")
    assert output_of(result) == "apple=3 pear=2 fig=1 3\n"


def test_a_pipe_without_a_reader_ends_the_writer() -> None:
    result = pycontain.run(["bash", "-c", "yes | head -n 2; echo ${PIPESTATUS[0]}"], text=True)
    assert output_of(result) == "y\ny\n141\n"


def test_tar_keeps_names_modes_and_links(sandbox: pycontain.Sandbox) -> None:
    script = """
    mkdir -p tree/sub && echo data > 'tree/sub/a name' && chmod 4750 'tree/sub/a name'
    ln -s sub/a\\ name tree/link && ln 'tree/sub/a name' tree/hard && mkfifo tree/pipe
    tar -czf tree.tar.gz tree && mkdir out && tar -xpzf tree.tar.gz -C out
    stat -c '%n %A %h' out/tree/link 'out/tree/sub/a name' out/tree/pipe
    """
    told = output_of(sandbox.run(["sh", "-ec", script], text=True))
    assert told.splitlines() == [
        "out/tree/link lrwxrwxrwx 1",
        "out/tree/sub/a name -rwsr-x--- 2",
        "out/tree/pipe prw-r--r-- 1",
    ]


SQL = """
import json, sqlite3
with sqlite3.connect("/tmp/data.db") as base:
    base.execute("pragma journal_mode=wal")
    base.execute("create table numbers (value integer)")
    base.executemany("insert into numbers values (?)", [(n,) for n in range(1000)])
with sqlite3.connect("/tmp/data.db") as base:
    print(json.dumps(base.execute("select count(*), sum(value) from numbers").fetchone()))
"""


def test_sqlite_locks_and_shares_memory(sandbox: pycontain.Sandbox) -> None:
    told = output_of(sandbox.run(["python3", "-c", SQL], text=True))
    assert json.loads(told) == [1000, 499500]
