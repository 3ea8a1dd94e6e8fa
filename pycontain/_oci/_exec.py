# SPDX-License-Identifier: Apache-2.0
"""Another process in a container that there is."""

from __future__ import annotations

from pycontain import _native

from . import _command
from ._attributes import set_affinity, set_attributes
from ._child import write_pid_file
from ._spawn import Birth, hand_console
from ._userns import may_set_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._cgroups import Cgroup
    from ._filter import Filter
    from ._init import Init
    from ._namespaces import Joins
    from ._resctrl import Groups
    from ._spawn import Streams
    from ._spec import Config, Process


def start_init(
    process: Process,
    streams: Streams,
    *,
    init_pid: int,
    config: Config,
    filter_: Filter,
    groups: Cgroup,
    joins: Joins,
) -> Init:
    """Start `_init` in the container's namespaces and groups, on its way to become a process.

    Args:
        process: What it becomes.
        streams: Its descriptors.
        init_pid: The container's first process.
        config: The container's.
        filter_: Its seccomp filter.
        groups: Open.
        joins: The namespaces, open.

    Raises:
        ConfigError, SpawnError: It cannot be started. Nothing is left.
    """
    fds = streams.fds(terminal=process.terminal)
    labels: list[tuple[_native.Op, str]] = []
    if process.apparmor_profile or process.selinux_label:
        from ._labels import label_ops  # noqa: PLC0415 - few processes have one

        labels = label_ops(process)
    setup = _command.pack_setup(
        process,
        filter_,
        ops=(*(op for op, _ in labels), _native.Op(_native.OpKind.SYNC)),
        own_users=any(flag == _native.CLONE_NEW["user"] for _, flag in joins.rows),
        groups=may_set_groups(init_pid),
        personality=config.linux.personality,
    )
    command = _command.pack_exec(
        process,
        n_tasks=len(groups.tasks_fds),
        fds=tuple(fds),
        home=lambda: _command.home(f"/proc/{init_pid}/root", process.user.uid),
    )
    return Birth(groups, joins).finish(
        setup=setup,
        command=command,
        command_fds=[_native.null_fd(), *groups.tasks_fds, *fds.values()],
        paths=[what for _, what in labels],
        program=process.args[0],
    )


def let_exec(
    init: Init,
    process: Process,
    streams: Streams,
    pid_file: str | None,
    resctrl: Groups | None = None,
) -> None:
    """Serve its set-up up to the exec, whose end the caller waits for.

    Raises:
        ProgramNotFoundError, ProgramNotExecutableError, SpawnError, ContainerError: It failed.
    """
    init.next()  # it has its privileges still
    if resctrl is not None:
        resctrl.join(init.pid)
    set_attributes(init.pid, process)
    set_affinity(init.pid, process)
    init.go()
    _report, master = init.next()
    if master >= 0:
        hand_console(streams, master)
    if pid_file:
        write_pid_file(pid_file, init.pid)
    init.go()
