# SPDX-License-Identifier: Apache-2.0
"""A container from its creation to its deletion (runtime-spec runtime.md, "Lifecycle")."""

from __future__ import annotations

import _socket  # socket imports enum and selectors, which are slow
import os

from pycontain import _native
from pycontain.errors import (
    ConfigError,
    ContainerError,
    ContainerStateError,
    PycontainError,
)

from . import _cgroups, _hooks
from ._living import Handle
from ._parse import parse_config
from ._state import Entry, Record, StateDir, timestamp
from ._status import SOCKET, is_alive, process_start, state, status

TYPE_CHECKING = False
# Engines call each command in a process of its own: what makes processes is imported where one is.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._bundle import Bundle
    from ._cgroups import Cgroup
    from ._create import Creation, Streams
    from ._init import Channel, Init
    from ._namespaces import Joins
    from ._spec import Config, Process, Resources

_DEATH_SECONDS = 10.0


class ExecProcess:
    """A process that `Container.exec` has started, our child.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._status: int | None = None

    def fileno(self) -> int:
        """Return its pidfd, which this object owns."""
        return self._pidfd

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone is fine."""
        _native.kill(self._pidfd, number)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return its exit status, 128 and the signal if one ended it; None when time is over."""
        if self._status is None:
            status = _native.reap(self._pidfd, timeout_s)
            if status is None:
                return None
            self._status = _exit_status(status)
        return self._status

    def __del__(self) -> None:
        """Close the descriptor; the process goes on."""
        fd, self._pidfd = getattr(self, "_pidfd", -1), -1
        if fd >= 0:
            os.close(fd)


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


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
            warn: Called with what is not as it should be.

        Raises:
            ConfigError: The configuration cannot be right.
            ContainerExistsError: There is one with this id.
            HookError: A hook failed.
            ProgramNotFoundError, ProgramNotExecutableError: Of its program.
            SpawnError, UnsupportedError: A step of the set-up failed. Nothing is left.
        """
        from ._bundle import Bundle  # noqa: PLC0415
        from ._create import Streams  # noqa: PLC0415
        from ._lower import find_rootfs  # noqa: PLC0415

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
            listening=int(os.environ.get("LISTEN_FDS", "0") or 0),
            console_socket=console_socket or "",
        )
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
            },
        )
        entry = StateDir(state_root).create(container_id, record)
        container = cls(entry, warn=warn)
        with _Undo(container):
            entry.write_config(bundle.data)
            container._config = config
            container._create(config, record, streams, pid_file)
        return container

    def _create(
        self, config: Config, record: Record, streams: Streams, pid_file: str | None
    ) -> None:
        manager = record.options["cgroup_manager"]
        if manager == "disabled":
            cgroup = _cgroups.Cgroup({})
        else:
            cgroup = _cgroups.create(
                config,
                record.id,
                systemd=manager == "systemd",
                announce=lambda paths: self._entry.write(record.replace(hints={"groups": paths})),
            )
        try:
            record = record.replace(cgroup=cgroup.to_json())
            self._entry.write(record)
            for note in cgroup.notes:
                self.warn(note)
            self._spawn(config, record, cgroup, streams, pid_file)
        finally:
            cgroup.close()

    def _spawn(
        self, config: Config, record: Record, cgroup: Cgroup, streams: Streams, pid_file: str | None
    ) -> None:
        from ._create import Creation, listen  # noqa: PLC0415
        from ._filter import find_filter  # noqa: PLC0415

        creation = Creation(
            config,
            record.bundle,
            record.rootfs,
            cgroup,
            streams,
            find_filter(config.linux.seccomp, self._entry.home),
            pivot=not record.options["no_pivot"],
            keyring="" if record.options["no_new_keyring"] else f"_ses.{record.id}",
        )
        try:
            listener = listen(self._entry.fd)
            try:
                init = creation.start(listener)
            finally:
                listener.close()
            try:
                self._follow(creation, init, record, pid_file)
            except BaseException:
                init.kill()
                raise
            self._process = ExecProcess(init.pid, init.take_pidfd())
        finally:
            creation.close()

    @staticmethod
    def _equip(creation: Creation, pid: int) -> None:
        """Give the process, while it waits, what only the host's privileges can."""
        if devices := creation.config.linux.net_devices:
            from ._net_devices import move_devices  # noqa: PLC0415 - few containers have any

            move_devices(devices, pid)
        from ._attributes import set_attributes  # noqa: PLC0415

        set_attributes(pid, creation.process)

    def _follow(self, creation: Creation, init: Init, record: Record, pid_file: str | None) -> None:
        master = creation.follow(
            init,
            self._state_of(record.replace(pid=init.pid), "creating"),
            lambda pid: self._equip(creation, pid),
        )
        start = process_start(init.pid)
        assert start is not None  # noqa: S101 - it waits
        self._entry.write(record.replace(pid=init.pid, pid_start=start))
        if master >= 0:
            from ._create import hand_console  # noqa: PLC0415

            hand_console(creation.streams, master)
        if pid_file:
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
        return self._entry.read().pid

    def config(self) -> Config:
        """Return its configuration."""
        if self._config is None:
            self._config = parse_config(self._entry.read_config())
        return self._config

    @property
    def record(self) -> Record:
        """What is kept of it."""
        return self._entry.read()

    def start(self) -> None:
        """Let its process run.

        Raises:
            ContainerStateError: It is not waiting for this.
            HookError: A startContainer hook failed; the container is stopped.
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: Its program could not be
                run; the container is stopped.
        """
        with self._entry.lock():
            record = self._entry.read()
            self._check_created(record)
            config = self.config()
            self._start(config, record)
        self._poststart(config, record)

    def _check_created(self, record: Record) -> None:
        now = status(self._entry, record)
        if now == "stopped":
            raise ContainerStateError("cannot start a container that has stopped")
        if now != "created":
            raise ContainerStateError(f"cannot start an already {now} container")

    def _start(self, config: Config, record: Record) -> None:
        from ._init import Channel  # noqa: PLC0415

        channel = Channel(self._connect())
        try:
            _hooks.run_hooks_inside(
                "startContainer",
                config.hooks.start_container,
                self._state_of(record, "created"),
                channel,
            )
            self._go(channel, config, record)
        except BaseException:
            self._kill_now(record)
            raise
        finally:
            channel.close()

    def _go(self, channel: Channel, config: Config, record: Record) -> None:
        channel.go()
        report, _ = channel.receive()
        if report is None:
            raise ContainerError("the container's process died before it was started")
        os.unlink(SOCKET, dir_fd=self._entry.fd)
        failure = self._await_exec(channel, record.pid, config)
        if failure is not None:
            assert config.process is not None  # noqa: S101 - it was created
            from ._init import failure_error  # noqa: PLC0415

            raise failure_error(failure, (), config.process.args[0])

    def _await_exec(self, channel: Channel, pid: int, config: Config) -> _native.Report | None:
        """Return the failure of the exec, or None: it ends the connection.

        Raises:
            ContainerError: Nobody takes the listener of its filter.
        """
        report, listener = channel.receive()
        if listener >= 0:
            from ._listener import hand_listener  # noqa: PLC0415 - rarely needed

            hand_listener(self.state(), pid, config.linux.seccomp or {}, listener)
            report, _ = channel.receive()
        return report

    def _state_of(self, record: Record, now: str) -> dict[str, Any]:
        """Return the state for hooks, at a moment of the life cycle that the kernel cannot tell."""
        pid = 0 if now == "stopped" else record.pid
        return {**state(self._entry, record), "status": now, "pid": pid}

    def _connect(self) -> _socket.socket:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            sock.connect(f"/proc/self/fd/{self._entry.fd}/{SOCKET}")
        except OSError as error:
            sock.close()
            raise ContainerStateError(f"cannot start: {error.strerror}") from None
        return sock

    def _poststart(self, config: Config, record: Record) -> None:
        try:
            _hooks.run_hooks(
                "poststart",
                config.hooks.poststart,
                self._state_of(record, "running"),
                record.bundle,
            )
        except _hooks.HookError as error:
            self.warn(str(error))

    def kill(self, signal: int = _native.SIGTERM, *, all: bool = False) -> None:  # noqa: A002
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
        if signal == _native.SIGKILL:
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
                process.signal(_native.SIGKILL)
                if cgroup.paths:
                    cgroup.kill(_native.SIGKILL)
                if not process.wait(_DEATH_SECONDS):
                    raise ContainerError(
                        f"process {record.pid} of container {self.id} does not end: "
                        "it is in an uninterruptible wait"
                    )
            self._reap()
        except ProcessLookupError:
            self._reap()
            if cgroup.paths:  # others, where it had no PID namespace of its own
                cgroup.kill(_native.SIGKILL)

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
            record = self._entry.read()
            now = status(self._entry, record) if record.pid else "stopped"
            if now != "stopped" and not force:
                raise ContainerStateError(
                    f"cannot delete container {self.id} that is not stopped: {now}"
                )
            self._kill_now(record)
            if record.cgroup is not None:
                _cgroup_of(record).remove()
            else:  # its creation was killed before a process was in them
                from ._cgroups._homes import remove_empty  # noqa: PLC0415

                remove_empty(record.hints.get("groups", ()))
            self._poststop(record)
            self._entry.remove()

    def _poststop(self, record: Record) -> None:
        if not record.pid:
            return
        try:
            hooks = self.config().hooks.poststop
            _hooks.run_hooks("poststop", hooks, self._state_of(record, "stopped"), record.bundle)
        except PycontainError as error:
            self.warn(str(error))

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
        from ._create import Streams  # noqa: PLC0415
        from ._namespaces import Joins  # noqa: PLC0415

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
            return self._exec(record, process, streams, groups, joins, pid_file)
        finally:
            joins.close()
            groups.close()

    def _exec(
        self,
        record: Record,
        process: Process,
        streams: Streams,
        groups: Cgroup,
        joins: Joins,
        pid_file: str | None,
    ) -> ExecProcess:
        from . import _command  # noqa: PLC0415
        from ._create import spawn  # noqa: PLC0415
        from ._filter import find_filter  # noqa: PLC0415
        from ._labels import label_ops  # noqa: PLC0415
        from ._userns import may_set_groups  # noqa: PLC0415

        config = self.config()
        fds = streams.fds(terminal=process.terminal)
        labels = label_ops(process)
        own_users = any(flag == _native.CLONE_NEW["user"] for _, flag in joins.rows)
        setup = _command.pack_setup(
            process,
            find_filter(config.linux.seccomp, self._entry.home),
            ops=(*(op for op, _ in labels), _native.Op(_native.OpKind.SYNC)),
            own_users=own_users,
            groups=may_set_groups(record.pid),
            personality=config.linux.personality,
        )
        command = _command.pack_exec(
            process,
            n_tasks=len(groups.tasks_fds),
            fds=tuple(fds),
            home=_command.home(f"/proc/{record.pid}/root", process.user.uid),
        )
        with open(os.devnull, "rb") as nobody:
            init = spawn(
                setup=setup,
                command=command,
                command_fds=[nobody.fileno(), *groups.tasks_fds, *fds.values()],
                cgroup=groups,
                joins=joins,
                paths=[what for _, what in labels],
                program=process.args[0],
            )
        try:
            self._let_exec(init, config, process, streams, pid_file)
        except BaseException:
            init.kill()
            raise
        return ExecProcess(init.pid, init.take_pidfd())

    def _let_exec(
        self, init: Init, config: Config, process: Process, streams: Streams, pid_file: str | None
    ) -> None:
        init.next()  # it has its privileges still
        from ._attributes import set_affinity, set_attributes  # noqa: PLC0415

        set_attributes(init.pid, process)
        set_affinity(init.pid, process)
        init.go()
        _report, master = init.next()
        if master >= 0:
            from ._create import hand_console  # noqa: PLC0415

            hand_console(streams, master)
        if pid_file:
            write_pid_file(pid_file, init.pid)
        init.go()
        report = self._await_exec(init, init.pid, config)
        if report is not None:
            raise init.error(report)


class _Undo:
    """Removes what a failed creation has made."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        entry = self._container._entry  # noqa: SLF001 - ours
        if kind is None:
            entry.unlock()
            return
        record = entry.read()
        try:
            if record.cgroup is not None:
                cgroup = _cgroup_of(record)
                if cgroup.paths:
                    cgroup.kill(_native.SIGKILL)
                cgroup.remove()
        finally:
            entry.remove()


def _cgroup_of(record: Record) -> Cgroup:
    return _cgroups.load(record.cgroup or {"paths": {}, "above": [], "unit": ""})


def write_pid_file(path: str, pid: int) -> None:
    """Write a process id whole or not at all. Raises OSError."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(temporary, flags, 0o644), "w", encoding="utf-8") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def container_ids(state_root: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the ids of all containers of a state directory."""
    return StateDir(state_root).ids()
