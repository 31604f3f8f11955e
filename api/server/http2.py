"""Hypercorn's HTTP/2, where one stream of a connection must not end the others, nor a connection hold up the process.

Behind a proxy the streams of one connection are those of many clients.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import hypercorn.protocol
from h2.events import DataReceived
from h2.exceptions import ProtocolError
from hypercorn.protocol.h2 import H2Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)

PIECE_BYTES: Final = 1024
"""How much is read at a time: that may be a hundred frames of nine bytes, each of which takes up to 0.1 ms."""


class SteadyH2Protocol(H2Protocol):
    """HTTP/2, of which a stream that is odd or over ends alone."""

    async def _handle_events(self, events: Iterable[Any]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                # More of a body whose request has its answer: Hypercorn knows it no more, and would fail.
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                continue
            try:
                await super()._handle_events([event])
            except Exception as error:
                stream_id = getattr(event, "stream_id", None)
                if not stream_id:
                    raise
                _log.info("a request over HTTP/2 cannot be served (%s): its stream is reset", type(error).__name__)
                with suppress(ProtocolError):
                    self.connection.reset_stream(stream_id)
                self.streams.pop(stream_id, None)
        await self._flush()


def install() -> None:
    """Let Hypercorn use it; it has no setting for that."""
    hypercorn.protocol.H2Protocol = SteadyH2Protocol  # type: ignore[attr-defined]
