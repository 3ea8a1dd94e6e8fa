# SPDX-License-Identifier: Apache-2.0
"""Labels and profiles of the kernel's security modules, on kernels that enforce them."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain.errors import ConfigError, SpawnError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _containers import Containers, Edit

pytestmark = pytest.mark.requires("busybox")

SELINUX = Path("/sys/fs/selinux")
KEYCTL, KEYCTL_GET_SECURITY = 250, 17
PROCESS = "u:r:inside_t:s0:c1,c2"
FILES = "u:object_r:inside_file_t:s0:c1,c2"
# Processes inside may add names only to directories that are labelled as theirs. What a policy does
# not know it allows: other classes, other permissions.
POLICY = """
(handleunknown allow)
(mls true)
(policycap nnp_nosuid_transition)
(class process (transition dyntransition))
(class dir (add_name))
(classorder (process dir))
(sensitivity s0)
(sensitivityorder (s0))
(category c0) (category c1) (category c2) (category c3)
(categoryorder (c0 c1 c2 c3))
(sensitivitycategory s0 (range c0 c3))
(user u)
(userrange u ((s0) (s0 (range c0 c3))))
(userlevel u (s0))
(role object_r) (role r)
(userrole u object_r) (userrole u r)
(type host_t) (type inside_t) (type inside_file_t)
(roletype object_r host_t) (roletype object_r inside_file_t)
(roletype r host_t) (roletype r inside_t)
(sid kernel) (sid security) (sid unlabeled)
(sidorder (kernel security unlabeled))
(sidcontext kernel (u r host_t ((s0) (s0))))
(sidcontext security (u object_r host_t ((s0) (s0))))
(sidcontext unlabeled (u object_r host_t ((s0) (s0))))
(fsuse trans mqueue (u object_r host_t ((s0) (s0))))
(fsuse trans tmpfs (u object_r host_t ((s0) (s0))))
(allow host_t host_t (process (transition)))
(allow host_t inside_t (process (transition)))
(allow host_t host_t (dir (add_name)))
(allow host_t inside_file_t (dir (add_name)))
(allow inside_t inside_file_t (dir (add_name)))
"""
PROFILE = """
profile pycontain-test flags=(attach_disconnected) {
  file,
  capability,
  network,
  signal,
  deny /secret r,
}
"""
PARSER = "/usr/sbin/apparmor_parser"
MQUEUE = {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]}


@pytest.fixture(scope="module")
def selinux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Load a policy, and enforce it."""
    folder = tmp_path_factory.mktemp("policy")
    source, policy = folder / "policy.cil", folder / "policy"
    source.write_text(POLICY)
    words = ["secilc", "--policyvers=31", f"--output={policy}", "--filecontext=/dev/null"]
    subprocess.run([*words, source], check=True)
    with open(SELINUX / "load", "wb", buffering=0) as file:
        file.write(policy.read_bytes())
    (SELINUX / "enforce").write_text("1")
    yield
    (SELINUX / "enforce").write_text("0")


@pytest.fixture(scope="module")
def apparmor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Load a profile; return its name."""
    path = tmp_path_factory.mktemp("profile") / "profile"
    path.write_text(PROFILE)
    subprocess.run([PARSER, "--skip-cache", "--replace", path], check=True)
    yield "pycontain-test"
    subprocess.run([PARSER, "--remove", path], check=True)


def labelled(config: dict[str, Any]) -> None:
    """Give a container both labels."""
    config["process"]["selinuxLabel"] = PROCESS
    config["linux"]["mountLabel"] = FILES
    config["linux"]["maskedPaths"] = ["/masked"]
    config["mounts"].append(MQUEUE)


@pytest.mark.parametrize(
    "field, name",
    [
        pytest.param(field, name, marks=pytest.mark.requires(f"no_{name.lower()}"))
        for field, name in (
            ("process.apparmorProfile", "AppArmor"),
            ("process.selinuxLabel", "SELinux"),
            ("linux.mountLabel", "SELinux"),
        )
    ],
)
def test_a_label_without_its_module(containers: Containers, field: str, name: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"^.*{field}: this kernel has no {name}"):
        containers.create(containers.bundle("true", edit=labels(field, "x")))
    assert nothing_is_left(containers)


def labels(field: str, label: str) -> Edit:
    """Return a change of a configuration."""

    def edit(config: dict[str, Any]) -> None:
        owner, name = field.split(".")
        config[owner][name] = label

    return edit


def nothing_is_left(containers: Containers) -> bool:
    """Tell whether no container of a test's is there."""
    return not os.listdir(containers.state)


