# SPDX-License-Identifier: Apache-2.0
"""Attack sandboxes on this very host, and report what held: `python -m pycontain.selftest`.

`catalogue` is what is attempted and what must come of it, `runner` attempts it outside (does the
attack work on this host at all?) and inside, `report` tells.
"""
