# SPDX-License-Identifier: Apache-2.0
"""An image's configuration: what it says, what it may not say, and what is run."""

from __future__ import annotations

import hashlib
import json
import signal
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pycontain import (
    ImageConfigError,
    ImageError,
    LimitExceededError,
    ManifestError,
    UnsupportedImageError,
)
from pycontain._image import _media
from pycontain._image._config import History, ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Manifest
from pycontain._image._platform import Platform

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))


def document(**run: Any) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [str(A), str(B)]},
    }


def parse(value: dict[str, Any]) -> ImageConfig:
    return ImageConfig.parse(json.dumps(value).encode())


def test_everything() -> None:
    value = document(
        Env=["PATH=/bin", "A=1=2", "PATH=/usr/bin", "EMPTY="],
        Entrypoint=["/entry"],
        Cmd=["x", ""],
        WorkingDir="/srv/../app/",
        User="alice:devs",
        Volumes={"/data/": {}, "/var/lib/x": {}},
        ExposedPorts={"80": {}, "53/UDP": {}},
        StopSignal="SIGINT",
        Labels={"a": "b"},
        Healthcheck={"Test": ["CMD", "true"], "Interval": 30_000_000_000, "Retries": 3},
        Shell=["/bin/bash", "-c"],
        OnBuild=["RUN x"],
        Unknown={"is": "ignored"},
    )
    value |= {
        "created": "2026-01-31T12:00:00.123456789+01:30",
        "author": "me",
        "history": [{"created_by": "ADD x", "empty_layer": True}, {"comment": "c"}],
        "more": [1, 2],
    }
    found = parse(value)
    assert found.platform == Platform(os="linux", architecture="amd64")
    zone = timezone(timedelta(hours=1, minutes=30))
    assert found.created == datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=zone)
    assert found.author == "me"
    assert found.environment == {"PATH": "/usr/bin", "A": "1=2", "EMPTY": ""}
    assert (found.entrypoint, found.cmd) == (("/entry",), ("x", ""))
    assert (found.working_dir, found.user) == ("/app", "alice:devs")
    assert found.volumes == ("/data", "/var/lib/x")
    assert found.exposed_ports == ("80/tcp", "53/udp")
    assert found.stop_signal == signal.SIGINT
    assert found.labels == {"a": "b"}
    assert found.healthcheck is not None
    assert (found.healthcheck.test, found.healthcheck.retries) == (("CMD", "true"), 3)
    assert found.healthcheck.interval == 30_000_000_000
    assert (found.shell, found.on_build) == (("/bin/bash", "-c"), ("RUN x",))
    assert found.history == (History(created_by="ADD x", empty_layer=True), History(comment="c"))
    assert found.diff_ids == (A, B)
    assert found.digest == Digest.of(found.raw)


def test_nothing() -> None:
    found = parse({"rootfs": {"type": "layers", "diff_ids": None}})
    assert found.platform.architecture == ""
    assert (found.env, found.entrypoint, found.cmd, found.working_dir) == ((), None, None, "/")
    assert (found.user, found.volumes, found.stop_signal, found.created) == ("", (), None, None)
    assert found.diff_ids == ()


def test_null_is_absent() -> None:
    names = (
        *("Env", "Entrypoint", "Cmd", "WorkingDir", "User", "Volumes", "ExposedPorts"),
        *("StopSignal", "Labels", "Healthcheck", "Shell", "OnBuild"),
    )
    empty = parse(document())
    found = parse(document(**dict.fromkeys(names)))
    for name in ImageConfig.__dataclass_fields__:
        assert name == "raw" or getattr(found, name) == getattr(empty, name)
    assert parse({**document(), "config": None, "history": None, "created": None}) is not None


