# SPDX-License-Identifier: Apache-2.0
"""What this host's kernel grants to this process, found out by doing it.

A primitive (`_primitives`) is a program of system calls that a throw-away child makes
(`_perform`). Only when it has failed, evidence is looked for (`_facts`) that tells who refused
(`_blame`), and what to do about it (`pycontain._remedies`).
"""

from ._blame import NO_PROCFS
from ._facts import Facts
from ._perform import Performed, cause_of_step, perform
from ._primitives import PRIMITIVES, Primitive

__all__ = ["NO_PROCFS", "PRIMITIVES", "Facts", "Performed", "Primitive", "cause_of_step", "perform"]
