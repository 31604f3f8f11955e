"""workers/providers/anthropic/reply.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.types import Delta, Event, Finish, ToolCallDelta, Usage
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.anthropic.replies import raw_event
from tests.upstreams.outcome import Outcome, outcome_of
from workers.providers.anthropic.reply import ChatReader
from workers.providers.anthropic.thinking import Piece


def _read(stream: bytes, json_tool: str | None = None, size: int | None = None) -> tuple[list[Event], ChatReader]:
    reader = ChatReader(json_tool)
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
    if not reader.done and reader.failure is None:
        events += reader.end()
    return events, reader


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_pings_comments_and_unknown_events_change_nothing(size: int | None, line_end: bytes) -> None:
    """New kinds of events and blocks may come at any time; none of them is content."""
    unknown = raw_event("new_event", {"type": "new_event", "index": 0})
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": "{}"}
    noise = anthropic.PING + b": comment\n\n" + unknown + anthropic.block(9, block, delta)
    stream = anthropic.start() + noise + anthropic.text_block(0, "Hé", "llo") + noise + anthropic.end()
    events, reader = _read(stream.replace(b"\n", line_end), None, size)
    assert reader.failure is None
    assert outcome_of(events) == Outcome(content="Héllo", finish="stop", usage=Usage(7, 1))


def test_blocks_are_not_the_calls_numbers() -> None:
    """Text and thinking before the first call do not make it the third."""
    stream = anthropic.start() + anthropic.thinking_block(0, "hm") + anthropic.text_block(1, "a")
    events, _ = _read(stream + anthropic.call_block(2, "{}", name="f") + anthropic.end("tool_use"))
    assert events[3:5] == [
        Delta(tool_calls=[ToolCallDelta(0, "toolu_2", "f")]),
        Delta(tool_calls=[ToolCallDelta(0, arguments="{}")]),
    ]


def test_a_call_begins_without_arguments_and_ends_with_some() -> None:
    """The empty object at its start is a place-holder, not the first piece."""
    events, _ = _read(anthropic.start() + anthropic.call_block(0, '{"a":', "1}") + anthropic.end("tool_use"))
    arguments = [call.arguments for event in events if isinstance(event, Delta) for call in event.tool_calls or ()]
    assert arguments == ["", '{"a":', "1}"]
    events, _ = _read(anthropic.start() + anthropic.call_block(0) + anthropic.end("tool_use"))
    assert outcome_of(events).calls == [("weather", "{}")]


def test_a_call_that_comes_whole_at_its_start_keeps_its_input() -> None:
    """As some proxies send it."""
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    events, _ = _read(anthropic.start() + anthropic.block(0, block) + anthropic.end("tool_use"))
    assert outcome_of(events).calls == [("f", '{"a":1}')]


def test_only_what_was_reported_replaces_a_count() -> None:
    """The last event counts from the beginning again, and leaves out or nulls what has not changed."""
    stream = anthropic.start(input_tokens=10, cache_read_input_tokens=5) + anthropic.text_block(0, "a")
    events, _ = _read(stream + anthropic.end(output_tokens=3, input_tokens=None, cache_read_input_tokens=6))
    assert events[-1] == Usage(16, 3, cached_tokens=6)


def test_without_counts_there_is_no_usage() -> None:
    """The caller's estimate stands, marked as one."""
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    events, _ = _read(raw_event("message_delta", end) + anthropic.event("message_stop"))
    assert events == [Finish("stop")]


@pytest.mark.parametrize(
    ("stop_reason", "calls", "finish"),
    [
        ("end_turn", True, "tool_calls"),
        ("tool_use", False, "stop"),
        ("max_tokens", True, "length"),
        ("refusal", True, "content_filter"),
    ],
)
def test_a_finish_reason_fits_what_came(stop_reason: str, calls: bool, finish: str) -> None:  # noqa: FBT001 -- a case
    """Calls are latched; a limit or a refusal says more than they do."""
    stream = anthropic.start() + (anthropic.call_block(0) if calls else b"") + anthropic.end(stop_reason)
    assert outcome_of(_read(stream)[0]).finish == finish


def test_an_unknown_stop_reason_is_a_failure() -> None:
    """No reason is ever invented."""
    end = raw_event("message_delta", {"type": "message_delta", "delta": {"stop_reason": "moon"}})
    assert type(_read(anthropic.start() + end)[1].failure) is errors.Unavailable
    failed = _read(anthropic.start() + anthropic.text_block(0, "a") + end)[1]
    assert type(failed.failure) is errors.StreamBroken


@pytest.mark.parametrize("stream", [b"", anthropic.start(), anthropic.event("message_stop"), anthropic.PING])
def test_an_end_without_a_stop_reason_is_broken(stream: bytes) -> None:
    """However cleanly it comes."""
    assert type(_read(stream)[1].failure) is errors.StreamBroken


