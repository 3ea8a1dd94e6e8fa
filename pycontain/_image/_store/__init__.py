# SPDX-License-Identifier: Apache-2.0
"""The content store: what was pulled, built or imported, by its digest.

    blobs/sha256/HEX    as they came, never changed
    layers/HEX[.erofs]/ extracted trees, and archives with an index (`_layers`)
    names/              what names stand for (`_names`)
    leases/             what living processes use (`_leases`)
    ingest/             what is on its way in (`_ingest`)
    trash/              what is on its way out (`_sweep`)
    version             of this layout; the lock of the store is on this file

All that is visible is complete: it was written aside, synced and renamed. Any number of processes
may use a store, and each may be killed at any time. Whoever adds things says first, with a lease
and the shared lock, what is to stay; garbage is collected under the exclusive lock, which is held
for the renames into the trash only.
"""

from __future__ import annotations

from ._home import default_path
from ._ingest import Ingest, Spool
from ._layers import ARCHIVE, INDEX, Form, Layer, LayerBuild, layer_of
from ._leases import Lease
from ._names import Name
from ._store import Store
from ._sweep import Swept
from ._usage import Usage

__all__ = [
    "ARCHIVE",
    "INDEX",
    "Form",
    "Ingest",
    "Layer",
    "LayerBuild",
    "Lease",
    "Name",
    "Spool",
    "Store",
    "Swept",
    "Usage",
    "default_path",
    "layer_of",
]
