# SPDX-License-Identifier: Apache-2.0
"""One command: its arguments checked and packed into a request for PID 1."""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from . import _native
from ._accounts import account
from ._image._user import User as Account
from ._plan import Plan
from .config import SandboxConfig, check_env, check_inside_path, parse_user
from .errors import ConfigError, SpawnError

Argument: TypeAlias = str | bytes | os.PathLike[str]
# execve(2): a single string of more than 32 pages is E2BIG; the sum is bounded by the stack's
# limit, 6 MiB at most.
STRING_MAX: Final = 32 * 4096
TOTAL_MAX: Final = 6 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one command may have of its own; None is the sandbox's default."""

    env: Mapping[str, str] | None = None
    cwd: str | os.PathLike[str] | None = None
    user: int | str | None = None
    umask: int | None = None
    process_group: int | None = None
    pty: bool = False
    rows: int = 24
    columns: int = 80


def encode_args(args: Sequence[Argument]) -> tuple[bytes, ...]:
    """Return argv as bytes.

    Raises:
        ConfigError: A str (a shell's job), an empty list, a NUL byte, or an argument of another
            type.
        SpawnError: More than execve(2) takes (E2BIG).
    """
    if isinstance(args, str | bytes | os.PathLike):
        raise ConfigError(
            f"args: {args!r} is one string; give a list, or ['sh', '-c', ...] for a shell"
        )
    if not isinstance(args, Sequence):
        raise ConfigError(f"args: {args!r} is not a list")
    argv = []
    for arg in args:
        if not isinstance(arg, str | bytes | os.PathLike):
            raise ConfigError(f"args: {arg!r} is neither str, bytes nor a path")
        try:
            data = os.fsencode(arg)
        except UnicodeEncodeError:
            raise ConfigError(f"args: {arg!r} cannot be encoded for the kernel") from None
        if b"\0" in data:
            raise ConfigError(f"args: {arg!r} has a NUL byte")
        argv.append(data)
    if not argv:
        raise ConfigError("args: the list is empty; the first item is the program")
    if not argv[0]:
        raise ConfigError("args: the program's name is empty")
    if max(map(len, argv)) >= STRING_MAX or sum(map(len, argv)) > TOTAL_MAX:
        raise SpawnError("EXEC", errno.E2BIG, os.strerror(errno.E2BIG), os.fsdecode(argv[0]),
                         "Pass long data through stdin or a file")  # fmt: skip
    return tuple(argv)


def check_descriptors(numbers: tuple[int, ...], *, pty: bool) -> None:
    """See that each descriptor has a number of its own inside.

    Raises:
        ConfigError: Not a descriptor, one named twice or a standard stream, or more than fit in a
            message.
    """
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigError(f"pass_fds: {number!r} is not a descriptor")
    if len(set(numbers)) < len(numbers) or (pty and numbers and min(numbers) <= 2):
        raise ConfigError("pass_fds: a descriptor is named twice, or is a standard stream")
    if len(numbers) > _native.FDS_MAX - 16:
        raise ConfigError(f"pass_fds: more than {_native.FDS_MAX - 16} descriptors")


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns that a terminal can have.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ConfigError(f"size: {size!r} is not a pair of rows and columns")
    for number in size:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 1 << 16:
            raise ConfigError(f"size: {size!r} is not a terminal's size")
    return size[0], size[1]


def candidates(program: bytes, path: str) -> tuple[bytes, ...]:
    """Return the paths to try: the program if it has a slash, else one per directory of PATH."""
    if b"/" in program:
        return (program,)
    return tuple(
        os.fsencode(directory) + b"/" + program
        for directory in path.split(":")
        if directory.startswith("/")
    ) or (b"/" + program,)


def encode_env(env: Mapping[str, str]) -> tuple[bytes, int]:
    """Return NUL-separated `name=value` strings and their number."""
    rows = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
    data = b"\0".join(rows)
    if len(data) > TOTAL_MAX or any(len(row) >= STRING_MAX for row in rows):
        raise SpawnError(
            "EXEC", errno.E2BIG, os.strerror(errno.E2BIG), None, "Make the environment smaller"
        )
    return data, len(rows)


class Packer:
    """Packs the commands of one sandbox; what does not change between them is encoded once.

    Attributes:
        vetted: The programs of the image that fit this host, with the PATH and the directory in
            which they were looked up.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.config = plan.config
        self._env = encode_env(plan.env)
        self._user = self._mapped(plan.user)
        self.vetted: set[tuple[str, str, str]] = set()

    def with_config(self, config: SandboxConfig) -> Packer:
        """Return this for a configuration of the same plan and perhaps other limits."""
        other = copy.copy(self)
        other.config = config
        return other

    def search(self, options: Options) -> tuple[str, str]:
        """Return where a command's program is looked up: its PATH and its working directory."""
        env = self.plan.env if options.env is None else {**self.plan.env, **options.env}
        return env.get("PATH", ""), os.fspath(options.cwd or self.plan.cwd)

    def _mapped(self, user: Account) -> Account:
        """Leave out supplementary groups that the sandbox does not have."""
        ids = self.plan.identity
        groups = tuple(filter(ids.has_group, user.groups)) if ids.drop_groups else ()
        return user._replace(groups=groups)

    def account(self, user: int | str | None) -> Account:
        """Return the user of a command, as numbers inside; None is the default user.

        Raises:
            ConfigError: No such user, or an id that the sandbox does not have.
        """
        if user is None:
            return self._user
        own, ids = self._user, self.plan.identity
        found = account(self.plan.config, parse_user(user), (own.uid, own.gid))
        if not (ids.has_id(found.uid) and ids.has_group(found.gid)):
            raise ConfigError(
                f"user: {found.uid}:{found.gid} is not one of the sandbox's ids; with one id "
                f"mapped only {own.uid}:{own.gid} exists "
                "(more need root, or newuidmap and /etc/subuid)"
            )
        return self._mapped(found)

    def pack(
        self,
        argv: tuple[bytes, ...],
        options: Options,
        *,
        ident: int,
        flags: int,
        fds: tuple[int, ...],
        n_tasks: int = 0,
    ) -> bytes:
        """Return the request; `fds` are the numbers that the descriptors have inside.

        Raises:
            ConfigError: An option that cannot be right.
        """
        plan = self.plan
        env, (data, count) = plan.env, self._env
        if options.env is not None:
            env = {**plan.env, **dict(check_env(options.env))}
            data, count = encode_env(env)
        user = self.account(options.user)
        cwd = plan.cwd if options.cwd is None else check_inside_path(options.cwd, "cwd")
        umask = plan.umask if options.umask is None else options.umask
        if not isinstance(umask, int) or not 0 <= umask <= 0o777:
            raise ConfigError(f"umask: {umask!r} is not between 0 and 0o777")
        check_descriptors(fds, pty=options.pty)
        if options.process_group is None:
            flags |= _native.EXEC_SESSION
        if options.pty:
            flags |= _native.EXEC_PTY | _native.EXEC_SESSION
        return _native.pack_exec(
            _native.Exec(
                id=ident,
                flags=flags,
                uid=user.uid,
                gid=user.gid,
                groups=user.groups,
                paths=candidates(argv[0], env.get("PATH", "")),
                argv=argv,
                env=data,
                n_env=count,
                cwd=os.fsencode(cwd),
                umask=umask,
                process_group=options.process_group or 0,
                n_tasks=n_tasks,
                fds=fds,
                rows=options.rows,
                columns=options.columns,
            )
        )
