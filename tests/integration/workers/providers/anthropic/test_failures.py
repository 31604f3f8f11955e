"""What the `anthropic` provider makes of an upstream that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared import errors
from shared.types import Delta, Event, Finish
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.outcome import complete, outcome_of, serving
from tests.upstreams.scripted import Act, json_answer, sse

TEXT = anthropic.text("Hel", "lo")


async def test_a_stream_that_ends_early_is_broken() -> None:
    """A stream cut before its stop reason is broken, however cleanly the connection ended."""
    lines = TEXT.split(b"\n")
    end = next(number for number, line in enumerate(lines) if b'"end_turn"' in line)
    async with serving("anthropic") as (upstream, provider):
        for cut in range(end):
            upstream.add(sse(b"\n".join([*lines[:cut], b""])))
            with pytest.raises(errors.StreamBroken):
                await complete(provider)
        upstream.add(sse(b"\n".join([*lines[: end + 1], b""])))
        assert outcome_of(await complete(provider)).finish == "stop"


ERROR_TYPES: list[tuple[str, type[errors.GatewayError]]] = [
    ("invalid_request_error", errors.InvalidRequest),
    ("authentication_error", errors.Rejected),
    ("billing_error", errors.Rejected),
    ("permission_error", errors.Rejected),
    ("not_found_error", errors.ModelMissing),
    ("request_too_large", errors.InvalidRequest),
    ("rate_limit_error", errors.Throttled),
    ("timeout_error", errors.Unavailable),
    ("api_error", errors.Unavailable),
    ("overloaded_error", errors.Unavailable),
    ("brand_new_error", errors.Unavailable),
]


@pytest.mark.parametrize(("kind", "expected"), ERROR_TYPES)
async def test_an_error_event_is_classed_as_its_status_before_content_and_breaks_the_stream_after(
    kind: str, expected: type[errors.GatewayError]
) -> None:
    """The 200 came too early; what was said before the error arrives first."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(anthropic.start() + anthropic.PING + anthropic.error(kind) + TEXT))
        with pytest.raises(errors.GatewayError) as caught:
            await complete(provider)
        assert type(caught.value) is expected
        upstream.add(sse(anthropic.start() + anthropic.text_block(0, "Hel") + anthropic.error(kind) + TEXT))
        events: list[Event] = []
        with pytest.raises(errors.StreamBroken):
            await complete(provider, on_batch=events.extend)
        assert [event.content for event in events if isinstance(event, Delta)] == ["Hel"]
        assert not any(isinstance(event, Finish) for event in events)


STATUSES: list[tuple[int, str, type[errors.GatewayError]]] = [
    (400, "invalid_request_error", errors.InvalidRequest),
    (401, "authentication_error", errors.Rejected),
    (402, "billing_error", errors.Rejected),
    (403, "permission_error", errors.Rejected),
    (404, "not_found_error", errors.ModelMissing),
    (409, "conflict_error", errors.Unavailable),
    (413, "request_too_large", errors.InvalidRequest),
    (429, "rate_limit_error", errors.Throttled),
    (500, "api_error", errors.Unavailable),
    (504, "timeout_error", errors.Unavailable),
    (529, "overloaded_error", errors.Unavailable),
]


@pytest.mark.parametrize(("status", "kind", "expected"), STATUSES)
async def test_every_status_has_its_class(status: int, kind: str, expected: type[errors.GatewayError]) -> None:
    """Whatever the body; a Retry-After is honoured where waiting helps."""
    bodies: list[Any] = [anthropic.error_body(kind), {}, "x"]
    async with serving("anthropic") as (upstream, provider):
        for body in bodies:
            upstream.add(json_answer(body, status, {"retry-after": "17"}))
            with pytest.raises(errors.GatewayError) as caught:
                await complete(provider)
            assert type(caught.value) is expected
            if status in {429, 500, 529}:
                assert caught.value.retry_after_s == 17


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("prompt is too long: 207791 tokens > 200000 maximum", errors.ContextTooLong),
        ("input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000", errors.ContextTooLong),
        ("Your credit balance is too low to access the Anthropic API.", errors.Rejected),
        ("You have reached your specified API usage limits.", errors.Rejected),
        ("max_tokens: must be at least 1", errors.InvalidRequest),
    ],
)
async def test_what_has_no_code_is_known_by_its_text(message: str, expected: type[errors.GatewayError]) -> None:
    """Anthropic calls all of them invalid requests, before and inside a stream."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(json_answer(anthropic.error_body("invalid_request_error", message), 400))
        upstream.add(sse(anthropic.start() + anthropic.error("invalid_request_error", message)))
        for _ in range(2):
            with pytest.raises(errors.GatewayError) as caught:
                await complete(provider)
            assert type(caught.value) is expected


@pytest.mark.parametrize("act", [Act.ABORT, Act.CLOSE])
async def test_a_connection_that_breaks_mid_stream_breaks_the_stream(act: Act) -> None:
    """A reset, or a body that is not ended, breaks the stream after content and fails the attempt before it."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(anthropic.start(), act))
        with pytest.raises(errors.Unavailable):
            await complete(provider)
        seen = asyncio.Event()
        upstream.add(sse(anthropic.start() + anthropic.text_block(0, "Hel"), seen, act))
        with pytest.raises(errors.StreamBroken):
            await complete(provider, on_batch=lambda _: seen.set())


@pytest.mark.parametrize("data", ["{", "[" * 5000])
async def test_a_line_that_cannot_be_read_is_malformed(data: str) -> None:
    """JSON that is broken or nested without end."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(f"data: {data}\n\n".encode()))
        with pytest.raises(errors.Malformed):
            await complete(provider)
