# SPDX-License-Identifier: Apache-2.0
"""What is mounted where, and which group is ours, read from the kernel's texts."""

from __future__ import annotations

import pytest

from pycontain._cgroup import detect
from pycontain._cgroup._hierarchy import discover

ROOT = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n"
PURE_V2 = ROOT + (
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 "
    "rw,nsdelegate,memory_recursiveprot\n"
)
PURE_V1 = ROOT + (
    "31 23 0:28 / /sys/fs/cgroup rw,mode=755 - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "34 31 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = PURE_V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
DOCKER_V1 = ROOT + (
    "900 31 0:30 /docker/ab12 /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n"
)
DOCKER_V2 = ROOT + "900 31 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
NESTED_V2 = ROOT + "900 31 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"

V1_GROUPS = "3:name=systemd:/user.slice\n2:memory:/user.slice/a b\n1:cpu,cpuacct:/\n"


@pytest.mark.parametrize(
    "mountinfo, self_cgroup, mode, v2_own, v1_own",
    [
        (PURE_V2, "0::/\n", "v2", "/sys/fs/cgroup", {}),
        (PURE_V2, "0::/user.slice/x\n", "v2", "/sys/fs/cgroup/user.slice/x", {}),
        (PURE_V2, "0::/gone (deleted)\n", "v2", "/sys/fs/cgroup/gone", {}),
        (
            PURE_V1,
            V1_GROUPS,
            "v1",
            None,
            {
                "memory": "/sys/fs/cgroup/memory/user.slice/a b",
                "cpu": "/sys/fs/cgroup/cpu,cpuacct",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
            },
        ),
        (
            HYBRID,
            V1_GROUPS + "0::/top\n",
            "hybrid",
            "/sys/fs/cgroup/unified/top",
            {"memory": "/sys/fs/cgroup/memory/user.slice/a b"},
        ),
        # a container: the mount shows only its own part of the hierarchy
        (DOCKER_V1, "2:memory:/docker/ab12\n", "v1", None, {"memory": "/sys/fs/cgroup/memory"}),
        (
            DOCKER_V1,
            "2:memory:/docker/ab12/inner\n",
            "v1",
            None,
            {"memory": "/sys/fs/cgroup/memory/inner"},
        ),
        (DOCKER_V1, "2:memory:/docker/ab12345\n", "v1", None, {"memory": None}),
        (DOCKER_V2, "0::/\n", "v2", "/sys/fs/cgroup", {}),
        # a mount made before the cgroup namespace, and a process outside of its namespace's root
        (NESTED_V2, "0::/\n", "v2", None, {}),
        (PURE_V2, "0::/../other\n", "v2", None, {}),
        # hierarchies that are not mounted, kernels without cgroups
        (ROOT, V1_GROUPS + "0::/\n", "none", None, {"memory": None}),
        ("", "", "none", None, {}),
    ],
)
def test_hierarchies_and_own_groups_are_found(
    mountinfo: str, self_cgroup: str, mode: str, v2_own: str | None, v1_own: dict[str, str | None]
) -> None:
    host = discover(mountinfo, self_cgroup)
    assert host.mode == mode
    assert (host.v2 and host.v2.own) == v2_own
    for controller, own in v1_own.items():
        hierarchy = host.v1_of(controller)
        assert (hierarchy and hierarchy.own) == own


@pytest.mark.parametrize(
    "mountinfo, self_cgroup, read_only",
    [
        (DOCKER_V2, "0::/\n", True),
        (PURE_V2, "0::/\n", False),
        (PURE_V2.replace("rw,nsdelegate", "ro,nsdelegate"), "0::/\n", True),
        # a writable mount is preferred to a read-only one of the same hierarchy
        (DOCKER_V2 + PURE_V2.replace("/sys/fs/cgroup", "/mnt"), "0::/\n", False),
    ],
)
def test_read_only_mounts_are_known(mountinfo: str, self_cgroup: str, read_only: bool) -> None:
    host = discover(mountinfo, self_cgroup)
    assert host.v2 is not None
    assert host.v2.read_only is read_only


def test_a_hierarchy_hidden_by_another_mount_is_not_used() -> None:
    hidden = PURE_V2 + "99 30 0:77 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    assert discover(hidden, "0::/\n").v2 is None


def test_mount_points_are_unescaped() -> None:
    mountinfo = PURE_V2.replace("/sys/fs/cgroup", "/mnt/a\\040b\\134c")
    host = discover(mountinfo, "0::/x\n")
    assert host.v2 is not None
    assert host.v2.own == "/mnt/a b\\c/x"


def test_detection_is_remembered_until_refreshed() -> None:
    first = detect()
    assert detect() is first
    assert detect(refresh=True) == first
