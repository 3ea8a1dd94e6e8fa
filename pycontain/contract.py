# SPDX-License-Identifier: Apache-2.0
"""The contract with the host: whether what is in a root fits the machine that is to run it.

An image brings everything but the kernel and the processor. `check` looks at the files that a
command would execute, before it does; `Sandbox` does the same, and raises what `Contract.check`
raises. `trace` runs a command and tells which kernels have the system calls that it makes.
"""

from __future__ import annotations

from ._contract._check import Kind, Problem
from ._contract._elf import Elf
from ._contract._machine import Handler, Machine
from ._contract._program import File
from ._contract._report import Contract, check
from ._trace import Call, Trace, trace

__all__ = [
    "Call",
    "Contract",
    "Elf",
    "File",
    "Handler",
    "Kind",
    "Machine",
    "Problem",
    "Trace",
    "check",
    "trace",
]
