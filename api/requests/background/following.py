"""Those who follow responses of the background: from a stream in Redis, woken by news that are published for them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from shared.redis.names import followed_key, response_events_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from redis.asyncio import Redis

FOLLOWED_S: Final = 30
RENEW_S: Final = 10.0
LOOK_S: Final = 2.0
"""After how long who follows looks by himself: news may be lost."""
MOST_READ: Final = 16
"""Entries that are read at a time: who reads slowly keeps them in memory."""
MOST_FOLLOWERS: Final = 16
"""Of one response in this process."""


class EventsGone(Exception):
    """The events that are asked for are not kept any more, or never were."""


class Followers:
    """The clients of this process that follow a background response.

    Args:
        redis: where the events are.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._events: dict[str, set[asyncio.Event]] = {}

    def handle_news(self, request_id: str) -> None:
        """Wake who follows a response: there is more of it."""
        for event in self._events.get(request_id, ()):
            event.set()

    def has_room(self, request_id: str) -> bool:
        """Return whether one more may follow a response here."""
        return len(self._events.get(request_id, ())) < MOST_FOLLOWERS

    async def check(self, request_id: str, after: int, *, is_open: bool) -> None:
        """Check that the events after this one are there, or will be.

        Raises:
            EventsGone: they are not.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        entries = await self._redis.xrange(response_events_key(request_id), count=1)
        if (not entries and not is_open) or (entries and int(entries[0][1].get(b"n", 0)) > after + 1):
            raise EventsGone

    async def follow(self, request_id: str, after: int, keep_alive_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the events after this one as they come, to the end; nothing in between as a sign of life.

        Args:
            request_id: hex digits.
            after: the number of an event; -1 for all.
            keep_alive_s: after how many seconds without an event there is such a sign.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        last = "-"
        renewed_at = float("-inf")
        with self._news_of(request_id) as news:
            sent_at = time.monotonic()
            while True:
                # Before the first look: from then on what is appended is published, so that nothing falls in between.
                if time.monotonic() - renewed_at > RENEW_S:
                    await self._redis.set(followed_key(request_id), b"1", ex=FOLLOWED_S)
                    renewed_at = time.monotonic()
                # Before the look: what comes while it is under way wakes the wait after it.
                news.clear()
                entries = await self._redis.xrange(response_events_key(request_id), min=last, count=MOST_READ)
                for entry_id, fields in entries:
                    last = b"(" + entry_id  # "(" leaves that entry out
                    if b"e" in fields:
                        return
                    if chunk := _after(fields, after):
                        sent_at = time.monotonic()
                        yield chunk
                if not entries:
                    await _wait(news, min(LOOK_S, keep_alive_s))
                if time.monotonic() - sent_at > keep_alive_s:
                    sent_at = time.monotonic()
                    yield b""

    @contextmanager
    def _news_of(self, request_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._events.setdefault(request_id, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._events[request_id]
            waiting.discard(event)
            if not waiting:
                del self._events[request_id]


def _after(fields: dict[bytes, bytes], after: int) -> bytes:
    """Return what comes after an event in an entry: each ends with an empty line, and has no other."""
    payload, first = fields.get(b"d", b""), int(fields.get(b"n", 0))
    for _ in range(max(0, after + 1 - first)):
        _, _, payload = payload.partition(b"\n\n")
    return payload


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
