# SPDX-License-Identifier: Apache-2.0
"""What a client tells its caller while it works. `str` of each is a sentence for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request failed and is made again after a while.

    Attributes:
        registry: Whose registry it is.
        problem: What went wrong, such as "rate limited by docker.io".
        seconds: How long it waits.
        attempt: Of how many attempts this was the last one, from 1.
        attempts: How many there are at most.
    """

    registry: str
    problem: str
    seconds: float
    attempt: int
    attempts: int

    def __str__(self) -> str:
        return (
            f"{self.problem}, waiting {self.seconds:.3g} s "
            f"(attempt {self.attempt} of {self.attempts})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryWarning:
    """A registry has something to say, by the header `Warning` (distribution-spec, "Warnings").

    Attributes:
        registry: Which one.
        text: What it says; escape sequences are taken out.
    """

    registry: str
    text: str

    def __str__(self) -> str:
        return f"warning of {self.registry}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploading:
    """A part of a blob has been sent.

    Attributes:
        digest: Of the blob.
        sent: Bytes so far. It can go back, when a part has to be sent again.
        size: Bytes in all.
    """

    digest: str
    sent: int
    size: int

    def __str__(self) -> str:
        return f"{self.digest}: {self.sent} of {self.size} bytes sent"


Event: TypeAlias = Waiting | RegistryWarning | Uploading
EventHandler: TypeAlias = Callable[[Event], None]
