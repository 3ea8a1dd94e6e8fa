# SPDX-License-Identifier: Apache-2.0
"""The options of a sandbox, checked and compiled: what `run` and the classes have in common."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Unpack

from . import _groups
from . import profile as profiles
from ._command import Packer
from ._hints import refused
from ._image._platform import Platform
from ._image._root import ImageRoot
from ._plan import Plan, compile_plan
from ._runtime import Runtime
from .config import (
    DEFAULT_NAMESPACES,
    NO_BOUND,
    Count,
    IoLimit,
    LiveLimits,
    Mount,
    Network,
    SandboxConfig,
    SandboxOptions,
    Size,
    StrPath,
    check_count,
    check_env,
    check_host_path,
    check_inside_path,
    check_names,
    check_namespaces,
    check_path_text,
    check_positive,
    check_text,
    parse_size,
    parse_user,
)
from .enforcement import Control
from .errors import ConfigError, PycontainError
from .profile import Profile

DEFAULT_OUTPUT_LIMIT: Final = 1 << 20


def configure(  # noqa: PLR0913 - the fields of SandboxConfig, in the words of the caller
    image: str | ImageRoot | None = None,
    *,
    rootfs: StrPath | None = None,
    mounts: Sequence[Mount] = (),
    network: Network = "none",
    namespaces: Sequence[str] = DEFAULT_NAMESPACES,
    memory: Size | None = None,
    cpus: float | None = None,
    pids: Count | None = None,
    disk: Size = "64M",
    inodes: int = 16384,
    cpuset: str | None = None,
    cpuset_exclusive: bool = False,
    io: Sequence[IoLimit] = (),
    cgroup: StrPath | Sequence[StrPath] | None = None,
    wall_limit: float | None = None,
    cpu_limit: float | None = None,
    output_limit: Size | None = None,
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
    user: int | str | None = None,
    hostname: str = "sandbox",
    platform: str | None = None,
    profile: str | Profile = profiles.default,
    read_only: bool = False,
    require: Sequence[str] = (),
    accept_missing: Sequence[str] = (),
    audit: bool = False,
    seccomp_listener: Callable[[int], object] | None = None,
    emulate: bool = False,
    trace: bool = False,
) -> SandboxConfig:
    """Check the options of a sandbox.

    Raises:
        ConfigError: An option that cannot be right.
        UnsupportedError: An option that this version does not have yet.
    """
    emulated = _emulated(platform) if emulate else ""
    if platform is not None and image is None and not emulate:
        raise ConfigError("platform: of which image? Only an image has a platform")
    if not isinstance(mounts, Sequence):
        raise ConfigError(f"mounts: {mounts!r} is not a list")
    for mount in mounts:
        if not isinstance(mount, Mount):
            raise ConfigError(f"mounts: {mount!r} is neither a Bind, a Tmpfs nor an Overlay")
    policy = profiles.get(profile)
    limits = check_limits(memory=memory, cpus=cpus, pids=pids, cpuset=cpuset, io=io)
    defaults = _default_limits(policy, memory=memory, pids=pids)
    return SandboxConfig(
        image=_image(image, platform, emulated),
        rootfs=None if rootfs is None else check_host_path(rootfs, "rootfs"),
        mounts=tuple(mounts),
        network=network,
        namespaces=check_namespaces(check_names(namespaces, "namespaces")),
        **limits | defaults,
        defaulted=tuple(defaults),
        cpuset_exclusive=cpuset_exclusive,
        cgroup=_cgroup_directories(cgroup),
        disk=parse_size(disk, "disk"),
        inodes=inodes,
        wall_limit=check_positive(wall_limit, "wall_limit"),
        cpu_limit=check_positive(cpu_limit, "cpu_limit"),
        output_limit=DEFAULT_OUTPUT_LIMIT
        if output_limit is None
        else parse_size(output_limit, "output_limit"),
        kill_on_output=output_limit is not None,
        read_only=read_only,
        env=check_env(env or {}),
        cwd=None if cwd is None else check_inside_path(cwd, "cwd"),
        user=None if user is None else parse_user(user),
        hostname=hostname,
        profile=policy,
        require=check_names(require, "require"),
        accept_missing=check_names(accept_missing, "accept_missing"),
        audit=audit,
        seccomp_listener=seccomp_listener,
        emulate=emulated,
        trace=trace,
    )


def _emulated(platform: str | None) -> str:
    """Return the architecture of a platform, if this machine does not run it."""
    if platform is None:
        raise ConfigError('emulate: which platform? Name it with platform="linux/arm64"')
    from ._contract._machine import Machine  # noqa: PLC0415 - few sandboxes need it

    architecture = Platform.parse(platform).architecture
    return "" if Machine.here().runs(architecture) else architecture


def _image(
    image: str | ImageRoot | None, platform: str | None, emulated: str = ""
) -> ImageRoot | None:
    if image is None:
        return None
    if isinstance(image, ImageRoot):
        _check_platform(image, emulated)
        return image
    if not isinstance(image, str):
        raise ConfigError(f"image: {image!r} is not a reference such as 'python:3.12-slim'")
    from ._root import image_root  # noqa: PLC0415 - many sandboxes have none

    found = image_root(image, platform)
    _check_platform(found, emulated)
    return found


@functools.lru_cache(maxsize=64)
def _check_platform(image: ImageRoot, emulated: str) -> None:
    """See that an image's own program is for this machine, if the image says that it is not.

    Raises:
        PlatformError: It is not.
    """
    from ._contract._check import Kind, error_of  # noqa: PLC0415 - only images need it
    from ._contract._machine import Machine  # noqa: PLC0415 - the same
    from ._contract._report import check_image  # noqa: PLC0415 - the same

    machine = Machine.here()
    if machine.runs(image.config.platform.architecture) or emulated:
        return
    for problem in check_image(image).problems:
        if problem.fatal and problem.kind is Kind.PLATFORM:
            raise error_of(problem, machine)


def _default_limits(profile: Profile, **asked: Size | None) -> dict[str, int]:
    """Return the profile's values of the limits that were not asked for, as this machine has them.

    More than the machine has would be an error where somebody asks for it.
    """
    most = {"memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}
    values = {name: getattr(profile, name) for name, value in asked.items() if value is None}
    return {
        name: min(value, most.get(name, value))
        for name, value in values.items()
        if value is not None
    }


def check_limits(**limits: Unpack[LiveLimits]) -> dict[str, Any]:
    """Return limits as fields of SandboxConfig.

    Raises:
        ConfigError: A limit that cannot be right.
    """
    checked: dict[str, Any] = dict(limits)
    for name in ("memory", "pids"):
        if checked.get(name) == NO_BOUND:
            checked[name] = None
    if (memory := checked.get("memory")) is not None:
        checked["memory"] = parse_size(memory, "memory")
    if (pids := checked.get("pids")) is not None:
        checked["pids"] = check_count(pids, "pids")
    check_positive(limits.get("cpus"), "cpus")
    if (cpuset := limits.get("cpuset")) is not None:
        check_text(cpuset, "cpuset")
    if "io" in limits:
        if not isinstance(limits["io"], Sequence):
            raise ConfigError(f"io: {limits['io']!r} is not a list")
        checked["io"] = tuple(limits["io"])
        for bound in checked["io"]:
            if not isinstance(bound, IoLimit):
                raise ConfigError(f"io: {bound!r} is not an IoLimit")
    return checked


def _cgroup_directories(value: StrPath | Sequence[StrPath] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    paths = (value,) if isinstance(value, str | os.PathLike) else value
    if not isinstance(paths, Sequence):
        raise ConfigError(f"cgroup: {value!r} is neither a path nor a list of them")
    return tuple(check_path_text(path, "cgroup") for path in paths)


@functools.lru_cache(maxsize=256)
def _configured(key: tuple[tuple[str, type, Any], ...]) -> SandboxConfig:
    return configure(**{name: value for name, _, value in key})


def configured(options: Mapping[str, Any]) -> SandboxConfig:
    """Return what `configure` does, done once for options that come again and again."""
    if options.get("image") is not None:  # what it stands for may change
        platform, emulate = options.get("platform"), options.get("emulate", False)
        named = _image(options["image"], platform, _emulated(platform) if emulate else "")
        options = {**options, "image": named, "platform": platform if emulate else None}
    rootfs = options.get("rootfs")
    if rootfs is None or (isinstance(rootfs, str) and rootfs.startswith("/")):
        # The type belongs to the key: True is no number of processes, though it equals 1.
        key = tuple((name, type(value), value) for name, value in options.items())
        with contextlib.suppress(TypeError):  # a list or a dict is no key
            return _configured(key)
    return configure(**options)


@functools.lru_cache(maxsize=64)
def _cached_packer(config: SandboxConfig, _uid: int, _gid: int) -> Packer:
    return Packer(compile_plan(config))


def packer_of(config: SandboxConfig) -> Packer:
    """Return the compiled form of a configuration, made once for each user that the caller is."""
    try:
        return _cached_packer(config, os.geteuid(), os.getegid()).with_config(config)
    except PycontainError:
        raise
    except OSError as error:
        raise refused("PREPARE", error) from None


def let_go() -> None:
    """Keep nothing of images that no sandbox uses: before something is removed from the store."""
    from ._root import let_go as let_go_of_roots  # noqa: PLC0415 - many sandboxes have none

    for cached in (_configured, _cached_packer, _check_platform):
        cached.cache_clear()
    let_go_of_roots()


class Configured:
    """A sandbox that has been described and compiled, and not started."""

    def __init__(
        self, image: str | ImageRoot | None = None, **options: Unpack[SandboxOptions]
    ) -> None:
        self._updating = threading.Lock()
        self._compile(configure(image, **options))

    def _compile(self, config: SandboxConfig) -> None:
        self._config = config
        self._packer = packer_of(config)

    def _update(self, runtime: Runtime, limits: LiveLimits) -> None:
        changes = check_limits(**limits)
        tree = _groups.needed(runtime.tree, "update")
        with self._updating:
            self._config = _groups.update(tree, self._config, changes)
            self._packer = self._packer.with_config(self._config)

    @property
    def plan(self) -> Plan:
        """The compiled configuration."""
        return self._packer.plan

    @property
    def enforcement(self) -> Mapping[str, Control]:
        """Each control, and what holds it or why nothing does."""
        return self.plan.enforcement
