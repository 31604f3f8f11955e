"""workers/providers/openai/responses/reply.py."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors
from shared.models.catalogue import ModelEntry
from shared.types import Delta, Event, Usage
from tests.upstreams.openai import responses as replies
from tests.upstreams.outcome import outcome_of
from workers.providers.openai.responses.errors import failure_of
from workers.providers.openai.responses.reply import ResponseReader


def _read(stream: bytes, size: int | None = None) -> tuple[list[Event], ResponseReader]:
    reader = ResponseReader({"weather", "time"}, is_regional=True)
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
        if reader.done or reader.failure is not None:
            return events, reader
    return events + reader.end(), reader


CITED = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://example.com", "title": "t"}
texts = st.lists(st.text(max_size=6), min_size=1, max_size=3)
items = st.one_of(
    texts.map(lambda pieces: replies.message(*pieces)),
    texts.map(lambda pieces: replies.refusal(*pieces)),
    texts.map(lambda pieces: replies.reasoning(*pieces, encrypted="sealed")),
    st.builds(
        lambda name, city, cut: replies.call(*_cut(json.dumps({"city": city}), cut), name=name),
        st.sampled_from(["weather", "time"]), st.text(max_size=5), st.integers(0, 9),
    ),
    st.builds(replies.web_search),
)  # fmt: skip


def _cut(text: str, at: int) -> tuple[str, ...]:
    return (text[:at], text[at:])


def _own_ids(answer: list[replies.Item]) -> list[replies.Item]:
    """Return the items with ids of their own."""
    for number, item in enumerate(answer):
        item.done["id"] += f"_{number}"
        if "call_id" in item.done:
            item.done["call_id"] += f"_{number}"
    return answer


@given(st.lists(items, max_size=5).map(_own_ids), st.integers(1, 400))
def test_an_answer_is_the_same_in_pieces_and_whole(answer: list[replies.Item], size: int) -> None:
    """Whatever it is made of, and however the network cuts it."""
    counted = replies.usage(7, 3, cached=2, reasoning=1)
    streamed = outcome_of(_read(replies.stream(*answer, usage=counted))[0])
    assert outcome_of(_read(replies.stream(*answer, usage=counted), size)[0]) == streamed
    whole = outcome_of(_read(replies.whole(*answer, usage=counted))[0])
    said = [item.done for item in answer if item.done["type"] == "message"]
    calls = [item.done for item in answer if item.done["type"] == "function_call"]
    searches = sum(item.done["type"] == "web_search_call" for item in answer)
    for found in (streamed, whole):
        assert found.calls == [(call["name"], call["arguments"]) for call in calls]
        assert found.refusal == "".join(part.get("refusal", "") for item in said for part in item["content"])
        assert found.finish == ("tool_calls" if calls else "stop")
        assert found.usage == Usage(
            7, 3, cached_tokens=2, reasoning_tokens=1, web_searches=searches, is_regional=True
        )  # fmt: skip
    spoken = [part["text"] for item in said for part in item["content"] if part.get("text")]
    assert "".join(spoken) == streamed.content.replace("\n\n", "") or "\n\n" in "".join(spoken)
    assert (streamed.content, streamed.reasoning) == (whole.content, whole.reasoning)


@pytest.mark.parametrize(
    ("why", "expected"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "length")]
)
def test_an_answer_that_was_cut_says_why(why: str, expected: str) -> None:
    """Also where it called tools: their results are not waited for."""
    for answer in ([replies.message("Hel")], [replies.call('{"ci')]):
        events, reader = _read(replies.stream(*answer, usage=replies.usage(7, 1), incomplete=why))
        assert reader.failure is None
        assert outcome_of(events).finish == expected


def test_the_parts_of_an_answer_stay_apart() -> None:
    """Two messages, and two parts of a summary; a citation's place is counted in the whole."""
    first, second = replies.message("ab", item_id="m1"), replies.message("cd", item_id="m2", annotations=[CITED])
    outcome = outcome_of(_read(replies.stream(first, second, usage=replies.usage(1, 1)))[0])
    assert outcome.content == "ab\n\ncd"
    (citation,) = outcome.annotations
    where = citation["url_citation"]
    assert outcome.content[where["start_index"] : where["end_index"]] == "cd"
    summary = [
        replies.raw_event("", {"type": "response.reasoning_summary_text.delta", "delta": text, "summary_index": number})
        for number, text in enumerate(["one", "two"])
    ]
    events, _ = _read(b"".join(summary) + replies.text("x"))
    assert outcome_of(events).reasoning == "one\n\ntwo"


