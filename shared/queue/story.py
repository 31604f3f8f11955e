"""The story of a request: events on its way, beside what every request goes through. It travels in its job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.process.tracing.context import TraceContext

Happening = Literal["traced", "moved", "taken_over", "failed", "cancelled", "orphaned"]
MOST_STORY: Final = 32
"""Events of a request's story: what comes later is left out."""
MOST_DETAIL_CHARS: Final = 240


class StoryEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event of a request's way: when (milliseconds since 1970), a word for it, and where or why."""

    at_ms: int
    what: str
    detail: str


TRACED: Final = "traced"
"""It is part of a trace, which the detail names."""
TAKEN_OVER: Final = "taken_over"
"""Another backend has taken a job over while it waited."""


def with_event(
    story: tuple[StoryEvent, ...], what: Happening, detail: str, at_ms: int | None = None
) -> tuple[StoryEvent, ...]:
    """Return a story with what happens now, or has happened at `at_ms`, in its place, if there is room."""
    if len(story) >= MOST_STORY:
        return story
    event = StoryEvent(at_ms or int(time.time() * 1000), what, detail[:MOST_DETAIL_CHARS])
    return tuple(sorted((*story, event), key=lambda each: each.at_ms))


def with_trace(story: tuple[StoryEvent, ...], trace: TraceContext | None, at_ms: int) -> tuple[StoryEvent, ...]:
    """Return the story of a request that began at `at_ms`, with the trace that it is part of, if it is of one."""
    return story if trace is None else with_event(story, TRACED, trace.trace_id, at_ms)


def trace_id_in(story: Sequence[StoryEvent]) -> str:
    """Return the id of the trace that a request is part of; empty where it is of none."""
    return next((event.detail for event in story if event.what == TRACED), "")


def is_taken_over(story: tuple[StoryEvent, ...]) -> bool:
    """Return whether that is the last thing that happened to a job."""
    return bool(story) and story[-1].what == TAKEN_OVER
