# SPDX-License-Identifier: Apache-2.0
"""The interpreters that the host has, each with threads, files and processes of its own."""

from __future__ import annotations

import shutil

import pytest

import pycontain
from _programs import output_of

SOURCES = {
    "bash": (
        ("bash", "/tmp/program"),
        "mapfile -t lines < <(seq 3); wait; echo ${#lines[@]} > /tmp/out; cat /tmp/out",
    ),
    "perl": (
        ("perl", "/tmp/program"),
        """
        my @n = map { chomp; $_ } `seq 3`;
        open(my $f, '>', '/tmp/out') or die;
        print $f scalar(@n);
        close $f;
        exec 'cat', '/tmp/out';
        """,
    ),
    "node": (
        ("node", "/tmp/program"),
        """
        const { execFileSync } = require('child_process');
        const fs = require('fs');
        const { Worker, isMainThread, parentPort } = require('worker_threads');
        if (!isMainThread) parentPort.postMessage(execFileSync('seq', ['3']).toString());
        else new Worker(__filename).on('message', (text) => {
            fs.writeFileSync('/tmp/out', String(text.trim().split('\\n').length));
            console.log(fs.readFileSync('/tmp/out', 'utf8'));
        });
        """,
    ),
    "java": (
        ("java", "-Xmx64m", "/tmp/program"),
        """
        import java.nio.file.*;
        public class program {
            public static void main(String[] args) throws Exception {
                var process = new ProcessBuilder("seq", "3").start();
                long[] count = {0};
                var thread = new Thread(() -> count[0] = process.inputReader().lines().count());
                thread.start();
                thread.join();
                Files.writeString(Path.of("/tmp/out"), "" + count[0]);
                System.out.println(Files.readString(Path.of("/tmp/out")));
            }
        }
        """,
    ),
}
SUFFIXES = {"node": ".js", "java": ".java"}


@pytest.mark.slow
@pytest.mark.parametrize("language", [name for name in SOURCES if shutil.which(name)])
def test_a_program_that_uses_threads_files_and_processes(
    sandbox: pycontain.Sandbox, language: str
) -> None:
    command, source = SOURCES[language]
    path = f"/tmp/program{SUFFIXES.get(language, '')}"
    sandbox.files.write_text(path, source)
    result = sandbox.run([*command[:-1], path], text=True, timeout=120)
    assert output_of(result).strip() == "3"
