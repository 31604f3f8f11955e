"""What happens to a request on its way, beside what every request goes through: it travels in its job."""

from __future__ import annotations

import time
from typing import Final, Literal

import msgspec

Happening = Literal["moved", "failed", "cancelled"]
MOST_STORY: Final = 32
"""Events of a request's story: what comes later is left out."""
MOST_DETAIL_CHARS: Final = 240


class StoryEvent(msgspec.Struct, frozen=True, array_like=True):
    """What happened to a request on its way: when (milliseconds since 1970), a word for it, and where or why."""

    at_ms: int
    what: str
    detail: str


def told(story: tuple[StoryEvent, ...], what: Happening, detail: str) -> tuple[StoryEvent, ...]:
    """Return a story with what happens now at its end, if there is room."""
    if len(story) >= MOST_STORY:
        return story
    return (*story, StoryEvent(int(time.time() * 1000), what, detail[:MOST_DETAIL_CHARS]))
