# SPDX-License-Identifier: Apache-2.0
"""What a command keeps of its modules: what that is, who may have written it, when it is used."""

from __future__ import annotations

import ast
import marshal
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _oci_command import ENV, PROGRAM
from pycontain._oci_cli import _thaw
from pycontain._oci_cli._frozen import NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from _oci_command import Runtime

BOOTSTRAP = Path(__file__).parents[2] / "src/_launcher/bootstrap.py"
SHOW = "pycontain._oci_cli._show"
HEAD = len(sys.version.encode())
ABSENT = "pycontain-runtime: container does not exist: x\n"


class Session:
    """A directory for a session's files, and the command `state` in that session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "session"
        self.folder.mkdir(mode=0o700)
        self.private = self.folder / "pycontain"
        self.file = self.file_of("state")
        self._state = folder / "state"

    def file_of(self, command: str) -> Path:
        return self.private / f"{command}{str(PROGRAM.parent).replace('/', '%')}"

    def call(self, *words: str, base: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "--root", self._state, *words],
            env={**ENV, "XDG_RUNTIME_DIR": str(self.folder) if base is None else base},
            cwd="/" if base is None else self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def complaint(self) -> str:
        """Return what the state of no container says on standard error."""
        done = self.call("state", "x")
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    def kept(self, command: str = "state") -> tuple[Any, list[tuple[Any, ...]]]:
        """Return the code that loads, and the modules."""
        data = self.file_of(command).read_bytes()
        assert data.startswith(sys.version.encode())
        code, rows = marshal.loads(data[HEAD:])
        return code, rows

    def mark(self, **changes: int) -> None:
        """Let one of the kept modules say that it comes from here; `changes` to what it came of."""
        code, rows = self.kept()
        place = next(place for place, row in enumerate(rows) if row[0] == SHOW)
        name, file, is_package, size, ctime_ns, _ = rows[place]
        source = f"import sys\nsys.stderr.write('kept: ')\n{Path(file).read_text()}"
        source = source.replace("from __future__ import annotations\n", "")
        about = {"size": size, "ctime_ns": ctime_ns} | changes
        rows[place] = (name, file, is_package, *about.values(), compile(source, file, "exec"))
        self.file.write_bytes(sys.version.encode() + marshal.dumps((code, rows)))


# The extension's own, and for a root that the test's directories hide from a user namespace.
NOT_KEPT = {
    *("pycontain._nsbind.lib", "pycontain._attach"),
    "pycontain._oci._cgroups._device_program",  # of cgroup v2
}


def _ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("pycontain")} - NOT_KEPT


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_the_next_call_uses_what_the_first_keeps(session: Session) -> None:
    assert session.complaint() == ABSENT
    assert session.private.stat().st_mode & 0o777 == 0o700
    assert session.file.stat().st_mode & 0o777 == 0o600
    session.mark()
    assert session.complaint() == f"kept: {ABSENT}"


def _changed_size(session: Session) -> None:
    session.mark(size=1)


def _changed_time(session: Session) -> None:
    session.mark(ctime_ns=1)


def _others_may_write(session: Session) -> None:
    session.mark()
    session.file.chmod(0o620)


def _another_interpreter(session: Session) -> None:
    session.mark()
    data = session.file.read_bytes()
    session.file.write_bytes(b"2" + data[1:])


def _a_link(session: Session) -> None:
    session.mark()
    session.file.rename(session.folder / "elsewhere")
    session.file.symlink_to(session.folder / "elsewhere")


def _a_part(session: Session) -> None:
    session.mark()
    data = session.file.read_bytes()
    session.file.write_bytes(data[: len(data) // 2])


def _nothing(session: Session) -> None:
    session.file.write_bytes(b"")


def _other_contents(session: Session) -> None:
    session.file.write_bytes(sys.version.encode() + marshal.dumps(7))


def _a_vanished_source(session: Session) -> None:
    session.mark()
    code, rows = session.kept()
    rows.append(("pycontain.gone", "/nowhere/gone.py", False, 0, 0, None))
    session.file.write_bytes(sys.version.encode() + marshal.dumps((code, rows)))


@pytest.mark.parametrize(
    "spoil",
    [
        *(_changed_size, _changed_time, _others_may_write, _another_interpreter, _a_link),
        *(_a_part, _nothing, _other_contents, _a_vanished_source),
    ],
)
def test_what_cannot_be_trusted_is_made_anew(
    session: Session, spoil: Callable[[Session], None]
) -> None:
    session.complaint()
    good = session.kept()
    spoil(session)
    assert session.complaint() == ABSENT
    assert not session.file.is_symlink()
    assert session.kept() == good


@pytest.mark.requires("root")
def test_what_belongs_to_another_is_not_used(session: Session) -> None:
    session.complaint()
    session.mark()
    os.chown(session.file, 65534, -1)
    assert session.complaint() == ABSENT
    assert session.file.stat().st_uid == os.geteuid()


@pytest.mark.requires("root")
@pytest.mark.parametrize("directory", ["folder", "private"])
def test_what_is_in_the_directory_of_another_is_not_used(session: Session, directory: str) -> None:
    session.complaint()
    session.mark()
    os.chown(getattr(session, directory), 65534, -1)
    assert session.complaint() == ABSENT


@pytest.mark.parametrize("directory", ["folder", "private"])
def test_what_is_in_a_directory_where_others_may_write_is_not_used(
    session: Session, directory: str
) -> None:
    session.complaint()
    session.mark()
    getattr(session, directory).chmod(0o770)
    assert session.complaint() == ABSENT


def test_a_link_to_the_directory_is_not_followed(session: Session) -> None:
    session.complaint()
    session.mark()
    session.private.rename(session.folder / "elsewhere")
    session.private.symlink_to("elsewhere")
    assert session.complaint() == ABSENT
    assert session.private.is_symlink()


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777])
@pytest.mark.parametrize("directory", ["folder", "private"])
def test_nothing_is_kept_where_others_may_write(
    session: Session, directory: str, mode: int
) -> None:
    session.private.mkdir()
    getattr(session, directory).chmod(mode)
    assert session.complaint() == ABSENT
    assert list(session.private.iterdir()) == []


@pytest.mark.requires("root")
@pytest.mark.parametrize("directory", ["folder", "private"])
def test_nothing_is_kept_in_the_directory_of_another(session: Session, directory: str) -> None:
    session.private.mkdir(mode=0o700)
    os.chown(getattr(session, directory), 65534, -1)
    assert session.complaint() == ABSENT
    assert list(session.private.iterdir()) == []


def test_nothing_is_kept_without_a_directory(session: Session) -> None:
    session.folder.rmdir()
    assert session.complaint() == ABSENT
    assert not session.folder.exists()


@pytest.mark.parametrize("base", ["", ".", "/proc", "nowhere", "/nowhere"])
def test_nothing_is_kept_where_no_session_is(session: Session, base: str) -> None:
    """Engines give the variable an empty value."""
    before = set(os.listdir("/"))
    assert session.call("state", "x", base=base).stderr == ABSENT
    assert list(session.folder.iterdir()) == []
    assert set(os.listdir("/")) == before


def test_first_calls_at_once(session: Session) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: session.complaint(), range(16))) == {ABSENT}
    assert list(session.private.iterdir()) == [session.file]
    session.mark()
    assert session.complaint() == f"kept: {ABSENT}"


def test_the_launcher_looks_for_all_that_is_kept() -> None:
    tree = ast.parse(BOOTSTRAP.read_text())
    commands = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS"
    ]
    assert commands == [tuple(NEEDED)]


LOOKS = """
import sys
sys.path += {path!r}
if sys.argv[1] == "thawed":
    import marshal
    code, rows = marshal.loads(open({file!r}, "rb").read()[{head}:])
    thaw = {{}}
    exec(code, thaw)
    thaw["load"](rows)
