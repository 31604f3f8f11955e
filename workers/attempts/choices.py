"""Answers in a form that their upstream does not have: several choices at once, one tool call at most.

What is promised with `n` and `parallel_tool_calls` holds whoever serves: of an upstream that makes one choice a call
several are asked for at once, and of one that cannot be held to a single tool call the others are dropped.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from shared.errors import GatewayError
from shared.models.abilities import makes_one_choice
from shared.process.tasks import end_all
from shared.types import Delta, Event, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from shared.openai.request import ChatBody, ChatRequest
    from workers.providers.base import Provider

WAITING_BATCHES = 8
"""Number of batches of a choice that may wait before its upstream is read no further."""


def calls_for(provider: str, body: ChatBody, cannot: Collection[str]) -> int:
    """Return how many requests to the upstream a completion is.

    Args:
        provider: whose API it is.
        body: the client's request.
        cannot: what the model does not take.
    """
    return body.n or 1 if makes_one_choice(provider, cannot) else 1


@asynccontextmanager
async def answer(
    provider: Provider, request: ChatRequest, model: str, cannot: Collection[str]
) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
    """Start a completion; as `Provider.stream`, with what the provider itself cannot do.

    Args:
        provider: whom to ask.
        request: the client's.
        model: the upstream's name of the model.
        cannot: what the model does not take.
    """
    body = request.body
    calls = calls_for(provider.name, body, cannot)
    started = _several(provider, request.without("n"), model, calls) if calls > 1 else provider.stream(request, model)
    try:
        async with started as batches:
            yield _one_call(batches) if body.parallel_tool_calls is False else batches
    except GatewayError as error:
        request.name_clients_places(error)
        raise


@asynccontextmanager
async def _several(
    provider: Provider, request: ChatRequest, model: str, count: int
) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
    """Start the same completion several times; leaving the context closes them all."""
    found: asyncio.Queue[tuple[int, Sequence[Event] | Exception | None]] = asyncio.Queue(count * WAITING_BATCHES)

    async def ask(number: int) -> None:
        # Entered and left by one task each, as the upstream's connection wants it.
        try:
            async with provider.stream(request, model) as batches:
                async for batch in batches:
                    await found.put((number, batch))
        except Exception as error:  # noqa: BLE001 -- raised by who reads
            await found.put((number, error))
        else:
            await found.put((number, None))

    tasks = [asyncio.create_task(ask(number)) for number in range(count)]
    try:
        yield _merged(found, count)
    finally:
        await end_all(*tasks)


async def _merged(
    found: asyncio.Queue[tuple[int, Sequence[Event] | Exception | None]], count: int
) -> AsyncIterator[Sequence[Event]]:
    """Yield the events of all choices as one completion's: no end before the last has ended, and one sum of counts."""
    usages: dict[int, Usage] = {}
    ends: list[Event] = []
    running = count
    while running:
        number, batch = await found.get()
        if isinstance(batch, Exception):
            raise batch
        if batch is None:
            running -= 1
            continue
        events: list[Event] = []
        for event in batch:
            if isinstance(event, Usage):
                usages[number] = event
            else:
                place = events if isinstance(event, Delta) else ends
                place.append(msgspec.structs.replace(event, index=number))
        if any(isinstance(event, Usage) for event in batch):
            events.append(_sum(usages.values()))
        yield events
    # What only some of them have reported is no count of all: it comes before the end, as what is known so far.
    yield [*ends, _sum(usages.values())] if len(usages) == count else ends


def _sum(usages: Collection[Usage]) -> Usage:
    total = Usage(0, 0, requests=0)
    for usage in usages:
        counts = {
            name: value + getattr(total, name)
            for name in usage.__struct_fields__
            if type(value := getattr(usage, name)) is int  # no bool: is_regional is no count
        }
        if usage.billed_usd is not None:
            counts["billed_usd"] = usage.billed_usd + (total.billed_usd or 0.0)
        total = msgspec.structs.replace(usage, **counts)
    return total


async def _one_call(batches: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
    """Yield the events but those of a choice's further tool calls."""
    first: dict[int, int] = {}
    async for batch in batches:
        yield [kept for event in batch if (kept := _without_further_calls(event, first)) is not None]


def _without_further_calls(event: Event, first: dict[int, int]) -> Event | None:
    if not isinstance(event, Delta) or not event.tool_calls:
        return event
    index = first.setdefault(event.index, event.tool_calls[0].index)
    calls = [call for call in event.tool_calls if call.index == index] or None
    kept = msgspec.structs.replace(event, tool_calls=calls)
    return None if kept == Delta(index=event.index) else kept
