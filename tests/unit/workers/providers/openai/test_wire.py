"""workers/providers/openai/wire.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.openai.reply import ChunkEncoder, CompletionFold
from shared.openai.request import ChatRequest
from shared.types import Delta, Event, Finish, Usage
from tests.upstreams.openai.replies import DONE, chunk, completion, event, text, usage
from tests.upstreams.outcome import HELLO, Outcome, chat, outcome_of
from workers.providers.openai.base_url import BaseUrl
from workers.providers.openai.request import to_body
from workers.providers.openai.wire import ChatReader


def _read(stream: bytes, size: int | None = None) -> tuple[list[Event], ChatReader]:
    reader = ChatReader()
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
        if reader.failure is not None:
            return events, reader
    if not reader.done:
        events += reader.end()
    return events, reader


def _call(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> bytes:
    call: dict[str, Any] = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})


FINISH = chunk(finish_reason="stop")


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_comments_events_and_line_ends_change_nothing(size: int | None, line_end: bytes) -> None:
    """Keep-alive comments, event names, ids, retry fields and empty data are dropped, at every split."""
    noise = b": keep-alive\n\nevent: message\nid: 7\nretry: 10\ndata:\ndata: \nfoo\n\n"
    stream = (noise + text("Hé", "llo") + noise).replace(b"\n\n", b"\n\n" + noise).replace(b"\n", line_end)
    events, reader = _read(stream, size)
    assert reader.failure is None
    assert outcome_of(events) == Outcome(content="Héllo", finish="stop", usage=Usage(7, 2))


def test_data_needs_no_space_after_its_colon() -> None:
    """`data:{...}` and `data:[DONE]` are as good."""
    events, reader = _read(text("Hi").replace(b"data: ", b"data:"))
    assert reader.done
    assert outcome_of(events).content == "Hi"


def test_empty_deltas_are_not_content() -> None:
    """A role, a null or an empty text commit nothing; what is null or empty is never handed on."""
    nothing: list[dict[str, Any]] = [{"role": "assistant"}, {"content": None}, {"content": ""}, {"tool_calls": []}, {}]
    events, reader = _read(b"".join(event({"choices": [{"index": 0, "delta": delta}]}) for delta in nothing))
    assert events == []
    assert not reader.has_content


def test_a_missing_end_mark_is_forgiven_after_a_finish_reason() -> None:
    """A clean end of the connection is enough once every choice has ended, even in the middle of the last line."""
    events, reader = _read(chunk({"content": "Hi"}) + FINISH)
    assert reader.failure is None
    assert outcome_of(events).finish == "stop"
    events, reader = _read((chunk({"content": "Hi"}) + FINISH).rstrip())
    assert reader.failure is None
    assert outcome_of(events).finish == "stop"


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        DONE,
        chunk({"content": "Hi"}),
        chunk({"content": "Hi"}) + DONE,
        chunk({"content": "Hi"}) + event({"choices": [{"index": 0, "delta": {}, "finish_reason": ""}]}) + DONE,
        chunk({"content": "Hi"}, index=1) + FINISH + DONE,
    ],
)
def test_without_a_finish_reason_for_each_choice_a_stream_is_broken(stream: bytes) -> None:
    """Neither `[DONE]` nor a clean end makes an unfinished answer a whole one."""
    _, reader = _read(stream)
    assert type(reader.failure) is errors.StreamBroken


def test_an_unknown_finish_reason_is_a_failure() -> None:
    """`error` and `abort` are how some servers say that they failed; no reason is ever invented."""
    for reason in ("error", "abort", "network_error"):
        _, reader = _read(chunk({"content": "Hi"}) + event({"choices": [{"finish_reason": reason}]}))
        assert type(reader.failure) is errors.StreamBroken
        _, reader = _read(event({"choices": [{"finish_reason": reason}]}))
        assert type(reader.failure) is errors.Unavailable


@pytest.mark.parametrize(
    "line",
    [
        event({"error": {"message": "m", "code": "boom"}}),
        b'error: {"code":500,"message":"m","type":"boom"}\n\n',
        event({"object": "error", "message": "m", "type": "boom", "code": None}),
        b'event: error\ndata: {"error":{"type":"boom"}}\n\n',
        event({"choices": [], "error": {"type": "boom"}}),
    ],
)
def test_every_form_of_error_event_ends_the_stream(line: bytes) -> None:
    """Also those of older llama.cpp and vLLM servers; what was said before is handed out first."""
    _, reader = _read(line + text("never"))
    assert type(reader.failure) is errors.Unavailable
    events, reader = _read(chunk({"content": "Hi"}) + line + text("never"))
    assert type(reader.failure) is errors.StreamBroken
    assert events == [Delta(content="Hi")]


def test_a_repeated_finish_reason_counts_once() -> None:
    """Some servers say the reason again on their usage chunk."""
    again = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage(7, 1)})
    assert _read(chunk({"content": "Hi"}) + FINISH + again + DONE)[0] == [
        Delta(content="Hi"),
        Finish("stop"),
        Usage(7, 1),
    ]


def test_several_choices_keep_their_indexes() -> None:
    """N > 1: every choice has its own text and end."""
    stream = b"".join(
        [chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk({"content": "c"}),
         chunk(finish_reason="length", index=1), FINISH, chunk(usage=usage(7, 3)), DONE]
    )  # fmt: skip
    events, reader = _read(stream)
    assert reader.failure is None
    assert outcome_of(events, 0) == Outcome(content="ac", finish="stop", usage=Usage(7, 3))
    assert outcome_of(events, 1) == Outcome(content="b", finish="length", usage=Usage(7, 3))


def test_the_last_usage_counts_with_its_details() -> None:
    """Servers that repeat usage in each chunk count upwards; details may be null or missing."""
    details: dict[str, Any] = {"prompt_tokens_details": None, "completion_tokens_details": {}}
    stream = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1, **details}})
    events, _ = _read(stream + FINISH + chunk(usage=usage(7, 9, cached=3, reasoning=4)) + DONE)
    assert events == [Usage(7, 1), Finish("stop"), Usage(7, 9, cached_tokens=3, reasoning_tokens=4)]
    events, _ = _read(FINISH + DONE)
    assert events == [Finish("stop")]


def test_tool_call_pieces_are_made_regular() -> None:
    """A missing index, a repeated id and name, null arguments or a missing id do not reach the client."""
    stream = b"".join(
        [_call(None, "a", "f", None), _call(None, None, None, '{"x":'), _call(None, None, None, "1}"),
         _call(None, "b", "g", "{}"), FINISH, DONE]
    )  # fmt: skip
    assert outcome_of(_read(stream)[0]).calls == [("f", '{"x":1}'), ("g", "{}")]
    stream = _call(0, "a", "f", '{"x":') + _call(0, "a", "f", "1}") + _call(1, None, "g", "{}") + FINISH + DONE
    assert outcome_of(_read(stream)[0]).calls == [("f", '{"x":1}'), ("g", "{}")]


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, "a", None, '{"x":'), (0, None, "f", "1}"), (1, "b", "g", "{}")],
        [(0, "a", "f", '{"x":1}'), (0, "b", "g", "{}")],
        [(None, "a", "f", '{"x":'), (None, "a", None, "1}"), (None, "b", "g", ""), (None, "b", None, "{}")],
        [(0, "a", "f", '{"x":1}'), (1, "a", "g", "{}")],
        [(0, "a", "f", '{"x":'), (0, "b", None, "1}"), (1, "c", "g", "{}")],
    ],
)
def test_calls_are_told_apart_and_end_as_calls(pieces: list[tuple[int | None, str | None, str | None, str]]) -> None:
    """Whatever is wrong with their marks; a reply with calls that says `stop` waits for their results."""
    events, _ = _read(b"".join(_call(*piece) for piece in pieces) + FINISH + DONE)
    assert outcome_of(events).calls == [("f", '{"x":1}'), ("g", "{}")]
    assert outcome_of(events).finish == "tool_calls"


def test_calls_of_a_whole_message_are_one_each() -> None:
    """Two calls of one tool without arguments, with one id, are two."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    body = completion({"content": None, "tool_calls": [call, call]}, "stop", usage(7, 2))
    outcome = outcome_of(_read(json.dumps(body).encode())[0])
    assert (outcome.calls, outcome.finish) == ([("f", "{}"), ("f", "{}")], "tool_calls")


