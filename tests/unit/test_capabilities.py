# SPDX-License-Identifier: Apache-2.0
"""Capability names, numbers and masks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontain import _capabilities
from pycontain.errors import ConfigError


@pytest.mark.parametrize(
    "names, mask",
    [
        ((), 0),
        (("CAP_CHOWN",), 1),
        (("CAP_SYS_ADMIN",), 1 << 21),
        (("CAP_CHECKPOINT_RESTORE",), 1 << 40),
        (("CAP_KILL", "CAP_KILL"), 1 << 5),
        (_capabilities.NAMES, (1 << 41) - 1),
    ],
)
def test_mask(names: tuple[str, ...], mask: int) -> None:
    assert _capabilities.mask(names) == mask


@pytest.mark.parametrize("name", ["CAP_FLY", "chown", "cap_chown", "", "0"])
def test_a_name_that_is_no_capability(name: str) -> None:
    with pytest.raises(ConfigError, match="not a capability"):
        _capabilities.mask([name])


def test_no_capability_of_this_kernel_is_missing() -> None:
    last = Path("/proc/sys/kernel/cap_last_cap")
    if not last.exists():
        pytest.skip("/proc/sys/kernel/cap_last_cap does not exist")
    assert int(last.read_text()) < len(_capabilities.NAMES)
