# SPDX-License-Identifier: Apache-2.0
"""The contract between what is in a root and the host that runs it, looked at before and after."""

from __future__ import annotations

from typing import Final

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, unless an image or the caller says something else."""
