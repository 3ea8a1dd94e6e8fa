#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compile C and run it as an online judge does: a sandbox to build, a fresh one for each input."""

import sys
import tempfile
from pathlib import Path

import pycontain

SOURCE = r"""
#include <stdio.h>
int main(void)
{
        long a, b;
        if (scanf("%ld %ld", &a, &b) != 2)
                return 1;
        printf("%ld\n", a / b);
}
"""
INPUTS = {"6 3\n": "2\n", "7 2\n": "3\n", "1 0\n": "nothing\n", "words\n": "nothing\n"}


def main() -> int:
    """Build once, judge each input."""
    with tempfile.TemporaryDirectory() as folder:
        with pycontain.Sandbox() as builder:
            builder.files.write_text("/tmp/answer.c", SOURCE)
            build = builder.run(["gcc", "-O2", "-o", "/tmp/answer", "/tmp/answer.c"], text=True)
            if build.returncode:
                print(build.stderr)
                return 1
            builder.files.get("/tmp/answer", Path(folder, "answer"))

        judge = {"mounts": [pycontain.Bind(folder, "/judge")], "profile": "judge", "wall_limit": 2}
        for given, expected in INPUTS.items():
            result = pycontain.run(["/judge/answer"], input=given, text=True, **judge)
            if result.reason != pycontain.Reason.EXITED or result.returncode:
                verdict = f"{result.reason}, status {result.returncode}"
            else:
                verdict = "right" if result.stdout == expected else "wrong"
            print(f"{given.strip():6} -> {result.stdout.strip():3} {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
