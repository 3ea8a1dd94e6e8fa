# SPDX-License-Identifier: Apache-2.0
"""Fuzz targets: C under libFuzzer (target_*.c, build.py, seeds.py) and Python (properties.py).

`make fuzz` runs them for long, tests/analysis and tests/unit for a moment.
"""
