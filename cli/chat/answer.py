"""One question and its answer: shown while it comes, and summed up at its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from cli.chat.events import Counted, Ended, Failed, Piece, Served, Waiting
from cli.chat.screen import REFRESH_S
from cli.chat.stream import AskFailed, answer_stream
from cli.tables import printable

if TYPE_CHECKING:
    from cli.chat.events import Event
    from cli.chat.screen import Screen
    from cli.chat.stream import Connection, Question

_CUT: Final = {"length": "cut at the greatest length", "content_filter": "cut by a filter"}


class Answer(msgspec.Struct):
    """An answer, as far as it came."""

    text: str = ""
    tier: str = ""
    model: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_s: float = 0.0
    error: str = ""
    is_stopped: bool = False

    def take(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Piece(text=text, is_thought=False):
                self.text += text
            case Served(tier=tier, model=model):
                self.tier, self.model = tier, model
            case Ended(reason=reason):
                self.finish_reason = reason
            case Counted(prompt_tokens=prompt, completion_tokens=completion):
                self.prompt_tokens, self.completion_tokens = prompt, completion
            case Failed(message=message):
                self.error = message

    @property
    def summary(self) -> str:
        """Return a line about it: who answered, how much, how long."""
        parts = [printable(part) for part in (self.tier, self.model) if part]
        if self.prompt_tokens is not None and self.completion_tokens is not None:
            parts.append(f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens")
        parts.append(f"{self.duration_s:.1f} s")
        if (cut := _CUT.get(self.finish_reason)) is not None:
            parts.append(cut)
        return ", ".join(["stopped", *parts] if self.is_stopped else parts)


def answered(connection: Connection, question: Question, screen: Screen) -> Answer:
    """Ask a question and show its answer; Ctrl-C stops it. What went wrong is in `error`."""
    answer = Answer()
    started = time.monotonic()
    try:
        # Its handler of Ctrl-C cancels the task, so that nothing of ours is left half done.
        asyncio.run(_shown(connection, question, screen, answer))
    except KeyboardInterrupt:
        answer.is_stopped = True
    except AskFailed as error:
        answer.error = str(error)
    answer.duration_s = time.monotonic() - started
    return answer


async def _shown(connection: Connection, question: Question, screen: Screen, answer: Answer) -> None:
    with screen:
        drawing = asyncio.create_task(_draw(screen))
        try:
            screen.waits("Waiting for an answer")
            async with answer_stream(connection, question) as stream, aclosing(stream) as events:
                async for event in events:
                    answer.take(event)
                    _show(screen, event)
        finally:
            drawing.cancel()


def _show(screen: Screen, event: Event) -> None:
    match event:
        case Piece(is_thought=True):
            screen.waits("Thinking")
        case Piece(text=text):
            screen.add(text)
        case Waiting():
            screen.waits("Waiting for an answer")


async def _draw(screen: Screen) -> None:
    while True:
        screen.refresh()
        await asyncio.sleep(REFRESH_S)
