"""Requests of the Responses API with OpenAI behind the gateway: passed on, and answered by others if it fails."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.openai import responses as replies
from tests.upstreams.scripted import Act, ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet

MODEL = "gpt-6-luna"
SEARCH = {"type": "web_search", "search_context_size": "low"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
THOUGHT = {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": "sealed"}
ANSWER = replies.stream(
    replies.web_search(), replies.message("Sun", "ny", item_id="msg_2"),
    usage=replies.usage(1000, 100, cached=400, reasoning=60), service_tier="flex",
)  # fmt: skip


def told(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]


async def test_a_request_goes_to_openai_as_it_came_and_its_answer_comes_back_so(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Hosted tools, encrypted thoughts and fields that nobody here knows; nothing is stored there."""
    items = [{"role": "user", "content": "Rome?"}, THOUGHT, {"role": "assistant", "content": "Yes?"}]
    asked: dict[str, Any] = {
        "model": MODEL, "input": [*items, {"role": "user", "content": "The weather."}], "tools": [SEARCH, FUNCTION],
        "include": ["reasoning.encrypted_content"], "text": {"verbosity": "low"}, "max_tool_calls": 2,
    }  # fmt: skip
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")
        scripted.fallback = sse(ANSWER)

        async def served() -> httpx.Response | None:
            reply = await client.post("/v1/responses", json=asked)
            return reply if reply.status_code == 200 else None

        whole = (await eventually(served)).json()
        assert whole["id"].startswith("resp_0")
        assert (whole["model"], whole["store"], whole["service_tier"]) == (MODEL, True, "flex")
        assert [item["id"] for item in whole["output"]] == ["ws_1", "msg_2"]
        assert whole["usage"]["input_tokens_details"]["cached_tokens"] == 400
        streamed = told((await client.post("/v1/responses", json={**asked, "stream": True})).text)
        assert [event["type"] for event in streamed] == [event["type"] for event in told(ANSWER.decode())]
        assert [event["sequence_number"] for event in streamed] == list(range(len(streamed)))
        for request in scripted.requests:
            assert request.path == "/v1/responses"
            assert request.body == {**asked, "stream": True, "store": False}


@pytest.mark.parametrize("tools", [[FUNCTION], [SEARCH]], ids=["function", "hosted"])
async def test_who_answers_when_openai_fails(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually, tools: list[dict[str, Any]]
) -> None:
    """Claude, by translation, and without thoughts that are not its own; a tool of OpenAI's own is nobody else's."""
    claude = "claude-haiku-5-5"
    user = {"role": "user", "content": "Hi"}
    asked = {"model": "auto", "input": [user, THOUGHT, {"role": "assistant", "content": "?"}, user], "tools": tools}
    async with ScriptedUpstream(models=(MODEL,)) as openai, ScriptedUpstream(models=(claude,)) as anthropic:
        await fleet.worker(
            "paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=openai.url + "/v1", ANTHROPIC_API_KEY="k",
            ANTHROPIC_BASE_URL=anthropic.url,
        )  # fmt: skip
        openai.fallback = json_answer({"error": {"message": "down", "type": "server_error", "code": None}}, 500)
        anthropic.fallback = sse(anthropic_replies.text("Sunny"))

        async def offered() -> bool:
            names = {one["id"] for one in (await client.get("/v1/models")).json()["data"]}
            return {MODEL, claude} <= names

        await eventually(offered)
        reply = await client.post("/v1/responses", json=asked, headers={"x-nself-tier": "paid"})
        assert openai.requests
        if tools == [SEARCH]:
            assert reply.status_code == 502
            assert not anthropic.requests
            named = await client.post("/v1/responses", json={**asked, "model": claude})
            assert (named.status_code, named.json()["error"]["param"]) == (400, "tools[0].type")
            return
        assert reply.status_code == 200, reply.text
        assert reply.json()["model"] == claude
        assert reply.json()["output"][-1]["content"][0]["text"] == "Sunny"
        assert "sealed" not in anthropic.requests[0].raw.decode()


