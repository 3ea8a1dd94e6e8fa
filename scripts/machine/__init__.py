# SPDX-License-Identifier: Apache-2.0
"""Machines to test on: Debian kernels under qemu, with cgroup v2 alone.

A machine boots in seconds even without KVM: its root is a Debian image made once, what is tested
comes along on read-only disks, at the same paths as here, and what it writes is thrown away.
"""
