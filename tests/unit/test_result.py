# SPDX-License-Identifier: Apache-2.0
"""Results are subprocess's, with more in them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
from types import MappingProxyType

import pytest

from pycontain import CalledProcessError, PycontainError, Reason, Result, Usage


def make(returncode: int = 0, reason: Reason = Reason.EXITED) -> Result:
    usage = Usage(wall_s=0.5, sources=MappingProxyType({"wall_s": "clock"}))
    return Result(["a"], returncode, "out", "err", reason=reason, usage=usage)


def test_it_is_a_completed_process() -> None:
    result = make()
    assert isinstance(result, subprocess.CompletedProcess)
    assert (result.args, result.returncode, result.stdout) == (["a"], 0, "out")
    assert result.truncated == frozenset()


def test_a_failed_check_has_everything_in_it() -> None:
    make().check_returncode()
    with pytest.raises(CalledProcessError) as caught:
        make(-9, Reason.OOM).check_returncode()
    error = caught.value
    assert isinstance(error, PycontainError)
    assert isinstance(error, subprocess.CalledProcessError)
    assert (error.returncode, error.cmd, error.output, error.stderr) == (-9, ["a"], "out", "err")


def test_its_text_has_the_verdict() -> None:
    assert repr(make(-9, Reason.OOM)) == (
        "Result(args=['a'], returncode=-9, stdout='out', stderr='err', reason='oom')"
    )


def test_hostile_output_is_escaped() -> None:
    result = Result(["a"], 0, b"\x1b[2J", None, reason=Reason.EXITED, usage=Usage(wall_s=0))
    assert "\x1b" not in repr(result)


def test_a_reason_is_its_name() -> None:
    assert str(Reason.OOM) == "oom"
    assert f"{Reason.PIDS_LIMIT}" == "pids_limit"
    assert len({reason.value for reason in Reason}) == len(Reason)


def test_usage_does_not_change() -> None:
    usage = make().usage
    with pytest.raises(dataclasses.FrozenInstanceError):
        usage.wall_s = 0  # type: ignore[misc]
    assert usage.memory_peak is None
    assert Usage(wall_s=1).sources == {}


def test_it_travels_between_processes() -> None:
    before = make(3)
    after = pickle.loads(pickle.dumps(before))
    assert copy.deepcopy(before).usage == before.usage
    assert (after.args, after.returncode, after.reason) == (["a"], 3, Reason.EXITED)
    assert after.usage == before.usage
