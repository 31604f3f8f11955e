"""Functions, as they were before tools, through the whole gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.streams import events
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet


FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
CALL = {"name": "weather", "arguments": '{"city":"Rome"}'}
OPENAI_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
OPENAI_REST = {"index": 0, "function": {"arguments": '{"city":"Rome"}'}}
REPLIES = {
    "openai": openai_replies.chunk({"tool_calls": [OPENAI_CALL]})
    + openai_replies.chunk({"tool_calls": [OPENAI_REST]})
    + openai_replies.chunk(finish_reason="tool_calls")
    + openai_replies.DONE,
    "anthropic": anthropic_replies.start()
    + anthropic_replies.call_block(0, '{"city":"Rome"}')
    + anthropic_replies.end("tool_use", output_tokens=9),
}
MODELS = {"openai": "gpt-4o", "anthropic": "claude-haiku-4-5"}


@pytest.mark.parametrize("wire", REPLIES)
async def test_a_client_that_gives_functions_gets_a_function_call(
    wire: str, client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Streamed in pieces and whole, and its result goes back the same way; the model server sees tools."""
    model = MODELS[wire]
    base_url = {"openai": "/v1", "anthropic": ""}[wire]
    user = {"role": "user", "content": "Rome?"}
    asked: dict[str, Any] = {"model": model, "messages": [user], "functions": [FUNCTION]}
    async with ScriptedUpstream(models=(model,)) as scripted:
        name = wire.upper()
        await fleet.worker("paid", **{f"{name}_API_KEY": "k", f"{name}_BASE_URL": scripted.url + base_url})
        scripted.fallback = sse(REPLIES[wire])

        async def served() -> dict[str, Any] | None:
            reply = await client.post("/v1/chat/completions", json=asked)
            return dict(reply.json()["choices"][0]) if reply.status_code == 200 else None

        choice = await eventually(served)
        assert (choice["message"]["function_call"], choice["finish_reason"]) == (CALL, "function_call")
        chunks = events((await client.post("/v1/chat/completions", json={**asked, "stream": True})).text)
        pieces = [piece for chunk in chunks[:-1] if (piece := chunk["choices"][0]["delta"].get("function_call"))]
        assert "".join(piece["arguments"] for piece in pieces) == CALL["arguments"]
        assert [piece.get("name") for piece in pieces][:2] == ["weather", None]
        assert chunks[-2]["choices"][0]["finish_reason"] == "function_call"
        turns = [user, {"role": "assistant", "content": None, "function_call": CALL}]
        result = {"role": "function", "name": "weather", "content": "sun"}
        again = await client.post("/v1/chat/completions", json={**asked, "messages": [*turns, result]})
        assert again.status_code == 200
        assert "functions" not in scripted.requests[-1].body
        assert scripted.requests[-1].body["tools"]
