# SPDX-License-Identifier: Apache-2.0
"""From config.json to a `Config` (OCI runtime-spec 1.0 to 1.3, config.md).

Unknown fields are ignored, as the specification demands; a field that is there must be right.
Errors begin with its path, such as `process.user.additionalGids[2]`.
"""

from __future__ import annotations

from pycontain._json import loads

from ._check import check_config
from ._fields import INT64, Fields, shown
from ._parse_linux import read_linux, read_mappings
from ._parse_process import read_process
from ._parse_resources import read_resources
from ._spec import Config, Hook, Hooks, Mount, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._spec import Process, Resources

_MINORS = 3
_NAME = 64  # sethostname(2)


def parse_config(data: bytes | Mapping[str, Any]) -> Config:
    """Return the configuration in a document, or in what was read from one.

    Raises:
        ConfigError: With the path of the field that is wrong, or that contradicts another.
    """
    document = _document(data, "config.json")
    process = document.object("process")
    config = Config(
        oci_version=_version(document),
        process=None if process is None else read_process(process),
        root=_root(document),
        mounts=tuple(_mount(row) for row in document.objects("mounts")),
        hostname=_name(document, "hostname"),
        domainname=_name(document, "domainname"),
        hooks=_hooks(document.inside("hooks")),
        annotations=_annotations(document),
        linux=read_linux(document.inside("linux")),
    )
    check_config(config)
    return config


def parse_process(data: bytes | Mapping[str, Any]) -> Process:
    """Return the process that `exec --process` names. Raises ConfigError."""
    return read_process(_document(data, "process.json"))


def parse_resources(data: bytes | Mapping[str, Any]) -> Resources:
    """Return the resources that `update --resources` names. Raises ConfigError."""
    return read_resources(_document(data, "resources"))


def _document(data: bytes | Mapping[str, Any], what: str) -> Fields:
    return Fields(loads(data, what) if isinstance(data, bytes) else data)


def _version(document: Fields) -> str:
    version = document.needed("ociVersion")
    release = version.partition("-")[0].partition("+")[0].split(".")
    numeric = all(part.isascii() and part.isdecimal() for part in release)
    if len(release) != 3 or not numeric or len(version) > 80:
        raise document.wrong("ociVersion", f"{shown(version)} is no version such as 1.2.0")
    if release[0] != "1" or int(release[1]) > _MINORS:
        raise document.wrong("ociVersion", f"{shown(version)} is not from 1.0 to 1.{_MINORS}")
    return version


def _root(document: Fields) -> Root:
    root = document.object("root")
    if root is None:
        raise document.wrong("root", "is required")
    return Root(path=root.needed("path"), readonly=root.flag("readonly"))


def _name(document: Fields, name: str) -> str:
    text = document.text(name)
    if len(text.encode()) > _NAME:
        raise document.wrong(name, f"{shown(text)} is longer than {_NAME} bytes")
    return text


def _mount(row: Fields) -> Mount:
    return Mount(
        # A relative one is deprecated, and "MUST be interpreted as relative to /".
        destination="/" + row.needed("destination").lstrip("/"),
        type=row.text("type"),
        source=row.text("source"),
        options=row.texts("options"),
        uid_mappings=read_mappings(row, "uidMappings"),
        gid_mappings=read_mappings(row, "gidMappings"),
    )


def _hooks(hooks: Fields) -> Hooks:
    return Hooks(
        prestart=_hook_list(hooks, "prestart"),
        create_runtime=_hook_list(hooks, "createRuntime"),
        create_container=_hook_list(hooks, "createContainer"),
        start_container=_hook_list(hooks, "startContainer"),
        poststart=_hook_list(hooks, "poststart"),
        poststop=_hook_list(hooks, "poststop"),
    )


def _hook_list(hooks: Fields, name: str) -> tuple[Hook, ...]:
    return tuple(_hook(row) for row in hooks.objects(name))


def _hook(row: Fields) -> Hook:
    path = row.needed("path")
    if not path.startswith("/"):
        raise row.wrong("path", f"{shown(path)} is not an absolute path")
    return Hook(
        path=path,
        args=row.texts("args"),
        env=row.texts("env"),
        timeout=row.integer("timeout", 1, INT64),
    )


def _annotations(document: Fields) -> dict[str, str]:
    found = document.text_map("annotations")
    if "" in found:
        raise document.wrong("annotations", "a name is empty")
    return found
