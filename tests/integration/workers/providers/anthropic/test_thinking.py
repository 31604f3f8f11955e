"""Claude's thinking over the turns of a tool loop: kept by tool-call id, put back verbatim, left out when refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared import errors
from shared.types import Event
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.outcome import HELLO, chat, outcome_of
from tests.upstreams.recordings import TOOL
from tests.upstreams.scripted import Answer, ScriptedUpstream, json_answer, sse
from workers.providers.anthropic import provider as module
from workers.providers.anthropic.provider import AnthropicProvider
from workers.providers.tool_call_state import ToolCallState

THOUGHT = (
    anthropic.start()
    + anthropic.thinking_block(0, "I need", " the weather", signature="sig-1")
    + anthropic.redacted_block(1, "secret")
    + anthropic.text_block(2, "I ", "look.")
    + anthropic.thinking_block(3, signature="sig-2")
    + anthropic.call_block(4, '{"city":', '"Rome"}', call_id="toolu_a")
    + anthropic.call_block(5, call_id="toolu_b")
    + anthropic.end("tool_use")
)
ASKS = {**HELLO, "tools": [TOOL], "reasoning_effort": "high"}
THINKING_ERROR = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different one."


class MemoryStore:
    """A store of one test."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    async def get_many(self, model: str, call_ids: Sequence[str], /) -> Mapping[str, str]:
        """Return what was put."""
        return {call_id: self.kept[model, call_id] for call_id in call_ids if (model, call_id) in self.kept}

    async def put_many(self, model: str, texts: Mapping[str, str], /) -> None:
        """Keep it."""
        self.kept |= {(model, call_id): text for call_id, text in texts.items()}


class BrokenStore:
    """A store that is down, or does not answer."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    async def _fail(self) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise ConnectionError

    async def get_many(self, _model: str, _call_ids: Sequence[str], /) -> Mapping[str, str]:
        """Fail."""
        await self._fail()
        return {}

    async def put_many(self, _model: str, _texts: Mapping[str, str], /) -> None:
        """Fail."""
        await self._fail()


class Talk:
    """A client that goes through a tool loop with one upstream."""

    def __init__(self, upstream: ScriptedUpstream, provider: AnthropicProvider) -> None:
        self.upstream = upstream
        self.provider = provider

    async def ask(self, answer: Answer, body: dict[str, Any], model: str = "claude-opus-4-8") -> str:
        """Return the content of an answer."""
        self.upstream.add(answer)
        events: list[Event] = []
        async with self.provider.stream(chat(body), model) as batches:
            async for batch in batches:
                events += batch
        return outcome_of(events).content

    @property
    def sent(self) -> dict[str, Any]:
        """Return the last request."""
        body: dict[str, Any] = self.upstream.requests[-1].body
        return body


@asynccontextmanager
async def talking(store: ToolCallState | None = None) -> AsyncIterator[Talk]:
    """Yield a talk; its store is in memory unless another is given."""
    async with ScriptedUpstream() as upstream:
        provider = AnthropicProvider(upstream.url, thinking=store or MemoryStore())
        yield Talk(upstream, provider)
        await provider.close()


def _results(text: str = "I look.", arguments: str = '{"city":"Rome"}', **asks: Any) -> dict[str, Any]:
    calls = [("toolu_a", arguments), ("toolu_b", "{}")]
    said = {
        "role": "assistant",
        "content": text,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": given}}
            for call_id, given in calls
        ],
    }
    results = [{"role": "tool", "tool_call_id": call_id, "content": "sun"} for call_id, _ in calls]
    return {**ASKS, **asks, "messages": [*HELLO["messages"], said, *results]}


FIRST = {"type": "thinking", "thinking": "I need the weather", "signature": "sig-1"}
REDACTED = {"type": "redacted_thinking", "data": "secret"}
SECOND = {"type": "thinking", "thinking": "", "signature": "sig-2"}
ROME = {"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {"city": "Rome"}}
NOWHERE = {"type": "tool_use", "id": "toolu_b", "name": "weather", "input": {}}
LOOK = {"type": "text", "text": "I look."}


async def test_thinking_comes_back_verbatim_and_in_its_place() -> None:
    """The turn is sent back as it was made: thoughts, hidden thoughts, text, thoughts, calls."""
    async with talking() as talk:
        assert await talk.ask(sse(THOUGHT), ASKS) == "I look."
        assert await talk.ask(sse(anthropic.text("Sunny")), _results()) == "Sunny"
        assert talk.sent["messages"][1]["content"] == [FIRST, REDACTED, LOOK, SECOND, ROME, NOWHERE]


async def test_a_turn_that_the_client_changed_has_its_thinking_first() -> None:
    """Where the old places mean nothing any more, the thinking still precedes the calls."""
    async with talking() as talk:
        await talk.ask(sse(THOUGHT), ASKS)
        await talk.ask(sse(anthropic.text("Sunny")), _results("Looking."))
        looking = {"type": "text", "text": "Looking."}
        assert talk.sent["messages"][1]["content"] == [FIRST, REDACTED, SECOND, looking, ROME, NOWHERE]


async def test_another_model_or_no_reasoning_gets_no_thinking() -> None:
    """Thoughts are their model's own, and none are sent where the model does not think."""
    async with talking() as talk:
        await talk.ask(sse(THOUGHT), ASKS)
        plain = [LOOK, ROME, NOWHERE]
        await talk.ask(sse(anthropic.text("Sunny")), _results(), "claude-opus-4-7")
        assert talk.sent["messages"][1]["content"] == plain
        await talk.ask(sse(anthropic.text("Sunny")), _results(reasoning_effort="none"))
        assert talk.sent["messages"][1]["content"] == plain


