# SPDX-License-Identifier: Apache-2.0
"""What podman has beside docker's commands: networks, pods, user namespaces; and its crashes."""

from __future__ import annotations

import pytest

from _engines import IMAGE, STAY, Podman

pytestmark = [
    pytest.mark.requires("root", "runc", "busybox", "podman"),
    pytest.mark.parametrize("launch", [Podman], indirect=True, scope="session", ids=["podman"]),
]


def test_a_network_of_its_own(engine: Podman) -> None:
    box = engine.start(*STAY, options=("--network=bridge",))
    address = engine.inspect(box, ".NetworkSettings.IPAddress")
    assert f"inet {address}/" in engine.output("exec", box, "ip", "addr", "show", "eth0")
    options = ("--network=bridge", "--cap-add", "net_raw")
    words = engine.prints("ping", "-c", "1", "-W", "5", address, options=options)
    assert "1 packets received" in words


def test_ids_of_its_own(engine: Podman) -> None:
    script = "id -u; touch /file; stat -c %u /file; cat /proc/self/uid_map"
    options = ("--uidmap", "0:100000:1000", "--gidmap", "0:200000:1000")
    words = engine.prints("sh", "-c", script, options=options).split()
    assert words == ["0", "0", "0", "100000", "1000"]


def test_privileged(engine: Podman) -> None:
    script = "mount -t tmpfs none /tmp && ls /dev/kmsg"
    assert engine.prints("sh", "-c", script, options=("--privileged",)) == "/dev/kmsg"


def test_a_pod_shares_namespaces(engine: Podman) -> None:
    infra = ("--infra-image", IMAGE, "--infra-command", "sleep 1000", "--share", "ipc,net,uts")
    pod = engine.output("pod", "create", *infra, "--cgroup-parent", f"/{engine.cage.cgroup}")
    try:
        script = "for kind in ipc net uts mnt; do readlink /proc/self/ns/$kind; done"
        member = ("run", "--rm", "--pod", pod, *engine.limits, IMAGE, "sh", "-c", script)
        one, two = (engine.output(*member).split() for _ in range(2))
        assert one[:3] == two[:3]
        # One after the other they may have the same number; never that of a living one.
        assert engine.cage.output("readlink", "/proc/self/ns/mnt").strip() not in {one[3], two[3]}
    finally:
        engine.output("pod", "rm", "--force", "--time", "0", pod)


def test_what_runs_is_listed_by_the_kernels_ids(engine: Podman) -> None:
    box = engine.start(*STAY)
    listed = engine.output("top", box, "hpid", "comm").splitlines()[1:]
    assert [line.split() for line in listed] == [[engine.inspect(box, ".State.Pid"), "sleep"]]


def test_a_root_directory_without_an_image(engine: Podman) -> None:
    root = engine.cage.folder / f"root-{engine.runtime}"
    engine.cage.output("cp", "-a", engine.output("image", "mount", IMAGE), root)
    engine.output("image", "unmount", IMAGE)
    words = ("run", "--rm", *engine.options(), "--network=none", "--rootfs")
    assert engine.output(*words, root, "sh", "-c", "touch /made; echo hi") == "hi"
    assert engine.cage.path(root / "made").exists()
