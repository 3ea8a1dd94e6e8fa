# SPDX-License-Identifier: Apache-2.0
"""Credential helpers: programs named docker-credential-X (docker/docker-credential-helpers)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import Final

from pycontain.errors import RegistryError

TIMEOUT_S: Final = 30.0
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_NOT_FOUND: Final = b"credentials not found in native keychain"


def get(name: str, server: str) -> tuple[str, str] | None:
    """Return user and secret that a helper has for a server, None if it has nothing.

    What the helper prints is never shown: it may be the secret.

    Args:
        name: What follows "docker-credential-".
        server: As the helper knows it.

    Raises:
        RegistryError: It cannot be run, failed, or took longer than 30 s.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name[:80]!r} is not the name of a credential helper")
    program = f"docker-credential-{name}"
    try:
        with subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        ) as process:
            try:
                output, _ = process.communicate(server.encode(), timeout=TIMEOUT_S)
            finally:
                # Also those that it has started, which may hold the pipe.
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"{program} did not answer within {TIMEOUT_S:.0f} s; does it wait to be unlocked?"
        ) from None
    except OSError as error:
        raise RegistryError(
            f"{program}, which has the credentials for {server}, cannot be run: "
            f"{error.strerror}; install it, or take it out of the file (credsStore, credHelpers)"
        ) from None
    if process.returncode:
        if _NOT_FOUND in output:
            return None
        raise RegistryError(
            f"{program} get failed with exit status {process.returncode} for {server}"
        )
    return _parse(output, program, server)


def _parse(output: bytes, program: str, server: str) -> tuple[str, str] | None:
    try:
        answer = json.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, LookupError, TypeError):
        username = secret = None
    if not (isinstance(username, str) and isinstance(secret, str)):
        raise RegistryError(f"{program} did not print credentials for {server}")
    return (username, secret) if secret else None
