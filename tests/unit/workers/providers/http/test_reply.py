"""What is made of the bytes of a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.upstreams.openai import replies as openai
from workers.providers.http import reply
from workers.providers.http.reply import Reply
from workers.providers.openai.wire import ChatReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class Body(httpx.AsyncByteStream):
    """A body in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each piece."""
        for piece in self._pieces:
            yield piece


async def sizes(*pieces: bytes) -> list[int]:
    """Return how many events each batch has."""
    received = Reply(httpx.Response(200, stream=Body(*pieces)))
    return [len(batch) async for batch in received.batches(ChatReader())]


async def test_bytes_without_an_event_tell_that_the_upstream_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments, pings and parts of a long line, but not each of them: at most a few a second."""
    token = openai.chunk({"content": "Hi"})
    pieces = (token, b": ping\n\n", token[:10], token[10:20], token[20:], openai.text("!"))
    assert await sizes(*pieces) == [1, 1, 3]
    monkeypatch.setattr(reply, "ALIVE_S", 0.0)
    assert await sizes(*pieces) == [1, 0, 0, 0, 1, 3]
