"""Paid answers that their client leaves: what the upstream bills for them is logged, and spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from shared.models.catalogue import default_catalogue
from shared.models.tokenizers import count_tokens
from shared.types import Usage
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, Fleet, chat
from tests.streams import Reader, usage_rows
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.scripted import Act, ScriptedUpstream, sse

if TYPE_CHECKING:
    from tests.conftest import Eventually

MODEL = "claude-sonnet-5"
START = anthropic_replies.start(input_tokens=1_000, cache_read_input_tokens=1_000, cache_creation_input_tokens=50_000)
TEXT = anthropic_replies.text_block(0, *(["word "] * 20))


async def _is_configured(client: httpx.AsyncClient) -> bool:
    reply = await client.post("/v1/embeddings", json={"model": MODEL, "input": "x"})
    return bool(reply.json()["error"]["code"] == "wrong_endpoint")


async def test_a_client_that_leaves_pays_for_what_claude_counted_at_its_start(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """The prompt with its cached and written parts, and what of the answer had come."""
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", ANTHROPIC_API_KEY="secret", ANTHROPIC_BASE_URL=scripted.url)
        await eventually(lambda: _is_configured(client))
        scripted.add(sse(START, TEXT, Act.HANG))
        reader = Reader(client, **chat(model=MODEL, max_tokens=100))

        async def has_all_of_it() -> bool:
            return reader.content == "word " * 20

        await eventually(has_all_of_it)
        reader.task.cancel()
        await scripted.until(lambda: scripted.aborted == 1)
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["usage_source"], row["prompt_tokens"]) == (499, "estimated", 52_000)
    tokens = count_tokens(["word " * 20], MODEL)
    assert (row["cached_tokens"], row["completion_tokens"]) == (1_000, tokens)
    usage = Usage(52_000, tokens, cached_tokens=1_000, cache_write_tokens=50_000)
    assert float(row["cost_usd"]) == pytest.approx(default_catalogue().cost_usd(MODEL, usage))


async def test_a_model_that_is_given_up_before_its_first_token_is_paid_for(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """It bills its prompt, whoever answers then: here nobody, and the row says what was spent."""
    await day_lasts()
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker(
            "paid",
            ANTHROPIC_API_KEY="secret",
            ANTHROPIC_BASE_URL=scripted.url,
            CLAW_FIRST_TOKEN_TIMEOUT_S="3",
            CLAW_REASONING_TIMEOUT_S="3",
        )
        await eventually(lambda: _is_configured(client))
        scripted.fallback = sse(START, Act.HANG)
        reply = await client.post("/v1/chat/completions", json=chat(model=MODEL, max_tokens=100))
        assert reply.status_code == 504
        attempts = len(scripted.requests)
    (row,) = await usage_rows(fleet, eventually, 1)
    usage = Usage(52_000, 1, cached_tokens=1_000, cache_write_tokens=50_000)
    assert float(row["cost_usd"]) == pytest.approx(attempts * default_catalogue().cost_usd(MODEL, usage))
    spent = (await client.get("/claw/v1/budget", headers={"x-internal-token": INTERNAL_SECRET})).json()
    assert spent["spent_usd"] == pytest.approx(float(row["cost_usd"]))
    assert spent["held_usd"] == 0
