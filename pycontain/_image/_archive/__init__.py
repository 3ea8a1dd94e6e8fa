# SPDX-License-Identifier: Apache-2.0
"""Images outside of the store: directories and archives that other tools read and write.

* An OCI layout: a directory, or a tar of one (image-spec, image-layout.md).
* A docker-archive: what `docker save` writes; since Docker 25 it is an OCI layout too.
"""

from __future__ import annotations

from ._read import Loaded, load
from ._rootfs import import_rootfs
from ._write import Format, save

__all__ = ["Format", "Loaded", "import_rootfs", "load", "save"]
