# SPDX-License-Identifier: Apache-2.0
"""Compressed layers as a stream of what they expand to: bounded, whatever they claim.

gzip has several members in what pigz and estargz write (RFC 1952, section 2.2), zstd several frames
in zstd:chunked, some to be skipped (RFC 8878, section 3.1.2). What works here works on a chunk
without the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from pycontain.errors import LayerError, LimitExceededError, UnsupportedError

from ._digest import Buffer

STEP: Final = 1 << 20
"""Bytes at most of what is yielded at a time, unless it was not compressed."""
RATIO_MAX: Final = 1000
RATIO_FROM: Final = 1 << 30
"""Bytes from which on the ratio counts: an empty disk image expands by as much."""
ZSTD_WINDOW_LOG_MAX: Final = 27
XZ_MEMORY_MAX: Final = 256 << 20

_GZIP_MAGIC: Final = 0x1F
_BZIP2_MAGIC: Final = ord("B")
_XZ_MAGIC: Final = 0xFD
# A frame, and those that are to be skipped (RFC 8878).
_ZSTD_MAGIC: Final = (0x28, *range(0x50, 0x60))


class _Stream(Protocol):
    """One member or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def expand(self, data: Buffer) -> Iterator[bytes]: ...


class _Gzip:
    def __init__(self) -> None:
        self._object = _inflater()

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._object.unused_data)

    def expand(self, data: Buffer) -> Iterator[bytes]:
        while True:
            out = self._object.decompress(data, STEP)
            if out:
                yield out
            data = self._object.unconsumed_tail
            if self._object.eof or (not data and len(out) < STEP):
                return


class _Others:
    """What zstd, bzip2 and xz have in common."""

    def __init__(self, decompressor: Any) -> None:
        self._object = decompressor

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._object.unused_data)

    def expand(self, data: Buffer) -> Iterator[bytes]:
        while True:
            out = self._object.decompress(data, STEP)
            if out:
                yield out
            data = b""
            if self._object.eof or self._object.needs_input:
                return


def _zstd_stream() -> _Others:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
    return _Others(zstd.ZstdDecompressor(options=options))


def _bzip2_stream() -> _Others:
    import bz2  # noqa: PLC0415 - rare

    return _Others(bz2.BZ2Decompressor())


def _xz_stream() -> _Others:
    import lzma  # noqa: PLC0415 - rare

    return _Others(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX))


def _inflater() -> Any:
    with contextlib.suppress(ImportError):
        from isal import isal_zlib  # noqa: PLC0415 - twice as fast, where it is installed

        return isal_zlib.decompressobj(31)
    return zlib.decompressobj(31)


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415
        else:
            from backports import zstd  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsupportedError(
            errno.ENOSYS, "a layer is compressed by zstd: pip install 'pycontain[images]'"
        ) from None
    return zstd


def _broken(compression: str) -> tuple[type[Exception], ...]:
    """Return what the libraries that are in use raise for broken data."""
    found: list[type[Exception]] = [zlib.error, EOFError]
    if (isal := sys.modules.get("isal.isal_zlib")) is not None:
        found.append(isal.error)
    if compression == "bzip2":
        found += [OSError, ValueError]
    if (lzma := sys.modules.get("lzma")) is not None:
        found.append(lzma.LZMAError)
    names = ("compression.zstd", "backports.zstd")
    found += [sys.modules[name].ZstdError for name in names if name in sys.modules]
    return tuple(found)


_KINDS: Final[dict[str, tuple[Callable[[], _Stream], tuple[int, ...]]]] = {
    "gzip": (_Gzip, (_GZIP_MAGIC,)),
    "zstd": (_zstd_stream, _ZSTD_MAGIC),
    "bzip2": (_bzip2_stream, (_BZIP2_MAGIC,)),
    "xz": (_xz_stream, (_XZ_MAGIC,)),
}


def decompress(
    chunks: Iterable[Buffer], compression: str, *, total_max: int, what: str
) -> Iterator[Buffer]:
    """Yield what the chunks expand to, in steps.

    Args:
        chunks: Of the compressed layer, of any size.
        compression: "none", "gzip", "zstd", "bzip2" or "xz".
        total_max: Bytes that all of it may expand to.
        what: The layer, for messages.

    Raises:
        LayerError: Broken, truncated, or followed by what is neither zeroes nor more of its kind.
        LimitExceededError: More than `total_max`, a suspicious ratio, or a zstd window of more than
            128 MiB.
        UnsupportedError: No library for zstd is installed.
    """
    total = consumed = 0

    def counted() -> Iterator[Buffer]:
        nonlocal consumed
        for chunk in chunks:
            consumed += len(chunk)
            yield chunk

    stream = counted() if compression == "none" else _expand(counted(), compression, what)
    for out in stream:
        total += len(out)
        if total > total_max:
            raise LimitExceededError(
                f"{what}: expands to more than {total_max} bytes", limit="total", allowed=total_max
            )
        if total > RATIO_FROM and total > RATIO_MAX * consumed:
            raise LimitExceededError(
                f"{what}: {consumed} bytes expand to more than {RATIO_MAX} times as many",
                limit="ratio",
                allowed=RATIO_MAX,
            )
        yield out


def _expand(chunks: Iterator[Buffer], compression: str, what: str) -> Iterator[Buffer]:
    make, magic = _KINDS[compression]
    stream: _Stream | None = make()
    padding = False
    for chunk in chunks:
        data: Buffer = chunk
        while len(data):
            if stream is None:
                data, zeroes = _skip_zeroes(data)
                padding = padding or zeroes
                if not data:
                    break
                if padding or data[0] not in magic:
                    raise LayerError(f"{what}: trailing data after the {compression} stream")
                stream = make()
            try:
                yield from stream.expand(data)
            except _broken(compression) as error:
                raise _explained(error, compression, what) from error
            if not stream.eof:
                break
            data, stream = stream.unused_data, None
    if stream is not None:
        raise LayerError(f"{what}: truncated {compression} stream")


def _skip_zeroes(data: Buffer) -> tuple[bytes, bool]:
    rest = bytes(data).lstrip(b"\0")
    return rest, len(rest) < len(data)


def _explained(error: Exception, compression: str, what: str) -> LayerError | LimitExceededError:
    text = str(error)
    if "too much memory" in text:
        return LimitExceededError(
            f"{what}: its zstd window is larger than 2**{ZSTD_WINDOW_LOG_MAX} bytes",
            limit="window_log",
            allowed=ZSTD_WINDOW_LOG_MAX,
        )
    return LayerError(f"{what}: broken {compression} stream: {text}")