def test_thoughts_are_told_apart_from_what_follows_them() -> None:
    """So that they can go back in front of it; those that were not encrypted cannot."""
    stream = replies.stream(
        replies.reasoning("hm", encrypted="sealed"),
        replies.call("{}", call_id="call_7"),
        replies.reasoning(item_id="rs_2"),
        replies.message("So."),
        usage=replies.usage(1, 1),
    )
    _, reader = _read(stream)
    assert [piece.type for piece in reader.pieces] == ["reasoning", "call", "message"]
    assert reader.has_thoughts
    assert reader.first_call_id == "call_7"
    assert reader.pieces[0].encrypted_content == "sealed"


def test_tokens_come_with_their_probabilities_in_the_form_of_chat() -> None:
    """Their bytes are null where they are not told."""
    told = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Yo", "logprob": -1.5}]}
    found = [
        {**told, "logprob": value} if value is not None else {} for value in (-0.5, "x", None)
    ]  # the last two are none
    lists: list[Any] = [[found[0]], [found[1]], [found[2]], [], {"a": 1}]
    for logprobs in lists:
        delta = {"type": "response.output_text.delta", "delta": "Hi", "logprobs": logprobs}
        events, _ = _read(replies.raw_event("", delta))
        (event,) = [one for one in events if isinstance(one, Delta)]
        if logprobs is not lists[0]:
            assert event.logprobs is None
            continue
        assert event.logprobs is not None
        assert msgspec.json.decode(event.logprobs)["content"] == [
            {"token": "Hi", "logprob": -0.5, "bytes": None,
             "top_logprobs": [{"token": "Yo", "logprob": -1.5, "bytes": None}]}
        ]  # fmt: skip


def test_the_usage_is_what_openai_bills() -> None:
    """Cached tokens, those written to a cache by how long they stay there, thoughts, and the tier that served."""
    counted = replies.usage(1000, 100, cached=400, reasoning=60, written=300)
    counted["input_tokens_details"]["cache_write_tokens_details"] = {"ttl_12h_tokens": 200, "ttl_30m_tokens": 100}
    events, _ = _read(replies.stream(replies.message("x"), usage=counted, service_tier="flex"))
    usage = outcome_of(events).usage
    assert usage == Usage(
        1000, 100, cached_tokens=400, reasoning_tokens=60, cache_write_tokens=300, cache_write_1h_tokens=200,
        service_tier="flex", is_regional=True,
    )  # fmt: skip
    entry = ModelEntry(
        prompt_usd=1.0, cached_usd=0.1, cache_write_usd=1.25, cache_write_1h_usd=2.5, completion_usd=5.0, regional=1.1,
        service_tiers={"flex": 0.5},
    )  # fmt: skip
    assert usage is not None
    tokens_usd = 300 * 1.0 + 400 * 0.1 + 100 * 1.25 + 200 * 2.5 + 100 * 5.0
    assert entry.cost_usd(usage) == pytest.approx(tokens_usd * 0.5 * 1.1 / 1e6)


FAILURES = [
    ("server_error", errors.Unavailable),
    ("rate_limit_exceeded", errors.Throttled),
    ("insufficient_quota", errors.Rejected),
    ("invalid_prompt", errors.InvalidRequest),
    ("invalid_image", errors.InvalidRequest),
    ("context_length_exceeded", errors.ContextTooLong),
    ("something_new", errors.Unavailable),
]


@pytest.mark.parametrize(("code", "kind"), FAILURES)
def test_a_failure_inside_a_stream_is_classed_by_its_code(code: str, kind: type[errors.GatewayError]) -> None:
    """Before anything was said; after that it is a stream that broke, and what was said counts."""
    streams = [replies.error(code)]
    if code in {"server_error", "rate_limit_exceeded", "invalid_prompt", "invalid_image"}:
        streams.append(replies.failed(code))
    for stream in streams:
        events, reader = _read(stream)
        assert type(reader.failure) is kind
        assert not events
        events, reader = _read(
            replies.stream(replies.message("Hel")).partition(b"event: response.completed")[0] + stream
        )
        assert type(reader.failure) is errors.StreamBroken
        assert outcome_of(events).content == "Hel"
    assert type(failure_of({"code": code, "message": "no"}, after_content=False)) is kind


def test_an_answer_without_its_end_is_broken() -> None:
    """However much of it came."""
    stream = replies.stream(replies.message("Hello"), usage=replies.usage(1, 1))
    begun = stream.partition(b"event: response.completed")[0]
    for cut in (begun, begun + b"data: [DONE]\n\n", b""):
        assert type(_read(cut)[1].failure) is errors.StreamBroken
