#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pipeline, once by a shell inside, once by `popen` with a pipe between two commands."""

import pycontain

WORDS = "pear apple fig apple pear apple\n"


def main() -> None:
    """Count words in both ways."""
    script = "tr ' ' '\\n' | sort | uniq -c | sort -rn | awk '{ print $2, $1 }'"
    print(pycontain.run(["sh", "-c", script], input=WORDS, text=True, check=True).stdout)

    with (
        pycontain.Sandbox() as sandbox,
        sandbox.popen(["sort"], stdin=pycontain.PIPE, stdout=pycontain.PIPE) as sort,
        sandbox.popen(
            ["uniq", "--count"], stdin=sort.stdout, stdout=pycontain.PIPE, text=True
        ) as uniq,
    ):
        sort.stdout.close()  # so that only `uniq` reads it
        sort.stdin.write(WORDS.replace(" ", "\n").encode())
        sort.stdin.close()
        print(uniq.communicate()[0])


if __name__ == "__main__":
    main()
