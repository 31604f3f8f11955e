"""A public address that this machine has for a while, on its loopback: others cannot be reached by it meanwhile."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NET_ADMIN: Final = 12
_SET_ADDRESS, _GET_FLAGS, _SET_FLAGS, _UP = 0x8916, 0x8913, 0x8914, 1


def may_add() -> bool:
    """Return whether this process may give its machine an address."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> _NET_ADMIN & 1)


@contextmanager
def own_address(address: str) -> Iterator[None]:
    """Give this machine an address; one at a time in a process."""
    label = b"lo:c%d" % os.getpid()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        in_family = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, _SET_ADDRESS, struct.pack("16s16s", label, in_family))
        try:
            yield
        finally:
            # A label whose interface is taken down is gone.
            (flags,) = struct.unpack("16xH14x", fcntl.ioctl(control, _GET_FLAGS, struct.pack("16s16x", label)))
            fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", label, flags & ~_UP))
