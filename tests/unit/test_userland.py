# SPDX-License-Identifier: Apache-2.0
"""The host's user land as a root: whole for programs, empty of what is anybody's."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path, PurePosixPath

import pytest

from pycontain import _userland
from pycontain._userland import Directory, Entry, Link, Show, Text

ENTRIES = _userland.entries(1000, 1000, "box", resolver=False)


def target(entry: Entry) -> str:
    return entry.path if isinstance(entry, Show) else entry.target


def test_parents_come_before_children() -> None:
    targets = [PurePosixPath(target(entry)) for entry in ENTRIES]
    for place, path in enumerate(targets):
        assert not [later for later in targets[place + 1 :] if path.is_relative_to(later)], path


def test_targets_are_absolute_and_single() -> None:
    targets = [target(entry) for entry in ENTRIES]
    assert [path for path in targets if not path.startswith("/") or ".." in path] == []
    assert len(set(targets)) == len(targets)


def test_what_is_shown_exists() -> None:
    for entry in ENTRIES:
        match entry:
            case Show(path):
                assert not os.path.islink(path)
                assert os.path.exists(path)
            case Link(path, text):
                assert os.readlink(path) == text
            case _:
                assert isinstance(entry, Directory | Text)


# /root may be on the way to the interpreter.
PRIVATE = ("/home", "/root", "/run", "/var", "/srv", "/mnt", "/media", "/boot", "/sys", "/tmp")


def test_nothing_that_is_anybodys_is_shown() -> None:
    prefixes = _userland.interpreter_prefixes()
    shown = [entry.path for entry in ENTRIES if isinstance(entry, Show)]
    others = [path for path in shown if path not in prefixes]
    assert [path for path in others if path.startswith(PRIVATE)] == []
    assert not set(shown) & {"/", "/etc", *PRIVATE}


def test_files_of_etc_are_readable_by_everybody() -> None:
    for entry in ENTRIES:
        if isinstance(entry, Show | Text) and target(entry).startswith("/etc/"):
            path = Path(target(entry))
            if path.is_file() and path.name not in ("passwd", "group", "hosts", "hostname"):
                assert path.stat().st_mode & stat.S_IROTH


SECRETS = ("shadow", "gshadow", "sudoers", "ssh", "ssl/private", "machine-id", "krb5.keytab")


def test_no_secrets_are_listed() -> None:
    assert not [name for name in _userland.ETC if name.startswith(SECRETS)]
    assert "ssl" not in _userland.ETC
    assert "pki" not in _userland.ETC


def test_the_interpreter_is_shown() -> None:
    roots = [PurePosixPath(entry.path) for entry in ENTRIES if isinstance(entry, Show)]
    for path in (os.path.realpath(sys.executable), os.path.realpath(sys.prefix), os.__file__):
        assert any(PurePosixPath(path).is_relative_to(root) for root in roots), path


@pytest.mark.parametrize(
    "prefix, shown", [("/", False), ("/home", False), ("/usr/local", False), ("/a/b", True)]
)
def test_a_prefix_that_shows_too_much_is_left_out(
    prefix: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base_prefix", "base_exec_prefix", "prefix", "exec_prefix"):
        monkeypatch.setattr(sys, name, prefix)
    assert _userland.interpreter_prefixes() == ([prefix] if shown else [])


def test_a_home_directory_is_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("base_prefix", "base_exec_prefix", "prefix", "exec_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path))
    assert _userland.interpreter_prefixes() == []


@pytest.mark.parametrize("uid, gid", [(1000, 1000), (0, 0), (65534, 65534), (1000, 5)])
def test_tables_of_names_have_each_id_once(uid: int, gid: int) -> None:
    users = [row.split(":") for row in _userland.passwd(uid, gid).decode().splitlines()]
    groups = [row.split(":") for row in _userland.group(gid).decode().splitlines()]
    assert {len(row) for row in users} == {7}
    assert {len(row) for row in groups} == {4}
    uids, gids = [int(row[2]) for row in users], [int(row[2]) for row in groups]
    assert len(set(uids)) == len(uids)
    assert len(set(gids)) == len(gids)
    assert uid in uids
    assert gid in gids


def test_the_host_name_resolves() -> None:
    rows = [row.split() for row in _userland.hosts("box").decode().splitlines()]
    assert [row[0] for row in rows if "box" in row] == ["127.0.0.1", "::1"]
    assert [row[0] for row in rows if "localhost" in row] == ["127.0.0.1", "::1"]


def test_a_host_name_server_is_of_use_in_its_network_only() -> None:
    assert "/etc/resolv.conf" not in [target(entry) for entry in ENTRIES]
    if os.path.exists("/etc/resolv.conf"):
        entries = _userland.entries(1000, 1000, "box", resolver=True)
        assert "/etc/resolv.conf" in [target(entry) for entry in entries]
