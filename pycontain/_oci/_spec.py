# SPDX-License-Identifier: Apache-2.0
"""A container's configuration as values (OCI runtime-spec 1.2, config.md and config-linux.md).

The names are the specification's, in Python's spelling. Absent fields are None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who a process is, in numbers of the container's user namespace."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The five sets, as names such as `CAP_CHOWN` that this package knows."""

    bounding: frozenset[str] = frozenset()
    effective: frozenset[str] = frozenset()
    inheritable: frozenset[str] = frozenset()
    permitted: frozenset[str] = frozenset()
    ambient: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """A limit of setrlimit(2), such as `RLIMIT_NOFILE`."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """What sched_setattr(2) is given; times in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IOPriority:
    """What ioprio_set(2) is given: `IOPRIO_CLASS_RT`, `_BE` or `_IDLE`, and 0 to 7."""

    class_: str
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of a container: its first one, or one of `exec`."""

    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] | None = None  # height (rows), width (columns)
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IOPriority | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    exec_cpu_affinity: tuple[str, str] | None = None  # initial, final: cpuset lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root file system, `path` relative to the bundle or absolute."""

    path: str
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IDMapping:
    """A row of uid_map or gid_map."""

    container_id: int
    host_id: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount, in the order in which it is made. A missing type is a bind by its options."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that is run at a point of the life cycle; `timeout` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks, each kind in its order."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace of the container's: `type` as the specification names it, new without a path."""

    type: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node: type `c`, `u`, `b` or `p`."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """A row of the device controller: type `a`, `c` or `b`; None is any number."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes; -1 is no limit."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CPU:
    """Processor time, in microseconds where it is a time."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDevice:
    """A device's weight."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleDevice:
    """A device's rate, in bytes or operations a second."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIO:
    """Block devices."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What control groups bound."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory = Memory()
    cpu: CPU = CPU()
    pids_limit: int | None = None
    block_io: BlockIO = BlockIO()
    hugepage_limits: tuple[tuple[str, int], ...] = ()  # page size such as "2MB", bytes
    network_class_id: int | None = None
    network_priorities: tuple[tuple[str, int], ...] = ()
    rdma: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOffset:
    """Of a clock of the time namespace."""

    secs: int = 0
    nanosecs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linux:
    """What config-linux.md has."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    time_offsets: Mapping[str, TimeOffset] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    net_devices: Mapping[str, str] = field(default_factory=dict)  # host name -> name inside
    cgroups_path: str = ""
    resources: Resources = Resources()
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    seccomp: Mapping[str, Any] | None = None  # as pycontain._seccomp reads it
    sysctl: Mapping[str, str] = field(default_factory=dict)
    intel_rdt: Mapping[str, Any] | None = None
    personality: str = ""  # LINUX or LINUX32


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole config.json."""

    oci_version: str
    process: Process | None = None
    root: Root | None = None
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    domainname: str = ""
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: Linux = Linux()
