"""The end of a server of the tests, whose clients may be processes that connect to the last moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROUNDS: Final = 5
"""From the accepted socket to its handler: a task, a transport, a protocol, the handler's task, and one to spare."""


async def accept_no_more(server: asyncio.Server) -> None:
    """Close a server, once all that it has accepted are connections, which can be closed.

    Of one that was accepted in the moment before, asyncio would find its server closed, fail, and leave the socket to
    the garbage collector, which complains in the middle of a test to come.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
    server.close()


async def hang_up(writers: Iterable[asyncio.StreamWriter]) -> None:
    """Close connections, and wait until their sockets are closed."""
    ending = list(writers)
    for writer in ending:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in ending), return_exceptions=True)
