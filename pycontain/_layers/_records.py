# SPDX-License-Identifier: Apache-2.0
"""What the program says (src/_layer/report.c), as values and exceptions."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pycontain._identity import Identity
from pycontain.errors import (
    ImageError,
    LayerError,
    LimitExceededError,
    StoreError,
    UnsafeLayerError,
)

from ._limits import OPTIONS, Limits

_LENGTH: Final = struct.Struct("=I")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWarning:
    """Something that could not be had, and was left out.

    Attributes:
        code: What: "device", "squashed", "xattr-ignored", "xattr-escaped", "xattr-unsupported" when
            unpacking; "socket", "xattr-unstorable", "changed" when packing.
        count: How often.
        entry: Number of the first entry that it happened to, from 1.
        name: That entry's name, cut to 256 bytes.
        errno: Of the system's refusal, or 0.
    """

    code: str
    count: int
    entry: int
    name: bytes
    errno: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """What was done.

    Attributes:
        entries: Entries of the archive.
        files, directories, symlinks, hardlinks, fifos: Of these, by kind.
        devices: Device nodes, which are left out when unpacking.
        whiteouts, opaque: Deleted names, and directories that hide all below.
        size: Bytes of all files.
        trailing: Bytes after the archive's end.
        has_root: There was an entry for the root itself.
        implicit: Directories without an entry, as absolute paths. They look like those of the
            parents.
        copied: Files of the parents that hard links needed, now in this layer too.
        complete: `implicit` and `copied` have all names; else they have the first ones only.
        warnings: One for each code.
    """

    entries: int
    files: int
    directories: int
    symlinks: int
    hardlinks: int
    fifos: int
    devices: int
    whiteouts: int
    opaque: int
    size: int
    trailing: int
    has_root: bool
    implicit: tuple[bytes, ...] = ()
    copied: tuple[bytes, ...] = ()
    complete: bool = True
    warnings: tuple[LayerWarning, ...] = ()

    @property
    def independent(self) -> bool:
        """Whether the tree would be the same on other parents."""
        return self.complete and not self.implicit and not self.copied


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    code: str
    errno: int
    entry: int
    detail: bytes
    name: bytes

    @property
    def where(self) -> str:
        """The entry, quoted; what comes from an archive is never printed as it is."""
        if not self.name and not self.entry:
            return "the layer"
        return f"entry {self.entry} {os.fsdecode(self.name)!r}"


# By code: the class and the sentence. Of {where}, {name}, {detail} and {entry}.
_SENTENCES: Final[dict[str, tuple[type[ImageError], str]]] = {
    "escape": (UnsafeLayerError, "path escapes root: {name} (entry {entry})"),
    "root-type": (UnsafeLayerError, "refusing to change type of root: {name} (entry {entry})"),
    "hardlink-missing": (
        UnsafeLayerError,
        "hardlink target not found in image: {detail} ({where}); it is missing or comes later",
    ),
    "hardlink-directory": (UnsafeLayerError, "hardlink target {detail} is a directory ({where})"),
    "whiteout-device": (UnsafeLayerError, "reserved overlay whiteout device 0:0 ({where})"),
    "device-number": (UnsafeLayerError, "device number out of range ({where})"),
    "nul-in-name": (UnsafeLayerError, "NUL byte in a name ({where})"),
    "invalid-whiteout": (UnsafeLayerError, "invalid whiteout ({where})"),
    "empty-name": (LayerError, "entry {entry} has no name"),
    "empty-link": (LayerError, "symbolic link without a target ({where})"),
    "unknown-type": (LayerError, "unknown type flag {detail} ({where})"),
    "duplicate": (LayerError, "duplicate entry {name} (entry {entry})"),
    "truncated": (LayerError, "truncated layer at {where}"),
    "checksum": (LayerError, "bad header checksum after {where}: the layer is no tar archive"),
    "lone-zero-block": (LayerError, "a zero block followed by data after {where}"),
    "malformed-header": (LayerError, "malformed number in the header of {where}"),
    "malformed-pax": (LayerError, "malformed PAX record before or at {where}"),
    "malformed-sparse": (LayerError, "malformed map of sparse file ({where})"),
    "invalid-size": (LayerError, "invalid size ({where})"),
    "invalid-id": (LayerError, "invalid owner ({where})"),
    "redirected": (LayerError, "{where} has a part in another place (overlay {detail})"),
    "reserved-name": (
        LayerError,
        "{name} begins with '.wh.', which marks deletions: it cannot be stored in a layer",
    ),
    "unindexable": (StoreError, "no index can be made: {detail} ({where})"),
    "replaced": (StoreError, "the directory was replaced by another while it was handed over"),
}
_UNMAPPED: Final = (
    "{where}: its owner is none of this user's ids; increase the number of subordinate IDs in "
    "/etc/subuid and /etc/subgid"
)


def _records(data: bytes) -> Iterator[list[bytes]]:
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        record = data[at + _LENGTH.size : at + _LENGTH.size + length]
        if len(record) != length:
            return
        yield record.split(b"\0")
        at += _LENGTH.size + length


def _failure(fields: list[bytes]) -> _Failure:
    code, number, entry, detail, *name = fields
    return _Failure(
        code=code.decode("ascii"),
        errno=int(number),
        entry=int(entry),
        detail=detail,
        name=b"\0".join(name),
    )


def _quoted(name: bytes) -> str:
    return repr(os.fsdecode(name))


def _exception(failure: _Failure, limits: Limits, ids: Identity) -> ImageError:
    detail = failure.detail.decode("utf-8", "surrogateescape")
    if failure.code == "limit":
        name = OPTIONS.get(detail, detail)
        allowed = getattr(limits, name, 0)
        text = f"{failure.where}: more than the limit {name}={allowed}"
        if name == "header_bytes" and allowed == 1 << 20:
            text += " (extended header > 1 MiB)"
        return LimitExceededError(text, limit=name, allowed=allowed)
    if failure.code == "unmapped-id":
        text = _UNMAPPED.format(where=failure.where)
        if ids.mapping == "whole":
            text = f"{failure.where}: its owner is above 65535, which no sandbox has"
        return LayerError(text)
    if failure.code in _SENTENCES:
        kind, sentence = _SENTENCES[failure.code]
        text = sentence.format(
            where=failure.where,
            name=_quoted(failure.name),
            detail=_quoted(failure.detail),
            entry=failure.entry,
        )
        return kind(failure.errno, text) if kind is StoreError else kind(text)
    what = f"{failure.where}: {detail}" if detail else failure.where
    return _system_error(failure, what)


def _system_error(failure: _Failure, what: str) -> ImageError:
    """Tell what an archive asks for and no file system has from a store in trouble."""
    reason = os.strerror(failure.errno)
    if failure.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EMLINK, errno.EINVAL):
        return LayerError(f"{what}: {reason}")
    return StoreError(failure.errno, f"{what}: {reason}")


def parse(data: bytes, limits: Limits, ids: Identity) -> LayerReport | None:
    """Return the report; None: the program ended before it had made one.

    Raises:
        LayerError, UnsafeLayerError, LimitExceededError: The archive's fault.
        StoreError: The file system refused.
    """
    names: dict[str, list[bytes]] = {"implicit": [], "copied": []}
    warnings = []
    for kind, *fields in _records(data):
        match kind:
            case b"error":
                raise _exception(_failure(fields), limits, ids)
            case b"warning":
                code, number, entry, count, *name = fields
                warnings.append(
                    LayerWarning(
                        code=code.decode("ascii"),
                        errno=int(number),
                        entry=int(entry),
                        count=int(count),
                        name=b"\0".join(name),
                    )
                )
            case b"implicit" | b"copied":
                names[kind.decode()].append(fields[0])
            case b"done":
                values = {
                    key.decode("ascii"): int(value)
                    for key, value in zip(fields[::2], fields[1::2], strict=False)
                }
                more, root = values.pop("more"), values.pop("root")
                return LayerReport(
                    size=values.pop("bytes"),
                    **values,
                    has_root=bool(root),
                    complete=not more,
                    implicit=tuple(names["implicit"]),
                    copied=tuple(names["copied"]),
                    warnings=tuple(warnings),
                )
    return None
