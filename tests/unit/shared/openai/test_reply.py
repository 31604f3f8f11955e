"""Chunks and bodies made of the same events."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from shared.openai.reply import ChunkEncoder, CompletionFold
from shared.types import Delta, Event, Finish, ToolCallDelta, Usage

USAGE = Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1, reasoning_tokens=1)


def stream(*events: Delta | Finish, include_usage: bool = False, legacy_calls: bool = False) -> list[Any]:
    """Return the chunks of a stream, [DONE] as None."""
    encoder = ChunkEncoder("chatcmpl-1", 7, "m", include_usage=include_usage, legacy_calls=legacy_calls)
    text = b"".join([*(encoder.encode(event) for event in events), encoder.end(USAGE)]).decode()
    assert text.endswith("data: [DONE]\n\n")
    parts = [part.removeprefix("data: ") for part in text.split("\n\n")[:-1]]
    return [None if part == "[DONE]" else json.loads(part) for part in parts]


def body(*events: Event, legacy_calls: bool = False) -> Any:
    """Return the only choice of the body."""
    fold = CompletionFold(legacy_calls=legacy_calls)
    for event in events:
        fold.add(event)
    return json.loads(fold.body("chatcmpl-1", 7, "m", USAGE))["choices"][0]


def test_text_with_every_kind_of_character_survives() -> None:
    """Quotes, control characters, line and paragraph separators, characters beyond the BMP."""
    text = 'a"b\\c\n\r\t\x00\u2028\u2029\x7fé漢😀'
    chunks = stream(Delta(content=text), Finish("stop"))
    assert chunks[1]["choices"][0]["delta"] == {"content": text}
    assert body(Delta(content=text), Finish("stop"))["message"]["content"] == text


def test_no_usage_appears_where_none_was_asked() -> None:
    """Neither a chunk nor the field."""
    chunks = stream(Delta(content="a"), Finish("stop"))
    assert len(chunks) == 4
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_the_usage_chunk_is_last_and_has_no_choices() -> None:
    """All the counts that OpenAI names."""
    chunks = stream(Delta(content="a"), Finish("stop"), include_usage=True)
    assert [chunk["usage"] for chunk in chunks[:-2]] == [None, None, None]
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["total_tokens"] == 5
    assert chunks[-2]["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert chunks[-2]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1


def test_each_choice_begins_with_its_role() -> None:
    """Once, also when its first event is its end."""
    chunks = stream(Delta(content="a"), Delta(content="b", index=1), Delta(content="c"), Finish("stop", index=2))
    begun = [chunk["choices"][0]["index"] for chunk in chunks[:-1] if "role" in chunk["choices"][0]["delta"]]
    assert begun == [0, 1, 2]


def test_tool_calls_stream_in_pieces_and_fold_into_wholes() -> None:
    """Id, type and name in the first piece; a call without arguments ends as {}."""
    events: list[Delta | Finish] = [
        Delta(tool_calls=[ToolCallDelta(0, "call_1", "weather", "")]),
        Delta(tool_calls=[ToolCallDelta(0, arguments='{"city":')]),
        Delta(tool_calls=[ToolCallDelta(0, arguments='"Rome"}'), ToolCallDelta(1, "call_2", "time")]),
        Finish("tool_calls"),
    ]
    chunks = stream(*events)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": None}
    assert chunks[1]["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    ]
    assert chunks[2]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"city":'}}]
    choice = body(*events)
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    assert choice["finish_reason"] == "tool_calls"


def test_a_request_with_functions_gets_a_function_call() -> None:
    """Name in the first piece, arguments in pieces; of several calls the first, as there is room for one."""
    events: list[Delta | Finish] = [
        Delta(tool_calls=[ToolCallDelta(0, "call_1", "weather", "")]),
        Delta(tool_calls=[ToolCallDelta(0, arguments='{"city":')]),
        Delta(tool_calls=[ToolCallDelta(0, arguments='"Rome"}'), ToolCallDelta(1, "call_2", "time", "{}")]),
        Delta(tool_calls=[ToolCallDelta(1, arguments="")]),
        Finish("tool_calls"),
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in stream(*events, legacy_calls=True)[:-1]]
    assert deltas == [
        {"role": "assistant", "content": None, "refusal": None},
        {"function_call": {"name": "weather", "arguments": ""}},
        {"function_call": {"arguments": '{"city":'}},
        {"function_call": {"arguments": '"Rome"}'}},
        {},
    ]
    assert stream(*events, legacy_calls=True)[-2]["choices"][0]["finish_reason"] == "function_call"
    choice = body(*events, legacy_calls=True)
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "function_call")
    assert "tool_calls" not in choice["message"]


def test_a_call_ends_under_the_name_that_the_client_knows() -> None:
    """An upstream may use the older one for tools; other reasons stay."""
    call = Delta(tool_calls=[ToolCallDelta(0, "call_1", "weather", "{}")])
    for legacy, reason, told in (
        (False, "function_call", "tool_calls"),
        (True, "function_call", "function_call"),
        (True, "length", "length"),
        (False, "stop", "stop"),
    ):
        finish = Finish(reason)  # type: ignore[arg-type]  # any text, of cases
        assert stream(call, finish, legacy_calls=legacy)[-2]["choices"][0]["finish_reason"] == told
        assert body(call, finish, legacy_calls=legacy)["finish_reason"] == told


def test_reasoning_goes_beside_the_content() -> None:
    """As reasoning_content, in both forms."""
    events: list[Delta | Finish] = [Delta(reasoning="hm"), Delta(reasoning="m"), Delta(content="yes"), Finish("stop")]
    assert stream(*events)[1]["choices"][0]["delta"] == {"reasoning_content": "hm"}
    message = body(*events)["message"]
    assert (message["reasoning_content"], message["content"]) == ("hmm", "yes")


def test_logprobs_of_many_chunks_become_one_list() -> None:
    """In the order of the tokens."""
    pieces = [msgspec.Raw(json.dumps({"content": [{"token": token}], "refusal": None}).encode()) for token in "ab"]
    events: list[Event] = [Delta(content=token, logprobs=piece) for token, piece in zip("ab", pieces, strict=True)]
    assert body(*events, Finish("stop"))["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]


def test_an_empty_answer_is_an_empty_text() -> None:
    """A model may stop at once."""
    choice = body(Finish("stop"))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


def test_what_served_and_what_ended_it_are_told_in_both_forms() -> None:
    """In OpenAI's words for tiers, and nothing for a word of others; a stop sequence as vLLM names it."""
    end = Finish("stop", stop="END", service_tier="flex")
    chunks = stream(Delta(content="a"), end)
    assert chunks[-2]["service_tier"] == "flex"
    assert chunks[-2]["choices"][0]["stop_reason"] == "END"
    assert "service_tier" not in chunks[0]
    assert body(Delta(content="a"), end)["stop_reason"] == "END"
    for word, told in (("priority", "priority"), ("standard", "default"), ("on_demand", "default"), ("batch", None)):
        usage = Usage(1, 1, service_tier=word)
        encoder = ChunkEncoder("chatcmpl-1", 7, "m", include_usage=True)
        last = json.loads(encoder.end(usage).split(b"\n\n")[0].removeprefix(b"data: "))
        assert last.get("service_tier") == told
        assert json.loads(CompletionFold().body("chatcmpl-1", 7, "m", usage)).get("service_tier") == told
        chunk = json.loads(encoder.encode(Finish("stop", service_tier=word)).split(b"data: ")[-1])
        assert chunk.get("service_tier") == told


