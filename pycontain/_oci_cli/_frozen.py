# SPDX-License-Identifier: Apache-2.0
"""A command's modules in one file, which the launcher's bootstrap loads without searching for any.

To find some seventy modules takes a seventh of the time of `run`. The file is for one interpreter
and one installation, private to one user, gone after a reboot, and used only while no module's file
has changed.
"""

from __future__ import annotations

import marshal
import sys

from pycontain import _atomic
from pycontain import _os as os
from pycontain._statedir import is_private, make_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from ._thaw import Row

_PROCESS = (
    *("_oci._attributes", "_oci._child", "_oci._filter", "_oci._namespaces", "_oci._spawn"),
    "_oci._userns",
)
_GROUPS = ("_oci._cgroups._create", "_oci._cgroups._resources")
# What a command imports in any case, beyond the program's own modules.
NEEDED = {
    "create": ("_oci_cli._create", *_GROUPS, *_PROCESS, "_oci._create"),
    "run": ("_oci_cli._create", "_oci_cli._foreground", *_GROUPS, *_PROCESS, "_oci._create"),
    "start": ("_oci_cli._lifecycle", "_oci._container", "_oci._channel"),
    "state": ("_oci_cli._show", "_oci._status"),
    "kill": ("_oci_cli._lifecycle", "_oci._container", "_oci._cgroups"),
    "delete": ("_oci_cli._lifecycle", "_oci._container", "_oci._cgroups"),
    "exec": (
        *("_oci_cli._exec", "_oci_cli._foreground", *_PROCESS, "_oci._exec"),
        *("_oci._cgroups", "_keeper"),
    ),
}
# Others may have come with `site`; the codecs come with the interpreter.
_OURS = frozenset((*sys.stdlib_module_names, "pycontain", "_cffi_backend")) - {"encodings"}
_OWN = (__name__, "pycontain._oci_cli._thaw", "pycontain._statedir")  # which only this needs
_LOADERS = ("SourceFileLoader", "ExtensionFileLoader")  # what has another is in the interpreter


def freeze(command: str, place: str) -> None:
    """Import what a command needs, and keep it in a file for the next one, where that can be."""
    from . import _thaw  # noqa: PLC0415 - nobody else imports it

    for name in NEEDED[command]:
        __import__(f"pycontain.{name}")
    try:
        directory = os.path.dirname(place)
        # Nobody else may write to it, nor put another one in its place.
        if is_private(os.path.dirname(directory)) and make_private(directory):
            kept = (_code(_thaw.__file__), _rows())
            _atomic.replace(place, sys.version.encode() + marshal.dumps(kept))
    except OSError:  # it is only slower
        pass


def _code(file: str) -> CodeType:
    """Return a module's code without its docstrings: less to load."""
    with open(file, "rb") as source:
        code: CodeType = compile(source.read(), file, "exec", dont_inherit=True, optimize=2)
    return code


def _rows() -> list[Row]:
    """Return what was imported, in the order in which it became complete."""
    rows = []
    for name, module in list(sys.modules.items()):
        kind = type(getattr(module, "__loader__", None)).__name__
        if kind not in _LOADERS or name.partition(".")[0] not in _OURS or name in _OWN:
            continue
        file = module.__file__ or ""
        found = os.stat(file)
        code = _code(file) if kind == _LOADERS[0] else None
        is_package = hasattr(module, "__path__")
        rows.append((name, file, is_package, found.st_size, found.st_ctime_ns, code))
    return rows
