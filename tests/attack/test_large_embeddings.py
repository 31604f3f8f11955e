"""One embeddings request as large as they come: it is served, and nobody else's stream stands still for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.attack.meters import holding_nobody, loop_bound_s
from tests.fleet import Fleet, ready
from tests.upstreams.openai import replies as openai
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from tests.conftest import Eventually

INPUTS, DIMENSIONS = 2048, 3072
NUMBER = 0.0123456789
"""Long enough for a reply over 64 MiB, which is the bound of every other one."""


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return the product's own bounds: those of other tests are for workers that do nothing much. Loops are watched."""
    watch = {"CLAW_LOOP_WATCH_S": str(loop_bound_s())}
    return {"CLAW_HEARTBEAT_S": "1", "CLAW_HEARTBEAT_BOUND_S": "5", **watch}


@pytest.mark.switched
@pytest.mark.hang_bound_s(600)
async def test_two_thousand_vectors_are_an_answer_and_harm_nobody(fleet: Fleet, eventually: Eventually) -> None:
    """It was a 502 and a worker that stood still; a chat beside it is answered while it is under way."""
    vector = [NUMBER] * DIMENSIONS
    async with ScriptedUpstream(["scripted", "nomic-embed"]) as upstream:
        upstream.routes["/v1/embeddings"] = json_answer(
            {"data": [{"index": index, "embedding": vector} for index in range(INPUTS)], "usage": {"prompt_tokens": 9}}
        )
        upstream.fallback = sse(openai.text("Hel", "lo"))
        api = await fleet.api()
        worker = await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{upstream.url}/v1")
        await fleet.recorder()
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=180) as client:
            asked = {"model": "nomic-embed", "input": ["x"] * INPUTS, "encoding_format": "float"}
            chat = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}

            async def both() -> bytes:
                async with client.stream("POST", "/v1/embeddings", json=asked) as large:
                    beside = await client.post("/v1/chat/completions", json=chat)
                    body = await large.aread()
                assert beside.status_code == 200
                assert large.status_code == 200, body[:300]
                return body

            found = json.loads(await holding_nobody(fleet, both))["data"]
        assert [len(found), len(found[-1]["embedding"]), found[-1]["index"]] == [INPUTS, DIMENSIONS, INPUTS - 1]
        assert worker.process.returncode is None
