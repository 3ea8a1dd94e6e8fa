# SPDX-License-Identifier: Apache-2.0
"""Containers as the OCI runtime specification has them, over the same core as `Sandbox`.

A container outlives the process that made it: it is found again by its id in a state directory, and
by nothing else. The command `pycontain-runtime` is this module for the clients of runc.
"""

from __future__ import annotations

from ._oci._bundle import Bundle
from ._oci._child import ExecProcess
from ._oci._container import Container, container_ids
from ._oci._hooks import HookError
from ._oci._parse import parse_config, parse_process, parse_resources

__all__ = [
    "Bundle",
    "Container",
    "ExecProcess",
    "HookError",
    "container_ids",
    "parse_config",
    "parse_process",
    "parse_resources",
]
