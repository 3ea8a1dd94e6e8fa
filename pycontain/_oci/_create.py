# SPDX-License-Identifier: Apache-2.0
"""The creation of a container's first process, up to where it waits for its start."""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first

from pycontain import _native, _wire
from pycontain import _os as os
from pycontain._native import Event
from pycontain.errors import ConfigError

from . import _command
from ._filter import find_filter
from ._lower import Lowered
from ._namespaces import Joins, clone_flags
from ._options import PROPAGATIONS
from ._spawn import Birth
from ._status import SOCKET
from ._userns import UserNamespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from ._cgroups import Cgroup
    from ._filter import Filter
    from ._init import Init
    from ._spawn import Streams
    from ._spec import Config, Process
    from ._state import Entry, Record


class Creation:
    """What is needed until the process waits for its start; `close` gives it back.

    The process is born as early as it can be, by `begin`, and waits: the kernel makes its
    namespaces while we find out what it is to do.

    Args:
        config: The container's.
        record: The same.
        streams: Its descriptors.
    """

    def __init__(self, config: Config, record: Record, streams: Streams) -> None:
        assert config.process is not None  # noqa: S101 - the caller checked
        self.config = config
        self.process: Process = config.process
        self.streams = streams
        self._record = record
        self._cgroup: Cgroup | None = None
        self._birth: Birth | None = None
        if config.linux.mount_label:
            from ._labels import check_label  # noqa: PLC0415 - few containers have one

            check_label("linux.mountLabel", config.linux.mount_label)
        self.users = UserNamespaces(config)
        self.joins = Joins()
        try:
            self._check_groups()
            self.joins.add_paths(config)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _check_groups(self) -> None:
        if self.process.user.additional_gids and not self.users.groups:
            raise ConfigError(
                "process.user.additionalGids: groups cannot be set in a user namespace of one's "
                "own id alone"
            )

    def begin(self, cgroup: Cgroup) -> Callable[[], None]:
        """Begin the birth of the process, and return what ends it.

        Args:
            cgroup: Its groups, of which that of v2 is made and open; closed with this object.

        Raises:
            SpawnError: It cannot begin.
        """
        self._cgroup = cgroup
        self._birth = Birth(
            cgroup,
            self.joins,
            namespaces=clone_flags(self.config),
            userns_fd=self.users.own_fd,
            early=not _is_traceable(self.config),
        )
        return self._birth.close

    def _lower(self, cgroups: Mapping[str, str]) -> Lowered:
        hooks = self.config.hooks
        options = self._record.options
        lowered = Lowered(self.config, self._record.bundle, self._record.rootfs, cgroups)
        keys: list[tuple[_native.Op, str]] = []
        labels = keys
        if self.process.apparmor_profile or self.process.selinux_label:
            from ._labels import keyring_ops, label_ops  # noqa: PLC0415 - few containers have one

            keys, labels = keyring_ops(self.process), label_ops(self.process)
        if not options["no_new_keyring"]:
            for op, what in keys:
                lowered.add(op, what)
            name = f"_ses.{self._record.id}"
            lowered.add(_native.Op(_native.OpKind.KEYRING, "", name.encode()), "keyring")
        lowered.root()
        lowered.names()
        lowered.mounts(self.users)
        lowered.devices()
        lowered.restrictions()
        if self._needs_attributes():
            lowered.barrier("attributes")
        if hooks.prestart or hooks.create_runtime or hooks.create_container:
            lowered.barrier("hooks")
        for op, what in labels:  # not of hooks
            lowered.add(op, what)
        lowered.enter(pivot=not options["no_pivot"])
        return lowered

    def _needs_attributes(self) -> bool:
        """Whether something is set from outside, while the process waits for that."""
        process, linux = self.process, self.config.linux
        values = (process.oom_score_adj, process.scheduler, process.io_priority, linux.intel_rdt)
        return bool(process.rlimits or linux.net_devices) or values != (None,) * len(values)

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
        if self.users.own_fd < 0 or _is_reachable(self._record.rootfs):
            return self._record.rootfs
        from pycontain._attach import attach_at  # noqa: PLC0415 - rarely needed

        return attach_at()

    def finish(self, entry: Entry, *, wait: bool) -> Init:
        """Let the process begin its set-up.

        Args:
            entry: The container's.
            wait: It listens there until it is started, once it is let go.

        Raises:
            ConfigError, SpawnError: It cannot be done. Nothing is left.
        """
        assert self._birth is not None and self._cgroup is not None  # noqa: S101, PT018 - begun
        filter_ = find_filter(self.config.linux.seccomp, entry.home)
        self.lowered = self._lower(self._cgroup.paths)
        fds = self.streams.fds(terminal=self.process.terminal)
        setup = self._pack_setup(filter_)
        command = self._pack_exec(tuple(fds), len(self._cgroup.tasks_fds), wait=wait)
        listener = _native.null_fd()
        if wait:  # through its descriptor: names may be long
            listener = _wire.listen(f"/proc/self/fd/{entry.fd}/{SOCKET}")
        try:
            return self._birth.finish(
                setup=setup,
                command=command,
                command_fds=[listener, *self._cgroup.tasks_fds, *fds.values()],
                trees=tuple(self.lowered.trees),
                paths=self.lowered.paths,
                program=self.process.args[0],
            )
        finally:
            if wait:
                os.close(listener)

    def _pack_setup(self, filter_: Filter) -> bytes:
        time = self.lowered.namespaces.get("time")
        return _command.pack_setup(
            self.process,
            filter_,
            ops=tuple(self.lowered.ops),
            attach_at=self._attach_at(),
            propagation=self._propagation(),
            own_users=self.users.own_fd >= 0,
            groups=self.users.groups,
            personality=self.config.linux.personality,
            time_namespace=time is not None and not time.path,
            timens_offsets=_offsets(self.config),
        )

    def _pack_exec(self, fds: tuple[int, ...], n_tasks: int, *, wait: bool) -> bytes:
        flags = _native.EXEC_MAKE_CWD | (_native.EXEC_WAIT if wait else 0)
        if (cgroup := self.lowered.namespaces.get("cgroup")) is not None and not cgroup.path:
            flags |= _native.EXEC_MARK
        return _command.pack_exec(
            self.process,
            listening=self.streams.listening,
            flags=flags,
            n_tasks=n_tasks,
            fds=fds,
            home=lambda: _command.home(self._record.rootfs, self.process.user.uid),
        )

    def follow(
        self,
        init: Init,
        state: Callable[[], Mapping[str, Any]],
        attributes: Callable[[int], None],
    ) -> int:
        """Serve the set-up until the process waits. Returns its pty's master, or -1.

        Args:
            init: The process.
            state: Returns the container's, for hooks.
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
                    self._run_hooks(init, state())
            init.go()

    def _run_hooks(self, init: Init, state: Mapping[str, Any]) -> None:
        from ._hooks import run_hooks, run_hooks_inside  # noqa: PLC0415 - few containers have any

        hooks = self.config.hooks
        run_hooks("prestart", hooks.prestart, state, self._record.bundle)
        run_hooks("createRuntime", hooks.create_runtime, state, self._record.bundle)
        run_hooks_inside("createContainer", hooks.create_container, state, init)

    def close(self) -> None:
        """End what has only begun, and close all descriptors, which that uses."""
        if self._birth is not None:
            self._birth.close()
        if self._cgroup is not None:
            self._cgroup.close()
        self.users.close()
        self.joins.close()


def _offsets(config: Config) -> str | None:
    """Return the text for timens_offsets (time_namespaces(7))."""
    rows = [
        f"{clock} {offset.secs} {offset.nanosecs}\n"
        for clock, offset in config.linux.time_offsets.items()
    ]
    return "".join(rows) or None


def _is_traceable(config: Config) -> bool:
    """Whether others could trace the process as soon as it is born (ptrace(2)).

    It protects itself by prctl(PR_SET_DUMPABLE) when it has its ids, and gets descriptors of the
    host by then.
    """
    return any(
        namespace.path and namespace.type in ("pid", "user")
        for namespace in config.linux.namespaces
    )


def _is_reachable(path: str) -> bool:
    """Whether anybody can get to a directory."""
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True
