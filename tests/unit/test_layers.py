# SPDX-License-Identifier: Apache-2.0
"""A module imports only from lower levels, and two modules alone import the extension."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pycontain"
EXTENSION = "_nsbind"

# The one table of layers. "" is pycontain/__init__.py; a package stands for all its modules, which
# may import each other without cycles. Within a level a module may import those before it.
LEVELS = {
    0: (
        *("_record", "_error_base", "_command_errors", "_image_errors", "_cause", "errors"),
        *("_os_path", "_os", "_pidfd"),
        *("_atomic", "_json", "_statedir", "denial", "result", "enforcement"),
        *("_syscalls", "_seccomp", "_policy", "_capabilities", "profile", "_image", "_contract"),
        *("config", "_remedies", "_calls"),
    ),
    1: (
        *("_cgroup", "_userland", "_wire", "_native", "_fallbacks", "_host", "_hints"),
        *("_attach", "_patience", "_processes", "_terminal", "_usermap"),
    ),
    2: (
        *(
            "_accounts",
            "_ranges",
            "_identity",
            "_keeper",
            "_groups",
            "_landlock",
            "_audit",
            "_emulation",
            "_plan",
            "_command",
        ),
        *("_living", "_collect"),
    ),
    3: ("_runtime", "_watch", "_streams", "_explain", "_vet", "_erofs"),
    4: (
        *("_process", "_files", "_layers", "_unpack", "_pull", "_push", "_root"),
        *("_stored", "_writable"),
    ),
    5: ("_oci", "_configure", "_job", "_popen"),
    6: ("oci", "sandbox", "_aio", "images", "_trace", "contract", "_findings", "host"),
    7: ("",),
    8: ("_cli", "_oci_cli", "selftest", "__main__"),
}
PLACE = {name: place for place, name in enumerate(itertools.chain(*LEVELS.values()))}


def module_name(path: Path) -> str:
    """Return the dotted name below the package, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer(module: str) -> str:
    """Return the name under which the table knows a module: its own or that of its package."""
    return module if module in PLACE else module.partition(".")[0]


def known(name: str) -> str:
    """Return the module that an imported name is or stands in; "" for the package itself."""
    while name and name not in MODULES and name != EXTENSION:
        name = name.rpartition(".")[0]
    return name


def imports(module: str, source: str) -> set[str]:
    """Return the modules of ours that the source imports, wherever in the file."""
    is_package = MODULES[module].name == "__init__.py"
    home = module.split(".") if module else []
    if not is_package:
        home = home[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                base = ["pycontain", *home[: len(home) - node.level + 1], *base]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        ours = [name.split(".")[1:] for name in names if name.split(".")[0] == "pycontain"]
        found |= {known(".".join(name)) for name in ours}
    return found - {module}


GRAPH = {module: imports(module, path.read_text()) for module, path in MODULES.items()}


def test_every_module_has_a_place() -> None:
    assert [module for module in MODULES if layer(module) not in PLACE] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "__init__")
def test_imports_go_down(module: str) -> None:
    own = layer(module)
    upward = [
        other or "__init__"
        for other in sorted(GRAPH[module])
        if other != EXTENSION and layer(other) != own and PLACE[layer(other)] >= PLACE[own]
    ]
    assert upward == []


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "__init__")
def test_no_import_cycles(module: str) -> None:
    seen: set[str] = set()
    ahead = set(GRAPH[module])
    while ahead:
        step = ahead.pop()
        seen.add(step)
        ahead |= GRAPH.get(step, set()) - seen
    assert module not in seen


def test_importers_of_the_extension() -> None:
    importers = {module for module, found in GRAPH.items() if EXTENSION in found}
    assert importers == {"_native", "_wire"}
