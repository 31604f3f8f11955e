"""What the official client gets over /v1/responses when a scripted model says just what a test wants to see arrive."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings

from tests.e2e.openai_rules import faults_of
from tests.e2e.schemas.requests import response_requests
from tests.fleet import PATIENCE_S
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import Act, json_answer, sse

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.responses import Response, ToolParam

    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

WEATHER: ToolParam = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CALL = sse(
    openai_replies.chunk(
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather"}}]}
    ),
    *(
        openai_replies.chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        for piece in ('{"city":', '"Rome"}')
    ),
    openai_replies.chunk(finish_reason="tool_calls"),
    openai_replies.chunk(usage=openai_replies.usage(20, 9)),
    openai_replies.DONE,
)


async def final_of(client: AsyncOpenAI, **fields: Any) -> Response:
    """Return the response that the client's own helper makes of a stream."""
    async with client.responses.stream(model="auto", input="Hello", **fields) as stream:
        return await stream.get_final_response()


async def test_a_text_arrives_whole_and_in_pieces(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """Both are the same response, with the ids of the gateway and the counts of the model."""
    upstream.fallback = sse(openai_replies.text("Good", " day", prompt_tokens=7))
    whole = await scripted_client.responses.create(model="auto", input="Hello", instructions="Be kind.")
    streamed = await final_of(scripted_client, instructions="Be kind.")
    for response in (whole, streamed):
        assert (response.output_text, response.status, response.model) == ("Good day", "completed", "scripted")
        assert (response.id[:5], response.output[0].id and response.output[0].id[:4]) == ("resp_", "msg_")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 2, 9)
        assert response.instructions == "Be kind."
    assert [request.body["messages"] for request in upstream.requests] == [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    ] * 2
    assert not any("store" in request.body for request in upstream.requests)