@pytest.mark.parametrize(("word", "reason"), [("eos", "stop"), ("end_turn", "stop"), ("model_length", "length")])
def test_other_words_for_a_natural_end_are_known(word: str, reason: str) -> None:
    """Servers that speak like OpenAI have words of their own."""
    stream = chunk({"content": "Hi"}) + event({"choices": [{"delta": {}, "finish_reason": word}]}) + DONE
    assert outcome_of(_read(stream)[0]).finish == reason


def test_arguments_may_be_an_object_and_content_a_list_of_parts() -> None:
    """As older llama.cpp servers and Mistral send them."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    stream = event({"choices": [{"delta": {"tool_calls": [call]}}]}) + FINISH + DONE
    assert outcome_of(_read(stream)[0]).calls == [("f", '{"x":1}')]
    parts: list[Any] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
    ]
    stream = event({"choices": [{"delta": {"content": [*parts, {"type": "reference", "reference_ids": [1]}, "!"]}}]})
    outcome = outcome_of(_read(stream + FINISH + DONE)[0])
    assert (outcome.content, outcome.reasoning) == ("Hi!", "hm")


@pytest.mark.parametrize(
    "given", [7, "x", [], {"content": 7}, {"content": [{"token": "a"}], "refusal": None, "x": "y"}]
)
def test_log_probabilities_of_no_known_form_are_left_out(given: Any) -> None:
    """The text is worth more."""
    stream = event({"choices": [{"delta": {"content": "Hi"}, "logprobs": given}]}) + FINISH + DONE
    assert outcome_of(_read(stream)[0]) == Outcome(content="Hi", finish="stop")


def test_a_legacy_function_call_is_a_tool_call() -> None:
    """`function_call` deltas keep their finish reason, so that the reply can be turned back."""
    pieces = [{"name": "f", "arguments": ""}, {"arguments": "{}"}]
    stream = b"".join(event({"choices": [{"delta": {"function_call": piece}}]}) for piece in pieces)
    outcome = outcome_of(_read(stream + chunk(finish_reason="function_call") + DONE)[0])
    assert (outcome.calls, outcome.finish) == ([("f", "{}")], "function_call")


def test_a_refusal_is_content() -> None:
    """A refusal commits like any other output."""
    events, reader = _read(chunk({"refusal": "No."}) + FINISH + DONE)
    assert outcome_of(events).refusal == "No."
    assert reader.has_content


def test_null_logprobs_are_left_out() -> None:
    """Only log probabilities that were made are handed on."""
    events, _ = _read(event({"choices": [{"delta": {"content": "a"}, "logprobs": None}]}))
    assert events == [Delta(content="a")]


def test_a_completion_that_was_not_streamed_becomes_the_same_events() -> None:
    """Some servers ignore `stream`."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = completion({"content": "Hi", "tool_calls": [call]}, "tool_calls", usage(7, 2))
    expected = Outcome(content="Hi", calls=[("f", "{}")], finish="tool_calls", usage=Usage(7, 2))
    assert outcome_of(_read(json.dumps(body, indent=1).encode())[0]) == expected


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>", errors.Malformed), (b"{}", errors.StreamBroken), (b'{"error":"x"}', errors.Unavailable)],
)
def test_a_body_that_is_no_completion_is_a_failure(body: bytes, kind: type[errors.GatewayError]) -> None:
    """A 200 alone is no success."""
    assert type(_read(body)[1].failure) is kind


