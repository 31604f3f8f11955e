"""How the providers hold their connections to an upstream."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextvars import ContextVar

import pytest

from shared import errors
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.openai import responses as openai_responses
from tests.upstreams.outcome import WIRES, chat, complete, outcome_of, provider_for, serving
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, ndjson, sse
from workers.providers.http import client

every_wire = pytest.mark.parametrize(
    "wire", [*WIRES, pytest.param("openai", id="openai by aiohttp", marks=pytest.mark.aiohttp)]
)
every_wire_with_an_end_mark = pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "gemini"])


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direct as servers without TLS are talked to, or by aiohttp as all others."""
    is_direct = ContextVar("is_direct", default=request.node.get_closest_marker("aiohttp") is None)
    monkeypatch.setattr(client, "is_direct", is_direct)


def _text(wire: str, **options: bool) -> Answer:
    if wire == "openai":
        return sse(openai_replies.text("Hel", "lo"), **options)
    if wire == "openai-responses":
        return sse(openai_responses.text("Hel", "lo"), **options)
    if wire == "gemini":
        return sse(gemini_replies.text("Hel", "lo"), **options)
    if wire == "anthropic":
        return sse(anthropic_replies.text("Hel", "lo"), **options)
    return ndjson(ollama_replies.text("Hel", "lo"), **options)


def _token(wire: str) -> bytes:
    if wire == "openai":
        return openai_replies.chunk({"content": "a"})
    if wire == "openai-responses":
        return openai_responses.raw_event("", {"type": "response.output_text.delta", "delta": "a"})
    if wire == "gemini":
        return gemini_replies.chunk({"text": "a"})
    if wire == "anthropic":
        return anthropic_replies.text_block(0, "a")
    return ollama_replies.line({"content": "a"})


@every_wire
async def test_a_finished_stream_leaves_its_connection_for_the_next(wire: str) -> None:
    """Requests one after the other share one connection."""
    async with serving(wire) as (upstream, provider):
        upstream.add(*[_text(wire)] * 5)
        for _ in range(5):
            await complete(provider)
        assert (upstream.opened, upstream.aborted) == (1, 0)


@every_wire
async def test_leaving_a_stream_early_closes_its_connection_at_once(wire: str) -> None:
    """A consumer that stops reading stops the upstream, and its connection is not used again."""
    async with serving(wire) as (upstream, provider):
        upstream.add(Answer([_token(wire), Act.HANG], headers=_text(wire).headers), _text(wire))
        async with provider.stream(chat(), "scripted") as batches:
            await anext(batches)
        await upstream.until(lambda: upstream.aborted == 1)
        await complete(provider)
        assert upstream.opened == 2


@every_wire
async def test_an_error_of_the_consumer_closes_the_connection(wire: str) -> None:
    """An exception inside the context goes through unchanged and stops the upstream."""
    async with serving(wire) as (upstream, provider):
        upstream.add(Answer([_token(wire), Act.HANG], headers=_text(wire).headers))
        with pytest.raises(ZeroDivisionError):
            await complete(provider, on_batch=lambda _: 1 / 0)
        await upstream.until(lambda: upstream.aborted == 1)


@every_wire_with_an_end_mark
async def test_an_end_mark_ends_the_stream_before_the_connection_does(wire: str) -> None:
    """Nobody waits for an upstream that keeps the body open after its end mark; that connection is closed."""
    async with serving(wire) as (upstream, provider):
        whole = _text(wire).steps[0]
        upstream.add(Answer([whole, Act.HANG], headers=_text(wire).headers))
        async with asyncio.timeout(60):
            assert outcome_of(await complete(provider)).content == "Hello"
        await upstream.until(lambda: upstream.open == 0)


@every_wire_with_an_end_mark
async def test_a_body_that_ends_a_little_after_its_end_mark_leaves_its_connection(wire: str) -> None:
    """What follows the end mark is read before the connection is judged."""
    async with serving(wire) as (upstream, provider):
        read = asyncio.Event()
        upstream.add(Answer([_text(wire).steps[0], read], headers=_text(wire).headers), _text(wire))
        async with provider.stream(chat(), "scripted") as batches:
            assert [len(batch) async for batch in batches]
            read.set()
        await complete(provider)
        assert (upstream.opened, upstream.aborted) == (1, 0)


