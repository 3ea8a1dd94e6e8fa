# SPDX-License-Identifier: Apache-2.0
"""An image's configuration (OCI image-spec config.md and conversion.md; Docker's own fields)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pycontain.errors import ImageConfigError, ManifestError

from . import _fields, _media
from ._descriptor import Descriptor, parse_platform, platform_json
from ._digest import Digest
from ._json import Object, dumps, loads
from ._manifest import Manifest
from ._platform import Platform

CONFIG_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a layer came to be. Entries and layers need not be as many.

    Attributes:
        created: When.
        created_by: By which command.
        author: By whom.
        comment: A remark.
        empty_layer: Whether no layer belongs to it.
    """

    created: datetime | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def parse(cls, value: Object) -> History:
        """Return the entry that a JSON object is. Raises ImageConfigError."""
        return cls(
            created=_fields.parse_time(value, "created"),
            created_by=value.text("created_by"),
            author=value.text("author"),
            comment=value.text("comment"),
            empty_layer=value.flag("empty_layer"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object that `parse` reads."""
        fields = {
            "created": _fields.format_time(self.created),
            "created_by": self.created_by,
            "author": self.author,
            "comment": self.comment,
            "empty_layer": self.empty_layer,
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How to see that a container works (Docker's; reserved in OCI).

    Attributes:
        test: Empty: inherited. ("NONE",), ("CMD", ...) or ("CMD-SHELL", command).
        interval, timeout, start_period, start_interval: Nanoseconds; 0: the default.
        retries: Failures in a row that it takes; 0: the default.
    """

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @classmethod
    def parse(cls, value: Object) -> Healthcheck:
        """Return the check that a JSON object is. Raises ImageConfigError."""
        test = value.texts("Test") or ()
        if test and test[0] not in {"NONE", "CMD", "CMD-SHELL"}:
            raise value.wrong("Test", f"{test[0][:40]!r} is not NONE, CMD or CMD-SHELL")
        return cls(
            test=test,
            interval=value.integer("Interval") or 0,
            timeout=value.integer("Timeout") or 0,
            start_period=value.integer("StartPeriod") or 0,
            start_interval=value.integer("StartInterval") or 0,
            retries=value.integer("Retries") or 0,
        )


def _set(names: Iterable[str]) -> dict[str, dict[str, str]]:
    return {name: {} for name in names}


def _optional_list(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _signal_name(number: int | None) -> str | None:
    known = {member.value: member.name for member in signal.Signals}
    return None if number is None else known.get(number, str(number))


# How an attribute becomes a field: of the document, and of its "config".
_TOP: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "created": ("created", _fields.format_time),
    "author": ("author", str),
    "history": ("history", lambda rows: [row.to_json() for row in rows]),
    "diff_ids": ("rootfs", lambda ids: {"type": "layers", "diff_ids": list(map(str, ids))}),
}
_RUN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "env": ("Env", list),
    "entrypoint": ("Entrypoint", _optional_list),
    "cmd": ("Cmd", _optional_list),
    "working_dir": ("WorkingDir", str),
    "user": ("User", str),
    "volumes": ("Volumes", _set),
    "exposed_ports": ("ExposedPorts", _set),
    "stop_signal": ("StopSignal", _signal_name),
    "labels": ("Labels", dict),
    "shell": ("Shell", _optional_list),
    "on_build": ("OnBuild", list),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image is for and how it is run.

    Attributes:
        raw: The document. Its digest is the image's id.
        platform: What it is for; without an architecture if it does not say.
        created: When, to the microsecond; None if it does not say.
        author: By whom.
        env: NAME=VALUE; later ones win.
        entrypoint, cmd: What is run; None is absent.
        working_dir: Absolute and normal; "/" if it does not say.
        user: USER[:GROUP], names or numbers; "" is root.
        volumes: Absolute paths for data that outlives a container.
        exposed_ports: Such as "80/tcp".
        stop_signal: The number of the signal that asks it to end, or None.
        labels: Free for all.
        healthcheck: How to see that it works.
        shell: What Docker's shell forms use.
        on_build: Instructions for images built from it.
        history: How it came to be.
        diff_ids: Digests of the layers' uncompressed archives, the lowest first.
    """

    raw: bytes = field(repr=False)
    platform: Platform
    created: datetime | None = None
    author: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = "/"
    user: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    stop_signal: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    diff_ids: tuple[Digest, ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Return the configuration that a document holds.

        Raises:
            ImageConfigError: A field breaks the specification.
            LimitExceededError: It is too large.
            UnsupportedImageError: Digests of an unknown algorithm.
        """
        value = loads(raw, "image configuration", limit=CONFIG_MAX, error=ImageConfigError)
        run = value.object("config") or Object({}, f"{value.where}: config", ImageConfigError)
        health = run.object("Healthcheck")
        return cls(
            raw=raw,
            platform=parse_platform(value),
            created=_fields.parse_time(value, "created"),
            author=value.text("author"),
            env=_fields.parse_env(run),
            entrypoint=_fields.parse_command(run, "Entrypoint"),
            cmd=_fields.parse_texts(run, "Cmd"),
            working_dir=_fields.parse_working_dir(run),
            user=_fields.parse_user(run),
            volumes=tuple(_fields.parse_volume(run, path) for path in run.keys("Volumes")),
            exposed_ports=tuple(_fields.parse_port(run, port) for port in run.keys("ExposedPorts")),
            stop_signal=_fields.parse_signal(run),
            labels=run.text_map("Labels"),
            healthcheck=None if health is None else Healthcheck.parse(health),
            shell=_fields.parse_command(run, "Shell"),
            on_build=run.texts("OnBuild") or (),
            history=tuple(History.parse(row) for row in value.objects("history")),
            diff_ids=_fields.parse_diff_ids(value),
        )

    @classmethod
    def new(
        cls, platform: Platform, diff_ids: Sequence[Digest] = (), **changes: Any
    ) -> ImageConfig:
        """Return the configuration of a new image; `changes` as for `derive`."""
        rootfs = {"type": "layers", "diff_ids": []}
        base = cls.parse(dumps({**platform_json(platform), "rootfs": rootfs}))
        return base.derive(diff_ids=diff_ids, **changes)

    def derive(self, **changes: Any) -> ImageConfig:
        """Return another configuration, with everything of this one that is not changed.

        Also what is unknown here stays. The same changes give the same bytes.

        Args:
            changes: Values of this class's attributes; not `raw`, `platform` and `healthcheck`.

        Raises:
            ImageConfigError: A value breaks the specification.
            TypeError: No such attribute.
        """
        document = json.loads(self.raw)
        run = document["config"] = dict(document.get("config") or {})
        for name, value in changes.items():
            if name in _TOP:
                key, to_json = _TOP[name]
                target = document
            elif name in _RUN:
                key, to_json = _RUN[name]
                target = run
            else:
                raise TypeError(f"an image configuration has no {name!r} to change")
            target[key] = to_json(value)
        for values in (document, run):
            for key in [key for key, value in values.items() if value is None]:
                del values[key]
        return type(self).parse(dumps(document))

    @property
    def digest(self) -> Digest:
        """The image's id: the sha256 digest of the document."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """What a manifest refers to it with."""
        return Descriptor(media_type=_media.OCI_CONFIG, digest=self.digest, size=len(self.raw))

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """One name for each layer together with all below it (config.md, "Layer ChainID")."""
        chain: list[Digest] = []
        for diff_id in self.diff_ids:
            text = f"{chain[-1]} {diff_id}" if chain else ""
            chain.append(Digest.of(text.encode()) if text else diff_id)
        return tuple(chain)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by name."""
        return dict(entry.split("=", 1) for entry in self.env)

    def arguments(
        self, command: Sequence[str] | None = None, *, entrypoint: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """Return what to run, program first.

        Args:
            command: Instead of the image's Cmd.
            entrypoint: Instead of the image's Entrypoint, and then its Cmd is not used either.

        Raises:
            ImageConfigError: There is nothing to run.
        """
        if command is None:
            command = (self.cmd or ()) if entrypoint is None else ()
        if entrypoint is None:
            entrypoint = self.entrypoint or ()
        arguments = (*entrypoint, *command)
        if not arguments or not arguments[0]:
            raise ImageConfigError("the image has no Entrypoint and no Cmd: say what to run")
        return arguments

    def check_layers(self, manifest: Manifest) -> None:
        """Check that there are as many layers as diff_ids.

        Raises:
            ManifestError: There are not, so one of the two does not belong to the other.
        """
        if len(manifest.layers) != len(self.diff_ids):
            raise ManifestError(
                f"manifest {manifest.digest} has {len(manifest.layers)} layers, but its "
                f"configuration has {len(self.diff_ids)} diff_ids"
            )
