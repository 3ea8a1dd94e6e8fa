# SPDX-License-Identifier: Apache-2.0
"""Exceptions are caught by whoever expects those of the standard library."""

from __future__ import annotations

import errno
import pickle
import subprocess
from typing import Any

import pytest

import pycontain

FAMILIES: dict[str, tuple[Exception, type[Exception]]] = {
    "config": (pycontain.ConfigError("no"), ValueError),
    "spawn": (pycontain.SpawnError("MKDIR", errno.EROFS, "no"), OSError),
    "unsupported": (pycontain.UnsupportedError(errno.ENOSYS, "no"), OSError),
    "processor": (pycontain.CpuLevelError(errno.ENOEXEC, "no"), pycontain.UnsupportedError),
    "kernel": (pycontain.KernelTooOldError(errno.ENOEXEC, "no"), pycontain.UnsupportedError),
    "no interpreter": (
        pycontain.InterpreterNotFoundError(errno.ENOENT, "no", "a"),
        pycontain.ProgramNotFoundError,
    ),
    "closed": (pycontain.SandboxClosedError("no"), RuntimeError),
    "timeout": (pycontain.TimeoutExpired(["a"], 1.0), TimeoutError),
    "timeout of subprocess": (pycontain.TimeoutExpired(["a"], 1.0), subprocess.TimeoutExpired),
    "called": (pycontain.CalledProcessError(1, ["a"]), subprocess.CalledProcessError),
    "not found": (pycontain.ProgramNotFoundError(errno.ENOENT, "no", "a"), FileNotFoundError),
    "not executable": (pycontain.ProgramNotExecutableError(errno.EACCES, "no"), PermissionError),
    "files": (pycontain.FilesError(errno.ELOOP, "no", "/a"), OSError),
    "reference": (pycontain.InvalidReferenceError("no", reference="A", position=1), ValueError),
    "digest": (pycontain.InvalidDigestError("no"), ValueError),
    "other content": (pycontain.DigestMismatchError("no", expected="a", actual="b"), ValueError),
    "other size": (pycontain.SizeMismatchError("no", expected=1, actual=2), ValueError),
    "manifest": (pycontain.ManifestError("no"), ValueError),
    "image config": (pycontain.ImageConfigError("no"), pycontain.ConfigError),
    "unsupported image": (pycontain.UnsupportedImageError("no"), pycontain.ImageError),
    "limit": (pycontain.LimitExceededError("no", limit="layers", allowed=3), ValueError),
    "layer": (pycontain.LayerError("no"), ValueError),
    "unsafe layer": (pycontain.UnsafeLayerError("no"), pycontain.LayerError),
    "image not found": (pycontain.ImageNotFoundError("no"), LookupError),
    "platform": (pycontain.PlatformError("no", wanted="a", offered=("b",)), LookupError),
    "store": (pycontain.StoreError(errno.EROFS, "no", "/a"), OSError),
    "registry": (pycontain.RegistryError("no", registry="a", status=500, code="b"), OSError),
    "unauthorized": (pycontain.UnauthorizedError("no", registry="a"), PermissionError),
    "not in registry": (pycontain.RegistryNotFoundError("no"), pycontain.ImageNotFoundError),
    "rate limit": (pycontain.RateLimitedError("no", retry_after=3.5), pycontain.RegistryError),
}


@pytest.mark.parametrize("error, family", FAMILIES.values(), ids=FAMILIES)
def test_families(error: Exception, family: type[Exception]) -> None:
    assert isinstance(error, family)
    assert isinstance(error, pycontain.PycontainError)
    assert str(error)


TEXTS: dict[str, tuple[tuple[Any, ...], str]] = {
    "all": (
        ("MKDIR", errno.EROFS, "Read-only file system", "/a", "Make it first"),
        "MKDIR failed ('/a'): Read-only file system. Make it first",
    ),
    "no hint": (("MKDIR", errno.EROFS, "Read-only", "/a"), "MKDIR failed ('/a'): Read-only"),
    "no path": (("CLONE", errno.EPERM, "No"), "CLONE failed: No"),
    "hostile path": (("MKDIR", 1, "No", "/\x1b[2J\n"), "MKDIR failed ('/\\x1b[2J\\n'): No"),
}


@pytest.mark.parametrize("values, text", TEXTS.values(), ids=TEXTS)
def test_a_failed_step_is_one_sentence(values: tuple[Any, ...], text: str) -> None:
    assert str(pycontain.SpawnError(*values)) == text


def test_a_failed_step_can_be_told_apart() -> None:
    error = pycontain.SpawnError("MKDIR", errno.EROFS, "Read-only", "/a", "Make it")
    told = (error.step, error.errno, error.strerror, error.path, error.hint)
    assert told == ("MKDIR", errno.EROFS, "Read-only", "/a", "Make it")


def test_a_timeout_keeps_what_there_was() -> None:
    usage = pycontain.Usage(wall_s=1.0)
    error = pycontain.TimeoutExpired(["a"], 1.0, b"out", b"err", usage)
    told = (error.cmd, error.timeout, error.output, error.stdout, error.stderr, error.usage)
    assert told == (["a"], 1.0, b"out", b"out", b"err", usage)
    assert str(error) == "Command '['a']' timed out after 1.0 seconds"


@pytest.mark.parametrize("error", [row[0] for row in FAMILIES.values()], ids=FAMILIES)
def test_errors_travel_between_processes(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
