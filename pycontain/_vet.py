# SPDX-License-Identifier: Apache-2.0
"""Programs and this host: an image's are looked at before their first start, others if they fail.

What the kernel says of a program that does not fit is a bare error number, and some fail only when
they run; here it is said which file, what the host has, and what to do.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from ._command import Options, Packer
from .errors import PycontainError

if TYPE_CHECKING:
    from ._explain import Name
    from ._runtime import Runtime

_VETTED_MAX: Final = 4096
# exec's errors that the files explain; others are of limits.
_OF_FILES: Final = frozenset((
    *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC, errno.ELOOP, errno.EINVAL),
    *(errno.ELIBBAD, errno.EIO, errno.EISDIR, errno.EPERM),
))  # fmt: skip


class Vet:
    """Looks at one command's program. What does so is loaded when it is needed.

    Args:
        packer: Of its sandbox.
        program: As in argv[0].
        options: Of the command.
    """

    __slots__ = ("_options", "_packer", "_program")

    def __init__(self, packer: Packer, program: bytes, options: Options) -> None:
        self._packer = packer
        self._program = program
        self._options = options

    def ahead(self, runtime: Runtime | None) -> None:
        """Look at a program of an image once, before it is started.

        Raises:
            PlatformError, CpuLevelError, KernelTooOldError: It does not fit this host.
        """
        config = self._packer.plan.config
        if config.image is None:
            return
        vetted = self._packer.vetted
        key = (os.fsdecode(self._program), *self._packer.search(self._options))
        if key in vetted:
            return
        from . import _explain  # noqa: PLC0415 - once for a program

        if _explain.image_problem(config, _explain.Name(*key)) is None:
            if len(vetted) >= _VETTED_MAX:
                vetted.clear()
            vetted.add(key)
            return
        # It may have been replaced, or covered.
        found = _explain.problem(config, runtime, _explain.Name(*key), _explain.AHEAD)
        if found is not None:
            raise _explain.error(found, config)

    def failed(self, number: int, runtime: Runtime | None) -> PycontainError | None:
        """Return why a program could not be executed; None: its files do not tell.

        Args:
            number: What execve(2) said.
            runtime: The living sandbox; None: it is gone.
        """
        if number not in _OF_FILES:
            return None
        from . import _explain  # noqa: PLC0415 - only failures need it

        config = self._packer.plan.config
        found = _explain.problem(config, runtime, self._name(), _explain.ALL)
        if found is None or _explain.contradicts(found, number):
            return None
        return _explain.error(found, config, number)

    def crashed(self, runtime: Runtime | None) -> str | None:
        """Return what of a program that did not run well does not fit this host."""
        from . import _explain  # noqa: PLC0415 - only failures need it

        config = self._packer.plan.config
        found = _explain.problem(config, runtime, self._name(), _explain.AHEAD)
        return None if found is None else str(found)

    def _name(self) -> Name:
        from ._explain import Name  # noqa: PLC0415 - only failures need it

        return Name(os.fsdecode(self._program), *self._packer.search(self._options))