for name in {names!r}:
    __import__(name)
    module = sys.modules[name]
    spec = module.__spec__
    print(
        *(name, module.__name__, module.__package__, module.__file__, spec.name, spec.origin),
        *(spec.parent, spec.has_location, spec.cached, spec.submodule_search_locations),
        *(getattr(module, "__path__", None), ),
        *(type(module.__loader__).__name__, type(spec.loader).__name__),
        *(name.rpartition(".")[2] in vars(sys.modules.get(name.rpartition(".")[0], sys)), ),
        sep=", ",
    )
"""


def test_modules_are_as_the_import_system_makes_them(session: Session) -> None:
    session.complaint()
    _, rows = session.kept()
    names = [row[0] for row in rows]
    assert {"pycontain", "pycontain._oci_cli", SHOW, "fcntl", "__future__"} <= {
        *names,
        *sys.builtin_module_names,
    }
    code = LOOKS.format(path=sys.path, file=str(session.file), head=HEAD, names=names)
    thawed, imported = (
        subprocess.check_output([sys.executable, "-I", "-S", "-c", code, how], text=True)
        for how in ("thawed", "imported")
    )
    assert thawed.splitlines() == imported.splitlines()


@pytest.mark.requires("root", "cgroup_pids")
def test_what_is_kept_is_what_a_command_imports(session: Session, runtime: Runtime) -> None:
    bundle = runtime.plain_bundle()
    runtime.imported("run", "--bundle", bundle, "first")  # its filter is kept

    def step(command: str, *words: str | Path) -> None:
        assert session.call(command, "--help").returncode == 0
        kept = {row[0] for row in session.kept(command)[1]}
        assert _ours(kept) == _ours(runtime.imported(command, *words)), command

    step("run", "--bundle", bundle, "x")
    step("create", "--bundle", bundle, "x")
    step("exec", "x", "true")
    step("state", "x")
    step("start", "x")
    while runtime.state("x")["status"] != "stopped":
        pass
    step("delete", "x")
    runtime.create("x", "sleep", "60")
    step("kill", "x", "KILL")


def test_a_module_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sys.modules[__name__]
    code = compile("raise AssertionError", __file__, "exec")
    _thaw.load([(__name__, __file__, False, 0, 0, code)])
    assert sys.modules[__name__] is own
