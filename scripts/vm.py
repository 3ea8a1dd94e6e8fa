#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run one command, or a shell, in a machine with cgroup v2 alone.

    scripts/vm.py [--kernel KERNEL] [--kind bare|selinux|systemd] [COMMAND...]

The command runs as root in the current directory. The exit status is the command's.
"""

from __future__ import annotations

import argparse
import os
import sys

from machine import boot, kernels
from machine.shell import UnavailableError

ENVIRONMENT = ("LANG", "TERM", "PYCONTAIN_MUST_WORK")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", default=kernels.DEFAULT, help=", ".join(kernels.SUITES))
    parser.add_argument("--kind", choices=boot.KINDS, default="bare")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    env = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    interactive = not options.command
    command = options.command or ["/bin/bash", "-l"]
    try:
        with (
            boot.equip(options.kernel) as equipment,
            boot.Machine(equipment, options.kind, command, env, interactive=interactive) as machine,
        ):
            machine.wait()
            print(machine.said("output"), end="")
            status = machine.said("status").strip()
            if not status:
                sys.exit(f"the machine ended by itself:\n{machine.said('console')}")
            return int(status)
    except UnavailableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