def test_the_clients_fields_are_passed_on() -> None:
    """Everything but the model and the streaming stays as the client sent it, also what OpenAI does not name."""
    asked = {**HELLO, "stream": False, "min_p": 0.1, "n": 2, "chat_template_kwargs": {"x": 1}, "metadata": {"a": "b"}}
    sent = json.loads(to_body(chat(asked), "theirs"))
    assert sent == {**asked, "model": "theirs", "stream": True, "stream_options": {"include_usage": True}}


def test_the_clients_stream_options_are_kept_but_usage_is_always_asked_for() -> None:
    """Usage is ours to know; the rest is the client's."""
    asked = {**HELLO, "stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}}
    sent = json.loads(to_body(chat(asked), "theirs"))
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert "stream_options" not in json.loads(to_body(chat(asked), "theirs", left_out=frozenset({"stream_options"})))


@pytest.mark.parametrize(
    ("asks", "param"),
    [
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
    ],
)
def test_what_events_cannot_carry_is_refused(asks: dict[str, Any], param: str) -> None:
    """Better a clear 400 than an answer with a part missing."""
    with pytest.raises(errors.Unsupported) as caught:
        to_body(chat({**HELLO, **asks}), "theirs")
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model", "asks", "sent"),
    [
        ("o3", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("gpt-5-mini", {"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("gpt-5-mini", {"max_tokens": None}, {}),
        ("gpt-4o", {"max_tokens": 5}, {"max_tokens": 5}),
        ("olmo2", {"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7, "max_completion_tokens": 7}),
        ("gpt-oss:20b", {"max_tokens": 5}, {"max_tokens": 5}),
    ],
)
def test_a_limit_has_the_name_that_the_model_knows(model: str, asks: dict[str, Any], sent: dict[str, Any]) -> None:
    """OpenAI's models that reason refuse `max_tokens`."""
    body = json.loads(to_body(chat({**HELLO, **asks}), model))
    assert {name: value for name, value in body.items() if name.startswith("max_")} == sent


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "x": 1}
TOOL = {"type": "function", "function": FUNCTION}
OTHER_TOOL = {"type": "function", "function": {"name": "g"}}


@pytest.mark.parametrize(
    ("asks", "sent"),
    [
        ({"functions": [FUNCTION]}, {"tools": [TOOL]}),
        ({"functions": [FUNCTION], "function_call": "none"}, {"tools": [TOOL], "tool_choice": "none"}),
        (
            {"functions": [FUNCTION], "function_call": {"name": "f"}},
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {"functions": [FUNCTION], "function_call": "none", "tools": [OTHER_TOOL], "tool_choice": "auto"},
            {"tools": [OTHER_TOOL, TOOL], "tool_choice": "auto"},
        ),
        ({"functions": None, "function_call": None}, {}),
        ({"function_call": "auto"}, {}),
    ],
)
def test_functions_go_out_as_tools(asks: dict[str, Any], sent: dict[str, Any]) -> None:
    """Servers that have forgotten them would drop them without a word."""
    body = json.loads(to_body(chat({**HELLO, **asks}), "theirs"))
    assert body == {**HELLO, "model": "theirs", "stream": True, "stream_options": {"include_usage": True}, **sent}


def test_each_functions_result_belongs_to_its_last_call() -> None:
    """Ids are made up for both; what the client says otherwise in its messages stays."""
    call = {"name": "f", "arguments": "{}"}
    said = {"role": "assistant", "content": "I look.", "function_call": call, "x": 1}
    result = {"role": "function", "name": "f", "content": "ok"}
    user = HELLO["messages"][0]
    body = json.loads(
        to_body(chat({**HELLO, "messages": [user, said, result, said, {**result, "content": None}]}), "m")
    )
    made = [{"id": f"call_{number}", "type": "function", "function": call} for number in (1, 3)]
    rest = {"role": "assistant", "content": "I look.", "x": 1}
    assert body["messages"] == [
        user,
        {**rest, "tool_calls": [made[0]]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
        {**rest, "tool_calls": [made[1]]},
        {"role": "tool", "tool_call_id": "call_3", "content": ""},
    ]


def test_a_functions_result_without_a_call_is_refused_by_its_place() -> None:
    """Nor a second one: there is nothing that it could be the result of, at any server."""
    result = {"role": "function", "name": "f", "content": "ok"}
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    for turns, place in (([result], 1), ([call, result, result], 3)):
        with pytest.raises(errors.InvalidRequest) as caught:
            to_body(chat({**HELLO, "messages": [*HELLO["messages"], *turns]}), "m")
        assert (caught.value.param, caught.value.fails_over) == (f"messages[{place}].name", False)


HINTED = {
    "model": "x", "messages": [{"role": "user", "content": "y"}],
    "temperature": 0.7, "logprobs": False, "stop": "z", "top_k": 1,
}  # fmt: skip


def test_what_a_model_does_not_take_is_left_out_where_it_is_a_hint() -> None:
    """Everything else goes out as it came."""
    asked = ChatRequest(json.dumps(HINTED).encode())
    sent = json.loads(
        to_body(asked, "m", left_out=frozenset({"stream_options"}), cannot=("temperature", "logprobs", "seed"))
    )
    assert {"stop", "top_k"} < sent.keys()
    assert not {"temperature", "logprobs"} & sent.keys()


CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 2},
}


def test_citations_arrive_streamed_and_not() -> None:
    """A search model's answer is worth little without them; null and nothing are none."""
    pieces = [{"content": "Hi", "annotations": None}, {"annotations": [CITATION]}, {"annotations": []}]
    stream = b"".join(event({"choices": [{"index": 0, "delta": piece}]}) for piece in pieces)
    events, _ = _read(stream + FINISH + DONE)
    fold = CompletionFold()
    for one in events:
        fold.add(one)
    body = json.loads(fold.body("id", 1, "m", Usage(1, 1)))
    assert body["choices"][0]["message"]["annotations"] == [CITATION]
    encoder = ChunkEncoder("id", 1, "m", include_usage=False)
    sent = b"".join(encoder.encode(one) for one in events if not isinstance(one, Usage))
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in sent.split(b"\n\n") if line]
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [[CITATION]]


def test_what_an_answer_says_besides_its_text_is_read() -> None:
    """The tier that served, what ended it, counts of audio and predictions, and what the server wants back."""
    content = {"google": {"thought_signature": "s"}}
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "[7]"}, "extra_content": content}
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 0}]
    counts = {
        **usage(9, 8),
        "prompt_tokens_details": {"audio_tokens": 2},
        "completion_tokens_details": {
            "audio_tokens": 3, "accepted_prediction_tokens": 4, "rejected_prediction_tokens": 5,
        },
    }  # fmt: skip
    delta = {"tool_calls": [call], "reasoning_details": details}
    stream = [
        event({"service_tier": "flex", "choices": [{"index": 0, "delta": delta}]}),
        event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}),
        event({"choices": [], "usage": counts}),
    ]
    message = {"tool_calls": [call], "reasoning_details": details}
    whole = {"service_tier": "flex", "usage": counts}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "stop_reason": "END"}
    body = json.dumps({**whole, "choices": [choice]}).encode()
    for sent in (b"".join(stream) + DONE, body):
        first, end, counted = _read(sent)[0]
        assert isinstance(first, Delta)
        assert first.extra == {"reasoning_details": details}
        assert first.tool_calls is not None
        assert first.tool_calls[0].extra_content == content
        assert end == Finish("tool_calls", stop="END", service_tier="flex")
        assert counted == Usage(
            9, 8, service_tier="flex", prompt_audio_tokens=2, completion_audio_tokens=3, accepted_prediction_tokens=4,
            rejected_prediction_tokens=5,
        )  # fmt: skip


