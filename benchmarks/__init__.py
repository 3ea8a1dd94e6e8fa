# SPDX-License-Identifier: Apache-2.0
"""Benchmarks against the floor in C and against the competitors; `make bench` runs them."""
