"""Chat with a model of OpenAI's that takes tools over the Responses API only, through the whole gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.streams import events
from tests.upstreams.openai import replies as chat_replies
from tests.upstreams.openai import responses as replies
from tests.upstreams.recordings import TOOL
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet

MODEL = "gpt-6-luna"
USER = {"role": "user", "content": "Rome?"}
CALLS = replies.stream(
    replies.reasoning(encrypted="sealed"), replies.call('{"city":"Rome"}'), usage=replies.usage(9, 9, reasoning=4)
)


async def test_tools_work_over_a_turn_of_theirs(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """The client speaks chat, streamed and not; what the model thought is back with the result."""
    asked: dict[str, Any] = {"model": MODEL, "messages": [USER], "tools": [TOOL], "seed": 7}
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")
        scripted.fallback = sse(CALLS)

        async def served() -> httpx.Response | None:
            reply = await client.post("/v1/chat/completions", json=asked)
            return reply if reply.status_code == 200 else None

        first = await eventually(served)
        assert first.headers["x-nself-omitted"] == "seed"
        choice = first.json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
        assert first.json()["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4
        scripted.fallback = sse(replies.text("Sun", "ny"))
        result = {"role": "tool", "tool_call_id": choice["message"]["tool_calls"][0]["id"], "content": "sun"}
        turns = [USER, choice["message"], result]
        again = await client.post("/v1/chat/completions", json={**asked, "messages": turns, "stream": True})
        said = [chunk["choices"][0]["delta"].get("content") or "" for chunk in events(again.text)[:-1]]
        assert "".join(said) == "Sunny"
        sent = scripted.requests[-1]
        assert sent.path == "/v1/responses"
        assert [item.get("type") for item in sent.body["input"]] == [
            None, "reasoning", "function_call", "function_call_output",
        ]  # fmt: skip
        assert sent.body["input"][1]["encrypted_content"] == "sealed"
        assert "seed" not in sent.body
        scripted.fallback = sse(chat_replies.text("Hi"))
        plain = await client.post("/v1/chat/completions", json={"model": MODEL, "messages": [USER]})
        assert plain.json()["choices"][0]["message"]["content"] == "Hi"
        assert scripted.requests[-1].path == "/v1/chat/completions"
