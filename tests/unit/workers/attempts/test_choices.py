"""Several choices of an upstream that makes one a call, and one tool call of an upstream that makes several."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import Unavailable
from shared.openai.request import ChatRequest
from shared.types import Delta, Event, Finish, ToolCallDelta, Usage
from workers.attempts.choices import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SAID: list[list[Event]] = [
    [Delta("a")],
    [Delta("b"), Usage(7, 1)],
    [Finish("stop"), Usage(7, 2, cached_tokens=3, service_tier="flex")],
]


class Upstream:
    """A provider that says the same each time, and notes what it is asked and how many of its answers are open."""

    def __init__(self, *answers: Sequence[Any], name: str = "anthropic") -> None:
        self.name = name
        self.asked: list[ChatRequest] = []
        self.open = 0
        self._answers = list(answers)

    @asynccontextmanager
    async def stream(self, request: ChatRequest, _: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Yield the next answer; None in it is silence for good."""
        said = self._answers[len(self.asked) % len(self._answers)]
        self.asked.append(request)
        self.open += 1
        try:
            yield self._batches(said)
        finally:
            self.open -= 1

    async def _batches(self, said: Sequence[Any]) -> AsyncIterator[Sequence[Event]]:
        for batch in said:
            if isinstance(batch, Exception):
                raise batch
            if batch is None:
                await asyncio.Event().wait()
            else:
                yield batch


def asking(**fields: Any) -> ChatRequest:
    """Return a request with these fields."""
    hello = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    return ChatRequest(json.dumps(hello | fields).encode())


async def events_of(upstream: Upstream, request: ChatRequest, cannot: tuple[str, ...] = ()) -> list[Event]:
    """Return all events of an answer."""
    async with answer(upstream, request, "m", cannot) as batches:  # type: ignore[arg-type]  # a double
        return [event async for batch in batches for event in batch]


@pytest.mark.parametrize(("name", "cannot"), [("anthropic", ()), ("ollama", ()), ("gemini", ("n",)), ("other", ("n",))])
async def test_several_choices_are_as_many_calls_that_count_together(name: str, cannot: tuple[str, ...]) -> None:
    """Each is asked for one choice; all their ends come last, and after them the sum of what was counted."""
    upstream = Upstream(SAID, name=name)
    events = await events_of(upstream, asking(n=3), cannot)
    assert ["n" in request.fields for request in upstream.asked] == [False] * 3
    for index in range(3):
        said = [event for event in events if isinstance(event, Delta) and event.index == index]
        assert "".join(delta.content or "" for delta in said) == "ab"
    *_, one, two, three, usage = events
    assert [one, two, three] == [Finish("stop", index) for index in range(3)]
    assert usage == Usage(21, 6, cached_tokens=9, service_tier="flex", requests=3)
    assert upstream.open == 0


async def test_the_bills_of_several_calls_are_added_up() -> None:
    """What is no count is as one of them has it."""
    bill = Usage(7, 2, is_regional=True, billed_usd=0.25)
    events = await events_of(Upstream([[Delta("a")], [Finish("stop"), bill]], name="ollama"), asking(n=3))
    assert events[-1] == Usage(21, 6, requests=3, is_regional=True, billed_usd=0.75)


async def test_an_upstream_that_makes_several_is_asked_once() -> None:
    """With the client's own request."""
    for request, upstream in ((asking(n=3), Upstream(SAID, name="openai")), (asking(n=1), Upstream(SAID))):
        await events_of(upstream, request)
        assert upstream.asked == [request]


async def test_counts_of_some_choices_come_before_the_end() -> None:
    """As what is known so far: the rest is estimated."""
    events = await events_of(Upstream(SAID, [[Delta("c")], [Finish("stop")]]), asking(n=2))
    assert [type(event) for event in events][-2:] == [Finish, Finish]
    assert Usage(7, 2, cached_tokens=3, service_tier="flex") in events


async def test_a_failure_of_one_ends_all() -> None:
    """The others are closed at once, however long they would go on."""
    upstream = Upstream([[Delta("a")], None], [Unavailable("gone")])
    with pytest.raises(Unavailable):
        await events_of(upstream, asking(n=4))
    assert upstream.open == 0


async def test_leaving_closes_all() -> None:
    """Also in the middle of a silence."""
    upstream = Upstream([[Delta("a")], None])
    async with answer(upstream, asking(n=4), "m", ()) as batches:  # type: ignore[arg-type]  # a double
        await anext(batches)
    assert (len(upstream.asked), upstream.open) == (4, 0)


CALLS: list[list[Event]] = [
    [Delta("text")],
    [Delta(tool_calls=[ToolCallDelta(3, "a", "f", "{"), ToolCallDelta(4, "b", "g")])],
    [Delta(tool_calls=[ToolCallDelta(4, arguments="{}")])],
    [Delta("more", tool_calls=[ToolCallDelta(4, arguments="{}")])],
    [Delta(tool_calls=[ToolCallDelta(3, arguments="}")]), Finish("tool_calls")],
]


@pytest.mark.parametrize("name", ["gemini", "ollama", "openai", "anthropic"])
async def test_parallel_tool_calls_false_is_held_whoever_serves(name: str) -> None:
    """The first call alone is passed on, all of it, and all the text."""
    assert await events_of(Upstream(CALLS, name=name), asking(parallel_tool_calls=False)) == [
        Delta("text"),
        Delta(tool_calls=[ToolCallDelta(3, "a", "f", "{")]),
        Delta("more"),
        Delta(tool_calls=[ToolCallDelta(3, arguments="}")]),
        Finish("tool_calls"),
    ]
    for asked in (asking(), asking(parallel_tool_calls=True)):
        assert await events_of(Upstream(CALLS, name=name), asked) == [event for batch in CALLS for event in batch]
