# SPDX-License-Identifier: Apache-2.0
"""The whole search for modules, for what is not where an installation has it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

_ELSEWHERE = ("_cffi_backend", "jeepney")


class Late:
    """The last finder of sys.meta_path: it brings in `site`, which is slow, once that is needed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the specification of one of the packages that we need (importlib.abc)."""
        if name not in _ELSEWHERE:
            return None
        sys.meta_path.remove(self)
        import site  # noqa: PLC0415

        site.main()
        found = (finder.find_spec(name, path) for finder in sys.meta_path)
        return next(filter(None, found), None)
