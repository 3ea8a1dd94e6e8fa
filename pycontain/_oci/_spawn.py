# SPDX-License-Identifier: Apache-2.0
"""The start of `_init` for a process of a container, and what that process is given."""

from __future__ import annotations

from pycontain import _native
from pycontain import _os as os
from pycontain.errors import ConfigError, SpawnError

from ._init import Init
from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._keeper import Keeper

    from ._cgroups import Cgroup
    from ._namespaces import Joins


class Streams(Value):
    """The descriptors that a process gets.

    Attributes:
        stdin, stdout, stderr: The caller's 0, 1 and 2 if None.
        preserve_fds: How many after these, from 3 on.
        listening: How many of a service manager's before those (sd_listen_fds(3)).
        console_socket: Where the pty goes; "": nowhere.
    """

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    preserve_fds: int = 0
    listening: int = 0
    console_socket: str = ""

    def fds(self, *, terminal: bool) -> dict[int, int]:
        """Return number inside and descriptor of each.

        Raises:
            ConfigError: One that is to be preserved is not open.
        """
        given = (self.stdin, self.stdout, self.stderr)
        found = {} if terminal else {n: n if fd is None else fd for n, fd in enumerate(given)}
        more = range(3, 3 + self.preserve_fds + self.listening)
        found |= {number: number for number in more}
        for number, fd in found.items():
            try:
                os.fstat(fd)
            except OSError:
                raise ConfigError(f"preserve_fds: descriptor {number} is not open") from None
        return found


class Birth:
    """The start of `_init`, as our child; where it joins namespaces, through a keeper.

    Args:
        cgroup: Its groups, of which that of v2 is open.
        joins: The namespaces.
        namespaces: CLONE_NEW* of new ones.
        userns_fd: The user namespace, if it is new; -1: the caller's, or one of `joins`.
        early: It begins now, while what it is told is still to be found; else with `finish`.

    Raises:
        SpawnError: It cannot begin.
    """

    def __init__(
        self,
        cgroup: Cgroup,
        joins: Joins,
        *,
        namespaces: int = 0,
        userns_fd: int = -1,
        early: bool = False,
    ) -> None:
        self._keeper: Keeper | None = None
        self._spawning: _native.Spawning | None = None
        if joins.rows:
            from pycontain._keeper import Keeper  # noqa: PLC0415 - only where namespaces are joined

            if userns_fd >= 0:
                joins.add_fd(userns_fd, "user")
                userns_fd = -1
            self._keeper = Keeper()
        try:
            self._spawning = _native.Spawning(
                namespaces=namespaces,
                flags=_native.spawn_flags() | (_native.SPAWN_EARLY if early else 0),
                userns_fd=userns_fd,
                cgroup_fd=-1 if cgroup.cgroup_fd is None else cgroup.cgroup_fd,
                keeper_fd=-1 if self._keeper is None else self._keeper.fileno(),
                joins=joins.rows,
            )
        except BaseException as error:
            self.close()
            if isinstance(error, _native.NativeError):
                raise _spawn_error(error) from None
            raise

    def finish(
        self,
        *,
        setup: bytes,
        command: bytes,
        command_fds: list[int],
        trees: tuple[_native.Tree, ...] = (),
        paths: list[str],
        program: str,
    ) -> Init:
        """Tell it what to do, and wait for its execution.

        Raises:
            SpawnError: A step before that failed; nothing is left.
        """
        assert self._spawning is not None  # noqa: S101 - it is not closed
        try:
            self._spawning.queue(
                trees=_native.Trees(trees), setup=setup, command=command, command_fds=command_fds
            )
            return Init(self._spawning.end(), paths, program)
        except _native.NativeError as error:
            raise _spawn_error(error, trees) from None
        finally:
            self.close()

    def close(self) -> None:
        """End it, unless it is finished. Idempotent."""
        if self._spawning is not None:
            self._spawning.close()
            self._spawning = None
        if self._keeper is not None:
            self._keeper.close()


def _spawn_error(error: _native.NativeError, trees: tuple[_native.Tree, ...] = ()) -> SpawnError:
    step, number, index = error.failure
    of_a_tree = step in ("OPEN_TREE", "IDMAP") and index < len(trees)
    path = trees[index].path if of_a_tree else None
    return SpawnError(step, number, os.strerror(number), path)


def hand_console(streams: Streams, master: int) -> None:
    """Send a pty to the console socket, and close it. Raises ContainerError."""
    try:
        if streams.console_socket:
            from ._console import send_console  # noqa: PLC0415 - few have a terminal

            send_console(streams.console_socket, master)
    finally:
        os.close(master)
