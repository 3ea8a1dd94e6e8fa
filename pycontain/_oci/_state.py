# SPDX-License-Identifier: Apache-2.0
"""The state directory: one directory for each container, named by its id.

An entry appears whole and disappears whole: it is made and taken apart under a name that is no id,
and renamed. Its lock is that of flock(2) on the directory itself, so the kernel releases it with
the process. What a killed caller left under such a name is removed by the next `create`.
"""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first
import errno
import fcntl
import time

from pycontain import _atomic
from pycontain import _os as os
from pycontain._json import dumps, loads
from pycontain.errors import (
    ConfigError,
    ContainerError,
    ContainerExistsError,
    ContainerNotFoundError,
    UnsupportedError,
)

from ._fields import INT64, UINT32, Fields
from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Self

_ID_LENGTH = 1024
_NAME_MAX = 255
_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")
_LETTERS = _FIRST | {"."}
_STATE = "state.json"
_CONFIG = "config.json"
_TEMPORARY = "."  # no id begins so
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT = f"{_TEMPORARY}kept."
_KEPT_MAX = 16
_VERSION = 1
_LARGEST = 64 << 20


def check_id(container: str) -> str:
    """Return an id. Raises ConfigError if it cannot be one."""
    good = container[:1] in _FIRST and set(container) <= _LETTERS
    if not container or not good or len(container) > _ID_LENGTH:
        raise ConfigError(
            f"invalid container ID {container[:80]!r}: letters, digits, _, + and -, "
            "then also dots; not longer than 1024"
        )
    if len(container) > _NAME_MAX:
        raise ConfigError(f"invalid container ID: {len(container)} letters are no name of a file")
    return container


def default_root() -> str:
    """Return the directory that is used when none is named."""
    mighty = os.geteuid() == 0 and os.access("/run", os.W_OK)  # not as root of a user namespace
    base = "/run" if mighty else os.getenv("XDG_RUNTIME_DIR", "")
    if not base:
        raise UnsupportedError(
            errno.ENOENT, "XDG_RUNTIME_DIR is not set, so there is no state directory: use --root"
        )
    return f"{base}/pycontain-runtime"


class Record(Value):
    """What is kept of a container; its status is computed, never stored."""

    id: str
    bundle: str = ""
    pid: int = 0
    """Its first process, 0 before there is one."""
    pid_start: int = 0
    """When that began, field 22 of /proc/PID/stat: another process may have the number later."""
    created: str = ""
    """RFC 3339, UTC."""
    oci_version: str = ""
    annotations: Mapping[str, str] = {}
    owner: int = 0
    rootfs: str = ""
    cgroup: Mapping[str, Any] | None = None
    """What the manager of control groups keeps."""
    options: Mapping[str, Any] = {}
    """How `create` was called."""
    hints: Mapping[str, Any] = {}
    hooks: tuple[str, ...] | None = None
    """The kinds of hooks that its configuration has; None: whoever made it did not say."""

    def dumps(self) -> bytes:
        """Return the record as a document."""
        values = {name: getattr(self, name) for name in self._fields}
        return dumps({"version": _VERSION, **values}).encode()

    @classmethod
    def loads(cls, data: bytes, what: str) -> Record:
        """Return the record in a document, of this version or a later one. Raises ConfigError."""
        fields = Fields(loads(data, what), what)
        fields.number("version", 1, INT64)
        cgroup = fields.object("cgroup")
        return cls(
            id=fields.needed("id"),
            bundle=fields.text("bundle"),
            pid=fields.number("pid", 0, INT64, 0),
            pid_start=fields.number("pid_start", 0, INT64, 0),
            created=fields.text("created"),
            oci_version=fields.text("oci_version"),
            annotations=fields.text_map("annotations"),
            owner=fields.number("owner", 0, UINT32, 0),
            rootfs=fields.text("rootfs"),
            cgroup=None if cgroup is None else cgroup.values,
            options=fields.inside("options").values,
            hints=fields.inside("hints").values,
            hooks=fields.texts("hooks") if fields.has("hooks") else None,
        )


