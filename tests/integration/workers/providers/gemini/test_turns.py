"""The `gemini` provider: thought signatures from one turn to the next, and remote images."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from shared import errors
from shared.redis import client as redis_client
from shared.types import Delta, Event
from tests.upstreams.gemini.replies import call, chunk, text
from tests.upstreams.gemini.serving import MODEL, asking_for_images, events_of, gemini_serving
from tests.upstreams.outcome import HELLO, chat
from tests.upstreams.scripted import ScriptedUpstream, sse
from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.gemini.provider import GeminiProvider
from workers.providers.images.remote import MAX_REMOTE_IMAGES
from workers.providers.tool_call_state import RedisToolCallState


def _back(events: list[Event], *results: str) -> dict[str, Any]:
    """Return the next request of a client that ran the calls of a reply, as OpenAI's SDK would send it."""
    deltas = [each for each in events if isinstance(each, Delta)]
    calls = [
        {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
        for delta in deltas
        for each in delta.tool_calls or ()
    ]
    answers = [
        {"role": "tool", "tool_call_id": made["id"], "content": result}
        for made, result in zip(calls, results, strict=True)
    ]
    return {"messages": [*HELLO["messages"], {"role": "assistant", "tool_calls": calls}, *answers], "model": "m"}


async def _replayed(first: GeminiProvider, second: GeminiProvider, upstream: ScriptedUpstream) -> list[dict[str, Any]]:
    """Return the parts of the calls as they go back to Gemini in the second turn."""
    signed = call({"city": "Rome"}, thoughtSignature="c2lnbmF0dXJl")
    upstream.add(sse(chunk(signed, call(id="given")) + chunk(finish_reason="STOP")), sse(text("Done")))
    events = await events_of(first)
    await events_of(second, _back(events, "sun", "rain"))
    parts: list[dict[str, Any]] = upstream.requests[1].body["contents"][1]["parts"]
    return parts


async def test_a_signature_comes_back_with_its_call(redis: Redis) -> None:
    """Through Redis, so that another worker may serve the next turn; it expires there."""
    async with gemini_serving(RedisToolCallState(redis, ttl_s=60)) as (upstream, first):
        second = GeminiProvider(upstream.url, "k", 8, RedisToolCallState(redis))
        parts = await _replayed(first, second, upstream)
        await second.close()
    assert [part.get("thoughtSignature") for part in parts] == ["c2lnbmF0dXJl", None]
    assert [part["functionCall"].get("id") for part in parts] == [None, "given"]
    (key,) = await redis.keys("claw:signature:*")
    assert key.startswith(b"claw:signature:call_")
    assert 0 < await redis.ttl(key) <= 60


async def test_a_signature_is_kept_before_its_call_is_handed_out() -> None:
    """The client may be back at once."""
    order: list[str] = []

    class Watched(MemoryToolCallState):
        async def put_many(self, model: str, signatures: Any) -> None:
            await asyncio.sleep(0)
            order.append(model)
            await super().put_many(model, signatures)

    async with gemini_serving(Watched()) as (upstream, provider):
        upstream.add(sse(chunk(call(thoughtSignature="c2ln"), finish_reason="STOP")))
        async with provider.stream(chat(), MODEL) as batches:
            order += ["batch" async for _ in batches]
    assert order == [MODEL, "batch", "batch"]


async def test_a_signature_is_only_good_for_its_model(redis: Redis) -> None:
    """Another model's call passes by Google's own word for it."""
    signatures = RedisToolCallState(redis)
    await signatures.put_many(MODEL, {"a": "c2ln", "b" * 300: "c2ln", "huge": "x" * 300_000})
    assert await signatures.get_many(MODEL, ["a", "b" * 300, "huge", "c"]) == {"a": "c2ln"}
    assert await signatures.get_many("gemini-4-argon", ["a"]) == {}
    assert await signatures.get_many(MODEL[:-1], ["a"]) == {}
    assert await signatures.get_many(MODEL, []) == {}


async def test_without_redis_the_conversation_goes_on() -> None:
    """A lost signature costs quality, not the request."""
    gone = redis_client.connect("redis://127.0.0.1:1/0")
    signatures = RedisToolCallState(gone)
    async with gemini_serving(signatures) as (upstream, provider):
        parts = await _replayed(provider, provider, upstream)
    await redis_client.close(gone)
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]


async def test_the_oldest_signatures_in_memory_go_first() -> None:
    """Memory is bounded."""
    signatures = MemoryToolCallState(capacity=2)
    for name in ("a", "b", "c"):
        await signatures.put_many("m", {name: name})
    assert await signatures.get_many("m", ["a", "b", "c"]) == {"b": "b", "c": "c"}


async def test_a_signature_that_the_client_brings_goes_before_ours() -> None:
    """It is what Gemini gave it."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(text("Done")))
        made = {"id": "call_x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        made["extra_content"] = {"google": {"thought_signature": "b3du"}}
        turns = [
            {"role": "assistant", "tool_calls": [made]},
            {"role": "tool", "tool_call_id": "call_x", "content": "x"},
        ]
        await events_of(provider, {**HELLO, "messages": [*HELLO["messages"], *turns]})
        assert upstream.requests[0].body["contents"][1]["parts"][0]["thoughtSignature"] == "b3du"


async def test_remote_images_are_fetched_once_each() -> None:
    """They go out as inline data, in their places."""
    asked: list[str] = []

    async def fetch(url: str) -> tuple[str, bytes]:
        asked.append(url)
        return "image/png", url.encode()

    async with gemini_serving(fetch_image=fetch) as (upstream, provider):
        upstream.add(sse(text("Pixels")))
        await events_of(provider, asking_for_images("http://a/1", "http://b/2", "http://a/1"))
        parts = upstream.requests[0].body["contents"][0]["parts"]
    assert asked == ["http://a/1", "http://b/2"]
    assert [part["inlineData"]["data"] for part in parts] == [
        "aHR0cDovL2EvMQ==",
        "aHR0cDovL2IvMg==",
        "aHR0cDovL2EvMQ==",
    ]


async def test_an_image_that_cannot_be_fetched_is_named_by_its_place() -> None:
    """The first one, whichever failed first; the request never leaves."""

    async def fetch(url: str) -> tuple[str, bytes]:
        if url == "http://a/1":
            return "image/png", b"x"
        raise errors.InvalidRequest(f"no {url}", code="invalid_image_url")

    async with gemini_serving(fetch_image=fetch) as (upstream, provider):
        with pytest.raises(errors.InvalidRequest) as caught:
            await events_of(provider, asking_for_images("http://a/1", "http://b/2", "http://b/3", "http://b/2"))
        assert not upstream.requests
    assert (caught.value.param, caught.value.code) == ("messages[0].content[1].image_url.url", "invalid_image_url")


async def test_remote_images_are_bounded_in_number_and_size() -> None:
    """A request must not fill this machine's memory."""
    asked: list[str] = []

    async def fetch(url: str) -> tuple[str, bytes]:
        asked.append(url)
        return "image/png", bytes(20 * 1024 * 1024)

    async with gemini_serving(fetch_image=fetch) as (_, provider):
        for count, place, fetched in ((MAX_REMOTE_IMAGES + 1, MAX_REMOTE_IMAGES, 0), (5, 3, 4)):
            with pytest.raises(errors.InvalidRequest) as caught:
                await events_of(provider, asking_for_images(*(f"http://a/{number}" for number in range(count))))
            assert caught.value.param == f"messages[0].content[{place}].image_url.url"
            assert len(asked) == fetched
