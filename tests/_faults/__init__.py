# SPDX-License-Identifier: Apache-2.0
"""The fault sweep: what runs, with the fault build, in namespaces of its own (driver.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Drive = Callable[..., dict[str, Any]]
"""Runs a sweep of a scenario and returns the report (the fixture `drive`)."""
