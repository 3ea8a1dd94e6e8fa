# SPDX-License-Identifier: Apache-2.0
"""Files of a living sandbox, for an event loop: requests are awaited, long copies give way."""

from __future__ import annotations

import asyncio
import builtins
from typing import IO, TypeVar

from pycontain._files import READ_LIMIT, Entry, FileSteps, Steps
from pycontain._native import Report
from pycontain.config import StrPath

from ._runtime import AsyncRuntime

T = TypeVar("T")


class AsyncFiles:
    """`Files` with methods to await; arguments, results and exceptions are the same.

    The content of regular files is read and written as everywhere: the kernel has no other way to
    do that than to do it. After each MiB the other tasks have their turn.
    """

    def __init__(self, pid1: AsyncRuntime) -> None:
        self._pid1 = pid1
        self._steps = FileSteps(pid1.runtime)

    async def _do(self, steps: Steps[T]) -> T:
        answer: tuple[Report, int | None] | None = None
        try:
            while True:
                request = steps.send(answer)
                if request is None:
                    answer = None
                    await asyncio.sleep(0)
                else:
                    answer = await self._pid1.ask(request.message)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def open(
        self,
        path: StrPath,
        mode: str = "rb",
        *,
        follow_symlinks: bool = False,
        parents: bool = False,
    ) -> IO[bytes]:
        """See `Files.open`; what is returned is an ordinary file object."""
        return await self._do(
            self._steps.open(path, mode, follow_symlinks=follow_symlinks, parents=parents)
        )

    async def read_bytes(
        self, path: StrPath, *, limit: int = READ_LIMIT, follow_symlinks: bool = False
    ) -> bytes:
        """See `Files.read_bytes`."""
        return await self._do(
            self._steps.read_bytes(path, limit=limit, follow_symlinks=follow_symlinks)
        )

    async def read_text(
        self,
        path: StrPath,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        limit: int = READ_LIMIT,
        follow_symlinks: bool = False,
    ) -> str:
        """See `Files.read_text`."""
        data = await self.read_bytes(path, limit=limit, follow_symlinks=follow_symlinks)
        return data.decode(encoding, errors)

    async def write_bytes(
        self, path: StrPath, data: bytes, *, parents: bool = True, follow_symlinks: bool = False
    ) -> int:
        """See `Files.write_bytes`."""
        return await self._do(
            self._steps.write_bytes(path, data, parents=parents, follow_symlinks=follow_symlinks)
        )

    async def write_text(
        self,
        path: StrPath,
        text: str,
        *,
        encoding: str = "utf-8",
        parents: bool = True,
        follow_symlinks: bool = False,
    ) -> int:
        """See `Files.write_text`."""
        return await self.write_bytes(
            path, text.encode(encoding), parents=parents, follow_symlinks=follow_symlinks
        )

    async def mkdir(self, path: StrPath, mode: int = 0o755) -> None:
        """See `Files.mkdir`."""
        await self._do(self._steps.mkdir(path, mode))

    async def remove(self, path: StrPath) -> None:
        """See `Files.remove`."""
        await self._do(self._steps.remove(path))

    async def list(self, path: StrPath) -> builtins.list[Entry]:
        """See `Files.list`."""
        return await self._do(self._steps.list(path))

    async def put(self, source: StrPath, target: StrPath) -> None:
        """See `Files.put`."""
        await self._do(self._steps.put(source, target))

    async def get(self, source: StrPath, target: StrPath, *, limit: int = READ_LIMIT) -> None:
        """See `Files.get`."""
        await self._do(self._steps.get(source, target, limit=limit))