@pytest.mark.parametrize("error", [{}, None, "text", [], {"type": 7}, {"type": "overloaded_error", "message": None}])
def test_an_error_event_of_any_shape_is_a_failure(error: Any) -> None:
    """A proxy's too."""
    _, reader = _read(raw_event("error", {"type": "error", "error": error}))
    assert type(reader.failure) is errors.Unavailable
    _, reader = _read(b'data: {"error":{"type":"rate_limit_error","message":"slow down"}}\n\n')
    assert type(reader.failure) is errors.Throttled


def test_the_json_tools_input_is_the_content() -> None:
    """It is no call, and has no number among the calls."""
    stream = anthropic.start() + anthropic.call_block(0, '{"a":', "1}", name="j")
    events, reader = _read(stream + anthropic.call_block(1, "{}", name="f") + anthropic.end("tool_use"), "j")
    outcome = outcome_of(events)
    assert (outcome.content, outcome.calls, outcome.finish) == ('{"a":1}', [("f", "{}")], "tool_calls")
    assert reader.first_call_id == "toolu_1"


def test_pieces_tell_how_the_turn_was_made() -> None:
    """Thinking as it is, of text its length, of calls their place; a signature may come in pieces."""
    signed = [{"type": "signature_delta", "signature": part} for part in ("sig", "-1")]
    thinking = anthropic.block(0, {"type": "thinking", "thinking": "", "signature": ""}, *signed)
    stream = anthropic.start() + thinking + anthropic.text_block(1, "ab", "ü") + anthropic.call_block(2)
    _, reader = _read(stream + anthropic.end("tool_use"))
    assert reader.pieces == [Piece("thinking", signature="sig-1"), Piece("text", chars=3), Piece("tool_use")]
    assert reader.has_thoughts


def test_silent_thinking_is_no_content() -> None:
    """An attempt may still go elsewhere while nothing was said."""
    _, reader = _read(anthropic.start() + anthropic.thinking_block(0) + anthropic.error("overloaded_error"))
    assert type(reader.failure) is errors.Unavailable


def test_a_message_that_is_not_streamed_becomes_the_same_events() -> None:
    """Some proxies ignore `stream`."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]
    message = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": anthropic.usage(7, 2)}
    outcome = outcome_of(_read(json.dumps(message, indent=1).encode())[0])
    assert outcome == Outcome("Hi", "hm", calls=[("f", '{"a":1}')], finish="tool_calls", usage=Usage(7, 2))


def test_the_stop_sequence_and_the_tier_are_told() -> None:
    """With the end, streamed or not."""
    delta = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    stream = (
        anthropic.raw_event(
            "message_start",
            {"type": "message_start", "message": {"usage": {"input_tokens": 7, "service_tier": "priority"}}},
        )
        + anthropic.text_block(0, "Hi")
        + anthropic.raw_event("message_delta", {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}})
        + anthropic.raw_event("message_stop", {"type": "message_stop"})
    )
    whole = {
        **delta,
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 7, "output_tokens": 1, "service_tier": "priority"},
    }
    for body in (stream, json.dumps(whole).encode()):
        reader = ChatReader()
        events = [*reader.feed(body), *([] if reader.done else reader.end())]
        assert Finish("stop", stop="END", service_tier="priority") in events


def test_what_a_block_began_with_is_not_lost_with_its_end() -> None:
    """Neither a call's input nor a text's sources."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    source = {"type": "web_search_result_location", "url": "https://a.example", "title": None}
    text = {"type": "text", "text": "Hi", "citations": [source]}
    stream = anthropic.start()
    for index, block in enumerate((text, call)):
        stream += raw_event(
            "content_block_start", {"type": "content_block_start", "index": index, "content_block": block}
        )
    reader = ChatReader()
    outcome = outcome_of(reader.feed(stream + anthropic.end("tool_use")))
    assert outcome.calls == [("f", '{"a":1}')]
    assert [one["url_citation"]["title"] for one in outcome.annotations] == ["https://a.example"]


@pytest.mark.parametrize(
    ("place", "is_regional"), [("us", True), ("global", False), ("not_available", False), (7, False)]
)
def test_where_an_answer_was_made_is_counted(place: object, is_regional: bool) -> None:  # noqa: FBT001 -- of the table
    """A workspace may be bound to a region, which Anthropic bills higher."""
    message = {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn",
               "usage": {"input_tokens": 7, "output_tokens": 1, "inference_geo": place}}  # fmt: skip
    reader = ChatReader()
    events = reader.feed(json.dumps(message).encode()) + reader.end()
    assert [event.is_regional for event in events if isinstance(event, Usage)] == [is_regional]
