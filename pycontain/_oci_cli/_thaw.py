# SPDX-License-Identifier: Apache-2.0
"""The loading of what `_frozen` keeps. It is kept there, too, and is all that there is by then.

The modules are as the import system would make them, which is not asked (importlib,
"importlib.machinery.ModuleSpec"). Nothing is imported here that the interpreter has to look for,
not even `__future__`.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import ExtensionFileLoader, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    # Name, file, whether it is a package, size and time of the last change (ns) of the file, and
    # the code, which an extension has not.
    Row = tuple[str, str, bool, int, int, CodeType | None]


def check(rows: "Sequence[Row]") -> None:
    """Raise ValueError or OSError if a module's file is not what it was."""
    for _, file, _, size, ctime_ns, _ in rows:
        found = posix.stat(file)
        if (found.st_size, found.st_ctime_ns) != (size, ctime_ns):
            raise ValueError(file)


def load(rows: "Sequence[Row]") -> None:
    """Execute modules, in the order in which they were complete once."""
    rows = [row for row in rows if row[0] not in sys.modules]
    for name, file, is_package, _, _, code in rows:
        if code is not None:
            sys.modules[name] = _empty(name, file, is_package)
    for name, file, _, _, _, code in rows:
        if code is None:
            sys.modules[name] = _extension(name, file)
        else:
            exec(code, sys.modules[name].__dict__)  # noqa: S102 - as the import system does
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, sys.modules[name])


def _empty(name: str, file: str, is_package: bool) -> "ModuleType":
    loader = SourceFileLoader(name, file)
    spec = ModuleSpec(name, loader, origin=file, is_package=is_package)
    spec.has_location = True
    module = type(sys)(name)
    if is_package:
        module.__path__ = spec.submodule_search_locations = [file.rpartition("/")[0]]
    module.__spec__, module.__loader__ = spec, loader
    module.__file__, module.__package__ = file, spec.parent
    return module


def _extension(name: str, file: str) -> "ModuleType":
    loader = ExtensionFileLoader(name, file)
    spec = ModuleSpec(name, loader, origin=file)
    spec.has_location = True
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
