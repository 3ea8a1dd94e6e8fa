# SPDX-License-Identifier: Apache-2.0
"""Sandboxes for event loops. Imported on first use, since asyncio itself is slow to import."""

from __future__ import annotations

from ._files import AsyncFiles
from ._popen import AsyncPopen
from ._sandbox import AsyncSandbox, run_async

__all__ = ["AsyncFiles", "AsyncPopen", "AsyncSandbox", "run_async"]