def test_a_history_goes_back_as_it_came() -> None:
    """With all that a server may want back, unless it is one that refuses it."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": 1}}
    said = {
        "role": "assistant",
        "content": "a",
        "reasoning_details": [{"text": "x"}],
        "reasoning": "x",
        "tool_calls": [call],
    }
    asked = chat(
        {**HELLO, "messages": [*HELLO["messages"], said, {"role": "tool", "tool_call_id": "c", "content": "r"}]}
    )
    assert json.loads(to_body(asked, "m"))["messages"][1] == said
    bare = {name: value for name, value in call.items() if name != "extra_content"}
    sent = json.loads(to_body(asked, "m", left_out=frozenset({"reasoning_details"})))["messages"][1]
    assert sent == {"role": "assistant", "content": "a", "tool_calls": [bare]}


CALLING = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
ODD_ENDS: dict[str, tuple[list[Any], tuple[str, str]]] = {
    "a reason with every chunk": (
        [({"content": "a"}, "stop"), ({"content": "b"}, "stop"), ({}, "length")],
        ("ab", "length"),
    ),
    "a reason before a call": ([({"content": "ab"}, "stop"), (CALLING, None)], ("ab", "tool_calls")),
    "calls that never came": ([({"content": "ab"}, None), ({}, "tool_calls")], ("ab", "stop")),
    "a reason that is none": ([({"content": "a"}, "null"), ({"content": "b"}, "none"), ({}, "stop")], ("ab", "stop")),
    "a token for a reason": ([({"content": "ab"}, None), ({}, "<|im_end|>")], ("ab", "stop")),
}


@pytest.mark.parametrize("name", ODD_ENDS)
def test_an_end_comes_last_whenever_it_was_said(name: str) -> None:
    """Clients read no further than it, and agents wait for calls that it promises."""
    steps, expected = ODD_ENDS[name]
    choices = [{"index": 0, "delta": delta, "finish_reason": word} for delta, word in steps]
    outcome = outcome_of(_read(b"".join(event({"choices": [choice]}) for choice in choices) + DONE)[0])
    assert (outcome.content, outcome.finish) == expected
    assert bool(outcome.calls) == (expected[1] == "tool_calls")


@pytest.mark.parametrize(
    "stream",
    [
        chunk({"content": "Hi"}) + FINISH + b"data: [done]\n\n",
        (chunk({"content": "Hi"}) + FINISH + DONE).replace(b"data:", b"data: data:"),
        event({"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}) + FINISH + DONE,
        json.dumps({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": None}]}).encode(),
        json.dumps({"choices": [{"message": {"content": "Hi"}}]}).encode(),
    ],
    ids=["an end mark in small letters", "the field's name twice", "a text", "a body without a reason", "nor an index"],
)
def test_an_answer_in_another_form_is_one(stream: bytes) -> None:
    """Proxies and older servers."""
    for size in (None, 1):
        outcome = outcome_of(_read(stream, size)[0])
        assert (outcome.content, outcome.finish) == ("Hi", "stop")


def test_what_a_request_does_not_say_is_not_sent() -> None:
    """Nulls and an empty list of tools, which not every server takes."""
    said: dict[str, Any] = {
        "temperature": None,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "functions": None,
    }
    assert json.loads(to_body(chat({**HELLO, **said}), "m")) == json.loads(to_body(chat(HELLO), "m"))
    function = {"name": "f", "description": None, "parameters": None, "strict": None}
    sent = json.loads(to_body(chat({**HELLO, "tools": [{"type": "function", "function": function}]}), "m"))
    assert sent["tools"] == [{"type": "function", "function": {"name": "f"}}]


def test_only_openai_knows_developers() -> None:
    """Chat templates of other servers leave such a message out, or fail."""
    asked = chat({**HELLO, "messages": [{"role": "developer", "content": "x"}, *HELLO["messages"]]})
    roles = [json.loads(to_body(asked, "m", is_openai=own))["messages"][0]["role"] for own in (True, False)]
    assert roles == ["developer", "system"]


@pytest.mark.parametrize(
    ("url", "is_regional"),
    [
        ("https://eu.api.openai.com/v1", True),
        ("https://US.api.openai.com:443/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://eu.api.openai.com.example/v1", False),
        ("https://example/eu.api.openai.com", False),
    ],
)
def test_openais_regions_are_known_by_their_address(url: str, is_regional: bool) -> None:  # noqa: FBT001 -- of the table
    """What is counted there says so, for it is billed higher."""
    assert BaseUrl(url).is_regional is is_regional
    reader = ChatReader(is_regional=is_regional)
    told = event({"choices": [], "usage": {"prompt_tokens": 7}})
    events = reader.feed(chunk({"content": "a"}) + chunk(finish_reason="stop") + told)
    assert [one.is_regional for one in [*events, *reader.end()] if isinstance(one, Usage)] == [is_regional]


def numbered(*indexes: int) -> bytes:
    """Return an answer whose pieces are of these choices."""
    pieces: list[dict[str, Any]] = [{"content": "Hel"}, {"content": "lo"}, {"tool_calls": [CALL]}]
    ends = [chunk(finish_reason="stop", index=index) for index in dict.fromkeys(indexes)]
    return b"".join([chunk(p, index=at) for p, at in zip(pieces, indexes, strict=True)] + ends) + DONE


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("indexes", [(0, 0, 0), (1, 1, 1), (0, 1, 2), (0, 0, 1)])
def test_all_of_an_answer_is_of_the_only_choice(indexes: tuple[int, ...], size: int | None) -> None:
    """Servers count from 1, or chunks; Copilot's has the calls of Claude in a choice of their own."""
    reader, stream = ChatReader(is_one=True), numbered(*indexes)
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream)):
        events += reader.feed(stream[start : start + (size or len(stream))])
    assert reader.failure is None
    outcome = outcome_of(events)
    assert (outcome.content, outcome.calls, outcome.finish) == ("Hello", [("f", "{}")], "tool_calls")


