"""What the providers make of upstreams that fail, in every way that the wire can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from shared import errors
from shared.types import Delta, Event
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.openai import responses as openai_responses
from tests.upstreams.outcome import WIRES, complete, outcome_of, provider_for, serving
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, Step, json_answer, ndjson, sse
from workers.providers.base import Provider

pytestmark = pytest.mark.parametrize("wire", WIRES)


REPLIES = {
    "openai": openai_replies,
    "openai-responses": openai_responses,
    "ollama": ollama_replies,
    "gemini": gemini_replies,
    "anthropic": anthropic_replies,
}
TOKENS = {
    "openai": openai_replies.chunk({"content": "Hel"}),
    "openai-responses": openai_responses.raw_event(
        "response.output_text.delta", {"type": "response.output_text.delta", "delta": "Hel"}
    ),
    "ollama": ollama_replies.line({"content": "Hel"}),
    "gemini": gemini_replies.chunk({"text": "Hel"}),
    "anthropic": anthropic_replies.text_block(0, "Hel"),
}


class Wire:
    """A scripted upstream, a provider pointed at it, and replies in its wire."""

    def __init__(self, wire: str, upstream: ScriptedUpstream, provider: Provider) -> None:
        self.upstream = upstream
        self.provider = provider
        self.answer: Callable[..., Answer] = ndjson if wire == "ollama" else sse
        self.whole = REPLIES[wire].text("Hel", "lo")
        self.token = TOKENS[wire]
        self.prefix = b"" if wire == "ollama" else b"data: "

    def raw(self, text: str) -> bytes:
        """Return a line of the wire with this data."""
        return self.prefix + text.encode() + b"\n"

    async def fails(self, *steps: Step, **options: Any) -> errors.GatewayError:
        """Return the error that an answer of these steps ends in."""
        self.upstream.add(self.answer(*steps, **options))
        with pytest.raises(errors.GatewayError) as caught:
            await complete(self.provider)
        return caught.value


@pytest.fixture
async def on(wire: str) -> AsyncIterator[Wire]:
    """Yield the wire under test."""
    async with serving(wire) as (upstream, provider):
        yield Wire(wire, upstream, provider)


STATUSES: list[tuple[int, type[errors.GatewayError]]] = [
    (301, errors.Unavailable),
    (400, errors.InvalidRequest),
    (401, errors.Rejected),
    (403, errors.Rejected),
    (404, errors.ModelMissing),
    (408, errors.Unavailable),
    (413, errors.InvalidRequest),
    (422, errors.InvalidRequest),
    (429, errors.Throttled),
    (500, errors.Unavailable),
    (502, errors.Unavailable),
    (503, errors.Unavailable),
]
BODIES = [
    b'{"error":{"message":"no","type":"t","param":null,"code":null}}',
    b'{"error":"no"}',
    b"<html>no</html>",
    b"",
    b"[]",
    b'{"error":null}',
    b"\xff\xfe",
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_every_status_has_its_class_whatever_the_body(
    on: Wire, status: int, kind: type[errors.GatewayError]
) -> None:
    """A status decides the class of the error; a body that is no JSON object does no harm."""
    for body in BODIES:
        on.upstream.add(Answer([body], status=status))
        with pytest.raises(kind) as caught:
            await complete(on.provider)
        assert type(caught.value) is kind


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_in_both_its_forms(on: Wire, status: int) -> None:
    """Retry-After may be seconds or an HTTP date; nonsense is no wait at all."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    earlier = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)
    for value, low, high in (("17", 17, 17), (later, 90, 100), (earlier, 0, 0), ("-3", 0, 0)):
        on.upstream.add(json_answer({"error": "busy"}, status, {"retry-after": value}))
        with pytest.raises(errors.UpstreamError) as caught:
            await complete(on.provider)
        assert caught.value.retry_after_s is not None
        assert low <= caught.value.retry_after_s <= high
    for value in ("soon", "nan", "inf"):
        on.upstream.add(json_answer({"error": "busy"}, status, {"retry-after": value}))
        with pytest.raises(errors.UpstreamError) as caught:
            await complete(on.provider)
        assert caught.value.retry_after_s is None


async def test_an_error_before_any_content_is_a_failed_attempt(on: Wire) -> None:
    """An error inside a 200 stream lets the request go to the next tier while nothing was said."""
    error = await on.fails(on.raw('{"error":"the model runner has stopped"}'))
    assert type(error) is errors.Unavailable
    assert error.fails_over
    assert "runner" not in error.message


async def test_an_error_after_content_is_a_broken_stream(on: Wire) -> None:
    """After content, an error inside the stream is never a clean end, and what was said before it arrives first."""
    on.upstream.add(on.answer(on.token + on.raw('{"error":"out of memory"}') + on.whole))
    events: list[Event] = []
    with pytest.raises(errors.StreamBroken):
        await complete(on.provider, on_batch=events.extend)
    assert [event.content for event in events if isinstance(event, Delta)] == ["Hel"]