async def test_a_model_that_thinks_by_itself_gets_its_thinking_back() -> None:
    """Also when the client never named an effort."""
    async with talking() as talk:
        asks = {**ASKS, "reasoning_effort": None}
        await talk.ask(sse(THOUGHT), asks, "claude-opus-5-5")
        await talk.ask(sse(anthropic.text("Sunny")), _results(reasoning_effort=None), "claude-opus-5-5")
        assert talk.sent["messages"][1]["content"][0] == FIRST


async def test_thinking_with_a_budget_goes_on_with_its_thoughts_and_stops_without() -> None:
    """Older models refuse to begin thinking in the middle of a tool loop."""
    model = "claude-sonnet-4-5"
    async with talking() as talk:
        await talk.ask(sse(THOUGHT), ASKS, model)
        await talk.ask(sse(anthropic.text("Sunny")), _results(), model)
        assert talk.sent["thinking"] == {"type": "enabled", "budget_tokens": 16_384}
        talk.provider._thinking = MemoryStore()
        await talk.ask(sse(anthropic.text("Sunny")), _results(), model)
        assert "thinking" not in talk.sent


@pytest.mark.parametrize("message", [THINKING_ERROR, "`thinking` blocks in the latest message cannot be modified"])
async def test_refused_thoughts_are_left_out_once(message: str) -> None:
    """A client that edits what came before them has made them worthless, not its request."""
    refusal = json_answer(anthropic.error_body("invalid_request_error", message), 400)
    async with talking() as talk:
        await talk.ask(sse(THOUGHT), ASKS)
        talk.upstream.add(refusal)
        assert await talk.ask(sse(anthropic.text("Sunny")), _results()) == "Sunny"
        assert talk.sent["messages"][1]["content"] == [LOOK, ROME, NOWHERE]
        talk.upstream.add(refusal, refusal)
        with pytest.raises(errors.InvalidRequest):
            await talk.ask(sse(anthropic.text("never")), _results())
        assert len(talk.upstream.requests) == 5


@pytest.mark.parametrize(("status", "message"), [(400, "max_tokens: too large"), (529, THINKING_ERROR)])
async def test_other_refusals_are_not_tried_again(status: int, message: str) -> None:
    """There is one retry loop in the system, and it is not here."""
    async with talking() as talk:
        await talk.ask(sse(THOUGHT), ASKS)
        talk.upstream.add(json_answer(anthropic.error_body("x", message), status))
        with pytest.raises(errors.GatewayError):
            await talk.ask(sse(anthropic.text("never")), _results())
        assert len(talk.upstream.requests) == 2


async def test_a_refusal_about_thinking_without_thoughts_is_the_callers() -> None:
    """Nothing of ours can be left out."""
    async with talking() as talk:
        with pytest.raises(errors.InvalidRequest):
            await talk.ask(json_answer(anthropic.error_body("invalid_request_error", THINKING_ERROR), 400), ASKS)
        assert len(talk.upstream.requests) == 1


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_that_fails_costs_the_thinking_only(
    monkeypatch: pytest.MonkeyPatch,
    hangs: bool,  # noqa: FBT001 -- a case
) -> None:
    """Neither an error of the store nor its silence reaches the client."""
    monkeypatch.setattr(module, "STORE_BOUND_S", 0.05)
    async with talking(BrokenStore(hangs=hangs)) as talk:
        assert await talk.ask(sse(THOUGHT), ASKS) == "I look."
        assert await talk.ask(sse(anthropic.text("Sunny")), _results()) == "Sunny"
        assert talk.sent["messages"][1]["content"] == [LOOK, ROME, NOWHERE]


async def test_what_is_not_ours_in_the_store_is_ignored() -> None:
    """Another upstream's text under the same id is no thinking of Claude's."""
    store = MemoryStore()
    store.kept = {("claude-opus-4-8", "toolu_a"): "c2lnbmF0dXJl"}
    async with talking(store) as talk:
        await talk.ask(sse(anthropic.text("Sunny")), _results())
        assert talk.sent["messages"][1]["content"] == [LOOK, ROME, NOWHERE]


async def test_an_answer_without_calls_or_thoughts_is_not_kept() -> None:
    """Only a tool loop needs its thinking again."""
    store = MemoryStore()
    async with talking(store) as talk:
        thought = anthropic.start() + anthropic.thinking_block(0, "hm") + anthropic.text_block(1, "42")
        await talk.ask(sse(thought + anthropic.end()), ASKS)
        await talk.ask(sse(anthropic.start() + anthropic.call_block(0) + anthropic.end("tool_use")), ASKS)
        assert not store.kept
