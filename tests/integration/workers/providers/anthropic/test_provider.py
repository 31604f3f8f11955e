"""The `anthropic` provider: the recordings, its headers, its models and how its connections end."""

from __future__ import annotations

import asyncio
import json

import pytest

from shared import errors
from shared.openai.reply import DONE, ChunkEncoder, CompletionFold
from shared.types import LocalModel, Usage
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.anthropic.own import OWN
from tests.upstreams.outcome import HELLO, chat, complete, outcome_of, serving
from tests.upstreams.recordings import RECORDINGS, Recording
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, json_answer, sse
from workers.providers.anthropic.provider import AnthropicProvider

CASES = [
    pytest.param(recording, id=recording.name.replace(" ", "_"))
    for recording in [*RECORDINGS, *OWN]
    if "anthropic" in recording.replies
]
TEXT = anthropic.text("Hel", "lo")
LISTED = "/v1/models?limit=1000"


@pytest.mark.parametrize("split", [None, 1], ids=["whole", "every_byte"])
@pytest.mark.parametrize("recording", CASES)
async def test_a_recording_amounts_to_its_outcome(recording: Recording, split: int | None) -> None:
    """What was asked reaches Anthropic in its own terms, and its reply comes back whole, however it is split."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(recording.replies["anthropic"], split=split))
        events = await complete(provider, recording.body)
        assert outcome_of(events) == recording.outcome
        sent = upstream.requests[0].body
        expected = recording.sent["anthropic"]
        assert {name: sent.get(name) for name in expected} == expected


@pytest.mark.parametrize("recording", CASES)
async def test_a_stream_and_a_whole_reply_say_the_same(recording: Recording) -> None:
    """The chunks of a stream add up to the message of the body that is not streamed."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(recording.replies["anthropic"]))
        events = await complete(provider, recording.body)
    fold, encoder = CompletionFold(), ChunkEncoder("id", 1, "m", include_usage=True)
    stream = b""
    for event in events:
        fold.add(event)
        stream += b"" if isinstance(event, Usage) else encoder.encode(event)
    choice = json.loads(fold.body("id", 1, "m", Usage(1, 1)))["choices"][0]
    chunks = [json.loads(line[6:]) for line in (stream + DONE).split(b"\n\n")[:-2]]
    streamed = [chunk["choices"][0] for chunk in chunks]
    for field in ("content", "reasoning_content", "refusal"):
        said = "".join(one["delta"].get(field) or "" for one in streamed)
        assert said == (choice["message"].get(field) or "")
    calls: dict[int, str] = {}
    for call in [call for one in streamed for call in one["delta"].get("tool_calls", ())]:
        calls[call["index"]] = calls.get(call["index"], "") + call["function"]["arguments"]
    assert list(calls.values()) == [call["function"]["arguments"] for call in choice["message"].get("tool_calls", ())]
    assert streamed[-1]["finish_reason"] == choice["finish_reason"]


async def test_the_key_and_the_version_are_sent_and_the_key_is_never_told() -> None:
    """The credential goes to the upstream only, in Anthropic's own header."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(json_answer(anthropic.error_body("authentication_error", "bad key sk-ant-scripted"), 401))
        with pytest.raises(errors.Rejected) as caught:
            await complete(provider)
        headers = upstream.requests[0].headers
        assert (headers["x-api-key"], headers["anthropic-version"]) == ("sk-ant-scripted", "2023-06-01")
        assert "authorization" not in headers
        assert "sk-ant-scripted" not in caught.value.message


async def test_a_fresh_connection_has_the_key_too() -> None:
    """A request that is sent again on a connection of its own is the same request."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(TEXT), Answer([Act.ABORT], answers_head=False), sse(TEXT))
        await complete(provider)
        await complete(provider)
        assert [request.headers["x-api-key"] for request in upstream.requests] == ["sk-ant-scripted"] * 3


