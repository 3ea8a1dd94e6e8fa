# SPDX-License-Identifier: Apache-2.0
"""spec and features."""

from __future__ import annotations

import os
import sys

from pycontain._json import dumps
from pycontain._oci._default_spec import default_config, rootless_config

from ._command import Command
from ._options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._command import Settings


def _spec(_settings: Settings, given: dict[str, Any], _words: list[str]) -> int:
    ids = os.geteuid(), os.getegid()
    config = rootless_config(*ids) if given.get("rootless") else default_config()
    path = os.path.join(given.get("bundle", ""), "config.json")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o644), "w", encoding="ascii") as file:
        file.write(f"{dumps(config, indent=4)}\n")
    return 0


def _features(_settings: Settings, _given: dict[str, Any], _words: list[str]) -> int:
    from pycontain._oci._features import features  # noqa: PLC0415 - spec does without it

    sys.stdout.write(f"{dumps(features(), indent=2)}\n")
    return 0


COMMANDS = {
    "spec": Command(
        name="spec",
        arguments="",
        text="write a config.json to begin with",
        call=_spec,
        least=0,
        most=0,
        options=(
            Option(name="bundle", short="b", value="DIR", text="where, if not here"),
            Option(name="rootless", text="for an ordinary user"),
        ),
    ),
    "features": Command(
        name="features",
        arguments="",
        text="print what this runtime can do as JSON",
        call=_features,
        least=0,
        most=0,
    ),
}