BROKEN_RUN: dict[str, tuple[str, Any, str]] = {
    "Env without =": ("Env", ["PATH"], "'PATH' is not NAME=VALUE"),
    "Env without a name": ("Env", ["=x"], "'=x' is not NAME=VALUE"),
    "Env with NUL": ("Env", ["A=\0"], "NUL"),
    "Env no list": ("Env", "PATH=/bin", "is not a list"),
    "Env of numbers": ("Env", [1], "1 in the list is not a string"),
    "Entrypoint text": ("Entrypoint", "", "is not a list"),
    "Entrypoint empty name": ("Entrypoint", [""], "empty"),
    "Entrypoint with NUL": ("Entrypoint", ["a\0b"], "NUL"),
    "Cmd text": ("Cmd", "sh -c x", "is not a list"),
    "Cmd of lists": ("Cmd", [["a"]], "is not a string"),
    "WorkingDir with NUL": ("WorkingDir", "/a\0", "NUL"),
    "WorkingDir a list": ("WorkingDir", ["/a"], "is not a string"),
    "User of three": ("User", "a:b:c", "USER:GROUP"),
    "User group alone": ("User", ":b", "USER:GROUP"),
    "User two lines": ("User", "a\nb", "USER:GROUP"),
    "Volumes with ..": ("Volumes", {"/a/../../etc": {}}, "below the root"),
    "Volumes empty": ("Volumes", {"": {}}, "below the root"),
    "Volumes root": ("Volumes", {"/": {}}, "below the root"),
    "Volumes another root": ("Volumes", {"//.//": {}}, "below the root"),
    "Volumes relative": ("Volumes", {"data": {}}, "below the root"),
    "Volumes a list": ("Volumes", ["/data"], "is not an object"),
    "ExposedPorts": ("ExposedPorts", {"99999/xyz": {}}, "99999/xyz"),
    "ExposedPorts too high": ("ExposedPorts", {"65536": {}}, "65536"),
    "ExposedPorts 0": ("ExposedPorts", {"0/tcp": {}}, "0/tcp"),
    "ExposedPorts range": ("ExposedPorts", {"80-90/tcp": {}}, "80-90"),
    "StopSignal": ("StopSignal", "SIGFOO", "'SIGFOO' is not a signal"),
    "StopSignal 0": ("StopSignal", "0", "is not a signal"),
    "StopSignal 65": ("StopSignal", "65", "is not a signal"),
    "StopSignal number": ("StopSignal", 15, "is not a string"),
    "StopSignal beyond": ("StopSignal", "SIGRTMAX+1", "is not a signal"),
    "Labels of numbers": ("Labels", {"a": 1}, "is not a string"),
    "Healthcheck": ("Healthcheck", {"Test": ["true"]}, "NONE, CMD or CMD-SHELL"),
    "Healthcheck interval": ("Healthcheck", {"Interval": "30s"}, "is not an integer"),
}


@pytest.mark.parametrize("name, value, said", BROKEN_RUN.values(), ids=BROKEN_RUN)
def test_a_broken_field_is_named(name: str, value: object, said: str) -> None:
    with pytest.raises(ImageConfigError, match=name) as caught:
        parse(document(**{name: value}))
    assert said in str(caught.value)


BROKEN: dict[str, tuple[dict[str, Any], type[ImageError], str]] = {
    "rootfs type": ({"rootfs": {"type": "tree"}}, ImageConfigError, "'tree' is not 'layers'"),
    "no rootfs type": ({"rootfs": {}}, ImageConfigError, "is not 'layers'"),
    "diff_id": (
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:../x"]}},
        ImageConfigError, "diff_ids: invalid digest",
    ),
    "diff_id of blake3": (
        {"rootfs": {"type": "layers", "diff_ids": [f"blake3:{'a' * 64}"]}},
        UnsupportedImageError, "blake3",
    ),
    "created": ({"created": "yesterday"}, ImageConfigError, "created: 'yesterday' is not a time"),
    "created month": ({"created": "2026-13-01T00:00:00Z"}, ImageConfigError, "month must be"),
    "created zone": ({"created": "2026-01-01T00:00:00"}, ImageConfigError, "is not a time"),
    "history": ({"history": [1]}, ImageConfigError, r"history\[0\]: 1 is not an object"),
    "config": ({"config": []}, ImageConfigError, "config: .. is not an object"),
    "too large": ({"x": "x" * (9 << 20)}, LimitExceededError, "more than the limit of 8388608"),
}  # fmt: skip


@pytest.mark.parametrize("value, error, said", BROKEN.values(), ids=BROKEN)
def test_broken(value: dict[str, Any], error: type[ImageError], said: str) -> None:
    with pytest.raises(error, match=said):
        parse(value)


TIMES = {
    "2026-01-31T12:00:00Z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31t12:00:00.5z": datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC),
    "2026-01-31T12:00:00.999999999Z": datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC),
    "2026-01-31T12:00:00-05:00": datetime(2026, 1, 31, 17, tzinfo=UTC),
    "2016-12-31T23:59:60Z": datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
    "0001-01-01T00:00:00Z": None,
    "": None,
}


@pytest.mark.parametrize("text", TIMES)
def test_times(text: str) -> None:
    assert parse({**document(), "created": text}).created == TIMES[text]


SIGNALS = {
    "SIGTERM": signal.SIGTERM,
    "term": signal.SIGTERM,
    "15": signal.SIGTERM,
    "SIGRTMIN+3": signal.SIGRTMIN + 3,
    "RTMAX-2": signal.SIGRTMAX - 2,
    "SIGRTMIN": signal.SIGRTMIN,
}


