"""What a completion amounts to, whichever provider made it: for comparing providers with what was scripted."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from shared.models.providers import PROVIDERS
from shared.openai.request import ChatRequest
from shared.types import Event, Finish, Usage
from tests.upstreams.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from workers.providers.base import Provider

WIRES = (*(name for name, row in PROVIDERS.items() if not row.package), "openai-responses")
"""What is spoken: each provider's API, and OpenAI's other one."""
HELLO: dict[str, Any] = {"model": "asked", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Outcome:
    """The events of one completion, added up."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str | None = None
    usage: Usage | None = None
    logprobs: list[str] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)


def outcome_of(events: Iterable[Event], index: int = 0) -> Outcome:
    """Return what the events of a choice add up to; fails where their order breaks the protocol."""
    outcome = Outcome()
    calls: dict[int, list[str]] = {}
    ids: set[str] = set()
    is_over = False
    for event in events:
        assert not is_over, "usage after the finish must be the last event"
        if isinstance(event, Usage):
            outcome.usage, is_over = event, outcome.finish is not None
        elif event.index != index:
            continue
        elif isinstance(event, Finish):
            assert outcome.finish is None, "one finish per choice"
            outcome.finish = event.reason
        else:
            assert outcome.finish is None, "no delta after the finish"
            outcome.content += event.content or ""
            outcome.reasoning += event.reasoning or ""
            outcome.refusal += event.refusal or ""
            for call in event.tool_calls or ():
                if call.index not in calls:
                    assert call.id, "a call's first piece has its id"
                    assert call.id not in ids, "ids are unique"
                    ids.add(call.id)
                    calls[call.index] = [call.name or "", ""]
                else:
                    assert call.id is None, "id and name stand in the first piece only"
                calls[call.index][1] += call.arguments
            outcome.annotations += event.annotations or ()
            if event.logprobs is not None:
                outcome.logprobs += [token["token"] for token in msgspec.json.decode(event.logprobs)["content"]]
    outcome.calls = [(name, arguments) for _, (name, arguments) in sorted(calls.items())]
    return outcome


def chat(body: dict[str, Any] | None = None) -> ChatRequest:
    """Return a request as the worker gets it."""
    return ChatRequest(json.dumps(body or HELLO).encode())


def folder_of(wire: str) -> str:
    """Return the package that has all that tests know of a provider."""
    return f"tests.upstreams.{wire.replace('-', '_')}"


def provider_for(wire: str, url: str) -> Provider:
    """Return the provider of a wire, pointed at a scripted upstream."""
    provider: Provider = import_module(f"{folder_of(wire)}.provider").make(url)
    return provider


@asynccontextmanager
async def serving(wire: str) -> AsyncIterator[tuple[ScriptedUpstream, Provider]]:
    """Yield a scripted upstream and the provider of a wire that is pointed at it."""
    async with ScriptedUpstream() as upstream:
        provider = provider_for(wire, upstream.url)
        try:
            yield upstream, provider
        finally:
            await provider.close()


async def complete(
    provider: Provider, body: dict[str, Any] | None = None, on_batch: Callable[[Sequence[Event]], object] | None = None
) -> list[Event]:
    """Return every event of one completion by the model `scripted`; `on_batch` sees each batch as it arrives."""
    events: list[Event] = []
    async with provider.stream(chat(body), "scripted") as batches:
        async for batch in batches:
            events.extend(batch)
            if batch and on_batch is not None:  # an empty one says only that the upstream lives
                on_batch(batch)
    return events
