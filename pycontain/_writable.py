# SPDX-License-Identifier: Apache-2.0
"""The writable layer of a living sandbox: what it changes, and an image made of it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, TypedDict

from . import _native
from ._image import _media
from ._image._config import History, ImageConfig
from ._image._descriptor import Descriptor
from ._image._manifest import Manifest
from ._image._reference import Reference
from ._image._root import ImageRoot
from ._image._store import Lease, Store
from ._layers import LayerReport, Lowers, Packing, changes
from ._native import Event
from ._runtime import Runtime, does_not_pause, spawn_error
from ._stored import Image, described
from .config import SandboxConfig
from .errors import ConfigError, ImageNotFoundError, LayerError, UnsupportedError

Kind: TypeAlias = Literal["added", "modified", "deleted"]

_KINDS: Final[dict[str, Kind]] = {"A": "added", "M": "modified", "D": "deleted"}


@dataclass(frozen=True, slots=True)
class Change:
    """A name that a sandbox's root has, and what is below it has not, or the other way round.

    Attributes:
        kind: "added"; "modified": another kind, mode or owner, or a file that was opened for
            writing; or "deleted", with all that was in it.
        path: Absolute, as os.fsdecode gives it: it may hold any byte but NUL, so escape it before
            showing it.
    """

    kind: Kind
    path: str


class CommitOptions(TypedDict, total=False):
    """What an image says of its commands, where it is not to say what the one below does.

    Attributes:
        cmd, entrypoint: What is run. A new entrypoint without a cmd has none.
        env, labels: Added to those that are there.
        user: USER[:GROUP], names or numbers.
        working_dir: An absolute path.
        exposed_ports: Such as "80/tcp".
        volumes: Absolute paths of what no commit takes.
        stop_signal: A number.
    """

    cmd: Sequence[str] | None
    entrypoint: Sequence[str] | None
    env: Mapping[str, str]
    labels: Mapping[str, str]
    user: str
    working_dir: str
    exposed_ports: Sequence[str]
    volumes: Sequence[str]
    stop_signal: int | None


def diff(runtime: Runtime) -> tuple[Change, ...]:
    """Return what a sandbox has changed of its image or directory; see `Sandbox.diff`."""
    config = runtime.plan.config
    with ExitStack() as stack:
        upper = open_upper(runtime, stack)
        lowers = _lowers(config, stack)
        stack.enter_context(_still(runtime))
        found = changes(upper, lowers, exclude=_apart(config), owner=runtime)
    return tuple(Change(_KINDS[kind], os.fsdecode(path)) for kind, path in found)


def committed(
    runtime: Runtime, name: str, author: str, comment: str, options: CommitOptions
) -> Image:
    """Return a new image: the sandbox's own and what has changed of it; see `Sandbox.commit`."""
    image = runtime.plan.config.image
    if image is None:
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            "commit: the sandbox has no image to put a layer on; make one of a root directory with "
            "pycontain.images.import_rootfs",
        )
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise ConfigError(f"commit: {name!r}: the digest of a new image cannot be chosen")
    latest = _source_date()
    changed = _changed(image.config, options)  # what is wrong with these is said first
    image.config.derive(**changed)
    store = Store(os.path.dirname(image.directory))
    with store.lease() as lease:
        below = _layers_below(store, lease, image)
        layer = _packed(runtime, store, lease, latest)
        created = datetime.fromtimestamp(time.time() if latest is None else latest, UTC)
        row = History(
            created=created.replace(microsecond=0),
            created_by="pycontain commit",
            author=author,
            comment=comment,
        )
        config = image.config.derive(
            created=row.created,
            history=[*image.config.history, row],
            diff_ids=[*image.config.diff_ids, layer.digest],
            **changed,
            **({"author": author} if author else {}),
        )
        manifest = Manifest.build(store.put(lease, config.raw, _media.OCI_CONFIG), [*below, layer])
        target = store.put(lease, manifest.raw, manifest.media_type)
        store.tag(reference, target)
        return described(store, reference, target, image.config.platform)