@pytest.mark.parametrize("text", SIGNALS)
def test_signals(text: str) -> None:
    assert parse(document(StopSignal=text)).stop_signal == SIGNALS[text]


@pytest.mark.parametrize(
    "given, normal",
    [("", "/"), ("app", "/app"), ("../../x", "/x"), ("//a//b/.", "/a/b"), ("/a/../..", "/")],
)
def test_the_working_directory_is_in_the_root(given: str, normal: str) -> None:
    assert parse(document(WorkingDir=given)).working_dir == normal


Argv = tuple[str, ...] | None
# Entrypoint and Cmd of the image, command and entrypoint of the caller, what is run.
ARGUMENTS: dict[str, tuple[Argv, Argv, Argv, Argv, tuple[str, ...]]] = {
    "both": (("e",), ("c",), None, None, ("e", "c")),
    "no entrypoint": (None, ("c",), None, None, ("c",)),
    "no cmd": (("e",), None, None, None, ("e",)),
    "other command": (("e",), ("c",), ("x", "y"), None, ("e", "x", "y")),
    "no command": (("e",), ("c",), (), None, ("e",)),
    "other entrypoint drops cmd": (("e",), ("c",), None, ("f",), ("f",)),
    "other both": (("e",), ("c",), ("x",), ("f",), ("f", "x")),
    "no entrypoint any more": (("e",), ("c",), ("x",), (), ("x",)),
}


@pytest.mark.parametrize("entrypoint, cmd, command, other, run", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(
    entrypoint: Argv, cmd: Argv, command: Argv, other: Argv, run: tuple[str, ...]
) -> None:
    found = parse(document(Entrypoint=entrypoint, Cmd=cmd))
    assert found.arguments(command, entrypoint=other) == run


def test_nothing_to_run() -> None:
    for config, entrypoint in ((document(), None), (document(Cmd=["c"]), ()), (document(), [""])):
        with pytest.raises(ImageConfigError, match="say what to run"):
            parse(config).arguments(entrypoint=entrypoint)


def test_chain_ids() -> None:
    config = parse(
        {**document(), "rootfs": {"type": "layers", "diff_ids": [str(A), str(B), str(C)]}}
    )
    second = hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = hashlib.sha256(f"sha256:{second} {C}".encode()).hexdigest()
    assert list(map(str, config.chain_ids)) == [str(A), f"sha256:{second}", f"sha256:{third}"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_layers_as_diff_ids(count: int) -> None:
    config = parse(document())
    layer = Descriptor(media_type=_media.OCI_LAYER, digest=A, size=1)
    config.check_layers(Manifest.build(config.descriptor, [layer] * 2))
    with pytest.raises(ManifestError, match=f"has {count} layers, .* has 2 diff_ids"):
        config.check_layers(Manifest.build(config.descriptor, [layer] * count))


def test_derived() -> None:
    value = document(Env=["A=1"], Cmd=["c"], Unknown=1, Labels=None)
    config = parse({**value, "more": {"x": None}})
    history = (*config.history, History(created_by="x", created=datetime(2026, 1, 1, tzinfo=UTC)))
    changes: dict[str, Any] = {
        "diff_ids": (A, B, C),
        "history": history,
        "env": ("A=2",),
        "entrypoint": ("e",),
        "cmd": None,
        "working_dir": "/w",
        "user": "1:2",
        "volumes": ("/v",),
        "exposed_ports": ("80/tcp",),
        "stop_signal": int(signal.SIGRTMIN) + 1,
        "labels": {"a": "b"},
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "author": "me",
    }
    found = config.derive(**changes)
    for name, wanted in changes.items():
        assert getattr(found, name) == wanted, name
    assert config.derive(**changes).raw == found.raw
    kept = json.loads(found.raw)
    assert (kept["more"], kept["config"]["Unknown"]) == ({"x": None}, 1)
    assert "Cmd" not in kept["config"]
    assert json.loads(config.derive(stop_signal=15).raw)["config"]["StopSignal"] == "SIGTERM"
    with pytest.raises(ImageConfigError, match="NAME=VALUE"):
        config.derive(env=("A",))
    with pytest.raises(TypeError, match="'raw'"):
        config.derive(raw=b"")


def test_new() -> None:
    found = ImageConfig.new(Platform.parse("linux/arm/v6"), [A], cmd=("sh",))
    assert (str(found.platform), found.diff_ids, found.cmd) == ("linux/arm/v6", (A,), ("sh",))
    assert found.descriptor.digest == found.digest
