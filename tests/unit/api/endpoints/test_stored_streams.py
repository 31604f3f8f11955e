"""Those who follow responses of the background, and take nothing of what is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api.endpoints.stored import streams
from api.endpoints.stored.streams import unless_stalled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def chunks() -> AsyncGenerator[bytes, None]:
    """Three of them."""
    for number in range(3):
        yield b"%d" % number


async def test_who_takes_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, while a chunk waits for him."""
    monkeypatch.setattr(streams, "STALLED_S", 0.0)
    aborted = asyncio.Event()
    async for chunk in unless_stalled(chunks(), aborted.set):
        assert chunk == b"0"
        await aborted.wait()
        break


async def test_who_reads_on_is_not() -> None:
    """Whatever comes, all of it."""
    assert [chunk async for chunk in unless_stalled(chunks(), pytest.fail)] == [b"0", b"1", b"2"]
