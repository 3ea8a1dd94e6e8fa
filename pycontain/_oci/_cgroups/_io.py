# SPDX-License-Identifier: Apache-2.0
"""Block devices: cgroup-v1/blkio-controller.rst; cgroup-v2.rst, "IO"; block/bfq-iosched.rst."""

from __future__ import annotations

from pycontain import _os as os

from ._write import Setting, put, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import BlockIO, Resources

# Field, attribute, file of v1, key of v2's io.max.
_RATES = (
    ("throttleReadBpsDevice", "throttle_read_bps_device", "read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "throttle_write_bps_device", "write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "throttle_read_iops_device", "read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "throttle_write_iops_device", "write_iops_device", "wiops"),
)


def asked(resources: Resources) -> str:
    """Return the first field that needs the controller, "" if none does. As in runc, 0 is none."""
    block_io = resources.block_io
    values = {
        "weight": block_io.weight,
        "leafWeight": block_io.leaf_weight,
        "weightDevice": block_io.weight_device,
        **{field: getattr(block_io, name) for field, name, _, _ in _RATES},
    }
    return next((f"blockIO.{name}" for name, value in values.items() if value), "")


def apply(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    block_io = resources.block_io
    weights = _weights_v2(block_io, group) if group.is_v2 else _weights_v1(block_io, group)
    for setting in (*weights, *_throttles(block_io, group)):
        put(group, setting)


def _throttles(block_io: BlockIO, group: Dir) -> list[Setting]:
    found = []
    for field, name, v1, v2 in _RATES:
        for limit in getattr(block_io, name):
            device = f"{limit.major}:{limit.minor}"
            if group.is_v2:  # a rate of 0 lifts the limit on v1
                file, text = "io.max", f"{device} {v2}={limit.rate or 'max'}"
            else:
                file, text = f"blkio.throttle.{v1}", f"{device} {limit.rate}"
            found.append(Setting(file, text, f"blockIO.{field}"))
    return found


def _weights_v1(block_io: BlockIO, group: Dir) -> list[Setting]:
    """Return the weights, which BFQ takes (since Linux 5.0), and CFQ took before."""
    bfq = os.path.exists(f"{group.path}/blkio.bfq.weight")
    prefix = "blkio.bfq" if bfq else "blkio"
    found = []
    if block_io.weight:
        found.append(Setting(f"{prefix}.weight", str(block_io.weight), "blockIO.weight"))
    if block_io.leaf_weight:
        text = str(block_io.leaf_weight)
        found.append(Setting("blkio.leaf_weight", text, "blockIO.leafWeight"))
    for row in block_io.weight_device:
        device, field = f"{row.major}:{row.minor}", "blockIO.weightDevice"
        if row.weight:
            found.append(Setting(f"{prefix}.weight_device", f"{device} {row.weight}", field))
        if row.leaf_weight:
            found.append(Setting("blkio.leaf_weight_device", f"{device} {row.leaf_weight}", field))
    return found


def _weights_v2(block_io: BlockIO, group: Dir) -> list[Setting]:
    """Return the weights for BFQ, which has the range of v1, or else for iocost."""
    leaves = [block_io.leaf_weight, *(row.leaf_weight for row in block_io.weight_device)]
    if any(leaves):
        raise unsupported("blockIO.leafWeight", "cgroup v2 has no such weight", "leave it out")
    bfq = os.path.exists(f"{group.path}/io.bfq.weight")
    file = "io.bfq.weight" if bfq else "io.weight"
    rows = [(f"{row.major}:{row.minor}", row.weight) for row in block_io.weight_device]
    found = [("default", block_io.weight, "weight")]
    found += [(device, value, "weightDevice") for device, value in rows]
    return [
        Setting(file, f"{which} {value if bfq else weight(value)}", f"blockIO.{field}")
        for which, value, field in found
        if value
    ]


def weight(blkio: int) -> int:
    """Convert v1's weight (10 to 1000) to iocost's (1 to 10000), as runc and crun do."""
    return 1 + (blkio - 10) * 9999 // 990
