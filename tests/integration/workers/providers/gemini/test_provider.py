"""The `gemini` provider: the recordings that every provider must get right, and what is particular to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared import errors
from shared.openai.reply import CompletionFold
from shared.types import Delta, Event, LocalModel, Usage
from tests.upstreams.gemini.replies import chunk, error, event, model_page, quota, text, usage
from tests.upstreams.gemini.serving import MODEL, asking_for_images, events_of, gemini_serving
from tests.upstreams.outcome import HELLO, chat, complete, outcome_of, serving
from tests.upstreams.recordings import RECORDINGS, Recording
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, json_answer, sse
from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.gemini.provider import GeminiProvider

PATH = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
CASES = [pytest.param(each, id=each.name.replace(" ", "_")) for each in RECORDINGS if "gemini" in each.replies]
MODELS_PATH = "/v1beta/models?pageSize=1000"


async def _failure(provider: GeminiProvider, on_batch: Callable[[Any], object] | None = None) -> errors.GatewayError:
    with pytest.raises(errors.GatewayError) as caught:
        await complete(provider, on_batch=on_batch)
    return caught.value


@pytest.mark.parametrize("split", [None, 1], ids=["whole", "every_byte"])
@pytest.mark.parametrize("recording", CASES)
async def test_a_recording_amounts_to_its_outcome(recording: Recording, split: int | None) -> None:
    """What was asked goes out in Gemini's terms, and its reply comes back whole, streamed and folded alike."""
    async with serving("gemini") as (upstream, provider):
        upstream.add(sse(recording.replies["gemini"], split=split))
        events = await complete(provider, recording.body)
        assert outcome_of(events) == recording.outcome
        sent = upstream.requests[0].body
        assert {name: sent.get(name) for name in recording.sent["gemini"]} == recording.sent["gemini"]
    fold = CompletionFold()
    for each in events:
        fold.add(each)
    choice = json.loads(fold.body("id", 0, "m", Usage(0, 0)))["choices"][0]
    calls = [
        (made["function"]["name"], made["function"]["arguments"]) for made in choice["message"].get("tool_calls", ())
    ]
    said = (choice["message"]["content"] or "", choice["message"].get("reasoning_content", ""))
    assert (*said, calls, choice["finish_reason"]) == (
        recording.outcome.content, recording.outcome.reasoning, recording.outcome.calls, recording.outcome.finish,
    )  # fmt: skip


async def test_the_key_goes_out_in_its_header_and_nowhere_else() -> None:
    """Proxies log URLs."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(text("Hi")))
        await events_of(provider)
        await provider.models()
        for request in (upstream.requests[0], upstream.route_requests[0]):
            assert request.headers["x-goog-api-key"] == "AIza-secret"
            assert "authorization" not in request.headers
            assert "AIza" not in request.path
            assert b"AIza" not in request.raw


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (MODEL, PATH),
        (f"models/{MODEL}", PATH),
        ("a/../b?key#y", "/v1beta/models/a%2F..%2Fb%3Fkey%23y:streamGenerateContent?alt=sse"),
    ],
)
async def test_a_models_name_stays_inside_its_place_in_the_url(model: str, path: str) -> None:
    """Clients choose it."""
    async with ScriptedUpstream() as upstream:
        upstream.routes[path] = sse(text("Hi"))
        provider = GeminiProvider(upstream.url, "k", 8, MemoryToolCallState())
        assert outcome_of(await events_of(provider, model=model)).content == "Hi"
        await provider.close()


async def test_events_that_arrive_together_are_one_batch() -> None:
    """The end comes by itself: it is the end of the body."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(text("Hel", "lo")))
        async with provider.stream(chat(), MODEL) as batches:
            assert [len(batch) async for batch in batches] == [2, 2]


async def test_a_finished_stream_leaves_its_connection_for_the_next() -> None:
    """Requests one after the other share one connection, also after one that was refused."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(text("Hi")), sse(text("Hi")), json_answer(error(503, "UNAVAILABLE"), 503), sse(text("Hi")))
        await events_of(provider)
        await events_of(provider)
        with pytest.raises(errors.Unavailable):
            await events_of(provider)
        await events_of(provider)
        assert (upstream.opened, upstream.aborted) == (1, 0)


async def test_leaving_a_stream_early_closes_its_connection_at_once() -> None:
    """A client that leaves stops Gemini."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(chunk({"text": "a"}), Act.HANG))
        async with provider.stream(chat(), MODEL) as batches:
            await anext(batches)
        await upstream.until(lambda: upstream.aborted == 1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.Unavailable), (400, errors.InvalidRequest), (401, errors.Rejected), (403, errors.Rejected),
        (404, errors.ModelMissing), (408, errors.Unavailable), (413, errors.InvalidRequest),
        (422, errors.InvalidRequest), (429, errors.Throttled), (499, errors.Unavailable),
        (500, errors.Unavailable), (502, errors.Unavailable),
        (503, errors.Unavailable), (504, errors.Unavailable),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [error(418, "X"), [error(418, "X")], "no", [], {"error": "no"}, {"error": None}])
