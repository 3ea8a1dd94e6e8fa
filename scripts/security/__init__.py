# SPDX-License-Identifier: Apache-2.0
"""docs/security-report.md: what the suite, the sweeps, the fuzzers and the peers came to."""
