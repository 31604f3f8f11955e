"""A model whose longest answer nobody knows: what runs at once cannot cost more than is left of the budget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.clock import day_lasts
from tests.fleet import PATIENCE_S, chat, ready
from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.fleet import Fleet

MODEL = "gpt-unbounded"
CATALOGUE = f'[models."{MODEL}"]\nprompt_usd = 1.0\ncompletion_usd = 25.0\n'
BUDGET_USD = 1
TOKENS = 18_000
"""For 0.45 US dollars."""
ASKED = 6
FIT = 2


@pytest.fixture
def fleet_environment(tmp_path: Path) -> dict[str, str]:
    """Return a budget, and prices of a model without more."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(CATALOGUE)
    return {"PLUGIN_AI_MONTHLY_BUDGET_USD": str(BUDGET_USD), "CLAW_CATALOGUE": str(catalogue)}


async def test_what_runs_at_once_fits_into_the_budget(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The most that each can cost is reserved: its own limit, and without one the longest answer of any model."""
    await day_lasts()
    upstream.models, upstream.hold_at = [MODEL], 1
    api = await fleet.api()
    await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url)
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:

        async def ask(**fields: int) -> httpx.Response:
            return await client.post("/v1/chat/completions", json=chat(model=MODEL, **fields))

        unbounded = await ask()
        assert (unbounded.status_code, unbounded.json()["error"]["type"]) == (429, "insufficient_quota")
        asked = [asyncio.create_task(ask(max_tokens=TOKENS)) for _ in range(ASKED)]
        await eventually(lambda: upstream.held + sum(task.done() for task in asked) == ASKED)
        assert upstream.held == FIT
        upstream.resume.set()
        answered = sorted([reply.status_code for reply in await asyncio.gather(*asked)])
    assert answered == [200] * FIT + [429] * (ASKED - FIT)
