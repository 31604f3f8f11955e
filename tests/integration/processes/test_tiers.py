"""The tiers with credentials, through real processes: each upstream is spoken to in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import Fleet, Process, chat, ready
from tests.streams import content, events
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.numbered import MODEL, NumberedUpstream
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually


TIERS = {
    "gemini": ("gemini", "gemini-1.5-flash", "gemini-3.8-flash", gemini_replies.text("Hel", "lo"), "free_gemini"),
    "anthropic": ("paid", "claude-3-5-sonnet", "claude-sonnet-5", anthropic_replies.text("Hel", "lo"), "api_key"),
    "openai": ("paid", "gpt-4o", "gpt-5.4-mini", openai_replies.text("Hel", "lo"), "api_key"),
}


def environment(wire: str, url: str) -> dict[str, str]:
    """Return what the worker of a tier needs to reach a scripted upstream."""
    name = wire.upper()
    return {f"{name}_API_KEY": "secret-of-the-upstream", f"{name}_BASE_URL": url + ("/v1" if wire == "openai" else "")}


@pytest.mark.parametrize("wire", TIERS)
async def test_a_name_that_forces_a_tier_is_answered_by_its_own_api(
    wire: str, client: httpx.AsyncClient, fleet: Fleet, api: Process, eventually: Eventually
) -> None:
    """Streamed and not; the reply and the log name the model that served, and no process but its worker has the key."""
    tier, asked, served, reply, tier_source = TIERS[wire]
    body: dict[str, Any] = {"model": asked, "messages": [{"role": "user", "content": "Hello"}]}
    refused = await client.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_not_configured")
    async with ScriptedUpstream(models=(served,)) as scripted:
        worker = await fleet.worker(tier, **environment(wire, scripted.url))

        async def configured() -> bool:
            reply = await client.post("/v1/embeddings", json={"model": asked, "input": "x"})
            return bool(reply.json()["error"]["code"] == "wrong_endpoint")

        await eventually(configured)
        scripted.add(sse(reply), sse(reply))
        whole = (await client.post("/v1/chat/completions", json=body)).json()
        assert whole["choices"][0]["message"]["content"] == "Hello"
        assert whole["choices"][0]["finish_reason"] == "stop"
        assert whole["model"] == served
        streamed = events((await client.post("/v1/chat/completions", json={**body, "stream": True})).text)
        assert content(streamed) == "Hello"
        assert streamed[-1] is None

        async def logged() -> list[dict[str, Any]]:
            rows = [row for row in await fleet.usage() if row["tier"] == tier]
            return rows if len(rows) == 2 else []

        rows = await eventually(logged)
        assert {(row["asked_model"], row["model"], row["tier_source"]) for row in rows} == {
            (asked, served, tier_source)
        }
        assert "secret-of-the-upstream" not in worker.log.read_text() + api.log.read_text()


async def test_a_paid_model_is_served_by_the_paid_tier_and_costs(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """With a key on its worker alone: the name forces the tier, and the log says what it cost."""
    refused = await client.post("/v1/chat/completions", json=chat(model="gpt-4.1"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_not_configured")
    await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url)

    async def served() -> httpx.Response | None:
        reply = await client.post("/v1/chat/completions", json=chat(model="gpt-4.1"))
        return reply if reply.status_code == 200 else None

    reply = await eventually(served)
    assert reply.json()["model"] == "gpt-4.1"
    assert upstream.requests[-1]["model"] == "gpt-4.1"
    assert (await client.post("/v1/chat/completions", json=chat(model="auto"))).json()["model"] == MODEL

    async def logged() -> list[dict[str, Any]]:
        return [row for row in await fleet.usage() if row["tier"] == "paid"]

    (row,) = await eventually(logged)
    assert row["tier_source"] == "api_key"
    assert float(row["cost_usd"]) == pytest.approx((3 * 2 + 20 * 8) / 1e6)


async def test_a_further_paid_api_is_served_by_its_name_and_costs(
    client: httpx.AsyncClient, fleet: Fleet, tmp_path: Path, eventually: Eventually
) -> None:
    """Three variables of the worker and a price in the catalogue; its own queue and name, and only what has a price."""
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."groq/qwen/q"]\nprompt_usd = 1.0\ncompletion_usd = 2.0\n')
    api = await fleet.api(CLAW_CATALOGUE=str(prices))
    await ready(api, eventually)
    async with ScriptedUpstream() as scripted:
        listing = {"data": [{"id": "qwen/q", "shutdown_date": "2030-01-31"}, {"id": "no-price"}]}
        scripted.routes["/v1/models"] = json_answer(listing)
        await fleet.worker(
            "paid",
            CLAW_CATALOGUE=str(prices),
            CLAW_PAID_GROQ_URL=f"{scripted.url}/v1",
            CLAW_PAID_GROQ_API_KEY="secret-of-the-upstream",
        )

        async def listed() -> set[str]:
            found = (await client.get(f"{api.url}/v1/models")).json()["data"]
            return {one["id"] for one in found if one["owned_by"] == "groq"}

        assert await eventually(listed) == {"groq/qwen/q"}
        model = (await client.get(f"{api.url}/v1/models/groq/qwen/q")).json()
        assert model["shutdown_date"] == "2030-01-31"
        scripted.add(sse(openai_replies.text("Hel", "lo")))
        reply = await client.post(f"{api.url}/v1/chat/completions", json=chat(model="groq/qwen/q"))
        assert (reply.json()["model"], reply.headers["x-nself-tier"]) == ("groq/qwen/q", "paid")
        (request,) = scripted.requests
        assert (request.body["model"], request.headers["authorization"]) == ("qwen/q", "Bearer secret-of-the-upstream")

        async def logged() -> list[dict[str, Any]]:
            return [row for row in await fleet.usage() if row["tier"] == "paid"]

        (row,) = await eventually(logged)
        assert (row["model"], row["cost_usd"] > 0) == ("groq/qwen/q", True)
