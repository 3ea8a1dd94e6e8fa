# SPDX-License-Identifier: Apache-2.0
"""The contract with the host: whether what is in a root fits the machine that is to run it.

An image brings everything but the kernel and the processor. `check` looks at the files that a
command would execute, before it does; `Sandbox` does the same, and raises what `Contract.check`
raises.
"""

from __future__ import annotations

from ._contract._check import Kind, Problem
from ._contract._elf import Elf
from ._contract._machine import Handler, Machine
from ._contract._program import File
from ._contract._report import Contract, check

__all__ = ["Contract", "Elf", "File", "Handler", "Kind", "Machine", "Problem", "check"]
