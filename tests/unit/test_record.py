# SPDX-License-Identifier: Apache-2.0
"""Records are named tuples, without `typing`."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from typing import Any, NamedTuple

import pytest

from pycontain import _record


class Ours(_record.NamedTuple):
    count: int  # type: ignore[assignment]  # a field, not the method of tuples
    name: str = "n"
    rest: tuple[int, ...] = ()


class Theirs(NamedTuple):
    count: int  # type: ignore[assignment]  # a field, not the method of tuples
    name: str = "n"
    rest: tuple[int, ...] = ()


CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((1,), {}),
    ((1, "a", (2,)), {}),
    ((1,), {"rest": (3,)}),
    ((), {"count": 4}),
)


@pytest.mark.parametrize("values, named", CALLS)
def test_a_record_is_as_a_named_tuple(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert tuple(ours) == tuple(theirs)
    assert (ours.count, ours.name, ours.rest) == (theirs.count, theirs.name, theirs.rest)
    assert ours._asdict() == theirs._asdict()
    assert tuple(ours._replace(name="b")) == tuple(theirs._replace(name="b"))
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert Ours._make(theirs) == ours


@pytest.mark.parametrize(
    "values, named",
    [((), {}), ((1, "a", (), 2), {}), ((1,), {"count": 1}), ((1,), {"other": 1})],
)
def test_wrong_fields_are_an_error(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_fields_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        Ours(1).name = "b"  # type: ignore[misc]


def test_a_command_of_the_runtime_starts_without_what_is_slow() -> None:
    """Each of these takes as long as ten modules of ours."""
    slow = {"typing", "enum", "re", "signal", "socket", "threading", "contextlib", "functools"}
    code = f"""
        import sys
        sys.path[:] = {sys.path!r}
        import pycontain._oci_cli._create, pycontain._oci._create, pycontain._oci._cgroups._create
        print(*sys.modules)
    """
    command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert slow & set(done.stdout.split()) == set()
