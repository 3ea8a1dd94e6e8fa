# SPDX-License-Identifier: Apache-2.0
"""What a machine offers to programs."""

from __future__ import annotations

import os

import pytest

from pycontain import ConfigError
from pycontain._contract._machine import Machine, parse_handler, parse_kernel
from pycontain._seccomp import ALLOW, Filter

RELEASES = {
    "6.1.0-18-amd64": (6, 1, 0),
    "5.10": (5, 10, 0),
    "6.18.44": (6, 18, 44),
    "7.0-rc3+": (7, 0, 0),
}


@pytest.mark.parametrize("release, numbers", RELEASES.items())
def test_releases(release: str, numbers: tuple[int, int, int]) -> None:
    assert parse_kernel(release) == numbers


@pytest.mark.parametrize("release", ["", "six", "6", "6.", "9" * 50 + ".1", "-1.2"])
def test_what_is_no_release(release: str) -> None:
    with pytest.raises(ConfigError, match="kernel"):
        parse_kernel(release)


LEVELS = {"linux/amd64": 1, "linux/amd64/v3": 3, "linux/arm64": 0}


@pytest.mark.parametrize("platform, level", LEVELS.items())
def test_levels(platform: str, level: int) -> None:
    assert Machine.of(platform, "5.10").level == level


def test_this_machine_is_this_machine() -> None:
    here = Machine.here()
    assert here.kernel == parse_kernel(os.uname().release)
    assert here.runs(here.platform.architecture)


@pytest.mark.parametrize("platform, relative, abi", [
    ("linux/amd64", "386", "i386"), ("linux/arm64", "arm", "arm"),
])  # fmt: skip
def test_the_32_bit_relative_runs_where_the_filter_knows_it(
    platform: str, relative: str, abi: str
) -> None:
    machine = Machine.of(platform, "6.1")
    assert not machine.under(Filter(default=ALLOW)).runs(relative)
    assert machine.under(Filter(default=ALLOW, secondary=(abi,))).runs(relative)


HANDLER = """enabled
interpreter /usr/bin/qemu-aarch64-static
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
ARM64 = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\x00\xb7\x00"


def test_a_handler_takes_what_its_mask_says() -> None:
    handler = parse_handler("qemu-aarch64", HANDLER.format(flags="OCF"))
    assert handler.fixed
    assert handler.takes(ARM64)
    assert not handler.takes(ARM64.replace(b"\xb7", b"\xf3"))
    assert not handler.takes(ARM64[:19])


def test_only_a_fixed_handler_reaches_into_a_sandbox() -> None:
    for flags, does in (("F", True), ("OC", False)):
        handler = parse_handler("q", HANDLER.format(flags=flags))
        machine = Machine(platform=Machine.here().platform, kernel=(6, 1, 0), handlers=(handler,))
        assert machine.emulates("arm64", ARM64) is does


OTHERS = {
    "off": HANDLER.format(flags="F").replace("enabled", "disabled"),
    "by its name": "enabled\ninterpreter /bin/x\nflags: \nextension .py\n",
    "empty": "",
    "broken": HANDLER.format(flags="").replace("7f45", "7g45"),
    "endless": HANDLER.format(flags="").replace("7f45", "7f45" * 1000),
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_an_entry_that_is_no_handler_of_beginnings(text: str) -> None:
    with pytest.raises(ValueError, match=r"^other$|hex|values"):
        parse_handler("other", text)