@pytest.mark.requires("root", "selinux", "secilc")
@pytest.mark.usefixtures("selinux")
class TestSELinux:
    """A policy of our own is loaded and enforced."""

    def test_a_process_has_its_label(self, containers: Containers) -> None:
        assert containers.sh("cat /proc/self/attr/current", labelled).rstrip("\0") == PROCESS

    def test_so_has_one_that_joins(self, containers: Containers) -> None:
        container = containers.start("sleep", "1000", edit=labelled)
        outcome = containers.execute(
            container, "cat", "/proc/self/attr/current", selinuxLabel=PROCESS
        )
        assert outcome.output.rstrip("\0") == PROCESS

    def test_mounts_have_their_label(self, containers: Containers) -> None:
        bundle = containers.bundle("sleep", "1000", edit=labelled)
        (bundle / "rootfs/masked").mkdir()
        container = containers.create(bundle)
        root = Path(f"/proc/{container.pid}/root")
        for place in ("dev", "dev/null", "dev/shm", "dev/pts", "dev/mqueue", "masked"):
            label = os.getxattr(root / place, "security.selinux")
            assert (place, label.rstrip(b"\0").decode()) == (place, FILES)
        mounts = Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()
        (shared,) = (row for row in mounts if row.split()[4] == "/dev/shm")
        assert f'context="{FILES}"' in shared or f"context={FILES}" in shared

    def test_its_keyring_has_the_label_of_the_process(self, containers: Containers) -> None:
        container = containers.start("sleep", "1000", edit=labelled)
        keys = Path("/proc/keys").read_text().splitlines()
        serial = next(int(row.split()[0], 16) for row in keys if f"_ses.{container.id}:" in row)
        label = ctypes.create_string_buffer(256)
        ctypes.CDLL(None).syscall(KEYCTL, KEYCTL_GET_SECURITY, serial, label, len(label))
        assert label.value.decode() == PROCESS

    def test_the_policy_is_in_force(self, containers: Containers) -> None:
        script = "touch /dev/shm/x && echo made; touch /x 2>&1"
        outcome = containers.run("sh", "-c", script, edit=labelled)
        assert outcome.output.splitlines() == ["made", "touch: /x: Permission denied"]

    def test_hooks_are_not_of_the_container(self, containers: Containers) -> None:
        def edit(config: dict[str, Any]) -> None:
            labelled(config)
            script = f"cat /proc/self/attr/current > {containers.home}/label"
            hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
            config["hooks"] = {"createContainer": [hook]}

        containers.run("true", edit=edit)
        label = (containers.home / "label").read_text()
        assert label.rstrip("\0") == "u:r:host_t:s0"

    @pytest.mark.parametrize("field", ["process.selinuxLabel", "linux.mountLabel"])
    def test_a_label_that_the_policy_lacks(self, containers: Containers, field: str) -> None:
        edit = labels(field, "u:r:nope_t:s0")
        with pytest.raises(ConfigError, match=rf"^{field}: 'u:r:nope_t:s0' is no label"):
            containers.create(containers.bundle("true", edit=edit))
        assert nothing_is_left(containers)


@pytest.mark.requires("root", "apparmor", "apparmor_parser")
class TestAppArmor:
    """A profile of our own is loaded."""

    def test_a_process_has_its_profile(self, containers: Containers, apparmor: str) -> None:
        script = "cat /proc/self/attr/current /open /secret"
        edit = labels("process.apparmorProfile", apparmor)
        bundle = containers.bundle("sh", "-c", script, edit=edit)
        for name in ("open", "secret"):
            (bundle / f"rootfs/{name}").write_text(f"{name}\n")
        outcome = containers.run_bundle(bundle)
        assert outcome.output.splitlines() == [
            f"{apparmor} (enforce)",
            "open",
            "cat: can't open '/secret': Permission denied",
        ]

    def test_so_has_one_that_joins(self, containers: Containers, apparmor: str) -> None:
        container = containers.start("sleep", "1000")
        outcome = containers.execute(
            container, "cat", "/proc/self/attr/current", apparmorProfile=apparmor
        )
        assert outcome.output == f"{apparmor} (enforce)\n"

    def test_a_profile_that_is_not_loaded(self, containers: Containers) -> None:
        edit = labels("process.apparmorProfile", "nope")
        with pytest.raises(SpawnError, match=r"process.apparmorProfile: nope.*No such file"):
            containers.create(containers.bundle("true", edit=edit))
        assert nothing_is_left(containers)
