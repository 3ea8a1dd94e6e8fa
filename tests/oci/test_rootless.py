# SPDX-License-Identifier: Apache-2.0
"""Containers of an ordinary user, in a user namespace whose root is that user."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pycontain.errors import ContainerStateError

if TYPE_CHECKING:
    from pathlib import Path

    from _containers import Containers

pytestmark = pytest.mark.requires("user", "userns", "busybox")


def rootless(config: dict[str, Any]) -> None:
    """One id, which is root inside."""
    config["linux"]["namespaces"].append({"type": "user"})
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        row = {"containerID": 0, "hostID": own, "size": 1}
        config["linux"][f"{kind}Mappings"] = [row]


def own_bundle(containers: Containers, *args: str) -> Path:
    """Return a bundle whose files are copies: links to what others own may be forbidden."""
    bundle = containers.home / "bundle"
    bundle.mkdir()
    shutil.copytree(containers.root, bundle / "rootfs", symlinks=True)
    containers.write(bundle, *args, edit=rootless)
    return bundle


def test_who_it_is(containers: Containers) -> None:
    script = "id -u; cat /proc/self/uid_map; hostname; stat -c %t:%T /dev/null; touch /x"
    bundle = own_bundle(containers, "sh", "-c", script)
    outcome = containers.run_bundle(bundle)
    expected = ["0", "0", str(os.geteuid()), "1", "box", "1:3"]
    assert (outcome.status, outcome.output.split()) == (0, expected)
    assert (bundle / "rootfs/x").stat().st_uid == os.geteuid()


def test_a_whole_life(containers: Containers) -> None:
    container = containers.create(own_bundle(containers, "sleep", "1000"))
    container.start()
    assert containers.execute(container, "id", "-u").output == "0\n"
    with pytest.raises(ContainerStateError):
        container.delete()
    container.kill(9)
    assert container.wait() == 137
    container.delete()
