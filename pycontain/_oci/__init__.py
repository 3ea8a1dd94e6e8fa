# SPDX-License-Identifier: Apache-2.0
"""The OCI runtime specification over the same core as `Sandbox`."""