async def test_a_stream_that_ends_early_is_broken(on: Wire) -> None:
    """A stream cut at any line's end is broken, however cleanly the connection ended."""
    lines = on.whole.split(b"\n")
    marks = (b'"stop"', b'"STOP"', b'"end_turn"', b'data: {"type": "response.completed"')
    finish = next(number for number, line in enumerate(lines) if any(mark in line for mark in marks))
    for cut in range(finish):
        for framing in ("chunked", "close"):
            error = await on.fails(b"\n".join([*lines[:cut], b""]), framing=framing)
            assert type(error) is errors.StreamBroken


@pytest.mark.parametrize("act", [Act.ABORT, Act.CLOSE])
async def test_a_connection_that_breaks_mid_stream_breaks_the_stream(on: Wire, act: Act) -> None:
    """A reset, or a body that is not ended, breaks the stream after content and fails the attempt before it."""
    assert type(await on.fails(act)) is errors.Unavailable
    seen = asyncio.Event()
    on.upstream.add(on.answer(on.token, seen, act))
    with pytest.raises(errors.StreamBroken):
        await complete(on.provider, on_batch=lambda _: seen.set())


async def test_a_line_that_cannot_be_read_is_malformed(on: Wire) -> None:
    """JSON that is broken or nested without end ends the stream with an error; a page of HTML is no answer."""
    for text in ("{", "[" * 5000):
        assert type(await on.fails(on.raw(text))) is errors.Malformed
    assert type(await on.fails(b"<html>\n:root {\n}\n</html>\n")) is errors.Malformed


async def test_events_that_say_nothing_are_no_answer(on: Wire) -> None:
    """Nor do they harm one."""
    for text in (
        '"text"',
        "null",
        "7",
        "[]",
        '{"choices":1,"message":1,"candidates":1,"content_block":1}',
        '{"x":"\\ud800"}',
    ):
        assert type(await on.fails(on.raw(text))) is errors.StreamBroken
        on.upstream.add(on.answer(on.raw(text) + on.whole))
        assert outcome_of(await complete(on.provider)).content == "Hello"


async def test_no_server_is_unavailable(on: Wire, wire: str) -> None:
    """A refused connection is an upstream that cannot be reached, and its address is not told."""
    async with ScriptedUpstream() as gone:
        url = gone.url
    provider = provider_for(wire, url)
    with pytest.raises(errors.Unavailable) as caught:
        await complete(provider)
    with pytest.raises(errors.Unavailable):
        await provider.models()
    await provider.close()
    assert "127.0.0.1" not in caught.value.message
    assert not on.upstream.requests


async def test_a_reply_that_is_not_http_is_unavailable(on: Wire) -> None:
    """Bytes that are no HTTP at all are an upstream that cannot be used."""
    error = await on.fails(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", answers_head=False, framing="close")
    assert type(error) is errors.Unavailable


@pytest.mark.parametrize("moment", ["before the head", "before content", "after content"])
async def test_silence_is_bounded_by_the_caller_and_closes_the_connection(on: Wire, moment: str) -> None:
    """A silent upstream is left as soon as the caller's own deadline passes, at every moment of the reply."""
    steps = {"before the head": [], "before content": [b"\n"], "after content": [on.token]}[moment]
    on.upstream.add(on.answer(*steps, Act.HANG, answers_head=moment != "before the head"))

    async def ask_with_deadline() -> None:
        async with asyncio.timeout(None) as deadline:
            asked = asyncio.create_task(complete(on.provider))
            # Else nothing has come to the server that could be left.
            await on.upstream.until(lambda: len(on.upstream.requests) == 1)
            deadline.reschedule(asyncio.get_running_loop().time() + 0.2)
            await asked

    with pytest.raises(TimeoutError):
        await ask_with_deadline()
    await on.upstream.until(lambda: on.upstream.aborted == 1)
    await on.upstream.until(lambda: on.upstream.open == 0)


async def test_a_cancelled_task_closes_its_connection(on: Wire) -> None:
    """Cancelling the task that reads is enough to stop the upstream."""
    on.upstream.add(on.answer(on.token, Act.HANG))
    task = asyncio.create_task(complete(on.provider))
    await on.upstream.until(lambda: len(on.upstream.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await on.upstream.until(lambda: on.upstream.aborted == 1)


async def test_a_good_reply_follows_a_failed_one(on: Wire) -> None:
    """A failure leaves nothing behind that harms the next request."""
    await on.fails(on.token, Act.ABORT)
    on.upstream.add(on.answer(on.whole))
    assert outcome_of(await complete(on.provider)).content == "Hello"