def _source_date() -> int | None:
    """Return what no time is to be later than (reproducible-builds.org/specs/source-date-epoch)."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"SOURCE_DATE_EPOCH: {text[:40]!r} is not a number of seconds")
    return int(text)


def _changed(config: ImageConfig, options: CommitOptions) -> dict[str, Any]:
    changed: dict[str, Any] = dict(options)
    if unknown := changed.keys() - CommitOptions.__annotations__.keys():
        raise TypeError(f"commit: unknown options: {', '.join(sorted(unknown))}")
    if "env" in options:
        env = {**config.environment, **options["env"]}
        changed["env"] = [f"{key}={value}" for key, value in env.items()]
    if "labels" in options:
        changed["labels"] = {**config.labels, **options["labels"]}
    if options.get("entrypoint") is not None:
        changed.setdefault("cmd", None)
    return changed


def _layers_below(store: Store, lease: Lease, image: ImageRoot) -> list[Descriptor]:
    """Return the layers of an image, kept, with OCI's types."""
    manifest = image.manifest
    lease.keep(*manifest.layers)
    lost = next((layer for layer in manifest.layers if not store.has(layer)), None)
    if lost is not None:
        raise ImageNotFoundError(
            f"image {image.name}: missing blob {lost.digest}: pull or load the image again"
        )
    below = []
    for layer in manifest.layers:
        with store.open(layer.digest) as file:
            kind = _media.oci_layer(layer.media_type, file.read(_media.MAGIC_MAX))
        below.append(Descriptor(media_type=kind, digest=layer.digest, size=layer.size))
    return below


def _packed(runtime: Runtime, store: Store, lease: Lease, latest: int | None) -> Descriptor:
    config = runtime.plan.config
    with ExitStack() as stack:
        upper = open_upper(runtime, stack)
        spool = stack.enter_context(store.spool(lease))
        stack.enter_context(_still(runtime))
        packing = stack.enter_context(
            Packing(upper, exclude=_apart(config), latest=latest, owner=runtime)
        )
        for piece in iter(packing.read, b""):
            spool.write(piece)
        _check_still(packing.finish())
        digest, size = spool.commit()
    return Descriptor(media_type=_media.OCI_LAYER, digest=digest, size=size)


def _check_still(report: LayerReport) -> None:
    for warning in report.warnings:
        if warning.code == "changed":
            raise LayerError(
                f"commit: {os.fsdecode(warning.name)!r} changed while it was read; without a "
                "control group the sandbox cannot be paused: end what writes there first"
            )


def open_upper(runtime: Runtime, stack: ExitStack) -> int:
    """Return a descriptor of the writable layer."""
    report, fd = runtime.ask(_native.pack_open(b"/", _native.OPEN_UPPER, 0, 0, 0, 0))
    if fd is not None:
        stack.callback(os.close, fd)
        return fd
    if report.event == Event.FAILED and report.errno != errno.EOPNOTSUPP:
        raise spawn_error(report.failure, "the writable layer")
    raise UnsupportedError(
        errno.EOPNOTSUPP,
        "the root has no writable layer of its own: it is the host's user land, or a read-only "
        "directory; give image= or rootfs=",
    )


def _lowers(config: SandboxConfig, stack: ExitStack) -> Lowers:
    """Return what the writable layer is on."""

    def opened(path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        return fd

    image = config.image
    if image is None:
        assert config.rootfs is not None  # noqa: S101 - else there is no writable layer
        return Lowers((opened(config.rootfs),))
    if image.shown:  # not all are in one directory, but they are not many
        return Lowers([opened(path) for path in image.paths])
    return Lowers((opened(image.directory),), image.layers)


@contextlib.contextmanager
def _still(runtime: Runtime) -> Iterator[None]:
    """Stop the sandbox's processes meanwhile, where they can be stopped."""
    with runtime.quiet:
        if runtime.paused:
            yield
            return
        try:
            stopped = runtime.pause()
        except UnsupportedError:
            yield
            return
        try:
            if not stopped:
                raise does_not_pause()
            yield
        finally:
            runtime.resume()


def _apart(config: SandboxConfig) -> tuple[str, ...]:
    """Return the paths whose content is not the root's own."""
    image = config.image
    names = ["/dev", "/proc"]
    names += [os.fspath(mount.target) for mount in config.mounts]
    if image is not None:
        names += [*image.config.volumes, "/etc/hosts", "/etc/hostname"]
        names += ["/etc/resolv.conf"] if config.network == "host" else []
    return tuple(names)
