# SPDX-License-Identifier: Apache-2.0
"""From a process of a configuration to the request and the policy of `_init`."""

from __future__ import annotations

from pycontain import _capabilities, _native
from pycontain import _os as os
from pycontain.errors import ConfigError, PycontainError

from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._filter import Filter
    from ._spec import Process

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UMASK = 0o022
# <asm-generic/resource.h>
RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        (
            *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS"),
            *("LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
        )
    )
}
PERSONALITIES = {"LINUX": 0, "LINUX32": 0x0008}
_NO_PERSONALITY = 0


def rlimits(process: Process) -> tuple[tuple[int, int, int], ...]:
    """Return number, soft and hard limit of each resource."""
    rows = []
    for rlimit in process.rlimits:
        if rlimit.type not in RLIMITS:
            raise ConfigError(f"process.rlimits: {rlimit.type} is unknown")
        rows.append((RLIMITS[rlimit.type], rlimit.soft, rlimit.hard))
    return tuple(rows)


class Sets(Value):
    """The five sets of capabilities, as masks."""

    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0


def capability_sets(process: Process) -> Sets:
    """Return the masks, without what the kernel would refuse (capabilities(7))."""
    if process.capabilities is None:
        return Sets()
    masks = {name: _capabilities.mask(getattr(process.capabilities, name)) for name in Sets._fields}
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    masks["effective"] &= masks["permitted"]
    return Sets(**masks)


def pack_setup(  # noqa: PLR0913 - what differs between creation and exec
    process: Process,
    filter_: Filter,
    *,
    ops: tuple[_native.Op, ...] = (),
    attach_at: str = "",
    propagation: int = 0,
    own_users: bool,
    groups: bool = True,
    personality: str = "",
    time_namespace: bool = False,
    timens_offsets: str | None = None,
) -> bytes:
    """Pack the set-up of a process that becomes its command.

    Args:
        process: Its privileges and limits.
        filter_: Its seccomp filter.
        ops: What is set up before.
        attach_at: Where the root is attached until it is entered.
        propagation: MS_* of all mounts before anything is done.
        own_users: It is in a user namespace whose root it must be for the set-up.
        groups: setgroups(2) is allowed.
        personality: Of its execution domain.
        time_namespace: It makes one.
        timens_offsets: Its clocks.
    """
    sets = capability_sets(process)
    return _native.pack_setup(
        _native.Setup(
            ops=ops,
            attach_at=attach_at,
            uid_map=None,
            gid_map=None,
            uid=0 if own_users else _native.KEEP_ID,
            gid=0 if own_users else _native.KEEP_ID,
            time_namespace=time_namespace,
            timens_offsets=timens_offsets,
            rlimits=rlimits(process),
            seccomp=b"" if filter_.notifies else filter_.program,
            seccomp_flags=filter_.flags,
            audit=filter_.program if filter_.notifies else b"",
            hand_listener=filter_.notifies,
            no_new_privs=process.no_new_privileges,
            securebits=0,
            drop_groups=groups,
            bounding=sets.bounding,
            permitted=sets.permitted,
            inheritable=sets.inheritable,
            ambient=sets.ambient,
            effective=sets.effective,
            flags=_native.SETUP_BECOME | _native.SETUP_OPEN_ROOT,
            propagation=propagation,
            personality=PERSONALITIES.get(personality, _NO_PERSONALITY),
        )
    )


def search(program: str, env: tuple[str, ...], cwd: str) -> tuple[bytes, ...]:
    """Return the paths at which a program is looked for, as execvp(3) does it inside."""
    if "/" in program:
        return (os.fsencode(program),)
    path = next((row.partition("=")[2] for row in env if row.startswith("PATH=")), PATH)
    return tuple(os.fsencode(os.path.join(cwd, part, program)) for part in path.split(":"))


def home(root: str, uid: int) -> str:
    """Return the home directory that a root's own passwd(5) has for a user, or /."""
    from pycontain._image._tree import Tree  # noqa: PLC0415 - nobody else needs them
    from pycontain._image._user import resolve  # noqa: PLC0415

    try:
        return resolve(f"{uid}", Tree((root,)).open).home
    except (OSError, PycontainError):
        return "/"


def pack_exec(
    process: Process,
    *,
    flags: int = 0,
    n_tasks: int = 0,
    fds: tuple[int, ...] = (),
    home: Callable[[], str],
    listening: int = 0,
) -> bytes:
    """Pack the request for its command.

    Args:
        process: What it runs.
        flags: Further EXEC_* flags.
        n_tasks: How many v1 groups it joins.
        fds: The numbers that descriptors have inside.
        home: Returns HOME, if the process names none.
        listening: How many of fds are sockets of a service manager.
    """
    env = process.env
    if not any(row.startswith("HOME=") for row in env):
        env = (*env, f"HOME={home()}")
    if listening:
        env = (*env, f"LISTEN_FDS={listening}", "LISTEN_PID=1")
    rows, columns = process.console_size or (0, 0)
    flags |= _native.EXEC_SESSION | _native.EXEC_OWN_STDIO
    if process.terminal:
        flags |= _native.EXEC_PTY
    user = process.user
    return _native.pack_exec(
        _native.Exec(
            id=0,
            flags=flags,
            uid=user.uid,
            gid=user.gid,
            groups=user.additional_gids,
            paths=search(process.args[0], env, process.cwd),
            argv=tuple(map(os.fsencode, process.args)),
            env=b"\0".join(map(os.fsencode, env)),
            n_env=len(env),
            cwd=os.fsencode(process.cwd),
            umask=UMASK if user.umask is None else user.umask,
            process_group=0,
            n_tasks=n_tasks,
            fds=fds,
            rows=rows,
            columns=columns,
        )
    )