def timestamp() -> str:
    """Return the time as RFC 3339 in UTC, with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


class StateDir:
    """The directory of all containers' directories."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        """Make it if it is absent.

        Raises:
            UnsupportedError: It is a symbolic link, belongs to another user, or others may write
                to it.
        """
        self.root = os.path.abspath(default_root() if root is None else os.fspath(root))
        if not os.path.lexists(self.root):
            os.makedirs(self.root, mode=0o700, exist_ok=True)
        with self._fd():
            pass

    def _fd(self) -> _Descriptor:
        try:
            fd = os.open(self.root, _DIRECTORY)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            raise UnsupportedError(
                error.errno, "the state directory is a link or a file, not a directory", self.root
            ) from None
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(fd)
            raise UnsupportedError(
                errno.EPERM,
                "the state directory belongs to another user, or others may write to it: mend its "
                "owner and mode, or use another one",
                self.root,
            )
        return _Descriptor(fd)

    def ids(self) -> list[str]:
        """Return the ids of all containers, sorted."""
        with self._fd() as root:
            return sorted(name for name in os.listdir(root) if not name.startswith(_TEMPORARY))

    def open(self, container: str) -> Entry:
        """Return the entry of a container.

        Raises:
            ConfigError: What is no id.
            ContainerNotFoundError: There is none.
        """
        check_id(container)
        with self._fd() as root:
            try:
                fd = os.open(container, _DIRECTORY, dir_fd=root)
            except (FileNotFoundError, NotADirectoryError):
                raise _absent(container) from None
        return Entry(self, container, fd)

    def create(self, container: str, record: Record | None = None, config: bytes = b"") -> Entry:
        """Make an entry, and return it locked: until its lock is left, or it is closed.

        Args:
            container: The id.
            record: What is known at once; others may read it from now on.
            config: The copy of config.json that is kept.

        Raises:
            ConfigError: What is no id.
            ContainerExistsError: There is one.
        """
        check_id(container)
        first = record or Record(id=container, created=timestamp(), owner=os.geteuid())
        with self._fd() as root:
            self._sweep(root)
            if _exists(root, container):
                raise _present(container)
            name, fd = _make(root)
            entry = Entry(self, container, fd)
            try:
                # Not empty, so that it is not replaced either: rename(2) replaces only empty ones.
                for file, data in ((_STATE, first.dumps()), (_CONFIG, config)):
                    _atomic.write_new(file, data, dir_fd=fd)
                os.rename(name, container, src_dir_fd=root, dst_dir_fd=root)
            except BaseException as error:
                _empty(fd)
                os.rmdir(name, dir_fd=root)
                entry.close()
                if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise _present(container) from None
                raise
        return entry

    def read_kept(self, name: str) -> bytes:
        """Return what `keep` wrote, empty if that is not there."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with self._fd() as root:
                fd = os.open(f"{_KEPT}{name}", flags, dir_fd=root)
        except OSError:
            return b""
        with open(fd, "rb") as file:
            return file.read(_LARGEST)

    def keep(self, name: str, data: bytes) -> None:
        """Keep something for later containers, where there is room."""
        with self._fd() as root:
            kept = [old for old in os.listdir(root) if old.startswith(_KEPT)]
            for old in kept if len(kept) >= _KEPT_MAX else ():
                _unlink(old, root)
            try:
                _atomic.replace(f"{_KEPT}{name}", data, dir_fd=root)
            except OSError:  # no room, or no descriptor: it is made again
                pass

    @staticmethod
    def _sweep(root: int) -> None:
        """Remove what killed processes left half made or half removed."""
        for name in os.listdir(root):
            if not name.startswith(_TEMPORARY):
                continue
            try:
                fd = os.open(name, _DIRECTORY, dir_fd=root)
            except OSError:
                continue
            with _Descriptor(fd):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _empty(fd)
                    os.rmdir(name, dir_fd=root)
                except OSError:  # its owner lives, or it is not ours
                    continue


