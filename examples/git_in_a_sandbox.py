#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Use git on files from elsewhere without trusting their hooks or configuration."""

import pycontain

WHO = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def main() -> None:
    """Make a repository, clone it and read its history."""
    with pycontain.Sandbox(env=WHO) as sandbox:

        def git(*arguments: str, cwd: str = "/home/sandbox/project") -> str:
            done = sandbox.run(["git", *arguments], cwd=cwd, text=True, check=True)
            return str(done.stdout)

        git("init", "--quiet", "project", cwd="/home/sandbox")
        sandbox.files.write_text("/home/sandbox/project/hello.txt", "hello\n")
        # It runs inside, and sees nothing there that is anybody's.
        hook = "#!/bin/sh\necho hook runs as $(id -un) on $(hostname), sees $(ls /home /run)\n"
        sandbox.files.write_text("/home/sandbox/project/.git/hooks/pre-commit", hook)
        sandbox.run(["chmod", "+x", "project/.git/hooks/pre-commit"], check=True)
        git("add", "hello.txt")
        done = sandbox.run(
            ["git", "commit", "-m", "first"], cwd="/home/sandbox/project", text=True, check=True
        )
        print(done.stderr + done.stdout)
        git("clone", "--quiet", "project", "copy", cwd="/home/sandbox")
        print(git("log", "--stat", "--format=%h %an: %s", cwd="/home/sandbox/copy"))


if __name__ == "__main__":
    main()
