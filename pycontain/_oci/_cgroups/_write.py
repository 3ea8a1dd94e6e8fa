# SPDX-License-Identifier: Apache-2.0
"""Write settings into a group, with errors that name the configuration's field."""

from __future__ import annotations

import errno

from pycontain import _os as os
from pycontain._cgroup import _files
from pycontain._record import NamedTuple
from pycontain.errors import PycontainError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pycontain._cgroup._dir import Dir

NO_LIMIT = -1
"""In the specification, and in v1's files; v2 has `max`."""


class Setting(NamedTuple):
    """A text for a file of a group, and the field of `linux.resources` that it is from."""

    file: str
    text: str
    field: str


def or_max(value: int) -> str:
    """Return what a file of v2 takes for a limit."""
    return "max" if value < 0 else str(value)


def put(group: Dir, setting: Setting) -> None:
    """Write one setting. Raises UnsupportedError with field, file and remedy."""
    try:
        _files.write(f"{group.path}/{setting.file}", setting.text)
    except OSError as error:
        raise refused(group, setting, error) from error


def put_all(group: Dir, settings: Iterable[Setting]) -> None:
    """Write settings that bound each other, in an order in which the kernel takes them.

    What it calls invalid (such as a memory limit above that with swap, cgroup-v1/memory.rst) is
    tried again after the others.

    Raises:
        UnsupportedError: As `put`.
    """
    left = list(settings)
    while left:
        again: list[tuple[Setting, OSError]] = []
        for setting in left:
            try:
                _files.write(f"{group.path}/{setting.file}", setting.text)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise refused(group, setting, error) from error
                again.append((setting, error))
        if len(again) == len(left):
            raise refused(group, *again[0]) from again[0][1]
        left = [setting for setting, _ in again]


def refused(group: Dir, setting: Setting, error: OSError) -> UnsupportedError:
    """Turn the kernel's refusal of a setting into an error."""
    path = f"{group.path}/{setting.file}"
    if error.errno == errno.ENOENT and os.path.isdir(group.path):
        why, advice = "this kernel has no such file", "leave the field out"
    else:
        why, advice = f"{error.strerror}", remedy(error)
    text = f"linux.resources.{setting.field}: cannot write {setting.text!r} to {path}: {why}"
    return UnsupportedError(error.errno, f"{text}: {advice}")


def remedy(error: OSError) -> str:
    """Return what can be done about a refusal."""
    from pycontain._cgroup import _remedy  # noqa: PLC0415 - only failures need it

    return _remedy.remedy(error.errno)


class Reported:
    """Turns what the kernel refuses in a `with`, besides settings, into errors of ours."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, PycontainError):
            why = f"{error.filename}: {error.strerror}: {remedy(error)}"
            raise UnsupportedError(error.errno, f"{self._doing}: {why}") from error


def unsupported(field: str, why: str, remedy: str) -> UnsupportedError:
    """Return the error for a field that these groups have nothing for."""
    return UnsupportedError(errno.EOPNOTSUPP, f"linux.resources.{field}: {why}: {remedy}")