async def test_every_status_has_its_class_whatever_the_body(
    status: int, kind: type[errors.GatewayError], body: Any
) -> None:
    """The reply's status decides."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(json_answer(body, status))
        assert type(await _failure(provider)) is kind
        await upstream.until(lambda: upstream.aborted == 0)


async def test_a_spent_quota_tells_how_long_and_which() -> None:
    """By the body's details, beside the header."""
    async with gemini_serving() as (upstream, provider):
        per_day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
        upstream.add(json_answer(quota(per_day, retry_delay="12s"), 429, {"retry-after": "17"}))
        spent = await _failure(provider)
        assert isinstance(spent, errors.Throttled)
        assert (spent.period, spent.limits, spent.retry_after_s) == ("day", {"requests_per_day": 10}, 17)


async def test_a_refused_key_is_no_fault_of_the_callers() -> None:
    """Google answers 400; so does its list of models."""
    invalid = error(
        400, "INVALID_ARGUMENT", "API key not valid.", [{"@type": "ErrorInfo", "reason": "API_KEY_INVALID"}]
    )
    async with gemini_serving() as (upstream, provider):
        upstream.add(json_answer(invalid, 400))
        upstream.routes[MODELS_PATH] = json_answer(invalid, 400)
        assert type(await _failure(provider)) is errors.Rejected
        with pytest.raises(errors.Rejected):
            await provider.models()
        upstream.routes[MODELS_PATH] = json_answer(error(400, "INVALID_ARGUMENT"), 400)
        with pytest.raises(errors.Unavailable):
            await provider.models()


async def test_an_error_body_without_end_is_given_up() -> None:
    """The status is enough."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(Answer([b"x" * 100_000, Act.HANG], status=503))
        assert type(await _failure(provider)) is errors.Unavailable
        await upstream.until(lambda: upstream.open == 0)


@pytest.mark.parametrize("form", ["event", "bare"])
async def test_an_error_inside_the_stream_is_a_failed_attempt_or_a_broken_stream(form: str) -> None:
    """Before content its own code counts; after it, nothing but the break."""
    body = error(503, "UNAVAILABLE", "The model is overloaded.")
    frame = event(body) if form == "event" else json.dumps(body, indent=2).encode() + b"\r\n"
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(frame), sse(chunk({"text": "Hi"}) + frame))
        assert type(await _failure(provider)) is errors.Unavailable
        seen: list[Event] = []
        assert type(await _failure(provider, seen.extend)) is errors.StreamBroken
        assert seen == [Delta("Hi")]


@pytest.mark.parametrize("act", [Act.ABORT, Act.CLOSE])
async def test_a_connection_that_breaks_mid_stream_breaks_the_stream(act: Act) -> None:
    """A reset, or a body that is not ended, even after a finish reason."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(act))
        assert type(await _failure(provider)) is errors.Unavailable
        seen = asyncio.Event()
        upstream.add(sse(text("Hi"), seen, act))
        assert type(await _failure(provider, lambda _: seen.set())) is errors.StreamBroken


async def test_an_empty_success_is_a_failed_attempt() -> None:
    """With a STOP, or with nothing at all."""
    async with gemini_serving() as (upstream, provider):
        upstream.add(sse(chunk(finish_reason="STOP", usage=usage(7, 0))), sse(b""))
        for _ in range(2):
            failure = await _failure(provider)
            assert failure.fails_over


async def test_a_request_that_cannot_be_translated_never_leaves() -> None:
    """Remote images without a fetcher, for one."""
    async with gemini_serving() as (upstream, provider):
        for body in (asking_for_images("http://a/1"), {**HELLO, "seed": 2**31}):
            with pytest.raises(errors.InvalidRequest):
                await events_of(provider, body)
        assert not upstream.requests


async def test_models_are_those_that_complete_chats_on_every_page() -> None:
    """With the most tokens that a prompt can have."""
    async with gemini_serving() as (upstream, provider):
        upstream.routes[MODELS_PATH] = json_answer(model_page(["gemini-a"], 1048576, next_page_token="a&b"))
        upstream.routes[f"{MODELS_PATH}&pageToken=a%26b"] = json_answer(model_page(["gemini-b"], 8192))
        assert list(await provider.models()) == [
            LocalModel("gemini-a", context_length=1048576, endpoints=("chat",)),
            LocalModel("gemini-b", context_length=8192, endpoints=("chat",)),
        ]


async def test_pages_without_end_are_given_up() -> None:
    """A list that names itself as its next page is read a bounded number of times."""
    async with gemini_serving() as (upstream, provider):
        page = json_answer(model_page(["m"], 1, next_page_token="t"))
        upstream.routes |= {MODELS_PATH: page, f"{MODELS_PATH}&pageToken=t": page}
        assert len(await provider.models()) == 20


@pytest.mark.parametrize("body", [{"models": 7}, 7, "x"])
async def test_a_list_of_models_that_cannot_be_read_is_malformed(body: object) -> None:
    """Whatever the server says instead."""
    async with gemini_serving() as (upstream, provider):
        upstream.routes[MODELS_PATH] = json_answer(body)
        with pytest.raises(errors.Malformed):
            await provider.models()
