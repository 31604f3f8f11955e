"""Ways to close a connection: at once, or so that its client still gets to read what was written."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import asyncio

LINGER_S: Final = 30.0
"""Time in which what a client sends behind its answer is dropped: to close earlier would reset the connection, and take
the answer from a client that is still sending."""
DRAIN_LINGER_S: Final = 2.0
"""The same where the server stops."""
ANSWER_S: Final = 1.0
"""Time in which a client may have all of an answer, and send the next request, before we know that it is over."""
_NO_LINGERING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: the kernel drops what was not sent, too."""


def abort(transport: asyncio.BaseTransport) -> None:
    """Close a connection at once, with what its client did not read."""
    connection = transport.get_extra_info("socket")
    with suppress(OSError):  # it is closed already
        # Without it the kernel would go on sending what the client does not read.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    cast("asyncio.WriteTransport", transport).abort()


def end_writing(transport: asyncio.Transport) -> bool:
    """End what is written, and let the client send on; return whether that can be done (TLS cannot)."""
    if transport.is_closing() or not transport.can_write_eof():
        return False
    with suppress(OSError):  # the client has gone
        transport.write_eof()
        return True
    return False
