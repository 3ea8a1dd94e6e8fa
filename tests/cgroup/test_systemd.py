# SPDX-License-Identifier: Apache-2.0
"""When systemd is asked for a scope, in which words, and what is said when there is none.

The scopes themselves are in test_systemd_live.py.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jeepney
import pytest
from jeepney.low_level import Parser

from pycontain import _cgroup
from pycontain._cgroup import Hierarchy, Host, find
from pycontain._cgroup._dbus import RefusedError, start_unit
from pycontain._cgroup._systemd import Refusal, Scope, bus_path, properties, refusal, request

MEMORY = frozenset({"memory"})
NOTHING = frozenset[str]()
ALL = "cpuset cpu io memory pids"
REFUSAL = Refusal(why="systemd was asleep", file="/the/bus", remedy="wake it")


def group(path: Path, *, available: str = ALL, procs: str = "", kind: str = "domain") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("cgroup.controllers", available),
        ("cgroup.subtree_control", ""),
        ("cgroup.procs", procs),
        ("cgroup.type", kind),
    ):
        (path / name).write_text(text + "\n" if text else "")
    return path


class Tree:
    """A v2 hierarchy of plain files: our own group, busy, and a scope beside it."""

    def __init__(self, mount: Path) -> None:
        self.mount = group(mount, procs="1")
        self.own = group(mount / "session", procs="77")
        self.scope = Scope("x.scope", str(group(mount / "manager/x.scope")))
        self.asked = 0

    def host(self, *v1: Hierarchy) -> Host:
        return Host(v2=hierarchy(self.mount, self.own, 2), v1=v1)

    def ask(self) -> Scope | Refusal | None:
        self.asked += 1
        return self.scope

    def refuse(self) -> Refusal:
        return REFUSAL


def hierarchy(mount: Path, own: Path, version: int, *controllers: str) -> Hierarchy:
    return Hierarchy(
        version=version,
        controllers=frozenset(controllers),
        mount=str(mount),
        own=str(own),
        read_only=False,
        options=frozenset({"rw"}),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_scope_is_taken_where_no_group_of_ours_serves(tree: Tree) -> None:
    places = find(tree.host(), MEMORY, ask_systemd=tree.ask)
    assert (places.v2, places.v2_controllers, places.scope) == (
        tree.scope.directory, MEMORY, "x.scope"
    )  # fmt: skip
    assert places.missing == {}


def test_a_group_of_ours_that_serves_comes_first(tree: Tree) -> None:
    group(tree.own)
    places = find(tree.host(), MEMORY, ask_systemd=tree.ask)
    assert (places.v2, places.scope, tree.asked) == (str(tree.own), "", 0)


def test_tracking_alone_takes_any_group_of_ours(tree: Tree) -> None:
    assert find(tree.host(), NOTHING, ask_systemd=tree.ask).v2 == str(tree.own)
    assert tree.asked == 0


def test_a_place_that_was_given_comes_first(tree: Tree) -> None:
    given = str(group(tree.mount / "given"))
    places = find(tree.host(), MEMORY, (given,), tree.ask)
    assert (places.v2, places.scope, tree.asked) == (given, "", 0)


def test_no_scope_is_asked_for_where_v1_has_controllers(tree: Tree, tmp_path: Path) -> None:
    v1 = hierarchy(tmp_path, tmp_path, 1, "cpu")
    places = find(tree.host(v1), MEMORY, ask_systemd=tree.ask)
    assert (places.scope, tree.asked) == ("", 0)


def test_what_our_own_group_serves_better_stays_there(tree: Tree) -> None:
    group(Path(tree.scope.directory), available="pids")
    group(tree.own, available="memory")
    wanted = frozenset({"memory", "pids", "io"})
    assert find(tree.host(), wanted, ask_systemd=tree.ask).v2 == str(tree.own)


def test_without_systemd_nothing_is_said_of_it(tree: Tree) -> None:
    missing = find(tree.host(), MEMORY, ask_systemd=lambda: None).missing
    assert missing == find(tree.host(), MEMORY).missing
    assert missing["memory"].file == f"{tree.own}/cgroup.procs"


def test_a_refusal_has_its_reason_and_its_remedy_in_what_is_missing(tree: Tree) -> None:
    missing = find(tree.host(), MEMORY, ask_systemd=tree.refuse).missing["memory"]
    assert missing.why.endswith("systemd was asleep")
    assert missing.remedy.startswith("wake it, or ")


@pytest.mark.requires("user")
def test_a_refusal_where_there_is_no_place_at_all(tree: Tree) -> None:
    tree.own.chmod(0o555)
    missing = find(tree.host(), MEMORY, ask_systemd=tree.refuse).missing
    tree.own.chmod(0o755)
    assert missing.keys() == {"memory", "tracking"}
    assert all("wake it" in one.remedy for one in missing.values())


@pytest.mark.requires("user")
def test_a_controller_that_the_users_manager_lacks_has_a_drop_in(tree: Tree) -> None:
    group(Path(tree.scope.directory), available="memory pids")
    places = find(tree.host(), frozenset({"memory", "cpuset"}), ask_systemd=tree.ask)
    assert (places.v2_controllers, places.scope) == (MEMORY, "x.scope")
    remedy = places.missing["cpuset"].remedy
    words = ("user@.service.d", "Delegate=cpu cpuset io memory pids", "daemon-reload", "restart")
    assert [word for word in words if word not in remedy] == []


@pytest.mark.requires("user")
def test_only_who_may_not_write_to_the_common_ancestor_is_outside(tree: Tree) -> None:
    assert not find(tree.host(), MEMORY, ask_systemd=tree.ask).outside
    (tree.mount / "cgroup.procs").chmod(0o444)
    assert find(tree.host(), MEMORY, ask_systemd=tree.ask).outside


def test_the_owner_asks_only_with_a_keeper_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    tree = Tree(tmp_path / "tree")
    owner = _cgroup.Owner(str(tmp_path / "state"), tree.host())
    monkeypatch.setattr(owner.scope, "get", lambda start: tree.ask())
    try:
        assert owner.places(MEMORY).scope == ""
        assert owner.places(MEMORY, (), pytest.fail).scope == ""  # as it was remembered
        assert owner.places(frozenset({"pids"}), (), pytest.fail).scope == "x.scope"
    finally:
        owner.close()


def test_what_is_asked_for_is_a_message_that_d_bus_carries() -> None:
    address = jeepney.DBusAddress("/x", bus_name="x.y", interface="x.y")
    body: tuple[object, ...] = ("x.scope", "fail", properties(4711), [])
    call = jeepney.new_method_call(address, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
    parser = Parser()
    parser.add_data(call.serialise(serial=1))
    name, mode, found, others = parser.get_next_message().body
    assert (name, mode, others) == ("x.scope", "fail", [])
    values = dict(found)
    assert values["PIDs"] == ("au", [4711])
    assert values["Delegate"] == ("b", True)
    assert values["CollectMode"] == ("s", "inactive-or-failed")
    assert values["TasksMax"] == ("t", 2**64 - 1)


@pytest.mark.requires("user")
@pytest.mark.parametrize("given", [True, False], ids=["set", "unset"])
def test_the_bus_of_a_user_is_that_of_the_users_manager(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/another")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if given:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")
    assert bus_path() == ("/somewhere/bus" if given else f"/run/user/{os.geteuid()}/bus")


def test_without_the_library_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pycontain._cgroup._dbus", raising=False)
    monkeypatch.delattr(_cgroup, "_dbus", raising=False)
    monkeypatch.setitem(sys.modules, "jeepney", None)
    answer = request("x.scope", os.getpid())
    assert isinstance(answer, Refusal)
    assert "jeepney is not installed" in answer.why
    assert answer.remedy == "pip install 'pycontain[systemd]'"


@pytest.mark.requires("user")
def test_without_a_bus_the_remedy_is_to_start_the_users_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    answer = request("x.scope", os.getpid())
    assert isinstance(answer, Refusal)
    assert (answer.file, "loginctl enable-linger" in answer.remedy) == (f"{tmp_path}/bus", True)


DBUS = "org.freedesktop.DBus.Error"


@pytest.mark.parametrize(
    "name, words",
    [
        (f"{DBUS}.AccessDenied", ("polkit", "manage-units")),
        (f"{DBUS}.InteractiveAuthorizationRequired", ("polkit",)),
        (f"{DBUS}.ServiceUnknown", ("start systemd",)),
        (f"{DBUS}.PropertyReadOnly", ("238",)),
        ("", ("outside of containers",)),
    ],
)
def test_each_refusal_has_a_remedy(name: str, words: tuple[str, ...]) -> None:
    answer = refusal("/the/bus", name, "what it said")
    assert "what it said" in answer.why
    assert [word for word in words if word not in answer.remedy] == []


@contextmanager
def bus(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket on which one connection is served as told, and then closed."""

    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            serve(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=work)
        thread.start()
        yield str(path)
        thread.join()


def silent(connection: socket.socket) -> None:
    while connection.recv(1024):
        pass


def silent_after_greeting(connection: socket.socket) -> None:
    while not connection.recv(1024).endswith(b"\r\n"):
        pass
    connection.sendall(b"OK 0123456789abcdef\r\n")
    silent(connection)


def rejecting(connection: socket.socket) -> None:
    while not connection.recv(1024).endswith(b"\r\n"):
        pass
    connection.sendall(b"REJECTED EXTERNAL\r\n")
    silent(connection)


def leaving(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "serve, error",
    [
        (silent, TimeoutError),
        (silent_after_greeting, TimeoutError),
        (rejecting, RefusedError),
        (leaving, OSError),
    ],
)
def test_a_bus_that_does_not_do_its_part_is_an_error_in_time(
    serve: Callable[[socket.socket], None], error: type[Exception], tmp_path: Path
) -> None:
    with bus(tmp_path / "bus", serve) as path, pytest.raises(error):
        start_unit(path, "x.scope", properties(os.getpid()), timeout_s=0.1)


def test_a_bus_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start_unit(str(tmp_path / "bus"), "x.scope", [], timeout_s=0.1)
