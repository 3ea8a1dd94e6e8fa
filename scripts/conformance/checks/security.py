# SPDX-License-Identifier: Apache-2.0
"""Filters of system calls: config-linux.md#seccomp. And what no configuration asks for."""

from __future__ import annotations

import functools
import os
import platform
import re
import socket
import threading
from typing import Any

from conformance.box import Box
from conformance.check import Check

_check = functools.partial(Check, area="security")
_ARCHITECTURE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[platform.machine()]
_SEES = "(mkdir /tmp/made) 2>/dev/null && echo made || echo refused"


def _filter(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {
        "linux.seccomp": {
            "defaultAction": default,
            "architectures": [_ARCHITECTURE],
            "syscalls": list(rules),
            **more,
        }
    }


def _rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


_DENIED = _rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat")


def _argument(operator: str, value: int, two: int = 0) -> dict[str, Any]:
    arguments = [{"index": 0, "value": value, "valueTwo": two, "op": operator}]
    return _rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=61, args=arguments)


def _notified(box: Box) -> None:
    """The descriptor of the filter arrives with the container's state."""
    path = str(box.folder / "listener")
    received: list[tuple[bytes, list[int]]] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(30)

        def accept() -> None:
            with server.accept()[0] as peer:
                data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
                received.append((data, fds))
                for fd in fds:
                    os.close(fd)

        thread = threading.Thread(target=accept)
        thread.start()
        rule = _rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat")
        box.change(_filter(rule, listenerPath=path, listenerMetadata="words"))
        try:
            box.prints("echo ran")
        finally:
            thread.join()
    [(data, fds)] = received
    assert len(fds) == 1, fds
    assert b'"words"' in data, data
    assert b"seccompFd" in data, data


CHECKS = (
    _check(
        name="seccomp: allowed but for some", change=_filter(_DENIED), run=_SEES, sees="refused"
    ),
    _check(
        name="seccomp: a filter is in force",
        change=_filter(_DENIED),
        run="grep Seccomp: /proc/self/status | cut -f2",
        sees="2",
    ),
    _check(
        name="seccomp: errnoRet",
        change=_filter(_DENIED | {"errnoRet": 61}),
        run="mkdir /tmp/made 2>&1; true",
        sees=re.compile(".*No data available"),
    ),
    _check(
        name="seccomp: SCMP_ACT_KILL_PROCESS",
        change=_filter(_rule("SCMP_ACT_KILL_PROCESS", "mkdir", "mkdirat")),
        run="(mkdir /tmp/made); echo $?",
        sees="159",
    ),
    _check(
        name="seccomp: SCMP_ACT_TRAP",
        change=_filter(_rule("SCMP_ACT_TRAP", "mkdir", "mkdirat")),
        run="(mkdir /tmp/made); echo $?",
        sees="159",
    ),
    _check(
        name="seccomp: SCMP_ACT_LOG",
        change=_filter(_rule("SCMP_ACT_LOG", "mkdir", "mkdirat")),
        run=_SEES,
        sees="made",
    ),
    _check(
        name="seccomp: SCMP_ACT_TRACE without a tracer",
        change=_filter(_rule("SCMP_ACT_TRACE", "mkdir", "mkdirat")),
        run="mkdir /tmp/made 2>&1; true",
        sees=re.compile(".*not implemented"),
    ),
    *(
        _check(
            name=f"seccomp: {rule['args'][0]['op']}",
            change=_filter(rule),
            run="probe getpriority 0; probe getpriority 2; probe getpriority 1",
            sees=sees,
        )
        for rule, sees in (
            (_argument("SCMP_CMP_EQ", 2), "0\n61\n0"),
            (_argument("SCMP_CMP_NE", 2), "61\n0\n61"),
            (_argument("SCMP_CMP_LT", 2), "61\n0\n61"),
            (_argument("SCMP_CMP_LE", 1), "61\n0\n61"),
            (_argument("SCMP_CMP_GT", 1), "0\n61\n0"),
            (_argument("SCMP_CMP_GE", 1), "0\n61\n61"),
            (_argument("SCMP_CMP_MASKED_EQ", 1, 1), "0\n0\n61"),
        )
    ),
    _check(
        name="seccomp: an unknown system call is ignored",
        change=_filter(_rule("SCMP_ACT_ERRNO", "nope_nope"), _DENIED),
        run=_SEES,
        sees="refused",
    ),
    _check(
        name="seccomp: an unknown action is refused",
        change=_filter(_rule("SCMP_ACT_NOPE", "mkdir")),
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="seccomp: several architectures",
        change=_filter(
            _DENIED, architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        ),
        run=_SEES,
        sees="refused",
    ),
    _check(
        name="seccomp: flags",
        change=_filter(
            _DENIED, flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
        ),
        run=_SEES,
        sees="refused",
    ),
    _check(
        name="seccomp: an unknown flag is refused",
        change=_filter(_DENIED, flags=["SECCOMP_FILTER_FLAG_NOPE"]),
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="seccomp: a filter and a user who may not",
        change=_filter(_DENIED) | {"process.user.uid": 1000, "process.noNewPrivileges": True},
        run=_SEES,
        sees="refused",
    ),
    _check(name="seccomp: listenerPath and listenerMetadata", life=_notified),
    *(
        _check(
            name=f"{what} without {module} is refused",
            change={field: label},
            run="echo RAN",
            refused=True,
            needs=(f"no_{module.lower()}",),
        )
        for what, module, field, label in (
            ("an AppArmor profile", "AppArmor", "process.apparmorProfile", "nope"),
            ("an SELinux label", "SELinux", "process.selinuxLabel", "u:r:t:s0"),
            ("mountLabel", "SELinux", "linux.mountLabel", "u:object_r:t:s0"),
        )
    ),
    _check(
        name="the caller's session keyring is not the container's",
        run="probe keyring",
        sees=re.compile(r"_ses\S*|none"),
    ),
    _check(
        name="nothing of the runtime's is open",
        run="ls -l /proc/1/fd | grep -c -E 'state|config|cgroup|ns:'; true",
        sees="0",
    ),
)
