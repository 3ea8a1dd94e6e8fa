# SPDX-License-Identifier: Apache-2.0
"""What the OCI runtime specification asks of a runtime, as small checks of its command."""
