# SPDX-License-Identifier: Apache-2.0
"""A container from its creation to its deletion (runtime-spec runtime.md, "Lifecycle")."""

from __future__ import annotations

from _signal import SIGKILL, SIGTERM  # type: ignore[import-not-found]  # not signal: enum

from pycontain import _os as os
from pycontain.errors import (
    ConfigError,
    ContainerError,
    ContainerStateError,
    PycontainError,
)

from ._living import Handle
from ._state import Entry, Record, StateDir, timestamp
from ._status import SOCKET, is_alive, process_start, state, status

TYPE_CHECKING = False
# Engines call each command in a process of its own, which imports what it needs and no more: not
# the C core, nor what reads a configuration, where a container is only let go or removed.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from threading import Thread
    from typing import Any, Self

    from ._bundle import Bundle
    from ._cgroups import Cgroup, Plan
    from ._channel import Channel
    from ._child import ExecProcess
    from ._create import Creation
    from ._init import Init
    from ._notify import Notifications
    from ._resctrl import Groups
    from ._spec import Config, Hook, Process, Resources

_DEATH_SECONDS = 10.0


def _ignore(_message: str) -> None:
    """What a warning is for who does not ask for them."""


class Container:
    """One container of a state directory.

    Attributes:
        warn: Called with what is not as it should be, and no error.
    """

    def __init__(self, entry: Entry, *, warn: Callable[[str], None] = _ignore) -> None:
        self._entry = entry
        self._process: ExecProcess | None = None
        self._config: Config | None = None
        self._telling: Thread | None = None
        self._made: Record | None = None
        self.warn = warn

    @property
    def id(self) -> str:
        """Its id."""
        return self._entry.id

    @classmethod
    def load(
        cls,
        container_id: str,
        *,
        state_root: str | os.PathLike[str] | None = None,
        warn: Callable[[str], None] = _ignore,
    ) -> Container:
        """Return a container that there is.

        Raises:
            ContainerNotFoundError: There is none.
        """
        return cls(StateDir(state_root).open(container_id), warn=warn)

    @classmethod
    def create(  # noqa: PLR0913 - the options of every runtime
        cls,
        container_id: str,
        bundle: Bundle | str | os.PathLike[str],
        *,
        state_root: str | os.PathLike[str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        console_socket: str | None = None,
        pid_file: str | None = None,
        preserve_fds: int = 0,
        cgroup_manager: str = "cgroupfs",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        notify: bool = False,
        start: bool = False,
        warn: Callable[[str], None] = _ignore,
    ) -> Container:
        """Make a container whose process waits for `start`.

        Args:
            container_id: Its id.
            bundle: The directory with config.json and the root file system, or what was read of it.
            state_root: The state directory.
            stdin, stdout, stderr: Its streams; None: the caller's 0, 1 and 2.
            console_socket: Where the pty of a process with a terminal is sent.
            pid_file: Where its process id is written.
            preserve_fds: How many descriptors from 3 on it gets.
            cgroup_manager: `cgroupfs`; `systemd`, of which cgroupsPath then names a unit
                (`slice:prefix:name`); or `disabled`.
            no_pivot: Enter the root without pivot_root(2), as on an initramfs.
            no_new_keyring: It shares the caller's session keyring.
            notify: Its program finds a socket in NOTIFY_SOCKET, to say that it is ready.
            start: It does not wait: its program runs, or nothing is left.
            warn: Called with what is not as it should be.

        Raises:
            ConfigError: The configuration cannot be right.
            ContainerExistsError: There is one with this id.
            HookError: A hook failed.
            ProgramNotFoundError, ProgramNotExecutableError: Of its program.
            SpawnError, UnsupportedError: A step of the set-up failed. Nothing is left.
        """
        from ._bundle import Bundle  # noqa: PLC0415
        from ._cgroups import plan_groups  # noqa: PLC0415
        from ._create import Creation  # noqa: PLC0415
        from ._lower import find_rootfs  # noqa: PLC0415
        from ._spawn import Streams  # noqa: PLC0415

        if not isinstance(bundle, Bundle):
            bundle = Bundle(bundle)
        config = bundle.config
        if config.process is None:
            raise ConfigError("process: is required by create")
        streams = Streams(
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preserve_fds=preserve_fds,
            listening=int(os.getenv("LISTEN_FDS", "0") or 0),
            console_socket=console_socket or "",
        )
        groups = plan_groups(config, container_id) if cgroup_manager == "cgroupfs" else None
        record = Record(
            id=container_id,
            bundle=bundle.path,
            created=timestamp(),
            oci_version=config.oci_version,
            annotations=dict(config.annotations),
            owner=os.geteuid(),
            rootfs=find_rootfs(config, bundle.path),
            options={
                "no_new_keyring": no_new_keyring,
                "cgroup_manager": cgroup_manager,
                "no_pivot": no_pivot,
                "notify": notify,
            },
            hints=groups.missing() if groups else {},
            hooks=config.hooks.kinds,
        )
        # Hooks and sockets of a start need a process that waits for one.
        waits = not start or notify or bool(config.hooks.start_container)
        entry = StateDir(state_root).create(container_id, record, bundle.data)
        container = cls(entry, warn=warn)
        with _Undo(container, record) as undo:
            if notify:
                from ._notify import with_socket  # noqa: PLC0415 - few ask for this

                config = with_socket(config, entry)
            container._config = config
            with Creation(config, record, streams) as creation:
                cgroup = container._make_groups(creation, record, groups)
                undo.record = record = record.replace(cgroup=cgroup.to_json())
                if config.linux.intel_rdt is not None:
                    record = container._prepare_resctrl(config.linux.intel_rdt, undo)
                container._finish(creation, record, pid_file, waits=waits)
        if not waits:
            container._run_hooks("poststart", container._kept(), "running")
        elif start:
            container.start_or_delete()
        return container

    def _make_groups(self, creation: Creation, record: Record, planned: Plan | None) -> Cgroup:
        """Make the groups; once its process can be born in them, that begins."""
        from . import _cgroups  # noqa: PLC0415

        manager = record.options["cgroup_manager"]
        if manager == "disabled":
            cgroup = _cgroups.Cgroup({})
            creation.begin(cgroup)
            return cgroup

        def announce(plan: Plan) -> None:
            self._entry.write(record.replace(hints=plan.missing()))

        cgroup = _cgroups.create(
            creation.config,
            record.id,
            systemd=manager == "systemd",
            planned=planned,
            announce=announce,
            begin=creation.begin,
        )
        for note in cgroup.notes:
            self.warn(note)
        return cgroup

    def _prepare_resctrl(self, fields: Mapping[str, Any], undo: _Undo) -> Record:
        from ._resctrl import prepare  # noqa: PLC0415 - few containers use it

        def announce(groups: Groups) -> None:
            hints = {**undo.record.hints, "resctrl": groups.to_json()}
            undo.record = undo.record.replace(hints=hints)
            self._entry.write(undo.record)

        announce(prepare(fields, self.id, announce))
        return undo.record

    def _finish(
        self, creation: Creation, record: Record, pid_file: str | None, *, waits: bool
    ) -> None:
        from ._child import ExecProcess  # noqa: PLC0415

        init = creation.finish(self._entry, wait=waits)
        try:
            self._follow(creation, init, record, pid_file)
            if not waits:
                self._expect_exec(init)
        except BaseException:
            init.kill()
            raise
        self._process = ExecProcess(init.pid, init.take_pidfd())

    @staticmethod
    def _equip(creation: Creation, record: Record, pid: int) -> None:
        """Give the process, while it waits, what only the host's privileges can."""
        if devices := creation.config.linux.net_devices:
            from ._net_devices import move_devices  # noqa: PLC0415 - few containers have any

            move_devices(devices, pid)
        if groups := _resctrl_of(record):
            groups.join(pid)
        from ._attributes import set_attributes  # noqa: PLC0415

        set_attributes(pid, creation.process)

    def _follow(self, creation: Creation, init: Init, record: Record, pid_file: str | None) -> None:
        master = creation.follow(
            init,
            lambda: self._state_of(record.replace(pid=init.pid), "creating"),
            lambda pid: self._equip(creation, record, pid),
        )
        start = process_start(init.pid)
        assert start is not None  # noqa: S101 - it waits
        self._made = record.replace(pid=init.pid, pid_start=start)
        self._entry.write(self._made)
        if master >= 0:
            from ._spawn import hand_console  # noqa: PLC0415

            hand_console(creation.streams, master)
        if pid_file:
            from ._child import write_pid_file  # noqa: PLC0415

            write_pid_file(pid_file, init.pid)
        init.go()

    def status(self) -> str:
        """Return creating, created, running, paused or stopped."""
        return status(self._entry, self._entry.read())

    def state(self) -> dict[str, Any]:
        """Return the state as the specification has it, with what runc adds."""
        return state(self._entry)

    @property
    def pid(self) -> int:
        """The id of its first process, as the caller sees it."""
        return self._kept().pid

    def config(self) -> Config:
        """Return its configuration."""
        if self._config is None:
            from ._parse import parse_config  # noqa: PLC0415

            self._config = parse_config(self._entry.read_config())
        return self._config

    def _kept(self) -> Record:
        """Return the record, which nobody changes any more once we have made the container."""
        return self._made or self._entry.read()

    @property
    def record(self) -> Record:
        """What is kept of it."""
        return self._entry.read()

    def start_or_delete(self, *, notify_socket: str = "", background: bool = False) -> None:
        """Start it, and delete it if that fails. Arguments and errors are those of `start`."""
        try:
            self.start(notify_socket=notify_socket, background=background)
        except BaseException:
            self.delete(force=True)
            raise

    def start(self, *, notify_socket: str = "", background: bool = False) -> None:
        """Let its process run.

        Args:
            notify_socket: A service manager's socket, which is told when the program says that it
                is ready; that, or its end, is waited for. Of a container with `notify`.
            background: A thread waits for that, which `tell` waits for.

        Raises:
            ContainerStateError: It is not waiting for this.
            HookError: A startContainer hook failed; the container is stopped.
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: Its program could not be
                run; the container is stopped.
        """
        with self._entry.lock():
            record = self._kept()
            self._check_created(record)
            notifications = None
            if notify_socket and record.options.get("notify"):
                from ._notify import Notifications  # noqa: PLC0415 - few ask for this

                notifications = Notifications(self._entry, notify_socket)
            self._start(record)
        self._run_hooks("poststart", record, "running")
        if notifications is None:
            return
        if background:
            import threading  # noqa: PLC0415 - slow to import

            args = (notifications, record)
            self._telling = threading.Thread(target=self._hand_on, args=args, daemon=True)
            self._telling.start()
        else:
            self._hand_on(notifications, record)

    def tell(self) -> None:
        """Wait until a manager knows what it is to know, once the process has ended."""
        if self._telling is not None:
            self._telling.join()

    def _hand_on(self, notifications: Notifications, record: Record) -> None:
        try:
            with notifications:
                notifications.hand_on(record)
        except OSError as error:  # it runs, whoever knows
            self.warn(f"NOTIFY_SOCKET {notifications.manager}: {error.strerror}")

    def _check_created(self, record: Record) -> None:
        now = status(self._entry, record)
        if now == "stopped":
            raise ContainerStateError("cannot start a container that has stopped")
        if now != "created":
            raise ContainerStateError(f"cannot start an already {now} container")

    def _start(self, record: Record) -> None:
        from ._channel import Channel  # noqa: PLC0415

        channel = Channel(self._connect())
        try:
            if hooks := self._hooks(record, "start_container"):
                from ._hooks import run_hooks_inside  # noqa: PLC0415

                state = self._state_of(record, "created")
                run_hooks_inside("startContainer", hooks, state, channel)
            self._go(channel, record)
        except BaseException:
            self._kill_now(record)
            raise
        finally:
            channel.close()

    def _go(self, channel: Channel, record: Record) -> None:
        channel.go()
        report, _ = channel.receive()
        if not report:
            raise ContainerError("the container's process died before it was started")
        os.unlink(SOCKET, dir_fd=self._entry.fd)
        if failure := self._await_exec(channel, record.pid):
            from ._init import failure_error  # noqa: PLC0415

            process = self.config().process
            assert process is not None  # noqa: S101 - it was created
            raise failure_error(failure, (), process.args[0])

    def _await_exec(self, channel: Channel, pid: int) -> bytes:
        """Return the report of the exec's failure, or none: it ends the connection.

        Raises:
            ContainerError: Nobody takes the listener of its filter.
        """
        report, listener = channel.receive()
        if listener >= 0:
            from ._listener import hand_listener  # noqa: PLC0415 - rarely needed

            hand_listener(self.state(), pid, self.config().linux.seccomp or {}, listener)
            report, _ = channel.receive()
        return report

    def _state_of(self, record: Record, now: str) -> dict[str, Any]:
        """Return the state for hooks, at a moment of the life cycle that the kernel cannot tell."""
        pid = 0 if now == "stopped" else record.pid
        return {**state(self._entry, record), "status": now, "pid": pid}

    def _connect(self) -> int:
        from pycontain import _wire  # noqa: PLC0415 - only where a process waits

        try:
            return _wire.connect(f"/proc/self/fd/{self._entry.fd}/{SOCKET}")
        except OSError as error:
            raise ContainerStateError(f"cannot start: {error.strerror}") from None

    def _hooks(self, record: Record, kind: str) -> tuple[Hook, ...]:
        """Return hooks of a kind; the configuration is read only if there are any."""
        if record.hooks is not None and kind not in record.hooks:
            return ()
        hooks: tuple[Hook, ...] = getattr(self.config().hooks, kind)
        return hooks

    def _run_hooks(self, kind: str, record: Record, now: str) -> None:
        """Run hooks whose failure is no error any more: it is warned of."""
        try:
            if hooks := self._hooks(record, kind):
                from ._hooks import run_hooks  # noqa: PLC0415

                run_hooks(kind, hooks, self._state_of(record, now), record.bundle)
        except PycontainError as error:
            self.warn(str(error))

    def kill(self, signal: int = SIGTERM, *, all: bool = False) -> None:  # noqa: A002
        """Send a signal to its process, or to all of its processes.

        Raises:
            ContainerStateError: It is not running.
            UnsupportedError: It has no groups to find all processes by.
        """
        record = self._entry.read()
        if all:
            _cgroup_of(record).kill(signal)
            return
        try:
            with Handle(record) as process:
                process.signal(signal)
        except ProcessLookupError:
            raise ContainerStateError("container not running") from None
        if signal == SIGKILL:
            self._thaw_to_die(record)

    def _thaw_to_die(self, record: Record) -> None:
        """A process that v1's freezer holds takes no signal, not even this one."""
        cgroup = _cgroup_of(record)
        if cgroup.frozen:
            cgroup.thaw()

    def _kill_now(self, record: Record) -> None:
        """Kill all that is left of it and wait for the end of its process."""
        cgroup = _cgroup_of(record)
        try:
            with Handle(record) as process:
                process.signal(SIGKILL)
                if cgroup.paths:
                    cgroup.kill(SIGKILL)
                if not process.wait(_DEATH_SECONDS):
                    raise ContainerError(
                        f"process {record.pid} of container {self.id} does not end: "
                        "it is in an uninterruptible wait"
                    )
            self._reap()
        except ProcessLookupError:
            self._reap()

    def _reap(self) -> None:
        """No zombie is left where we are the parent."""
        if self._process is not None:
            self._process.wait(0)

    def delete(self, *, force: bool = False) -> None:
        """Remove what is left of it.

        Args:
            force: Kill it first, if it is not stopped.

        Raises:
            ContainerStateError: It is not stopped.
            ContainerError, UnsupportedError: Something of it cannot be removed; it is still there.
        """
        with self._entry.lock():
            record = self._kept()
            now = status(self._entry, record) if record.pid else "stopped"
            if now != "stopped" and not force:
                raise ContainerStateError(
                    f"cannot delete container {self.id} that is not stopped: {now}"
                )
            self._kill_now(record)
            if record.cgroup is not None:
                _cgroup_of(record).destroy()
            else:  # its creation was killed
                from ._cgroups import remove_planned  # noqa: PLC0415

                remove_planned(record.hints)
            if groups := _resctrl_of(record):
                groups.remove(record.pid)
            if record.pid:
                self._run_hooks("poststop", record, "stopped")
            self._entry.remove()

    def pause(self) -> None:
        """Stop all its processes. Raises ContainerStateError, UnsupportedError."""
        with self._entry.lock():
            record = self._entry.read()
            if (now := status(self._entry, record)) not in ("running", "created"):
                raise ContainerStateError(f"container not running: it is {now}")
            _cgroup_of(record).freeze()

    def resume(self) -> None:
        """Let them run again. Raises ContainerStateError."""
        with self._entry.lock():
            record = self._entry.read()
            if status(self._entry, record) != "paused":
                raise ContainerStateError("container not paused")
            _cgroup_of(record).thaw()

    def ps(self) -> list[int]:
        """Return the process ids, as the caller sees them, of all its processes."""
        record = self._entry.read()
        if status(self._entry, record) == "stopped":
            raise ContainerStateError("container not running")
        return list(_cgroup_of(record).pids()) or [record.pid]

    def update(self, resources: Resources) -> None:
        """Change limits. Raises ConfigError, UnsupportedError, ContainerStateError."""
        with self._entry.lock():
            record = self._entry.read()
            if status(self._entry, record) == "stopped":
                raise ContainerStateError("container not running")
            _cgroup_of(record).update(resources)

    def update_rdt(self, fields: Mapping[str, Any]) -> None:
        """Change the share of caches and memory bandwidth.

        Args:
            fields: `l3CacheSchema`, `memBwSchema` and `schemata`, as linux.intelRdt has them.

        Raises:
            ContainerError: It has no group of its own, or the kernel refuses the values.
            ContainerStateError: It is not running.
        """
        with self._entry.lock():
            record = self._entry.read()
            if status(self._entry, record) == "stopped":
                raise ContainerStateError("container not running")
            groups = _resctrl_of(record)
            if groups is None:
                raise ContainerError("linux.intelRdt: the container was made without it")
            groups.update(fields)

    def stats(self) -> dict[str, Any]:
        """Return what it uses, in the form of runc's events."""
        return _cgroup_of(self._entry.read()).stats()

    def events(self, interval_s: float) -> Iterator[dict[str, Any]]:
        """Yield what it uses, every `interval_s` seconds, and that memory ran out, until it ends.

        Yields:
            `{"type": "stats", "data": ...}` as `stats`, and `{"type": "oom"}`.
        """
        from ._cgroups._events import follow  # noqa: PLC0415 - only here

        record = self._entry.read()
        try:
            first = Handle(record)
        except ProcessLookupError:
            return
        with first:
            yield from follow(_cgroup_of(record), interval_s, first.fd)

    def wait(self) -> int:
        """Wait for the end of its process and return its exit status; only its maker can.

        Raises:
            ContainerStateError: It is not our child.
        """
        if self._process is None:
            raise ContainerStateError("only the process that made a container can wait for it")
        exit_status = self._process.wait()
        assert exit_status is not None  # noqa: S101 - it waits without a limit
        return exit_status

    def exec(  # noqa: PLR0913 - the options of every runtime
        self,
        process: Process,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        console_socket: str | None = None,
        pid_file: str | None = None,
        preserve_fds: int = 0,
        cgroup: str = "",
        ignore_paused: bool = False,
    ) -> ExecProcess:
        """Start another process in it.

        Args:
            process: What it runs, and who.
            stdin, stdout, stderr: Its streams; None: the caller's 0, 1 and 2.
            console_socket: Where the pty of a process with a terminal is sent.
            pid_file: Where its process id is written.
            preserve_fds: How many descriptors from 3 on it gets.
            cgroup: A group below the container's own.
            ignore_paused: Start it in a paused container, where it runs once that is resumed.

        Raises:
            ContainerStateError: It is not running.
            ProgramNotFoundError, ProgramNotExecutableError: Of the program.
            ConfigError, SpawnError, UnsupportedError: It cannot be started. Nothing is left.
        """
        from ._child import ExecProcess  # noqa: PLC0415
        from ._exec import let_exec, start_init  # noqa: PLC0415
        from ._filter import find_filter  # noqa: PLC0415
        from ._namespaces import Joins  # noqa: PLC0415
        from ._spawn import Streams  # noqa: PLC0415

        streams = Streams(
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preserve_fds=preserve_fds,
            console_socket=console_socket or "",
        )
        record = self._entry.read()
        now = status(self._entry, record)
        if now == "paused" and ignore_paused:
            now = "running"
        if now not in ("running", "created"):
            why = "paused" if now == "paused" else "not running"
            raise ContainerStateError(f"cannot exec in a container that is {why}")
        groups = _cgroup_of(record).enter(cgroup, init=record.pid)
        joins = Joins()
        try:
            joins.add_process(record.pid)
            if not is_alive(record):  # the number may be another's by now
                raise ContainerStateError("container not running")
            init = start_init(
                process,
                streams,
                init_pid=record.pid,
                config=self.config(),
                filter_=find_filter(self.config().linux.seccomp, self._entry.home),
                groups=groups,
                joins=joins,
            )
        finally:
            joins.close()
            groups.close()
        try:
            let_exec(init, process, streams, pid_file, _resctrl_of(record))
            self._expect_exec(init)
        except BaseException:
            init.kill()
            raise
        return ExecProcess(init.pid, init.take_pidfd())

    def _expect_exec(self, init: Init) -> None:
        if failure := self._await_exec(init, init.pid):
            raise init.failure(failure)


class _Undo:
    """Removes what a failed creation has made."""

    def __init__(self, container: Container, record: Record) -> None:
        self._container = container
        self.record = record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        entry = self._container._entry  # noqa: SLF001 - ours
        if kind is None:
            entry.unlock()
            return
        try:
            if self.record.cgroup is not None:
                _cgroup_of(self.record).destroy()
            if groups := _resctrl_of(self.record):
                groups.remove(self.record.pid)
        finally:
            entry.remove()


def _cgroup_of(record: Record) -> Cgroup:
    from . import _cgroups  # noqa: PLC0415

    return _cgroups.load(record.cgroup or {"paths": {}, "above": [], "unit": ""})


def _resctrl_of(record: Record) -> Groups | None:
    if "resctrl" not in record.hints:
        return None
    from ._resctrl import Groups  # noqa: PLC0415 - few containers use it

    return Groups.from_json(record.hints["resctrl"])


def container_ids(state_root: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the ids of all containers of a state directory."""
    return StateDir(state_root).ids()