async def test_events_that_arrive_together_are_one_batch_and_the_connection_is_kept() -> None:
    """The consumer can relay several tokens at once; requests one after the other share a connection."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(*[sse(TEXT)] * 3)
        for _ in range(3):
            async with provider.stream(chat(), "scripted") as batches:
                assert [len(batch) async for batch in batches] == [5]  # with what it counts at its start
        assert (upstream.opened, upstream.aborted) == (1, 0)


async def test_leaving_a_stream_early_closes_its_connection_at_once() -> None:
    """A consumer that stops reading stops the upstream."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(anthropic.start() + anthropic.text_block(0, "Hel"), Act.HANG))
        async with provider.stream(chat(), "scripted") as batches:
            await anext(batches)
        await upstream.until(lambda: upstream.aborted == 1)


async def test_a_cancelled_task_closes_its_connection() -> None:
    """Also while Claude still thinks in silence."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(anthropic.start() + anthropic.PING, Act.HANG))
        task = asyncio.create_task(complete(provider))
        await upstream.until(lambda: len(upstream.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.until(lambda: upstream.aborted == 1)


async def test_a_request_that_cannot_be_translated_never_leaves() -> None:
    """The upstream does not see what would be refused."""
    async with serving("anthropic") as (upstream, provider):
        with pytest.raises(errors.InvalidRequest):
            await complete(provider, {**HELLO, "logit_bias": {"1": 1}})
        assert not upstream.requests


async def test_models_are_listed_page_by_page() -> None:
    """Each page names the next one's start."""
    async with serving("anthropic") as (upstream, provider):
        upstream.routes[LISTED] = json_answer(anthropic.model_page(["a", "b"], has_more=True))
        upstream.routes[f"{LISTED}&after_id=b"] = json_answer(anthropic.model_page(["c"], max_input_tokens=None))
        created = 1_767_225_600
        assert list(await provider.models()) == [
            LocalModel("a", created, 200_000, ("chat",), max_output_tokens=32_000),
            LocalModel("b", created, 200_000, ("chat",), max_output_tokens=32_000),
            LocalModel("c", created, None, ("chat",), max_output_tokens=32_000),
        ]


async def test_what_the_api_says_of_a_model_corrects_the_table() -> None:
    """The greatest answer and structured outputs are known once the models have been listed."""
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}}
    async with serving("anthropic") as (upstream, provider):
        page = anthropic.model_page(["scripted"])
        page["data"][0]["capabilities"] = {"structured_outputs": {"supported": False}, "image_input": None}
        upstream.routes[LISTED] = json_answer({**page, "data": [{**page["data"][0], "max_tokens": 123}]})
        await provider.models()
        upstream.add(sse(TEXT))
        await complete(provider, {**HELLO, "response_format": schema})
        sent = upstream.requests[0].body
        assert (sent["max_tokens"], sent["tool_choice"]["name"]) == (123, "json_reply")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer(anthropic.error_body("authentication_error"), 401), errors.Rejected),
        (json_answer(anthropic.error_body("invalid_request_error"), 400), errors.Unavailable),
        (json_answer(anthropic.error_body("overloaded_error"), 529), errors.Unavailable),
        (Answer([b"<html>"]), errors.Malformed),
        (json_answer({"data": 7}), errors.Malformed),
    ],
)
async def test_models_that_cannot_be_listed_are_the_upstreams_fault(answer: Answer, kind: type[Exception]) -> None:
    """Asking for models never blames a caller: there is none."""
    async with serving("anthropic") as (upstream, provider):
        upstream.routes[LISTED] = answer
        with pytest.raises(kind):
            await provider.models()


async def test_a_list_of_models_without_end_is_read_for_a_while_only() -> None:
    """A server that always promises more does not hold the worker."""
    async with serving("anthropic") as (upstream, provider):
        page = json_answer(anthropic.model_page(["a"], has_more=True))
        upstream.routes |= {LISTED: page, f"{LISTED}&after_id=a": page}
        assert len(await provider.models()) == 20


async def test_a_base_url_may_end_with_a_slash() -> None:
    """Both spellings of a base URL are the same server; a key is not needed to speak to a proxy."""
    async with ScriptedUpstream() as upstream:
        provider = AnthropicProvider(f"{upstream.url}/")
        upstream.add(sse(TEXT))
        assert outcome_of(await complete(provider)).content == "Hello"
        assert "x-api-key" not in upstream.requests[0].headers
        await provider.close()
