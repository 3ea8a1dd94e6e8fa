# SPDX-License-Identifier: Apache-2.0
"""Values that describe a sandbox: what is taken, what it becomes, what is refused."""

from __future__ import annotations

import dataclasses
import os
import pickle
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain import Bind, ConfigError, Overlay, Tmpfs
from pycontain._configure import configure
from pycontain.config import (
    NAMESPACES,
    SandboxConfig,
    User,
    check_env,
    check_host_path,
    check_inside_path,
    check_namespaces,
    check_positive,
    parse_size,
    parse_user,
)

SIZES = {
    1: 1,
    "1": 1,
    "64k": 64 << 10,
    "64K": 64 << 10,
    "64KB": 64 << 10,
    "64KiB": 64 << 10,
    "512M": 512 << 20,
    "1.5GiB": 3 << 29,
    " 2 G ": 2 << 30,
    "1T": 1 << 40,
    "100B": 100,
    (1 << 63) - 1: (1 << 63) - 1,
    "9223372036854775807": (1 << 63) - 1,
}
NOT_SIZES = (
    *(0, -1, "0", "-1", "", " ", "M", "1X", "1 K B", "1,5M", "1e3", "0x10", "٣M", "1M\n1"),
    *(1.5, None, True, b"1M", 1 << 63, "9999999999T", "0.4", "nan", "inf"),
    *(5000 * "9", 400 * "9" + ".5G"),
)


@pytest.mark.parametrize("value, expected", SIZES.items(), ids=map(repr, SIZES))
def test_sizes(value: int | str, expected: int) -> None:
    assert parse_size(value) == expected


@pytest.mark.parametrize("value", NOT_SIZES, ids=lambda value: repr(value)[:20])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^memory: .*size"):
        parse_size(value, "memory")


@given(st.integers(1, (1 << 63) - 1))
def test_a_number_of_bytes_is_exact(number: int) -> None:
    assert parse_size(str(number)) == parse_size(number) == number


USERS = {
    0: User(0),
    1000: User(1000),
    "1000": User(1000),
    "01000": User(1000),
    "1000:100": User(1000, 100),
    "0:0": User(0, 0),
    "www-data": User("www-data"),
    "www-data:1000": User("www-data", 1000),
    "1000:users": User(1000, "users"),
    "machine$": User("machine$"),
    "4294967294": User(4294967294),
}
NOT_USERS = (
    *("", ":", "1000:", ":1000", "-1", -1, "+1", "4294967295", "4294967296", 4294967295, "0x0"),
    *("1e3", "1 ", " 1", "1_000", "٣", "1:2:3", "a b", "-name", "..", "na/me", "na\nme", "\0"),
    *("99999999999999999999", "a" * 33, None, True, 1.0, b"0"),
)


@pytest.mark.parametrize("value, expected", USERS.items(), ids=map(repr, USERS))
def test_users(value: int | str, expected: User) -> None:
    assert parse_user(value) == expected


