# SPDX-License-Identifier: Apache-2.0
"""Which processors can be given is what the kernel says of this process's cpuset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pycontain._cgroup import Hierarchy, Host, check_affinity, parse_cpuset
from pycontain._cgroup._affinity import allowed_cpus
from pycontain.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def host(version: int, mount: Path, own: str | None) -> Host:
    found = Hierarchy(
        version=version,
        controllers=frozenset({"cpuset"} if version == 1 else ()),
        mount=str(mount),
        own=own,
        read_only=False,
        options=frozenset(),
    )
    return Host(v2=found if version == 2 else None, v1=(found,) if version == 1 else ())


@pytest.mark.parametrize(
    "version, file, at",
    [
        (1, "cpuset.effective_cpus", "a/b"),
        (2, "cpuset.cpus.effective", "a/b"),
        (2, "cpuset.cpus.effective", "a"),  # the controller goes down so far
    ],
)
def test_they_are_those_of_the_nearest_group_with_the_controller(
    tmp_path: Path, version: int, file: str, at: str
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / at / file).write_text("1-3\n")

    found = allowed_cpus(host(version, tmp_path, f"{tmp_path}/a/b"))

    assert found == ("1-3", f"{tmp_path}/{at}/{file}")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("hidden", [False, True])
def test_they_are_those_of_the_machine_where_no_group_says_so(
    tmp_path: Path, version: int, hidden: bool
) -> None:
    found = allowed_cpus(host(version, tmp_path, None if hidden else str(tmp_path)))

    assert found is not None
    assert found[1] == "/sys/devices/system/cpu/online"


def test_what_this_process_runs_on_can_be_given() -> None:
    mine = os.sched_getaffinity(0)

    assert check_affinity(",".join(map(str, mine))) == mine


def test_what_cannot_be_given_is_named_with_what_can() -> None:
    with pytest.raises(ConfigError, match=r"CPUs 4000,4001 \(/sys/.*: (.*)\)") as caught:
        check_affinity(f"{min(os.sched_getaffinity(0))},4000-4001")
    shown = str(caught.value).rpartition(": ")[0].rpartition(": ")[2].rstrip(")")
    assert min(os.sched_getaffinity(0)) in parse_cpuset(shown)