def test_all_counts_of_usage_are_told() -> None:
    """None is reported as 0 that the upstream counted."""
    usage = Usage(
        9, 8, cache_write_tokens=1, prompt_audio_tokens=2, completion_audio_tokens=3, accepted_prediction_tokens=4,
        rejected_prediction_tokens=5,
    )  # fmt: skip
    told = json.loads(CompletionFold().body("chatcmpl-1", 7, "m", usage.consistent()))["usage"]
    assert told["prompt_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 1, "audio_tokens": 2}
    assert told["completion_tokens_details"] == {
        "reasoning_tokens": 0, "audio_tokens": 3, "accepted_prediction_tokens": 4, "rejected_prediction_tokens": 5,
    }  # fmt: skip


DETAILS: list[dict[str, Any]] = [
    {"type": "reasoning.text", "text": "Let ", "index": 0, "format": "f"},
    {"type": "reasoning.text", "text": "me", "index": 0, "format": "f"},
    {"type": "reasoning.text", "signature": "sig", "index": 0, "format": "f"},
    {"type": "reasoning.encrypted", "data": "a", "index": 1},
    {"type": "reasoning.encrypted", "data": "b", "index": 1},
    {"type": "reasoning.summary", "summary": "S", "index": 2},
]


def test_what_servers_want_back_reaches_the_client_as_it_came() -> None:
    """In a stream piece by piece, in a body put together as a client does it."""
    content = {"google": {"thought_signature": "s"}}
    call = ToolCallDelta(0, "c", "f", "{}", content)
    late = ToolCallDelta(0, extra_content={"more": 1})
    events: list[Delta | Finish] = [
        *(Delta(extra={"reasoning_details": [one]}) for one in DETAILS),
        Delta(extra={"extra_content": content}),
        Delta(tool_calls=[call]),
        Delta(tool_calls=[late]),
        Finish("tool_calls"),
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in stream(*events)[1:-2]]
    assert [delta["reasoning_details"] for delta in deltas[:6]] == [[one] for one in DETAILS]
    assert deltas[6]["extra_content"] == content
    assert deltas[7]["tool_calls"][0]["extra_content"] == content
    assert deltas[8]["tool_calls"][0]["extra_content"] == {"more": 1}
    message = body(*events)["message"]
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Let me", "index": 0, "format": "f", "signature": "sig"},
        *DETAILS[3:],
    ]
    assert message["extra_content"] == content
    assert message["tool_calls"][0]["extra_content"] == {**content, "more": 1}
