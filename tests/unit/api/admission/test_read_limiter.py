"""The turns in which requests of a key read what is stored."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from api.admission import read_limiter
from api.admission.read_limiter import READS_OF_KEY, ReadLimiter, ReadTurn
from shared.errors import RateLimited


async def test_a_key_waits_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for long; another key does not notice."""
    monkeypatch.setattr(read_limiter, "WAIT_S", 0.0)
    room = ReadLimiter()
    async with AsyncExitStack() as held:
        for _ in range(READS_OF_KEY):
            await held.enter_async_context(room.of("one"))
        with pytest.raises(RateLimited) as refused:
            async with room.of("one"):
                pass
        assert refused.value.code == "too_many_reads"
        async with room.of("other"):
            pass
    async with room.of("one"):
        pass


async def test_a_turn_that_is_held_goes_to_the_next_at_its_end() -> None:
    """Those who wait get it in their order; ending without one is nothing."""
    room, first, second = ReadLimiter(), ReadTurn(), ReadTurn()
    await first.end()
    for turn in (first, second):
        await turn.take(room.of("one"))
    third = asyncio.ensure_future(ReadTurn().take(room.of("one")))
    await asyncio.sleep(0)
    assert not third.done()
    await first.end()
    await third
