# SPDX-License-Identifier: Apache-2.0
"""Where images are written to: a directory or a tar archive, file by file."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from typing import BinaryIO, Protocol

from pycontain._image._digest import Buffer

_BLOCK = tarfile.BLOCKSIZE


class Sink(Protocol):
    """Takes files by name."""

    def has(self, name: str) -> bool:
        """Tell whether a file of that name was added."""

    def add(self, name: str, data: bytes) -> None:
        """Add a file, unless it is there."""

    def add_stream(self, name: str, size: int, chunks: Iterable[Buffer]) -> None:
        """Add a file of a known size."""


class DirectorySink:
    """A new directory."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.mkdir(path)

    def has(self, name: str) -> bool:
        """Tell whether a file of that name was added."""
        return os.path.exists(f"{self._path}/{name}")

    def add(self, name: str, data: bytes) -> None:
        """Add a file, unless it is there. Raises OSError."""
        if not self.has(name):
            self.add_stream(name, len(data), [data])

    def add_stream(self, name: str, size: int, chunks: Iterable[Buffer]) -> None:
        """Add a file of a known size. Raises OSError."""
        del size
        os.makedirs(os.path.dirname(f"{self._path}/{name}"), exist_ok=True)
        with open(f"{self._path}/{name}", "xb") as file:
            file.writelines(chunks)


class TarSink:
    """An archive without times and owners. Closing it does not close the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._names: set[str] = set()

    def has(self, name: str) -> bool:
        """Tell whether a file of that name was added."""
        return name in self._names

    def add(self, name: str, data: bytes) -> None:
        """Add a file, unless it is there. Raises OSError."""
        if not self.has(name):
            self.add_stream(name, len(data), [data])

    def add_stream(self, name: str, size: int, chunks: Iterable[Buffer]) -> None:
        """Add a file of a known size. Raises OSError."""
        self._add_folders(name)
        self._add_header(name, tarfile.REGTYPE, 0o644, size)
        for chunk in chunks:
            self._file.write(chunk)
        self._file.write(bytes(-size % _BLOCK))

    def _add_folders(self, name: str) -> None:
        """Add the directories that are not there: skopeo, not as root, cannot do without."""
        parts = name.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if not self.has(folder):
                self._add_header(folder, tarfile.DIRTYPE, 0o755, 0)

    def _add_header(self, name: str, kind: bytes, mode: int, size: int) -> None:
        self._names.add(name)
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.size = kind, mode, size
        self._file.write(member.tobuf(tarfile.GNU_FORMAT))

    def close(self) -> None:
        """Write the end. Raises OSError."""
        self._file.write(bytes(2 * _BLOCK))
