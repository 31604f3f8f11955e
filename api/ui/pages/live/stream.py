"""The live page's server-sent events: of each snapshot what this browser has not got yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from api.ui.pages.live.reader import LiveReader
    from api.ui.pages.live.snapshot import Fields, Snapshot

KEEP_ALIVE_S: Final = 10.0
CHECK_S: Final = 3.0
"""Time until a stream ends whose session has ended."""
RETRY: Final = b"retry: 2000\n\n"  # after so many ms EventSource connects again (HTML standard)
# A stream that only ends is opened again by EventSource.
END: Final = b"event: end\ndata: \n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"


class Sent:
    """The state that a browser has."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Fields]] = {}
        self._summary: Fields = {}
        self._positions: dict[str, int] = {}

    def changes(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return what it has not, and note that it has it: nothing where it has all."""
        changes: dict[str, Any] = {}
        if snapshot.summary != self._summary:
            changes["summary"] = self._summary = snapshot.summary
        for name, items in snapshot.lists.items():
            before, now = self._items.get(name), {item.key: item.fields for item in items}
            if before is None or [*before] != [*now] or before != now:
                changed = {key: fields for key, fields in now.items() if (before or {}).get(key) != fields}
                changes.setdefault("lists", {})[name] = {"order": [*now], "changed": changed}
                self._items[name] = now
        if snapshot.positions != self._positions:
            changes["positions"] = self._positions = snapshot.positions
        return changes


async def live_events(reader: LiveReader, is_signed_in: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """Yield events until the session ends, with an event that says so, or until this process drains.

    Args:
        reader: of this process.
        is_signed_in: tells whether the session that asked still holds.
    """
    sent = Sent()
    async with reader.watching() as watch:
        yield RETRY
        checked_at = sent_at = time.monotonic()
        # Else a page that is open would hold up a process that drains, to the end of its time.
        while not reader.is_ending:
            await watch.wait(CHECK_S)
            now = time.monotonic()
            if now - checked_at >= CHECK_S:
                checked_at = now
                if not await _holds(is_signed_in):
                    yield END
                    return
            changes = sent.changes(reader.snapshot) if reader.snapshot is not None else {}
            if changes:
                yield b"data: " + msgspec.json.encode(changes) + b"\n\n"
            elif now - sent_at >= KEEP_ALIVE_S:
                yield KEEP_ALIVE
            else:
                continue
            sent_at = now


async def _holds(is_signed_in: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether a session holds; while that cannot be found out, it does."""
    try:
        return await is_signed_in()
    except (DatabaseUnavailable, *UNREACHABLE):
        return True
