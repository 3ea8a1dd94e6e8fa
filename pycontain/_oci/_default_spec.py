# SPDX-License-Identifier: Apache-2.0
"""The configuration that `spec` writes: a shell with few rights, to begin with."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "1.0.2"
"""The oldest version that has all that is used here: some runtimes refuse what they do not know."""
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"),
    *("/sys/firmware", "/sys/devices/virtual/powercap"),
)
"""Files of the kernel that tell of the host, or let it be guessed."""
READONLY = (*("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),)
"""Files of the kernel that root in a container could write to."""
_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def default_config() -> dict[str, Any]:
    """Return the configuration for root as a caller."""
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pycontain",
        "mounts": [_mount(*row) for row in _MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in _NAMESPACES],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def rootless_config(uid: int, gid: int) -> dict[str, Any]:
    """Return the configuration for an ordinary user, who becomes root inside.

    Such a user may mount no sysfs without a network namespace, and own no limits.
    """
    config = default_config()
    linux = config["linux"]
    del linux["resources"]
    linux["namespaces"] = [{"type": name} for name in (*_NAMESPACES, "user") if name != "network"]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    config["mounts"] = [_rootless_mount(mount) for mount in config["mounts"]]
    return config


def _rootless_mount(mount: dict[str, Any]) -> dict[str, Any]:
    if mount["type"] == "sysfs":
        return _mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
    options = [
        option for option in mount.get("options", ()) if not option.startswith(("uid=", "gid="))
    ]
    return {**mount, "options": options} if options else mount


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    return {**mount, "options": list(options)} if options else mount


_MOUNTS = (
    ("/proc", "proc", "proc"),
    ("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    (
        *("/dev/pts", "devpts", "devpts", "nosuid", "noexec"),
        *("newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    ("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),  # noqa: S108 - inside
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
)
