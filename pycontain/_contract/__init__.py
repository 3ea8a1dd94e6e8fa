# SPDX-License-Identifier: Apache-2.0
"""The contract between what is in a root and the host that runs it, looked at before and after."""
