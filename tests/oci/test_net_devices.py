# SPDX-License-Identifier: Apache-2.0
"""Network devices that move into a container, out of a network namespace of the test's own."""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from _oci_command import PROGRAM

if TYPE_CHECKING:
    from _containers import Containers

pytestmark = pytest.mark.requires("root", "busybox", "ip")

DEVICE = """
ip link add here mtu 1400 address 02:00:00:00:00:07 type veth peer name there
ip address add 192.0.2.7/24 dev here
ip address add 192.0.2.8/24 dev here valid_lft 1000 preferred_lft 1000
ip address add 2001:db8::7/64 dev here nodad
"""


def run(
    containers: Containers, devices: dict[str, Any], script: str
) -> subprocess.CompletedProcess[str]:
    """Run a container's script where there are two devices; print the host's afterwards."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["netDevices"] = devices

    bundle = containers.bundle("sh", "-c", script, edit=edit)
    words = [PROGRAM, "--root", containers.state, "run", "--bundle", bundle]
    name = f"pycontain-test-{uuid.uuid4().hex}"
    return subprocess.run(
        ["unshare", "--net", "sh", "-ec", f'{DEVICE}"$@"', "sh", *map(str, words), name],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("inside", ["here", "eth0"])
def test_a_device_comes_with_its_addresses(containers: Containers, inside: str) -> None:
    script = f"ip address show {inside}; ls /sys/class/net"
    done = run(containers, {"here": {"name": inside}}, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == sorted([inside, "lo"])  # the other one stayed
    assert "mtu 1400" in done.stdout
    assert "UP" in done.stdout.splitlines()[0]
    assert "link/ether 02:00:00:00:00:07" in done.stdout
    assert "inet 192.0.2.7/24" in done.stdout
    assert "192.0.2.8" not in done.stdout  # not a permanent one
    assert "inet6 2001:db8::7/64" in done.stdout


def test_two_devices(containers: Containers) -> None:
    done = run(containers, {"here": {}, "there": {"name": "other"}}, "ls /sys/class/net")
    assert (done.stdout.split(), done.returncode) == (["here", "lo", "other"], 0)


@pytest.mark.parametrize(
    "devices, said",
    [
        ({"nowhere": {}}, "'nowhere'): No such device"),
        ({"here": {"name": "lo"}}, "'here as lo'): File exists"),
        ({"lo": {"name": "lo2"}}, "'lo as lo2'): Invalid argument"),
    ],
)
def test_what_cannot_move(containers: Containers, devices: dict[str, Any], said: str) -> None:
    done = run(containers, devices, "echo RAN")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "linux.netDevices" in done.stderr