async def test_what_openai_answered_is_stored_and_continued_with_its_thoughts(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Under OpenAI's ids of items, which may be referred to at once; the client sees only what it has asked for."""
    answer = replies.stream(
        replies.reasoning("hm", item_id="rs_of_openai", encrypted="sealed"),
        replies.message("Sunny", item_id="msg_of_openai"),
        usage=replies.usage(9, 3),
    )
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")
        scripted.fallback = sse(answer)

        async def said(given: Any = "Rome?", **fields: Any) -> dict[str, Any] | None:
            reply = await client.post("/v1/responses", json={"model": MODEL, "input": given, **fields})
            found: dict[str, Any] = reply.json()
            return found if reply.status_code == 200 else None

        first: dict[str, Any] = await eventually(said)
        path = f"/v1/responses/{first['id']}"
        assert (await client.get(path)).json() == first
        assert "sealed" not in json.dumps(first)
        assert scripted.requests[-1].body["include"] == ["reasoning.encrypted_content"]
        shown = (await client.get(path, params={"include[]": "reasoning.encrypted_content"})).json()
        assert shown["output"][0]["encrypted_content"] == "sealed"
        second = await said("And?", previous_response_id=first["id"])
        assert second is not None
        sent = scripted.requests[-1].body["input"]
        assert sent[1] == shown["output"][0]
        assert [item.get("id") for item in sent] == [None, "rs_of_openai", "msg_of_openai", None]
        listed = (await client.get(f"/v1/responses/{second['id']}/input_items")).text
        assert "rs_of_openai" in listed
        assert "sealed" not in listed
        assert await said([{"type": "item_reference", "id": "msg_of_openai"}, {"role": "user", "content": "?"}])
        assert scripted.requests[-1].body["input"][0]["content"][0]["text"] == "Sunny"
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        for _ in range(2):
            assert await said("Hm?", conversation=conversation)
        assert scripted.requests[-1].body["input"][1]["encrypted_content"] == "sealed"
        assert "sealed" not in (await client.get(f"/v1/conversations/{conversation}/items")).text
        assert (await client.get(path, params={"include": "nonsense"})).status_code == 400


async def test_a_session_has_the_calls_of_custom_tools(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Their results come alone, and OpenAI is sent the call before them."""
    call = replies.stream(replies.custom_call("ls", " -l"), usage=replies.usage(9, 3))
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")
        scripted.fallback = sse(call)
        headers = {"x-nself-session-id": str(uuid.uuid4())}

        async def said(given: Any) -> dict[str, Any] | None:
            asked = {"model": MODEL, "input": given, "tools": [{"type": "custom", "name": "shell"}]}
            reply = await client.post("/v1/responses", json=asked, headers=headers)
            found: dict[str, Any] = reply.json()
            return found if reply.status_code == 200 else None

        first: dict[str, Any] = await eventually(lambda: said("List."))
        scripted.fallback = sse(replies.text("A file."))
        result = {"type": "custom_tool_call_output", "call_id": first["output"][0]["call_id"], "output": "a"}
        assert await said([result])
        sent = scripted.requests[-1].body["input"]
        assert [(item.get("type"), item.get("input")) for item in sent] == [
            (None, None), ("custom_tool_call", "ls -l"), ("custom_tool_call_output", None),
        ]  # fmt: skip


async def test_an_answer_of_openais_that_breaks_off_is_stored_as_far_as_it_came(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """As failed, under the id that its client had; it cannot be continued."""
    whole = replies.stream(replies.message("Sun", "ny"), usage=replies.usage(9, 2))
    begun = b"\n\n".join(whole.split(b"\n\n")[:5]) + b"\n\n"  # up to the first piece
    async with ScriptedUpstream(models=(MODEL,)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")
        scripted.fallback = sse(begun, Act.ABORT)

        async def broken() -> list[dict[str, Any]]:
            reply = await client.post("/v1/responses", json={"model": MODEL, "input": "Rome?", "stream": True})
            return told(reply.text) if reply.status_code == 200 else []

        events = await eventually(broken)
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        name = events[0]["response"]["id"]

        async def stored() -> dict[str, Any] | None:
            reply = await client.get(f"/v1/responses/{name}")
            found: dict[str, Any] = reply.json()
            return found if reply.status_code == 200 else None

        response = await eventually(stored)
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        assert response["output"][0]["content"][0]["text"] == "Sun"
        again = await client.post("/v1/responses", json={"model": MODEL, "input": "?", "previous_response_id": name})
        assert again.json()["error"]["code"] == "previous_response_not_completed"
