#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write pycontain/_syscalls/kernels.py: which kernel has each system call for the first time.

    scripts/gen_kernels.py [/usr/share/man/man2/syscalls.2.gz]

The table of syscalls(2) (Debian's manpages-dev) has the older calls, NEWER the others, each with
the release whose include/uapi/asm-generic/unistd.h has it first. Calls of Linux 2.6.32 and before
are left out: no program meets an older kernel.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

PAGE = Path("/usr/share/man/man2/syscalls.2.gz")
TARGET = Path(__file__).parents[1] / "pycontain/_syscalls/kernels.py"
ROW = re.compile(r"\\fB(\w+)\\fP\(2\)\t(\d+)\.(\d+)")
OLDEST = (2, 6)
# Of 2.6.x the page says the third number.
PATCH = re.compile(r"\\fB(\w+)\\fP\(2\)\t2\.6\.(\d+)")
BASELINE = 32

# Calls with times of 64 bits for 32-bit machines, by another name than in the page.
TIME64 = (
    *("clock_adjtime64", "clock_getres_time64", "clock_gettime64", "clock_nanosleep_time64"),
    *("clock_settime64", "futex_time64", "io_pgetevents_time64", "mq_timedreceive_time64"),
    *("mq_timedsend_time64", "ppoll_time64", "pselect6_time64", "recvmmsg_time64"),
    *("rt_sigtimedwait_time64", "sched_rr_get_interval_time64", "semtimedop_time64"),
    *("timer_gettime64", "timer_settime64", "timerfd_gettime64", "timerfd_settime64"),
    "utimensat_time64",
)
NEWER = {
    **dict.fromkeys(TIME64, (5, 1)),
    "mount_setattr": (5, 12),
    "memfd_secret": (5, 14),
    "process_mrelease": (5, 15),
    "futex_waitv": (5, 16),
    "set_mempolicy_home_node": (5, 17),
    "cachestat": (6, 5),
    "fchmodat2": (6, 6),
    "map_shadow_stack": (6, 6),
    **dict.fromkeys(("futex_wake", "futex_wait", "futex_requeue"), (6, 7)),
    **dict.fromkeys(("statmount", "listmount"), (6, 8)),
    **dict.fromkeys(("lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules"), (6, 8)),
    "mseal": (6, 10),
    "uretprobe": (6, 11),
    **dict.fromkeys(("setxattrat", "getxattrat", "listxattrat", "removexattrat"), (6, 13)),
    "open_tree_attr": (6, 15),
    **dict.fromkeys(("file_getattr", "file_setattr"), (6, 17)),
    "uprobe": (6, 18),
    "listns": (6, 19),
    "rseq_slice_yield": (7, 0),
}


def read(page: str) -> dict[str, tuple[int, int]]:
    """Return the calls of the page that came after the baseline."""
    late = {name for name, patch in PATCH.findall(page) if int(patch) > BASELINE}
    found = {}
    for name, major, minor in ROW.findall(page):
        version = int(major), int(minor)
        if version > OLDEST or name in late:
            found[name] = version
    return found


def main(paths: list[str]) -> int:
    """Write the table."""
    page = gzip.decompress(Path(paths[0] if paths else PAGE).read_bytes()).decode()
    table = page[page.index(".TS") : page.index(".TE")]
    rows = {**read(table), **NEWER}
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        '"""Kernels that were the first to have a system call: by scripts/gen_kernels.py."""',
        "",
        "SINCE: dict[str, tuple[int, int]] = {",
        *(f'    "{name}": {version},' for name, version in sorted(rows.items())),
        "}",
    ]
    TARGET.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{len(rows)} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
