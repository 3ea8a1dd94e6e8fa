# SPDX-License-Identifier: Apache-2.0
"""Images: what the OCI specifications define, a content store, archives and a registry client.

Nothing here needs the C extension, and only what speaks to registries needs other packages.
"""
