"""Claude's earlier thinking, which goes out again with the results of the tools that it called, is reserved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from api.admission.thoughts import MOST_TURNS, earlier_thoughts
from api.routing.eligibility import Eligibility, RoutingRequest
from shared.models.catalogue import default_catalogue, nano_usd
from shared.openai.messages import first_call_ids
from shared.openai.prompt_size import MOST_CONTEXT, MostPrompt
from shared.openai.request import ChatBody, decode_chat
from shared.queue.placement import BudgetLimits
from shared.settings import load_settings
from shared.types import BackendInfo, LocalModel
from workers.providers.tool_call_state import RedisToolCallState

if TYPE_CHECKING:
    from redis.asyncio import Redis

MODEL = "claude-opus-5"


def body_of(*ids: str) -> ChatBody:
    """Return a request with a turn for each call."""
    turns = [
        message
        for call_id in ids
        for message in (
            {"role": "assistant", "tool_calls": [
                {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": call_id + "-2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": call_id, "content": "r"},
            {"role": "tool", "tool_call_id": call_id + "-2", "content": "r"},
        )
    ]  # fmt: skip
    return decode_chat(json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}, *turns]}).encode())


async def thoughts(redis: Redis, body: ChatBody) -> int:
    """Return what a request can get back."""
    return await earlier_thoughts(redis, first_call_ids(body.messages))


async def test_what_is_kept_of_each_turn_is_counted(redis: Redis) -> None:
    """In bytes, as often as it goes out; of turns without any it is nothing."""
    await RedisToolCallState(redis).put_many(MODEL, {"a": "x" * 40_000, "b": "\u00e9" * 100, "other": "x"})
    head = len(MODEL) + 1
    assert await thoughts(redis, body_of()) == 0
    assert await thoughts(redis, body_of("none")) == 0
    assert (
        await earlier_thoughts(redis, first_call_ids(body_of("a", "none", "b", "a").messages))
        == 2 * (40_000 + head) + 200 + head
    )
    assert (
        await earlier_thoughts(redis, first_call_ids(body_of(*map(str, range(MOST_TURNS + 1))).messages))
        == MOST_CONTEXT
    )


def test_it_is_reserved_for_claude_alone() -> None:
    """At the dearest price that a prompt can have there."""
    settings = load_settings({"CLAW_DATA_DIR": "/nowhere"})

    def reserved(provider: str, model: str, thoughts: int) -> int:
        request = RoutingRequest(
            model=model, endpoint="chat", prompt_tokens=1, most_prompt=MostPrompt(100, thoughts=thoughts),
            output_tokens=1, service_tier="default", limits=BudgetLimits(all_nano_usd=10**12),
        )  # fmt: skip
        offer = LocalModel(model)
        backend = BackendInfo("paid", provider, "q", 4, (offer,))
        return Eligibility(settings).candidate(request, backend, offer).cost_nano_usd

    entry = default_catalogue().entry(MODEL)
    more = reserved("anthropic", MODEL, 40_000) - reserved("anthropic", MODEL, 0)
    assert more == nano_usd(40_000 * (entry.cache_write_1h_usd or 0) * entry.regional / 1e6)
    assert reserved("openai", "gpt-5.4", 40_000) == reserved("openai", "gpt-5.4", 0)