@pytest.mark.parametrize("value", NOT_USERS, ids=ascii)
def test_what_is_no_user(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^user: "):
        parse_user(value)


INSIDE = {"/": "/", "/a": "/a", "/a/": "/a", "//a": "/a", "/a b/ü": "/a b/ü", Path("/x"): "/x"}
NOT_INSIDE = (
    *("", "a", "./a", "../a", "/..", "/a/../b", "/a\0b", "/" + "a" * 4096, "/\ud800"),
    *(b"/a", 1, None),
)


@pytest.mark.parametrize("value, expected", INSIDE.items(), ids=map(repr, INSIDE))
def test_paths_inside(value: str, expected: str) -> None:
    assert check_inside_path(value, "cwd") == expected


@pytest.mark.parametrize("value", NOT_INSIDE, ids=lambda value: ascii(value)[:20])
def test_what_is_no_path_inside(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^cwd: "):
        check_inside_path(value, "cwd")


@pytest.mark.parametrize("value", ["", "a\0b", b"/a", None], ids=repr)
def test_what_is_no_path_of_the_host(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^rootfs: "):
        check_host_path(value, "rootfs")


def test_a_relative_path_of_the_host_is_fixed_when_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bind = Bind("sub/../data", "/data")
    assert bind.source == str(tmp_path / "data")


ENVIRONMENTS: dict[str, Any] = {
    "empty name": {"": "x"},
    "equals sign": {"a=b": "x"},
    "NUL in name": {"a\0": "x"},
    "NUL in value": {"a": "x\0"},
    "number": {"a": 1},
    "bytes": {b"a": "x"},
    "lone surrogate": {"a": "\ud800"},
    "list": ["a=b"],
}


@pytest.mark.parametrize("value", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_what_is_no_environment(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^env"):
        check_env(value)


def test_an_environment_keeps_undecodable_bytes() -> None:
    value = os.fsdecode(b"\xff")
    assert check_env({"A": value, "B": ""}) == (("A", value), ("B", ""))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True], ids=repr)
def test_what_is_no_positive_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^timeout: "):
        check_positive(value, "timeout")


def test_positive_numbers() -> None:
    assert check_positive(None, "timeout") is None
    assert check_positive(0.5, "timeout") == 0.5


def test_namespaces_are_put_in_order() -> None:
    assert check_namespaces(("pid", "mnt", "user")) == ("user", "mnt", "pid")
    assert check_namespaces(NAMESPACES) == NAMESPACES


@pytest.mark.parametrize(
    "names", [(), ("user", "mnt"), ("pid", "mnt", "net"), ("user", "mnt", "pid", "disk")], ids=str
)
def test_namespaces_that_cannot_be(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^namespaces: "):
        check_namespaces(names)


MOUNTS: dict[str, tuple[type, tuple[Any, ...]]] = {
    "Bind on the root": (Bind, ("/usr", "/")),
    "Bind on a relative path": (Bind, ("/usr", "usr")),
    "Bind of nothing": (Bind, ("", "/usr")),
    "Tmpfs on a relative path": (Tmpfs, ("tmp",)),
    "Tmpfs without size": (Tmpfs, ("/tmp", 0)),
    "Tmpfs without inodes": (Tmpfs, ("/tmp", "1M", 0)),
    "Tmpfs with set-id bits": (Tmpfs, ("/tmp", "1M", 10, 0o6777)),
    "Overlay of nothing": (Overlay, ((), "/x")),
    "Overlay above the root": (Overlay, (("/usr",), "/x/../..")),
}


@pytest.mark.parametrize("kind, values", MOUNTS.values(), ids=MOUNTS)
def test_mounts_that_cannot_be(kind: type, values: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match=f"^{kind.__name__} "):
        kind(*values)


def test_mounts_are_normal_values() -> None:
    assert Bind("/usr", "/x/") == Bind("/usr/", "/x")
    assert Bind("/usr", "/x").read_only
    assert Tmpfs("/tmp", "1M").size == 1 << 20
    assert Overlay("/usr", "/x") == Overlay(["/usr"], "/x")  # type: ignore[arg-type]
    config = SandboxConfig(mounts=(Bind("/usr", "/x"), Overlay(("/usr",), "/y")))
    assert hash(config) == hash(pickle.loads(pickle.dumps(config)))


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a b", "a_b", "ü", "a" * 65, "a\n", None, 7], ids=ascii
)
def test_what_is_no_host_name(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^hostname: "):
        SandboxConfig(hostname=name)


@pytest.mark.parametrize("option", ["namespaces", "require", "accept_missing"])
@pytest.mark.parametrize("value", ["memory", None, 7, [None]], ids=repr)
def test_a_list_of_names_is_not_one_name(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: "):
        configure(**{option: value})


@given(st.text(string.ascii_letters + string.digits, min_size=1, max_size=64))
def test_host_names(name: str) -> None:
    assert SandboxConfig(hostname=name).hostname == name


def test_a_network_that_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"^network: 'moon'"):
        SandboxConfig(network="moon")  # type: ignore[arg-type]


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SandboxConfig().disk = 1  # type: ignore[misc]


@given(st.text())
def test_no_text_gets_past_the_checks_by_another_exception(text: str) -> None:
    for check in (parse_size, parse_user, lambda value: check_inside_path(value, "cwd")):
        try:
            check(text)
        except ConfigError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most texts are refused, not all
