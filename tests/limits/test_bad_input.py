# SPDX-License-Identifier: Apache-2.0
"""A limit that cannot be right or cannot be had is an error that helps, and nothing starts."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycontain
from _features import cgroup_homes
from pycontain import AsyncSandbox, Bind, ConfigError, Sandbox, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAN, INFINITY = float("nan"), float("inf")

WRONG: dict[str, tuple[Any, ...]] = {
    "memory": ("12Q", 0, -1, "-1", "0", "", "1 2M", 1.5, NAN, True, b"1M", 1, 4095),
    "cpus": (0, -1, 0.0001, NAN, INFINITY, True, "1"),
    "pids": (0, -1, 1.5, True, "7", 1 << 40),
    "cpuset": ("", "x", "-1", "3-1", "0-", "0,,1", "0-99999999999", 0),
    "cgroup": (7, b"/sys/fs/cgroup", [None]),
    "disk": ("12Q", 0, -1),
    "inodes": (0, -1, "7", 1 << 40),
    "wall_limit": (0, -1, NAN, "1"),
    "cpu_limit": (0, -1, NAN, "1"),
    "output_limit": ("12Q", 0, -1),
}
# What no machine has, and what the message says of this one.
TOO_MUCH: dict[str, tuple[Any, str]] = {
    "memory": (1 << 60, r"\d+ bytes, MemTotal in /proc/meminfo\): ask for less"),
    "cpus": (10**6, r"\(\d+ online\): ask for less"),
    "pids": ((1 << 31) - 1, r"/proc/sys/kernel/pid_max\): ask for less"),
    "cpuset": ("0,9999", r"CPUs.* 9999 \(/sys/\S+: [-0-9,]+\)"),
}


def run(options: dict[str, Any]) -> None:
    pycontain.run(["touch", "/out/started"], **options)


def live(options: dict[str, Any]) -> None:
    with Sandbox(**options) as sb:
        sb.run(["touch", "/out/started"])


def live_async(options: dict[str, Any]) -> None:
    async def main() -> None:
        async with AsyncSandbox(**options) as sandbox:
            await sandbox.run(["touch", "/out/started"])

    asyncio.run(main())


WAYS = {"run": run, "Sandbox": live, "AsyncSandbox": live_async}


@pytest.fixture(params=WAYS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Return a starter of what must not start."""
    out = tmp_path / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)

    def started(**options: Any) -> None:
        mounts = [Bind(out, "/out", read_only=False)]
        WAYS[request.param]({"mounts": mounts, **options})

    yield started
    assert list(out.iterdir()) == []


def test_what_must_not_start_would_have_been_seen(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for way in WAYS.values():
        way({"mounts": [Bind(tmp_path, "/out", read_only=False)]})
        (tmp_path / "started").unlink()


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_value_that_cannot_be_right_is_named(
    name: str, value: Any, start: Callable[..., None]
) -> None:
    with pytest.raises(ConfigError, match=name):
        start(**{name: value})


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_than_the_machine_has_is_said_with_what_it_has(
    name: str, start: Callable[..., None]
) -> None:
    value, text = TOO_MUCH[name]
    with pytest.raises(ConfigError, match=text) as caught:
        start(**{name: value})
    assert name in str(caught.value)


def homes() -> list[Path]:
    return [home for _, home in cgroup_homes()]


def test_a_path_that_is_no_group_is_said_to_be_none(
    start: Callable[..., None], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(homes()[0])
    cases = {
        str(tmp_path): "is not a cgroup directory: the hierarchies are",
        str(homes()[0] / "missing"): "make the group first",
        str(homes()[0] / "cgroup.procs"): "is not a cgroup directory",
        str(link): "is a symbolic link",
        f"{homes()[0]}/../x": "absolute path without '..'",
        "relative": "absolute path",
        "": "absolute path",
    }
    for path, text in cases.items():
        with pytest.raises(ConfigError, match=re.escape(text)) as caught:
            start(cgroup=path, memory="64M")
        assert f"cgroup={path!r}" in str(caught.value)


@pytest.mark.requires("cgroup")
def test_two_directories_of_one_hierarchy_are_one_too_many(start: Callable[..., None]) -> None:
    home = str(next(home for home in homes() if os.access(home, os.W_OK)))
    with pytest.raises(ConfigError, match="the same hierarchy"):
        start(cgroup=(home, home), memory="64M")


@contextmanager
def made(*folders: Path) -> Iterator[None]:
    for folder in folders:
        folder.mkdir()
    try:
        yield
    finally:
        for folder in reversed(folders):
            folder.rmdir()


@pytest.mark.requires("cgroup_v2")
def test_a_group_of_threads_is_none_for_processes(start: Callable[..., None]) -> None:
    home = next(home for names, home in cgroup_homes() if "v2" in names)
    group = home / f"pycontain-test-{os.getpid()}"
    with made(group, group / "threads"):
        (group / "threads/cgroup.type").write_text("threaded")
        with pytest.raises(ConfigError, match=r"'threaded' \(.*/cgroup\.type\)") as caught:
            start(cgroup=str(group / "threads"), require=("tracking",))
    assert "choose a group of the type 'domain'" in str(caught.value)


@pytest.mark.requires("no_cgroup")
def test_a_group_of_somebody_else_is_said_to_be_not_ours(start: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match=r"is not ours: .*/cgroup\.procs is not writable: chown"):
        start(cgroup=str(homes()[0]), memory="64M")


@pytest.mark.requires("no_cgroup")
@pytest.mark.parametrize(
    "option, value, controller",
    [
        ("memory", "64M", "memory"),
        ("pids", 16, "pids"),
        ("cpus", 1, "cpu"),
    ],
)
def test_a_controller_that_cannot_be_had_is_named_with_file_and_remedy(
    option: str, value: Any, controller: str, start: Callable[..., None]
) -> None:
    with pytest.raises(UnsupportedError, match=f"{option} is NOT in force: ") as caught:
        start(**{option: value})
    text = str(caught.value)
    assert re.search(rf"\((/sys|/proc)\S*{controller}?\S*\)", text)
    assert "cgroup=" in text


@pytest.mark.requires("no_cgroup")
def test_what_is_accepted_to_be_missing_starts_and_is_told(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"memory": "64M", "pids": 16, "cpus": 1}
    with Sandbox(**limits, accept_missing=tuple(limits)) as sb:
        assert sb.run(["true"]).returncode == 0
        for name in limits:
            control = sb.enforcement[name]
            assert not control.in_force
            assert control.why
            assert control.remedy
