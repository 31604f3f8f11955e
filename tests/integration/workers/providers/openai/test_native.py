"""Requests of the Responses API that go to OpenAI as they came, over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.dialects.table import DIALECTS
from shared.openai.request import ChatRequest
from tests.upstreams.openai import responses as replies
from tests.upstreams.outcome import outcome_of, serving
from tests.upstreams.scripted import Answer, json_answer, sse
from workers.providers.base import Provider

USER = {"role": "user", "content": "Hello"}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": "Hi"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
ENCRYPTED = "reasoning.encrypted_content"


def refused(text: str, code: str | None = None, param: str | None = None) -> Answer:
    """Return a 400 of OpenAI's."""
    return json_answer({"error": {"message": text, "type": "invalid_request_error", "code": code, "param": param}}, 400)


async def asked(provider: Provider, *items: dict[str, Any], **fields: Any) -> str:
    """Return what the model says to these items."""
    raw = json.dumps({"model": "m", "input": [USER, *items], **fields}).encode()
    request = ChatRequest(raw, read=DIALECTS["responses"].read)
    async with provider.stream(request, "scripted") as batches:
        return outcome_of([event async for batch in batches for event in batch]).content


async def test_thoughts_that_openai_cannot_read_are_left_out() -> None:
    """Of another organization, say: the client cannot know whose they are. All of them, and their ids."""
    async with serving("openai-responses") as (upstream, provider):
        upstream.add(refused("The encrypted content for item rs_1 could not be verified.", "invalid_encrypted_content"))
        upstream.add(sse(replies.text("Sunny")))
        assert await asked(provider, THOUGHT, SAID, USER, include=[ENCRYPTED]) == "Sunny"
        first, second = [request.body for request in upstream.requests]
    assert first["input"] == [USER, THOUGHT, SAID, USER]
    assert second["input"] == [USER, {name: value for name, value in SAID.items() if name != "id"}, USER]
    assert second["include"] == [ENCRYPTED]


async def test_a_model_that_gives_no_thoughts_away_is_not_asked_again() -> None:
    """Where the gateway asks; a client's own wish is refused as OpenAI does."""
    refusal = refused("Encrypted content is not supported with this model.", None, "include")
    async with serving("openai-responses") as (upstream, provider):
        upstream.add(refusal, sse(replies.text("a")), sse(replies.text("b")), refusal)
        assert [await asked(provider, store=True) for _ in "ab"] == ["a", "b"]
        with pytest.raises(errors.InvalidRequest, match="not supported"):
            await asked(provider, include=[ENCRYPTED])
        assert ["include" in request.body for request in upstream.requests] == [True, False, False, True]


async def test_thoughts_that_their_client_never_saw_are_put_in_again() -> None:
    """As the stored items name them; another model gets none."""
    bare = {name: value for name, value in THOUGHT.items() if name != "encrypted_content"}
    async with serving("openai-responses") as (upstream, provider):
        upstream.add(sse(replies.stream(replies.reasoning(encrypted="sealed"), replies.message("I"))))
        upstream.fallback = sse(replies.text("Sunny"))
        await asked(provider, store=True)
        await asked(provider, bare, SAID, USER, store=True)
        await asked(provider, {**bare, "id": "rs_2"}, SAID, USER, store=True)
        _, known, unknown = [request.body["input"] for request in upstream.requests]
    assert known == [USER, THOUGHT, SAID, USER]
    assert [item["type"] for item in unknown[1:-1]] == ["message"]
