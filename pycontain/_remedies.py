# SPDX-License-Identifier: Apache-2.0
"""What to do about each thing that stands in the way: the one place that has these sentences."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


LANDLOCK: Final = "Linux 5.19 or later with landlock among its security modules (lsm=landlock,...)"
IDMAP: Final = "it needs Linux 5.12 and a file system such as ext4, xfs, btrfs or tmpfs"
LISTENER: Final = "Linux 5.0 or later"
LISTENER_TAKEN: Final = (
    "a filter around this process has the only listener: start it outside of that audit"
)
OVERLAY_VERSION: Final = (
    "overlayfs in a user namespace needs Linux 5.11, and so do images; a directory goes without it "
    "by read_only=True"
)
OVERLAY_MODULE: Final = (
    "The kernel has no overlayfs; load the module `overlay` or use read_only=True"
)
BINFMT_VERSION: Final = "binfmt_misc of a user namespace needs Linux 6.7"
BINFMT_MODULE: Final = (
    "The kernel has no binfmt_misc; load the module binfmt_misc, or leave out emulate=True"
)
MEMFD: Final = "vm.memfd_noexec forbids to execute sealed memory; set it to 0 or 1"
PROCESSES: Final = "The process limit is reached (RLIMIT_NPROC, pids.max or kernel.pid_max)"
NO_NEW_PRIVS: Final = (
    "systemd: NoNewPrivileges=no; docker and podman: without --security-opt no-new-privileges; "
    "kubernetes: allowPrivilegeEscalation: true"
)
SUBIDS: Final = (
    "as root: apt-get install uidmap (newuidmap and newgidmap), and usermod --add-subuids "
    "{first}-{last} --add-subgids {first}-{last} {name}"
)
# What a container around us has to be started with, by who runs it, for what is in the way.
_CONTAINERS: Final = {
    "docker": {
        "seccomp": "docker run --security-opt seccomp=unconfined",
        "apparmor": "docker run --security-opt apparmor=unconfined",
        "proc": "docker run --security-opt systempaths=unconfined",
    },
    "podman": {
        "seccomp": "podman run --security-opt seccomp=unconfined",
        "apparmor": "podman run --security-opt apparmor=unconfined",
        "proc": "podman run --security-opt unmask=ALL",
    },
    "kubernetes": {
        "seccomp": "in the container's securityContext: seccompProfile: {type: Unconfined}",
        "apparmor": "in the container's securityContext: appArmorProfile: {type: Unconfined}",
        "proc": "in the pod: hostUsers: false, and in the container's securityContext: "
        "procMount: Unmasked",
    },
}
_ELSEWHERE: Final = {
    "seccomp": "if it is a systemd unit's: RestrictNamespaces=no, and @mount and @sandbox in "
    "SystemCallFilter=",
    "apparmor": "let its profile allow userns, mount and pivot_root",
    "proc": "unmount what covers it (mount -o remount,rw /proc, if it is read-only)",
}
_APPARMOR_PROFILE: Final = """\
abi <abi/4.0>,
include <tunables/global>

profile pycontain {executable} flags=(unconfined) {{
  userns,
  include if exists <local/pycontain>
}}
"""


def sysctl(name: str, value: str) -> str:
    """Return how to set a sysctl, now and at each boot."""
    return (
        f"as root: sysctl -w {name}={value}, and for good: echo '{name} = {value}' > "
        "/etc/sysctl.d/60-pycontain.conf"
    )


def container(kind: str, way: str) -> str:
    """Return what lets what is around us have sandboxes inside.

    Args:
        kind: Who runs it; another one than known: it may be a container or not.
        way: What is in the way: seccomp, apparmor or proc.
    """
    if kind in _CONTAINERS:
        return _CONTAINERS[kind][way]
    return f"{_ELSEWHERE[way]}; if it is a container's: {_CONTAINERS['docker'][way]}"


def capabilities(kind: str, names: str) -> str:
    """Return how to start this process with capabilities."""
    words = " ".join(f"--cap-add {name.removeprefix('CAP_')}" for name in names.split())
    if kind in ("docker", "podman"):
        return f"{kind} run {words}"
    return (
        f"start this process with {names} (systemd: CapabilityBoundingSet=, AmbientCapabilities=; "
        f"docker run {words})"
    )


def apparmor(executable: str) -> tuple[str, str]:
    """Return how to let a program have user namespaces, and the profile for that."""
    remedy = (
        "as root: save the profile that `pycontain doctor` prints as /etc/apparmor.d/pycontain, "
        "and load it: apparmor_parser -r /etc/apparmor.d/pycontain"
    )
    return remedy, _APPARMOR_PROFILE.format(executable=executable)


def module(option: str, name: str) -> str:
    """Return how to get what the kernel was built without, or has not loaded."""
    return f"as root: modprobe {name}, or run a kernel with CONFIG_{option}"
