# SPDX-License-Identifier: Apache-2.0
"""Namespaces: config-linux.md#namespaces and what belongs to them."""

from __future__ import annotations

import functools
import os
import subprocess

from conformance.box import NAMESPACES, Box
from conformance.check import Check

_check = functools.partial(Check, area="namespaces")
_LINKS = {"network": "net", "mount": "mnt"}
_IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
_USER = {
    "linux.namespaces+": {"type": "user"},
    "linux.uidMappings": _IDS,
    "linux.gidMappings": _IDS,
}


def _link(kind: str) -> str:
    return f"/proc/self/ns/{_LINKS.get(kind, kind)}"


def _new(kind: str) -> Check:
    def life(box: Box) -> None:
        if kind not in NAMESPACES:
            box.change({"linux.namespaces+": {"type": kind}})
        assert box.prints(f"readlink {_link(kind)}") != os.readlink(_link(kind))

    return _check(name=f"a new {kind} namespace", life=life)


def _hosts(kind: str) -> Check:
    def life(box: Box) -> None:
        box.change({"linux.namespaces": [{"type": name} for name in NAMESPACES if name != kind]})
        if kind == "uts":
            box.change({"hostname": None})
        assert box.prints(f"readlink {_link(kind)}") == os.readlink(_link(kind))

    return _check(name=f"the caller's {kind} namespace", life=life)


def _joined(kind: str) -> Check:
    def life(box: Box) -> None:
        option = {"network": "--net", "pid": "--pid"}.get(kind, f"--{kind}")
        fork = ("--fork", "--kill-child") if kind == "pid" else ()
        holder = ["unshare", option, *fork, "sh", "-c", "echo; exec sleep 1000"]
        with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                file = f"{_LINKS.get(kind, kind)}{'_for_children' if kind == 'pid' else ''}"
                path = f"/proc/{process.pid}/ns/{file}"
                others = [{"type": name} for name in NAMESPACES if name != kind]
                box.change({"linux.namespaces": [*others, {"type": kind, "path": path}]})
                if kind == "uts":
                    box.change({"hostname": None})
                assert box.prints(f"readlink {_link(kind)}") == os.readlink(path)
            finally:
                process.kill()

    return _check(name=f"a {kind} namespace by its path", life=life)


def _moves(box: Box) -> None:
    name, peer = (f"cf{os.getpid() % 10**8}{end}" for end in "ab")
    words = ("ip", "link", "add", name, "type", "veth", "peer", "name", peer)
    subprocess.run(words, check=True, capture_output=True)
    try:
        box.change({"linux.netDevices": {name: {"name": "mine"}}})
        assert "mine" in box.prints("ip link")
    finally:
        subprocess.run(["ip", "link", "delete", peer], check=False, capture_output=True)


CHECKS = (
    *map(_new, (*NAMESPACES, "cgroup")),
    *map(_hosts, ("network", "ipc", "uts", "pid")),
    *map(_joined, ("network", "ipc", "uts", "pid")),
    _check(
        name="a path that is no namespace is refused",
        change={"linux.namespaces+": {"type": "cgroup", "path": "/etc/passwd"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="a path to a namespace of another type is refused",
        change={
            "linux.namespaces": [
                {"type": "mount"},
                {"type": "pid"},
                {"type": "network", "path": "/proc/self/ns/ipc"},
            ]
        },
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="a namespace that is given twice is refused",
        change={"linux.namespaces+": {"type": "pid"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="an unknown type is refused",
        change={"linux.namespaces+": {"type": "nope"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="the loopback interface is up",
        run="ip addr show lo | grep -c 'inet 127.0.0.1'",
        sees="1",
    ),
    _check(
        name="a user namespace: uidMappings and gidMappings",
        change=_USER,
        run="tr -s ' ' </proc/self/uid_map; touch /dev/shm/x; stat -c '%u %g' /dev/shm/x",
        sees="0 100000 65536\n0 0",
    ),
    _check(
        name="a user namespace: several mappings",
        change=_USER
        | {
            "linux.uidMappings": [
                {"containerID": 0, "hostID": 100000, "size": 1},
                {"containerID": 1, "hostID": 300000, "size": 10},
            ]
        },
        run="tr -s ' ' </proc/self/uid_map",
        sees="0 100000 1\n 1 300000 10",
    ),
    _check(
        name="a user namespace: a user of it",
        change=_USER | {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [77]}},
        run="id -u; id -G",
        sees="1000\n1000 77",
    ),
    _check(
        name="a user namespace: the devices are there",
        change=_USER,
        run="echo x >/dev/null && head -c 3 /dev/zero | wc -c",
        sees="3",
    ),
    _check(
        name="a user namespace: files of the host's root are not its own",
        change=_USER,
        run="touch /host/made 2>/dev/null || echo refused",
        sees="refused",
    ),
    _check(
        name="a user namespace without mappings is refused",
        change={"linux.namespaces+": {"type": "user"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="timeOffsets",
        change={
            "linux.namespaces+": {"type": "time"},
            "linux.timeOffsets": {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5}},
        },
        run="test $(cut -d. -f1 /proc/uptime) -gt 1000000 && "
        "tr -s ' \\t' ' ' </proc/self/timens_offsets",
        sees="monotonic 5 0\nboottime 1000000 0",
    ),
    _check(
        name="timeOffsets without a time namespace are refused",
        change={"linux.timeOffsets": {"boottime": {"secs": 1}}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="sysctl",
        change={"linux.sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4321"}},
        run="cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
        sees="1\n4321",
    ),
    _check(
        name="a sysctl of the whole machine is refused",
        change={"linux.sysctl": {"kernel.panic": "0"}},
        run="echo RAN",
        refused=True,
    ),
    _check(
        name="a sysctl of a namespace that is not new is refused",
        change={
            "linux.namespaces": [{"type": name} for name in NAMESPACES if name != "network"],
            "linux.sysctl": {"net.ipv4.ip_forward": "0"},
        },
        run="echo RAN",
        refused=True,
    ),
    _check(name="netDevices", life=_moves),
    _check(
        name="a hostname without a UTS namespace is refused",
        change={"linux.namespaces": [{"type": name} for name in NAMESPACES if name != "uts"]},
        run="echo RAN",
        refused=True,
    ),
)