async def test_a_piece_arrives_while_the_next_one_is_not_there_yet(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """The model goes on only once the client has read the first one."""
    seen = asyncio.Event()
    first = openai_replies.chunk({"role": "assistant", "content": "first"})
    upstream.add(sse(first, seen, openai_replies.text(" second")))
    said = ""
    async for event in await scripted_client.responses.create(model="auto", input="Hello", stream=True):
        if event.type == "response.output_text.delta":
            said += event.delta
            seen.set()
    assert said == "first second"


async def test_a_tool_is_called_and_its_result_answered(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Streamed and not; the client sends back the items that it got."""
    upstream.fallback = CALL
    streamed = await final_of(scripted_client, tools=[WEATHER])
    whole = await scripted_client.responses.create(model="auto", input="Weather?", tools=[WEATHER])
    for response in (streamed, whole):
        call = response.output[0]
        assert call.type == "function_call"
        assert (call.call_id, call.name, call.arguments, call.status) == (
            "call_1", "weather", '{"city":"Rome"}', "completed",
        )  # fmt: skip
    upstream.fallback = sse(openai_replies.text("Sunny."))
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
    items: Any = [{"role": "user", "content": "Weather?"}, *(item.to_dict() for item in whole.output), result]
    answer = await scripted_client.responses.create(model="auto", input=items, tools=[WEATHER])
    assert answer.output_text == "Sunny."
    sent = upstream.requests[-1].body
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert sent["tools"][0]["function"]["name"] == "weather"


async def test_an_answer_that_is_cut_is_incomplete(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """As a status, with the reason, and the event that says so."""
    upstream.fallback = sse(openai_replies.text("Once", finish_reason="length"))
    whole = await scripted_client.responses.create(model="auto", input="Tell", max_output_tokens=16)
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    stream = await scripted_client.responses.create(model="auto", input="Tell", max_output_tokens=16, stream=True)
    assert [event.type async for event in stream][-1] == "response.incomplete"
    assert upstream.requests[-1].body["max_completion_tokens"] == 16


async def test_what_is_too_long_is_cut_where_its_client_allows_that(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """The oldest turns, before the model is asked, and more of them where it refuses the rest."""
    long: Any = [
        {"role": role, "content": f"{role} {number} " + "word " * 1500}
        for number in range(6) for role in ("user", "assistant")
    ]  # fmt: skip
    items = [*long, {"role": "user", "content": "Short?"}]
    with pytest.raises(openai.BadRequestError) as caught:
        await scripted_client.responses.create(model="auto", input=items)
    assert caught.value.code == "context_length_exceeded"
    assert not upstream.requests
    refusal = {"message": "The prompt is too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}
    upstream.add(json_answer({"error": refusal}, status=400), sse(openai_replies.text("Yes.")))
    answer = await scripted_client.responses.create(model="auto", input=items, truncation="auto", instructions="Be.")
    assert (answer.output_text, answer.truncation) == ("Yes.", "auto")
    sent = [[message["content"][:11] for message in request.body["messages"]] for request in upstream.requests]
    assert sent == [["Be.", "user 5 word", "assistant 5", "Short?"], ["Be.", "Short?"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_model_server_is_a_bad_gateway(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """Before any content a stream keeps the error's own status too."""
    upstream.fallback = json_answer({"error": {"message": "crashed", "type": "server_error"}}, status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        await scripted_client.responses.create(model="auto", input="Hello", stream=stream)
    assert caught.value.status_code == 502


async def test_a_stream_that_breaks_off_is_an_error_and_no_end(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """The error event comes first, since clients raise at it, then `response.failed`, which others wait for."""
    upstream.add(sse(openai_replies.chunk({"role": "assistant", "content": "first"}), Act.ABORT))
    headers = {"authorization": f"Bearer {scripted_key.secret}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_S) as http:
        reply = await http.post(
            f"{scripted.base_url}/responses", json={"model": "auto", "input": "Hello", "stream": True}
        )
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == events[-2]["error"]["code"] == "upstream_stream_broken"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert events[-1]["response"]["id"] == events[0]["response"]["id"]


async def test_the_official_client_raises_at_it(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """After the text that came."""
    upstream.add(sse(openai_replies.chunk({"role": "assistant", "content": "first"}), Act.ABORT))
    said: list[str] = []

    async def read() -> None:
        async for event in await scripted_client.responses.create(model="auto", input="Hello", stream=True):
            said.extend([event.delta] if event.type == "response.output_text.delta" else [])

    with pytest.raises(openai.APIError, match="broke in the middle"):
        await read()
    assert "".join(said) == "first"


async def test_a_client_that_leaves_stops_the_model(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """The connection to the model is closed."""
    aborted = upstream.aborted
    upstream.add(sse(openai_replies.chunk({"role": "assistant", "content": "first"}), Act.HANG))
    stream = await scripted_client.responses.create(model="auto", input="Hello", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await upstream.until(lambda: upstream.aborted == aborted + 1)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text",
         "missing_required_parameter"),
        ({"input": [{"role": "user", "content": "x", "colour": "red"}]}, "input[0].colour", "unknown_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"input": [{"id": "\x00"}]}, "input[0].id", "item_not_found"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"background": True, "store": False}, "store", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named_as_the_client_knows_it(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, fields: dict[str, Any], param: str, code: str
) -> None:
    """And nothing is asked of a model."""
    with pytest.raises(openai.BadRequestError) as caught:
        await scripted_client.responses.create(model="auto", input="Hello", extra_body=fields)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert not upstream.requests


@pytest.mark.parametrize("path", ["compact", "input_tokens"])
async def test_what_is_not_here_is_not_found(scripted: Stack, scripted_key: Key, path: str) -> None:
    """Not a wrong method of a response that is called so."""
    headers = {"authorization": f"Bearer {scripted_key.secret}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_S) as http:
        reply = await http.post(f"{scripted.base_url}/responses/{path}", json={"model": "auto", "input": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
        assert (await http.put(f"{scripted.base_url}/responses/resp_1")).status_code == 405


async def test_the_headers_put_their_texts_before_the_input(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """The expert's prompt, what the knowledge base has, and the session's earlier turn, as for chats."""
    upstream.fallback = sse(openai_replies.text("A port."))
    headers = {"authorization": f"Bearer {scripted_key.secret}"}
    asked = {"x-nself-app": "true", "x-nself-knowledge": "true", "x-nself-session-id": str(uuid.uuid4())}
    async with httpx.AsyncClient(trust_env=False, headers=headers | asked, timeout=60) as http:
        for text in ("What is CLAW_PORT?", "And more?"):
            items = [{"role": "user", "content": [{"type": "input_text", "text": text}]}]
            reply = await http.post(f"{scripted.base_url}/responses", json={"model": "auto", "input": items})
            assert reply.status_code == 200, reply.text
            assert reply.headers["x-nself-session-id"] == asked["x-nself-session-id"]
            assert "x-nself-knowledge-chunks" in reply.headers
    sent = upstream.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert "CLAW_PORT" in str(sent[1]["content"])
    assert sent[2]["content"] == "A port."


async def test_only_an_admins_key_may_ask_for_the_snapshot(scripted_client: AsyncOpenAI) -> None:
    """As for chats."""
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await scripted_client.responses.create(model="auto", input="Hello", extra_headers={"x-nself-admin": "true"})
    assert caught.value.code == "admin_not_allowed"


async def test_the_usage_log_names_the_api(scripted: Stack, upstream: ScriptedUpstream) -> None:
    """And counts as for chats."""
    key = await asyncio.to_thread(scripted.new_key, "responses")
    upstream.fallback = sse(openai_replies.text("Good", " day"))
    async with openai.AsyncOpenAI(base_url=scripted.base_url, api_key=key.secret, max_retries=0) as client:
        await client.responses.create(model="auto", input="Hello")
    entries = await asyncio.to_thread(scripted.usage, key.id, 1)
    assert [(entry["endpoint"], entry["completion_tokens"]) for entry in entries] == [("responses", 2)]


ASKED = 40


async def test_whatever_the_document_allows_has_an_answer_or_a_refusal(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """Never a 500, and no request hangs; each reply keeps OpenAI's rules, and a refusal names a parameter."""
    upstream.fallback = sse(openai_replies.text("Yes."))
    bodies: list[dict[str, Any]] = []

    @settings(max_examples=ASKED, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(response_requests())
    def collect(body: dict[str, Any]) -> None:
        bodies.append(body)

    # In the loop the model's server would answer nobody meanwhile, and be lost.
    await asyncio.to_thread(collect)
    headers = {"authorization": f"Bearer {scripted_key.secret}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=60) as http:
        for body in bodies:
            raw = json.dumps(body).encode()
            reply = await http.post(f"{scripted.base_url}/responses", content=raw)
            assert reply.status_code in {200, 400, 404}, (body, reply.text)
            kind = reply.headers["content-type"]
            assert not faults_of("/v1/responses", reply.status_code, kind, raw, reply.content), body
            if reply.status_code != 200:
                assert reply.json()["error"]["param"], (body, reply.text)