@every_wire
async def test_a_connection_closed_silently_after_a_stream_does_no_harm(wire: str) -> None:
    """A server that closes after each reply without saying so (llama.cpp) serves every request."""
    async with serving(wire) as (upstream, provider):
        upstream.fallback = _text(wire, close_after=True)
        for _ in range(50):
            assert outcome_of(await complete(provider)).content == "Hello"
        assert len(upstream.requests) == 50


@every_wire
async def test_a_request_that_meets_a_stale_connection_is_sent_once_more(wire: str) -> None:
    """A reused connection that ends before any byte of the reply costs a second, fresh connection, and no error."""
    async with serving(wire) as (upstream, provider):
        upstream.add(_text(wire), Answer([Act.ABORT], answers_head=False), _text(wire), _text(wire))
        await complete(provider)
        assert outcome_of(await complete(provider)).content == "Hello"
        assert (len(upstream.requests), upstream.opened) == (3, 2)
        await upstream.until(lambda: upstream.open == 0)
        await complete(provider)


@every_wire
async def test_a_request_is_sent_twice_at_the_most(wire: str) -> None:
    """A server that closes fresh connections too is unavailable, after one more try."""
    async with serving(wire) as (upstream, provider):
        upstream.add(_text(wire), *[Answer([Act.CLOSE], answers_head=False)] * 3)
        await complete(provider)
        with pytest.raises(errors.Unavailable):
            await complete(provider)
        assert len(upstream.requests) == 3


@every_wire
async def test_a_fresh_connection_that_is_closed_is_not_tried_again(wire: str) -> None:
    """Without an idle connection to blame, a request is sent once only: the upstream may have begun to work on it."""
    async with serving(wire) as (upstream, provider):
        upstream.add(*[Answer([Act.CLOSE], answers_head=False)] * 2)
        with pytest.raises(errors.Unavailable):
            await complete(provider)
        assert len(upstream.requests) == 1


@every_wire
async def test_closing_the_provider_closes_its_connections(wire: str) -> None:
    """Nothing stays open after close()."""
    async with serving(wire) as (upstream, provider):
        upstream.add(_text(wire))
        await complete(provider)
        await provider.close()
        await upstream.until(lambda: upstream.open == 0)


@every_wire
async def test_no_cookie_of_an_upstream_is_kept(wire: str) -> None:
    """The connections serve many clients, of whom none should be taken for another."""
    async with serving(wire) as (upstream, provider):
        answer = _text(wire)
        upstream.add(Answer(answer.steps, headers={**answer.headers, "set-cookie": "seen=1; Path=/"}), _text(wire))
        for _ in range(2):
            await complete(provider)
        assert not any("cookie" in request.headers for request in upstream.requests)


@every_wire
async def test_a_redirect_is_not_followed(wire: str) -> None:
    """A credential goes to the address that it was given for, and nowhere else."""
    async with serving(wire) as (upstream, provider):
        upstream.add(Answer([b""], status=307, headers={"location": f"{upstream.url}/elsewhere"}), _text(wire))
        with pytest.raises(errors.GatewayError):
            await complete(provider)
        assert len(upstream.requests) == 1


@every_wire
async def test_a_name_and_a_password_in_the_address_are_sent_as_such(wire: str) -> None:
    """As a proxy in front of a model server wants them; a key goes before them, and neither ends the worker."""
    async with ScriptedUpstream() as upstream:
        provider = provider_for(wire, upstream.url.replace("://", "://me:p%40ss@"))
        upstream.add(_text(wire))
        await complete(provider)
        await provider.close()
    sent = upstream.requests[0].headers.get("authorization", "")

    assert sent == "Basic " + b64encode(b"me:p@ss").decode() or sent.startswith("Bearer ")
