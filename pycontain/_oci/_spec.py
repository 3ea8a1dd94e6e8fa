# SPDX-License-Identifier: Apache-2.0
"""A container's configuration as values (OCI runtime-spec 1.2, config.md and config-linux.md).

The names are the specification's, in Python's spelling. Absent fields are None or empty.
"""

from __future__ import annotations

from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NOTHING: Mapping[str, Any] = {}


class User(Value):
    """Who a process is, in numbers of the container's user namespace."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(Value):
    """The five sets, as names such as `CAP_CHOWN` that this package knows."""

    bounding: frozenset[str] = frozenset()
    effective: frozenset[str] = frozenset()
    inheritable: frozenset[str] = frozenset()
    permitted: frozenset[str] = frozenset()
    ambient: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()  # names that were left out


class Rlimit(Value):
    """A limit of setrlimit(2), such as `RLIMIT_NOFILE`."""

    type: str
    soft: int
    hard: int


class Scheduler(Value):
    """What sched_setattr(2) is given; times in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IOPriority(Value):
    """What ioprio_set(2) is given: `IOPRIO_CLASS_RT`, `_BE` or `_IDLE`, and 0 to 7."""

    class_: str
    priority: int = 0


class Process(Value):
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


class Root(Value):
    """The root file system, `path` relative to the bundle or absolute."""

    path: str
    readonly: bool = False


class IDMapping(Value):
    """A row of uid_map or gid_map."""

    container_id: int
    host_id: int
    size: int


class Mount(Value):
    """A mount, in the order in which it is made. A missing type is a bind by its options."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()


class Hook(Value):
    """A program that is run at a point of the life cycle; `timeout` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Hooks(Value):
    """The hooks, each kind in its order."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of which there are any."""
        return tuple(kind for kind in self._fields if getattr(self, kind))


class Namespace(Value):
    """A namespace of the container's: `type` as the specification names it, new without a path."""

    type: str
    path: str = ""


class Device(Value):
    """A device node: type `c`, `u`, `b` or `p`."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(Value):
    """A row of the device controller: type `a`, `c` or `b`; None is any number."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class Memory(Value):
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


class CPU(Value):
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


class WeightDevice(Value):
    """A device's weight."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Value):
    """A device's rate, in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIO(Value):
    """Block devices."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = ()


class Resources(Value):
    """What control groups bound."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory = Memory()
    cpu: CPU = CPU()
    pids_limit: int | None = None
    block_io: BlockIO = BlockIO()
    hugepage_limits: tuple[tuple[str, int], ...] = ()  # page size such as "2MB", bytes
    network_class_id: int | None = None
    network_priorities: tuple[tuple[str, int], ...] = ()
    rdma: Mapping[str, tuple[int | None, int | None]] = _NOTHING
    unified: Mapping[str, str] = _NOTHING

    @property
    def has_limits(self) -> bool:
        """Whether anything but device rules is given."""
        return self.replace(devices=()) != Resources()


class TimeOffset(Value):
    """Of a clock of the time namespace."""

    secs: int = 0
    nanosecs: int = 0


class Linux(Value):
    """What config-linux.md has."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    time_offsets: Mapping[str, TimeOffset] = _NOTHING
    devices: tuple[Device, ...] = ()
    net_devices: Mapping[str, str] = _NOTHING  # host name -> name inside
    cgroups_path: str = ""
    resources: Resources = Resources()
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    seccomp: Mapping[str, Any] | None = None  # as pycontain._seccomp reads it
    sysctl: Mapping[str, str] = _NOTHING
    intel_rdt: Mapping[str, Any] | None = None
    personality: str = ""  # LINUX or LINUX32


class Config(Value):
    """A whole config.json."""

    oci_version: str
    process: Process | None = None
    root: Root | None = None
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    domainname: str = ""
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = _NOTHING
    linux: Linux = Linux()
