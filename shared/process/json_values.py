"""Bounds on the values of a JSON body, and on its depth: their number, not their bytes, is what reading it costs.

A decoder reads a body in one step, during which no other thread of the process runs either; 20 MiB of `[],[],[]` take a
second. So values are counted before, in steps that let the event loop go on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from shared.process.tasks import Pauses

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_VALUES: Final = 100_000
"""Of a chat request, of what else clients send, and of a reply. Conversations of a thousand turns have ten thousand;
what is at the bound is decoded within about 10 ms, and three times that on a slow machine."""
STEP_BYTES: Final = 256 * 1024
SPARE_CALLS: Final = 64
"""More calls and levels of JSON than any later reader of a body is in, beyond those of its first one."""
_STRUCTURE: Final = (b",", b"[", b"{")
# Possessive, so that no match remembers where it could have ended.
_IN_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


def with_spare_calls(work: Callable[[], T], calls: int = SPARE_CALLS) -> T:
    """Return what `work` returns, called from within so many calls.

    Python bounds calls and levels of JSON together. So what the first reader of a body takes here, all later ones do,
    which may be in more calls: in another process, in the middle of a session's history.
    """
    return with_spare_calls(work, calls - 1) if calls else work()


async def has_more_values(body: bytes, most: int = MOST_VALUES) -> bool:
    """Return whether a JSON body has more than `most` values: every comma, list and object outside of texts is one."""
    pause = Pauses()
    count = 0
    for start in range(0, len(body), STEP_BYTES):
        count += _count(body, start, start + STEP_BYTES)
        if count > most:
            return await _has_more_outside_texts(body, most, pause)
        await pause()
    return False


async def _has_more_outside_texts(body: bytes, most: int, pause: Pauses) -> bool:
    count = texts = at = 0
    # In JSON each text is a value or the name of one; more of them are no JSON, and need not be counted to the end.
    while count <= most and texts <= 2 * most:
        begin = body.find(b'"', at, at + STEP_BYTES)
        until = min(at + STEP_BYTES, len(body)) if begin < 0 else begin
        count += _count(body, at, until)
        at = until
        if begin >= 0:
            texts += 1
            at = await _end_of_text(body, begin + 1, pause)
        if at >= len(body):
            return count > most
        await pause()
    return True


async def _end_of_text(body: bytes, at: int, pause: Pauses) -> int:
    """Return the position behind the text whose content begins at `at`."""
    while at < len(body):
        until = min(at + STEP_BYTES, len(body))
        found = _IN_TEXT.match(body, at, until)
        end = until if found is None else found.end()
        if body[end : end + 1] == b'"' and end < until:
            return end + 1
        # Where a step ends within an escape, the next one begins with it; the body itself may end there.
        at = end if end > at else until
        await pause()
    return at


def _count(body: bytes, start: int, end: int) -> int:
    return sum(body.count(mark, start, end) for mark in _STRUCTURE)
