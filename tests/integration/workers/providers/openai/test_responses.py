"""Chat requests that go to OpenAI over its Responses API, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from shared import errors
from shared.models.catalogue import Catalogue, ModelEntry
from tests.upstreams.openai import replies as chat_replies
from tests.upstreams.openai import responses as replies
from tests.upstreams.outcome import complete, outcome_of, serving
from tests.upstreams.recordings import TOOL
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse
from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.openai.provider import OpenAIProvider

WIRE = "openai-responses"
USER = {"role": "user", "content": "Hello"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
LOOKS = replies.stream(
    replies.reasoning(encrypted="sealed"), replies.message("I look."), replies.call('{"city":"Rome"}'),
    usage=replies.usage(9, 9),
)  # fmt: skip
SUNNY = replies.text("Sunny")


def _asked(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "tools": [TOOL], "messages": [USER, *messages]}


def _turn(text: str | None = "I look.", call_id: str = "call_0") -> list[dict[str, Any]]:
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    return [
        {"role": "assistant", "content": text, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "sun"},
    ]


async def test_a_model_gets_its_thoughts_back_with_the_results_of_its_calls() -> None:
    """As they came, before what they led to: nothing is stored at OpenAI."""
    async with serving(WIRE) as (upstream, provider):
        upstream.add(sse(LOOKS), sse(SUNNY), sse(SUNNY), sse(SUNNY))
        await complete(provider, _asked())
        await complete(provider, _asked(*_turn()))
        await complete(provider, _asked(*_turn(text=None)))
        await complete(provider, _asked(*_turn(call_id="call_else")))
        asked, again, changed, another = [request.body for request in upstream.requests]
    assert asked["include"] == ["reasoning.encrypted_content"]
    kinds = ["message", "reasoning", "message", "function_call", "function_call_output"]
    assert [item.get("type", "message") for item in again["input"]] == kinds
    assert again["input"][1] == THOUGHT
    # What came after them is no longer as it was, or they are not known.
    for body in (changed, another):
        assert THOUGHT not in body["input"]


@pytest.mark.parametrize(
    "text", ["The encrypted content for item rs_1 could not be verified.", "invalid_encrypted_content"]
)
async def test_thoughts_that_are_refused_are_left_out(text: str) -> None:
    """They are ours to send, so that no client is told."""
    refusal = json_answer({"error": {"message": text, "code": "invalid_encrypted_content"}}, 400)
    async with serving(WIRE) as (upstream, provider):
        upstream.add(sse(LOOKS), refusal, sse(SUNNY))
        await complete(provider, _asked())
        assert outcome_of(await complete(provider, _asked(*_turn()))).content == "Sunny"
        sent = [request.body for request in upstream.requests[1:]]
    assert [THOUGHT in body["input"] for body in sent] == [True, False]
    assert sent[1]["include"] == ["reasoning.encrypted_content"]


async def test_a_model_that_does_not_think_is_not_asked_for_thoughts_again() -> None:
    """Once it has said so."""
    said = {"message": "Encrypted content is not supported with this model.", "param": "include"}
    async with serving(WIRE) as (upstream, provider):
        upstream.add(json_answer({"error": said}, 400), sse(SUNNY), sse(SUNNY))
        for _ in range(2):
            assert outcome_of(await complete(provider, _asked())).content == "Sunny"
        assert ["include" in request.body for request in upstream.requests] == [True, False, False]


async def test_a_refusal_names_the_fields_of_the_chat_request() -> None:
    """Not those that it became."""
    said = {
        "message": "Unsupported value: 'reasoning.effort' does not support 'max' with this model.",
        "type": "invalid_request_error", "param": "reasoning.effort", "code": "unsupported_value",
    }  # fmt: skip
    async with serving(WIRE) as (upstream, provider):
        upstream.add(json_answer({"error": said}, 400))
        with pytest.raises(errors.ParameterUnsupported) as caught:
            await complete(provider, {**_asked(), "reasoning_effort": "max"})
    assert caught.value.param == "reasoning_effort"
    assert "'reasoning_effort'" in caught.value.message


async def test_an_image_that_fails_inside_the_stream_is_the_clients_to_mend() -> None:
    """OpenAI looks at images after its head."""
    async with serving(WIRE) as (upstream, provider):
        upstream.add(sse(replies.failed("invalid_image_url", "The image cannot be downloaded.")))
        with pytest.raises(errors.InvalidRequest) as caught:
            await complete(provider)
    assert caught.value.code == "invalid_image_url"


async def test_what_takes_tools_there_only_is_asked_there_with_tools_only() -> None:
    """All else goes over Chat Completions, which takes more."""
    catalogue = Catalogue(models={"scripted": ModelEntry(responses="reasoned_tools", default_effort="medium")})
    async with ScriptedUpstream() as upstream:
        provider = OpenAIProvider(f"{upstream.url}/v1", catalogue=catalogue, tool_calls=MemoryToolCallState())
        upstream.add(sse(chat_replies.text("a")), sse(replies.text("b")), sse(chat_replies.text("c")))
        for asked in ({}, {"tools": [TOOL]}, {"tools": [TOOL], "reasoning_effort": "none"}):
            await complete(provider, {"model": "m", "messages": [USER], **asked})
        await provider.close()
    paths = [request.path for request in upstream.requests]
    assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/chat/completions"]


async def test_azures_older_form_is_asked_over_chat() -> None:
    """Its deployments have nothing else."""
    catalogue = Catalogue(models={"scripted": ModelEntry(responses="always")})
    async with ScriptedUpstream() as upstream:
        url = f"{upstream.url}/openai/deployments/{{model}}?api-version=2026-01-01"
        provider = OpenAIProvider(url, catalogue=catalogue)
        upstream.add(sse(chat_replies.text("a")))
        await complete(provider)
        await provider.close()
    assert upstream.requests[0].path.startswith("/openai/deployments/scripted/chat/completions")
