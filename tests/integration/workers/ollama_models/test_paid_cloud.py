"""A model that an Ollama has run elsewhere is paid, from the request to its row of usage, and never a local one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import Fleet, chat
from tests.streams import usage_rows
from tests.upstreams.numbered import MODEL as LOCAL
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.scripted import ScriptedUpstream, json_answer, ndjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

REMOTE = {"remote_host": "https://ollama.com:443", "digest": "a"}
PRICED, UNPRICED = "ollama-cloud/kimi-k2:cloud", "ollama-cloud/mine:latest"
CATALOGUE = f"""
[models."{PRICED}"]
prompt_usd = 1000.0
completion_usd = 2000.0
"""


@pytest.fixture
def fleet_environment(tmp_path: Path) -> dict[str, str]:
    """Return settings in which one of the models has a price."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(CATALOGUE)
    return {"CLAW_CATALOGUE": str(catalogue)}


@pytest.fixture
async def ollama(fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually) -> AsyncIterator[ScriptedUpstream]:
    """Yield an Ollama with two models that run elsewhere, and a worker of the local tier for it."""
    async with ScriptedUpstream() as scripted:
        scripted.routes["/api/tags"] = json_answer(
            {"models": [{"name": "kimi-k2:cloud", **REMOTE}, {"name": "mine:latest", **REMOTE}]}
        )
        scripted.routes["/api/show"] = json_answer(ollama_replies.show(131_072))
        scripted.fallback = ndjson(ollama_replies.text("Hel", "lo"))
        await fleet.worker("local", PLUGIN_OLLAMA_URL=scripted.url, CLAW_OLLAMA_CLOUD="true")

        async def is_listed() -> bool:
            return PRICED in (await client.get("/v1/models")).text

        await eventually(is_listed)
        yield scripted


async def test_a_cloud_model_answers_and_costs_what_the_catalogue_says(
    client: httpx.AsyncClient, ollama: ScriptedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """By its own name alone: what is local stays here, and what has no price is not served."""
    reply = await client.post("/v1/chat/completions", json=chat(model=PRICED))
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["choices"][0]["message"]["content"]) == (200, "Hello")
    counted = body["usage"]
    assert [request.body["model"] for request in ollama.requests] == ["kimi-k2:cloud"]
    for name in ("local", "auto", LOCAL):
        assert (await client.post("/v1/chat/completions", json=chat(model=name))).status_code == 200
    refused = await client.post("/v1/chat/completions", json=chat(model=UNPRICED))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_price_unknown")
    unknown = await client.post("/v1/chat/completions", json=chat(model="kimi-k2:cloud"))
    assert unknown.status_code == 404
    assert len(ollama.requests) == 1
    rows = await usage_rows(fleet, eventually, 6)
    (row,) = [row for row in rows if row["tier"] == "paid" and row["status"] == 200]
    assert (row["model"], row["usage_source"]) == (PRICED, "reported")
    cost_usd = (1000 * counted["prompt_tokens"] + 2000 * counted["completion_tokens"]) / 1e6
    assert float(row["cost_usd"]) == pytest.approx(cost_usd)
    assert cost_usd > 0
    others = [row for row in rows if row["tier"] == "local"]
    assert [(row["status"], float(row["cost_usd"])) for row in others] == [(200, 0.0)] * 3
