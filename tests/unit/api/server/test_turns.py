"""Bodies in tiny chunks, many at once: a turn of the event loop reads so much of all of them, and they take turns."""

from __future__ import annotations

import asyncio

from api.server.chunks import ChunkDecoder
from api.server.turns import CHUNKS_A_TURN, CHUNKS_AT_ONCE, Turns

MANY = 100
CHUNKS = 5 * CHUNKS_AT_ONCE


class CountedTurns(Turns):
    """Counts the chunks of each turn.

    Attributes:
        of_turns: the numbers, of the turn that runs last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of_turns = [0]

    def spend(self, chunks: int) -> None:
        """Count them."""
        self.of_turns[-1] += chunks
        super().spend(chunks)

    async def watch(self, count: int) -> None:
        """Begin a number with each of so many turns."""
        for _ in range(count):
            self.of_turns.append(0)
            await asyncio.sleep(0)


class Reading:
    """A connection that reads one body, as far as it may."""

    def __init__(self, turns: Turns, body: bytes) -> None:
        self._turns = turns
        self._decoder = ChunkDecoder(turns)
        self.content = b""
        self.ended = asyncio.Event()
        self._feed(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")

    def _feed(self, data: bytes = b"") -> None:
        self.content += self._decoder.decode(data)
        if self._decoder.is_behind:
            self._turns.wait(self._feed)
        else:
            self.ended.set()


async def test_a_turn_reads_so_many_chunks_of_all_connections() -> None:
    """However many have some, and all are read in the end."""
    turns = CountedTurns()
    body = bytes(range(1, 256)) * (CHUNKS // 255 + 1)
    readings = [Reading(turns, body) for _ in range(MANY)]
    needed = MANY * len(body) // CHUNKS_A_TURN
    await turns.watch(2 * needed)
    assert all(reading.ended.is_set() and reading.content == body for reading in readings)
    assert max(turns.of_turns) <= CHUNKS_A_TURN
    assert sum(turns.of_turns) == MANY * len(body)


async def test_a_small_body_waits_for_one_portion_of_each_other() -> None:
    """Not for all of theirs."""
    turns = CountedTurns()
    large = [Reading(turns, b"x" * CHUNKS) for _ in range(MANY)]
    small = Reading(turns, b"abc")
    await turns.watch(MANY * CHUNKS_AT_ONCE // CHUNKS_A_TURN + 2)
    assert small.ended.is_set()
    assert small.content == b"abc"
    assert not any(reading.ended.is_set() for reading in large)
    await turns.watch(2 * MANY * CHUNKS // CHUNKS_A_TURN)
    assert all(reading.ended.is_set() for reading in large)


async def test_ordinary_bodies_wait_for_nothing() -> None:
    """As long as they are few, all is read at once."""
    turns = Turns()
    assert all(Reading(turns, b"abc").ended.is_set() for _ in range(MANY))