class Entry:
    """A container's directory, held open: it stays the same if another takes its id."""

    def __init__(self, home: StateDir, container: str, fd: int) -> None:
        self.home = home
        self.id = container
        self.fd = fd
        """The directory; owned by this object."""

    @property
    def path(self) -> str:
        """The directory's path, while it is not removed."""
        return f"{self.home.root}/{self.id}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor, which releases the lock."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def unlock(self) -> None:
        """Leave the lock in which `StateDir.create` returned it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def lock(self, *, wait: bool = True) -> _Lock:
        """Return a context in which no other process has the lock of this container.

        Raises:
            ContainerNotFoundError: The container has been removed meanwhile.
            BlockingIOError: Another process has it, without `wait`.
        """
        if self.fd < 0:
            raise _absent(self.id)
        fcntl.flock(self.fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(self.fd).st_nlink == 0:
            raise _absent(self.id)
        return _Lock(self.fd)

    def read(self) -> Record:
        """Return the record.

        Raises:
            ContainerNotFoundError: The container has been removed.
            ContainerError: The record cannot be read.
        """
        try:
            return Record.loads(self.read_file(_STATE), f"{self.path}/{_STATE}")
        except ConfigError as error:
            raise ContainerError(f"the state of container {self.id} is damaged: {error}") from None

    def write(self, record: Record) -> None:
        """Replace the record, whole or not at all. Raises OSError."""
        self.write_file(_STATE, record.dumps())

    def read_config(self) -> bytes:
        """Return the copy of config.json. Raises as `read`."""
        return self.read_file(_CONFIG)

    def read_file(self, name: str) -> bytes:
        """Return what a file of the entry holds. Raises ContainerNotFoundError."""
        if self.fd < 0:
            raise _absent(self.id)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            raise _absent(self.id) from None
        with open(fd, "rb") as file:
            return file.read(_LARGEST)

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file of the entry, whole or not at all. Raises OSError."""
        try:
            _atomic.replace(name, data, dir_fd=self.fd)
        except FileNotFoundError:  # the directory has been removed
            raise _absent(self.id) from None

    def remove(self) -> None:
        """Remove the entry with all its files, and close it. Idempotent. Raises OSError."""
        with self.home._fd() as root:  # noqa: SLF001 - of this module
            name = f"{_TEMPORARY}old.{os.getpid()}.{time.time_ns()}"
            if self.fd >= 0:
                fcntl.flock(self.fd, fcntl.LOCK_EX)  # against `_sweep`
            if self.fd >= 0 and _is_same(root, self.id, self.fd):
                os.rename(self.id, name, src_dir_fd=root, dst_dir_fd=root)
                _empty(self.fd)
                os.rmdir(name, dir_fd=root)
        self.close()


class _Descriptor(int):
    """A descriptor that is closed at the end of a `with`."""

    def __enter__(self) -> int:
        return int(self)

    def __exit__(self, *_error: object) -> None:
        os.close(self)


class _Lock:
    """Releases a lock at its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno != errno.EBADF:  # closed inside, by `remove`
                raise


def _make(root: int) -> tuple[str, int]:
    """Make a locked directory under a name that is no id."""
    while True:
        name = f"{_TEMPORARY}new.{os.getpid()}.{time.time_ns()}"
        try:
            os.mkdir(name, 0o700, dir_fd=root)
            fd = os.open(name, _DIRECTORY, dir_fd=root)
        except (FileExistsError, FileNotFoundError):  # another thread's, or swept
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)


def _exists(root: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_same(root: int, name: str, fd: int) -> bool:
    try:
        found = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _empty(directory: int) -> None:
    for name in os.listdir(directory):
        _unlink(name, directory)


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        with _Descriptor(os.open(name, _DIRECTORY, dir_fd=directory)) as inner:
            _empty(inner)
        os.rmdir(name, dir_fd=directory)


def _absent(container: str) -> ContainerNotFoundError:
    return ContainerNotFoundError(f"container does not exist: {container}")


def _present(container: str) -> ContainerExistsError:
    return ContainerExistsError(f"container with given ID already exists: {container}")
