# SPDX-License-Identifier: Apache-2.0
"""Network devices that move into a container (config-linux.md, "Network Devices"; rtnetlink(7)).

A device keeps its MTU and its link-layer address; the kernel takes its other addresses away, so
that the permanent ones of global scope are given to it again, and it is set up.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from pycontain import _native
from pycontain.errors import SpawnError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h>
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x400
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_FLAGS = 8
_IFA_F_PERMANENT = 0x80
_IFF_UP = 1
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ROOM = 1 << 16


class _Address(NamedTuple):
    """An address as RTM_NEWADDR has it: struct ifaddrmsg but the device, and attributes."""

    family: int
    prefix: int
    flags: int
    scope: int
    attributes: bytes


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value.ljust(_aligned(len(value)), b"\0")


def _text(name: str) -> bytes:
    return name.encode() + b"\0"


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[_aligned(size) :]


class _Rtnetlink:
    """A conversation with the kernel about a network namespace: ours, or that of a descriptor."""

    def __init__(self, namespace: int | None = None) -> None:
        kind = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        fd = None if namespace is None else _native.socket_in(namespace, *kind)
        self._socket = socket.socket(*kind, fd)

    def ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Return the bodies of what is answered. Raises OSError."""
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags | _REQUEST, 1, 0) + body)
        found: list[bytes] = []
        while True:
            data = self._socket.recv(_ROOM)
            while len(data) >= _HEADER.size:
                length, answer, *_ = _HEADER.unpack_from(data)
                body, data = data[_HEADER.size : length], data[_aligned(max(length, 16)) :]
                if answer == _DONE:
                    return found
                if answer == _ERROR:
                    number = -int.from_bytes(body[:4], "little", signed=True)
                    if number:
                        raise OSError(number, os.strerror(number))
                    return found
                found.append(body)
                if answer == _NEW_LINK:  # of one device: no end follows
                    return found

    def index(self, name: str) -> int:
        """Return a device's number. Raises OSError."""
        link = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        (found,) = self.ask(_GET_LINK, 0, link + _attribute(_IFLA_IFNAME, _text(name)))
        index: int = _LINK.unpack_from(found)[2]
        return index

    def close(self) -> None:
        self._socket.close()


def move_devices(devices: Mapping[str, str], pid: int) -> None:
    """Move devices of this network namespace into that of a process, and set them up.

    Args:
        devices: Names here, and inside.
        pid: The process.

    Raises:
        SpawnError: There is no such device, or it cannot be moved, or its name is taken.
    """
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name, inside in devices.items():
            try:
                _move(name, inside, namespace)
            except OSError as error:
                number = error.errno or errno.EIO
                raise SpawnError(
                    "NET_DEVICE",
                    number,
                    os.strerror(number),
                    name if name == inside else f"{name} as {inside}",
                    "linux.netDevices names devices of the runtime's network namespace, and names "
                    "that are free in the container's",
                ) from None
    finally:
        os.close(namespace)


def _move(name: str, inside: str, namespace: int) -> None:
    route = _Rtnetlink()
    try:
        index = route.index(name)
        addresses = _addresses(route, index)
        link = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        link += _attribute(_IFLA_NET_NS_FD, struct.pack("=i", namespace))
        link += _attribute(_IFLA_IFNAME, _text(inside))
        route.ask(_NEW_LINK, _ACK, link)
    finally:
        route.close()
    _set_up(inside, addresses, namespace)


def _addresses(route: _Rtnetlink, index: int) -> list[_Address]:
    """Return the permanent addresses of global scope of a device."""
    found = []
    for body in route.ask(_GET_ADDRESS, _DUMP, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, prefix, flags, scope, owner = _ADDRESS.unpack_from(body)
        rest = body[_ADDRESS.size :]
        whole = dict(_attributes(rest)).get(_IFA_FLAGS, bytes([flags, 0, 0, 0]))
        if owner == index and scope == 0 and whole[0] & _IFA_F_PERMANENT:
            found.append(_Address(family, prefix, flags, scope, rest))
    return found


def _set_up(name: str, addresses: list[_Address], namespace: int) -> None:
    route = _Rtnetlink(namespace)
    try:
        index = route.index(name)
        for address in addresses:
            head = _ADDRESS.pack(
                address.family, address.prefix, address.flags, address.scope, index
            )
            route.ask(_NEW_ADDRESS, _ACK | _CREATE, head + address.attributes)
        route.ask(_NEW_LINK, _ACK, _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))
    finally:
        route.close()
