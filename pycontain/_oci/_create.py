# SPDX-License-Identifier: Apache-2.0
"""The creation of a container's first process, up to where it waits for its start."""

from __future__ import annotations

import _socket  # socket imports enum and selectors, which are slow
import os
import stat

from pycontain import _native
from pycontain._native import Event
from pycontain.errors import ConfigError

from . import _command
from ._lower import Lowered
from ._namespaces import Joins, clone_flags
from ._options import PROPAGATIONS
from ._spawn import spawn
from ._userns import UserNamespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ._cgroups import Cgroup
    from ._filter import Filter
    from ._init import Init
    from ._spawn import Streams
    from ._spec import Config, Process


class Creation:
    """What is needed until the process waits for its start; `close` gives it back.

    Args:
        config: The container's.
        bundle, rootfs: Absolute paths.
        cgroup: Its groups, open.
        streams: Its descriptors.
        filter_: Its seccomp filter.
        pivot: Enter the root by pivot_root(2).
        keyring: Name of the session keyring; "": none of its own.
    """

    def __init__(
        self,
        config: Config,
        bundle: str,
        rootfs: str,
        cgroup: Cgroup,
        streams: Streams,
        filter_: Filter,
        *,
        pivot: bool = True,
        keyring: str = "",
    ) -> None:
        assert config.process is not None  # noqa: S101 - the caller checked
        self.config = config
        self.process: Process = config.process
        self.bundle = bundle
        self.rootfs = rootfs
        self.cgroup = cgroup
        self.streams = streams
        self.filter = filter_
        if config.linux.mount_label:
            from ._labels import check_label  # noqa: PLC0415 - few containers have one

            check_label("linux.mountLabel", config.linux.mount_label)
        self.users = UserNamespaces(config)
        self.joins = Joins()
        try:
            self._check_groups()
            self.joins.add_paths(config)
            self.lowered = self._lower(pivot=pivot, keyring=keyring)
        except BaseException:
            self.close()
            raise

    def _check_groups(self) -> None:
        if self.process.user.additional_gids and not self.users.groups:
            raise ConfigError(
                "process.user.additionalGids: groups cannot be set in a user namespace of one's "
                "own id alone"
            )

    def _lower(self, *, pivot: bool, keyring: str) -> Lowered:
        hooks = self.config.hooks
        lowered = Lowered(self.config, self.bundle, self.rootfs, self.cgroup.paths)
        keys: list[tuple[_native.Op, str]] = []
        labels = keys
        if self.process.apparmor_profile or self.process.selinux_label:
            from ._labels import keyring_ops, label_ops  # noqa: PLC0415 - few containers have one

            keys, labels = keyring_ops(self.process), label_ops(self.process)
        if keyring:
            for op, what in keys:
                lowered.add(op, what)
            lowered.add(_native.Op(_native.OpKind.KEYRING, "", keyring.encode()), "keyring")
        lowered.root()
        lowered.names()
        lowered.mounts(self.users)
        lowered.devices()
        lowered.restrictions()
        lowered.barrier("attributes")
        if hooks.prestart or hooks.create_runtime or hooks.create_container:
            lowered.barrier("hooks")
        for op, what in labels:  # not of hooks
            lowered.add(op, what)
        lowered.enter(pivot=pivot)
        return lowered

    def _propagation(self) -> int:
        """How mounts spread between the host and the container while it is set up."""
        asked = PROPAGATIONS.get(self.config.linux.rootfs_propagation, 0)
        if "mount" not in self.lowered.namespaces:
            return 0
        if asked & _native.MS_SHARED:
            return _native.MS_SHARED | _native.MS_REC
        if asked & (_native.MS_PRIVATE | _native.MS_UNBINDABLE):
            return _native.MS_PRIVATE | _native.MS_REC
        return _native.MS_SLAVE | _native.MS_REC

    def _attach_at(self) -> str:
        """Where hooks expect the root, if its own root can get there."""
        if self.users.own_fd < 0 or _is_reachable(self.rootfs):
            return self.rootfs
        from pycontain._attach import attach_at  # noqa: PLC0415 - rarely needed

        return attach_at()

    def start(self, listener: _socket.socket) -> Init:
        """Start the set-up. Raises as `spawn`."""
        namespaces = self.lowered.namespaces
        fds = self.streams.fds(terminal=self.process.terminal)
        flags = _native.EXEC_WAIT | _native.EXEC_MAKE_CWD
        if (cgroup := namespaces.get("cgroup")) is not None and not cgroup.path:
            flags |= _native.EXEC_MARK
        time = namespaces.get("time")
        setup = _command.pack_setup(
            self.process,
            self.filter,
            ops=tuple(self.lowered.ops),
            attach_at=self._attach_at(),
            propagation=self._propagation(),
            own_users=self.users.own_fd >= 0,
            groups=self.users.groups,
            personality=self.config.linux.personality,
            time_namespace=time is not None and not time.path,
            timens_offsets=_offsets(self.config),
        )
        command = _command.pack_exec(
            self.process,
            listening=self.streams.listening,
            flags=flags,
            n_tasks=len(self.cgroup.tasks_fds),
            fds=tuple(fds),
            home=lambda: _command.home(self.rootfs, self.process.user.uid),
        )
        return spawn(
            setup=setup,
            command=command,
            command_fds=[listener.fileno(), *self.cgroup.tasks_fds, *fds.values()],
            cgroup=self.cgroup,
            namespaces=clone_flags(self.config),
            userns_fd=self.users.own_fd,
            joins=self.joins,
            trees=tuple(self.lowered.trees),
            paths=self.lowered.paths,
            program=self.process.args[0],
        )

    def follow(
        self, init: Init, state: Mapping[str, Any], attributes: Callable[[int], None]
    ) -> int:
        """Serve the set-up until the process waits. Returns its pty's master, or -1.

        Args:
            init: The process.
            state: The container's, for hooks.
            attributes: Sets from outside what the process has no privilege for.

        Raises:
            HookError, SpawnError, ProgramNotFoundError, ProgramNotExecutableError: It failed.
        """
        while True:
            report, fd = init.next()
            if report.event == Event.READY:
                return fd
            match self.lowered.barriers.get(report.index):
                case "attributes":
                    attributes(init.pid)
                case "hooks":
                    self._run_hooks(init, state)
            init.go()

    def _run_hooks(self, init: Init, state: Mapping[str, Any]) -> None:
        from ._hooks import run_hooks, run_hooks_inside  # noqa: PLC0415 - few containers have any

        hooks = self.config.hooks
        run_hooks("prestart", hooks.prestart, state, self.bundle)
        run_hooks("createRuntime", hooks.create_runtime, state, self.bundle)
        run_hooks_inside("createContainer", hooks.create_container, state, init)

    def close(self) -> None:
        """Close all descriptors but those of the groups."""
        self.users.close()
        self.joins.close()


def _offsets(config: Config) -> str | None:
    """Return the text for timens_offsets (time_namespaces(7))."""
    rows = [
        f"{clock} {offset.secs} {offset.nanosecs}\n"
        for clock, offset in config.linux.time_offsets.items()
    ]
    return "".join(rows) or None


def _is_reachable(path: str) -> bool:
    """Whether anybody can get to a directory."""
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True
