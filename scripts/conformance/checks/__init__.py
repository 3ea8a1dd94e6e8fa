# SPDX-License-Identifier: Apache-2.0
"""All checks, in the order of the table."""

from conformance.checks import groups, hooks, life, mounts, namespaces, process, security

CHECKS = (
    *life.CHECKS,
    *process.CHECKS,
    *mounts.CHECKS,
    *namespaces.CHECKS,
    *groups.CHECKS,
    *security.CHECKS,
    *hooks.CHECKS,
)