def test_long_runs_are_of_the_only_choice_too() -> None:
    """They are read by another way."""
    reader = ChatReader(is_one=True)
    stream = b"".join(chunk({"content": "a"}, index=1) for _ in range(50))
    events = [*reader.feed(stream), *reader.feed(stream)]
    assert {one.index for one in events if isinstance(one, Delta)} == {0}
    assert len(events) == 100


@pytest.mark.parametrize(
    ("pieces", "content", "reasoning"),
    [([{"content": "Hel"}, {"content": "lo"}], "Hello", ""), ([{"reasoning": "hm"}], "Hello", "hm"), ([], "Hello", "")],
)
def test_what_only_the_last_message_says_is_said(pieces: list[dict[str, Any]], content: str, reasoning: str) -> None:
    """It tells what came in pieces again, and calls that did not come so."""
    message = {"role": "assistant", "content": "Hello", "reasoning": reasoning or None, "tool_calls": [CALL]}
    last = {"choices": [{"index": 0, "delta": {}, "message": message, "finish_reason": "stop"}]}
    stream = b"".join(map(chunk, pieces)) + event(last) + DONE
    outcome = outcome_of(ChatReader().feed(stream))
    assert (outcome.content, outcome.reasoning, outcome.calls) == (content, reasoning, [("f", "{}")])


def test_log_probabilities_have_both_of_their_lists() -> None:
    """One is left out by vLLM, and OpenAI's document wants it."""
    (delta,) = ChatReader().feed(event({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": []}}]}))
    assert isinstance(delta, Delta)
    assert delta.logprobs is not None
    assert json.loads(bytes(delta.logprobs)) == {"content": [], "refusal": None}
