"""workers/providers/gemini/reply.py."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors
from shared.types import Delta, Event, Finish, Usage
from tests.upstreams.gemini.replies import call, chunk, error, event, response, text, usage
from tests.upstreams.outcome import Outcome, outcome_of
from workers.providers.gemini.reply import ChatReader

SAY = {"text": "Hi"}
FILTERS = [
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "ESCALATION", "IMAGE_SAFETY",
    "IMAGE_RECITATION", "IMAGE_PROHIBITED_CONTENT",
]  # fmt: skip
FAULTS = [
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE", "OTHER", "NO_IMAGE", "IMAGE_OTHER", "SOMETHING_NEW",
]  # fmt: skip


def _read(stream: bytes, size: int | None = None, choices: int = 1) -> tuple[list[Event], ChatReader]:
    reader = ChatReader(choices)
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
        if reader.failure is not None:
            return events, reader
    return events + reader.end(), reader


def _raw(reason: str, *parts: dict[str, Any]) -> bytes:
    """Return a chunk with a finish reason that the SDK may not know."""
    return event({"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]})


def _calls(events: list[Event]) -> list[tuple[int, str, str, str]]:
    deltas = [event for event in events if isinstance(event, Delta)]
    return [
        (each.index, each.id or "", each.name or "", each.arguments)
        for delta in deltas
        for each in delta.tool_calls or ()
    ]


@pytest.mark.parametrize("size", [None, 1, 2, 5])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_line_ends_comments_and_splits_change_nothing(size: int | None, line_end: bytes) -> None:
    """Frames end in CRLF and may be cut anywhere; comments and other fields are dropped."""
    stream = b": hello\r\nevent: message\r\nid: 1\r\nretry: 5\r\n" + text("Hé", "llo 🌍")
    events, reader = _read(stream.replace(b"\r\n", line_end), size)
    assert reader.failure is None
    assert reader.done
    assert outcome_of(events) == Outcome(content="Héllo 🌍", finish="stop", usage=Usage(7, 2))


def test_a_last_frame_without_a_line_end_counts() -> None:
    """The end of the body is the end of the line."""
    assert outcome_of(_read(text("Hi").rstrip())[0]).finish == "stop"


def test_there_is_no_end_before_the_body_ends() -> None:
    """Some models and proxies stamp STOP on every chunk, the first and empty ones included."""
    stream = chunk(finish_reason="STOP") + chunk(SAY, finish_reason="STOP") + chunk({"text": "!"}, finish_reason="STOP")
    reader = ChatReader()
    assert reader.feed(stream) == [Delta("Hi"), Delta("!")]
    assert not reader.done
    assert reader.end() == [Finish("stop")]


def test_a_later_finish_reason_is_the_last_word() -> None:
    """STOP with every chunk, and MAX_TOKENS with the last, is a length."""
    events, _ = _read(chunk(SAY, finish_reason="STOP") + chunk(SAY, finish_reason="MAX_TOKENS"))
    assert outcome_of(events).finish == "length"


def test_thoughts_are_reasoning_and_texts_are_joined_within_a_chunk() -> None:
    """Thoughts never reach the content."""
    events, _ = _read(chunk({"text": "hm", "thought": True}, {"text": "A"}, {"text": "B"}, finish_reason="STOP"))
    assert events == [Delta("AB", "hm"), Finish("stop")]


def test_calls_get_unique_ids_and_a_running_index() -> None:
    """Calls come whole, in one chunk or in several; their ids are minted, never made of the name."""
    stream = chunk(call({"a": 1}), call({"a": 1})) + chunk(call(None, name="time")) + chunk(finish_reason="STOP")
    events, _ = _read(stream)
    calls = _calls(events)
    assert [(index, name, arguments) for index, _, name, arguments in calls] == [
        (0, "weather", '{"a":1}'), (1, "weather", '{"a":1}'), (2, "time", "{}"),
    ]  # fmt: skip
    ids = {call_id for _, call_id, _, _ in calls}
    assert len(ids) == 3
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", call_id) for call_id in ids)


def test_an_id_that_gemini_gives_is_kept_unless_it_repeats() -> None:
    """Some models give the same id to several calls."""
    events, _ = _read(chunk(call(id="x1")) + chunk(call(id="x1"), call(id="x2"), finish_reason="STOP"))
    ids = [call_id for _, call_id, _, _ in _calls(events)]
    assert (ids[0], ids[2]) == ("x1", "x2")
    assert ids[1].startswith("call_")


def test_a_stop_after_any_call_is_tool_calls() -> None:
    """Latched over chunks, for each choice by itself; a length stays one, as the calls may be cut off."""
    stream = chunk(call()) + chunk(SAY) + chunk(finish_reason="STOP")
    assert outcome_of(_read(stream)[0]).finish == "tool_calls"
    assert outcome_of(_read(chunk(call()) + chunk(finish_reason="MAX_TOKENS"))[0]).finish == "length"
    two = chunk(call(), finish_reason="STOP") + chunk(SAY, finish_reason="STOP", index=1)
    events, _ = _read(two, choices=2)
    assert [event for event in events if isinstance(event, Finish)] == [Finish("tool_calls", 0), Finish("stop", 1)]


def test_several_choices_keep_their_own_calls() -> None:
    """A call's index counts within its choice."""
    events, _ = _read(chunk(call(), finish_reason="STOP") + chunk(call(), finish_reason="STOP", index=1), choices=2)
    assert [index for index, *_ in _calls(events)] == [0, 0]


@pytest.mark.parametrize("reason", FILTERS)
def test_filters_are_content_filter(reason: str) -> None:
    """With or without something said before."""
    assert outcome_of(_read(chunk(SAY, finish_reason=reason))[0]).finish == "content_filter"
    assert outcome_of(_read(chunk(finish_reason=reason))[0]).finish == "content_filter"


@pytest.mark.parametrize("reason", FAULTS)
def test_faults_are_failures_and_never_finish_reasons(reason: str) -> None:
    """Before content the next tier is tried; after it the stream is broken, and what was said comes first."""
    _, reader = _read(_raw(reason, {"thoughtSignature": "c2ln"}))
    assert type(reader.failure) is errors.Unavailable
    assert reader.failure.code == reason.lower()
    events, reader = _read(_raw(reason, SAY))
    assert events == [Delta("Hi")]
    assert type(reader.failure) is errors.StreamBroken


def test_a_limited_account_is_cooling_down() -> None:
    """The reason blames the account, not the request."""
    assert type(_read(_raw("PUP_LIMITED_DISABLED"))[1].failure) is errors.Rejected
    assert type(_read(_raw("PUP_LIMITED_DISABLED", SAY))[1].failure) is errors.StreamBroken


def test_a_blocked_prompt_is_content_filter_for_every_choice() -> None:
    """There are no candidates then; the prompt's tokens are still counted."""
    blocked = response(promptFeedback={"blockReason": "PROHIBITED_CONTENT"}, usageMetadata=usage(9, 0))
    assert _read(blocked)[0] == [Finish("content_filter"), Usage(9, 0)]
    assert _read(blocked, choices=2)[0] == [Finish("content_filter", 0), Finish("content_filter", 1), Usage(9, 0)]


@pytest.mark.parametrize("feedback", [{"safetyRatings": []}, {"blockReason": "OTHER"}])
def test_feedback_beside_candidates_changes_nothing(feedback: dict[str, Any]) -> None:
    """Older versions send ratings with every first chunk; what the candidates say counts."""
    events, reader = _read(event({"promptFeedback": feedback}) + text("Hi"))
    assert reader.failure is None
    assert (outcome_of(events).content, outcome_of(events).finish) == ("Hi", "stop")


@pytest.mark.parametrize("parts", [(), ({"text": ""},), ({"text": "", "thoughtSignature": "c2ln"},)])
def test_a_stop_without_any_output_is_a_failed_attempt(parts: tuple[dict[str, Any], ...]) -> None:
    """An empty success helps nobody: the next tier is tried."""
    _, reader = _read(chunk(*parts, finish_reason="STOP", usage=usage(7, 0)))
    assert type(reader.failure) is errors.Unavailable


def test_a_length_without_any_output_is_a_length() -> None:
    """All of the limit went into thinking: another try would end the same."""
    events, _ = _read(chunk(finish_reason="MAX_TOKENS", usage=usage(7, 0, thoughts=50)))
    assert events == [Finish("length"), Usage(7, 50, reasoning_tokens=50)]


@pytest.mark.parametrize(
    "stream", [b"", chunk(SAY), chunk(SAY, finish_reason="FINISH_REASON_UNSPECIFIED"), event({"candidates": []})]
)
def test_a_stream_without_a_finish_reason_is_broken(stream: bytes) -> None:
    """However cleanly the body ended."""
    assert type(_read(stream)[1].failure) is errors.StreamBroken


def test_a_choice_that_never_ends_breaks_the_stream() -> None:
    """Also while another one ended well."""
    stream = chunk(SAY, finish_reason="STOP") + chunk(SAY, index=1)
    assert type(_read(stream, choices=2)[1].failure) is errors.StreamBroken


def test_usage_is_cumulative_and_thoughts_are_completion() -> None:
    """The last counts; cached and thought tokens are told apart."""
    stream = chunk(SAY, usage=usage(7, 1)) + chunk(finish_reason="STOP", usage=usage(9, 3, thoughts=4, cached=5))
    assert _read(stream)[0][-1] == Usage(9, 7, cached_tokens=5, reasoning_tokens=4)


def test_tokens_of_tool_results_are_prompt_tokens() -> None:
    """The API counts them apart."""
    counts = {**usage(7, 1), "toolUsePromptTokenCount": 10}
    assert _read(chunk(SAY, finish_reason="STOP", usage=counts))[0][-1] == Usage(17, 1)


def test_usage_without_a_prompt_count_is_no_report() -> None:
    """The caller's estimate stands, marked as one."""
    assert _read(chunk(SAY, finish_reason="STOP", usage={"totalTokenCount": 3}))[0][-1] == Finish("stop")


def test_signatures_are_kept_by_call_id() -> None:
    """They are the caller's to store; parts without a call have none to keep."""
    stream = chunk(call(id="x", thoughtSignature="c2ln"), call(id="y")) + chunk(
        {"text": "", "thoughtSignature": "YQ=="}
    )
    assert _read(stream)[1].signatures == {"x": "c2ln"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [(429, errors.Throttled), (400, errors.InvalidRequest), (503, errors.Unavailable), (500, errors.Unavailable)],
)
@pytest.mark.parametrize("form", ["event", "bare", "list"])
def test_an_error_inside_the_stream_is_classed_by_its_code(
    code: int, kind: type[errors.GatewayError], form: str
) -> None:
    """As an event, or as bare JSON of many lines; after content it breaks the stream."""
    body: Any = error(code, "X")
    bare = json.dumps([body] if form == "list" else body, indent=2).replace("\n", "\r\n").encode()
    stream = event(body) if form == "event" else bare
    for size in (None, 1):
        assert type(_read(stream, size)[1].failure) is kind
        events, reader = _read(chunk(SAY) + stream + b"\r\n" + text("more"), size)
        assert events == [Delta("Hi")]
        assert type(reader.failure) is errors.StreamBroken


@pytest.mark.parametrize("stream", [b"data: {\r\n", b"data: \xff\r\n", b"<html>\r\n"])
def test_what_cannot_be_read_is_malformed(stream: bytes) -> None:
    """Also text that is no event at all."""
    assert type(_read(stream)[1].failure) is errors.Malformed


def test_bare_text_is_bounded() -> None:
    """A page that never ends is given up."""
    reader = ChatReader()
    for _ in range(100):
        reader.feed(b"x" * 1000 + b"\n")
    assert type(reader.failure) is errors.Malformed


def test_log_probabilities_take_openais_form() -> None:
    """`bytes` and `top_logprobs` are always there, as OpenAI's schema wants it."""
    chosen = [{"token": "é", "logProbability": -0.5}, {"token": "!", "logProbability": -0.1}]
    top = [{"candidates": [{"token": "a", "logProbability": -1.5}]}]
    logprobs = {"chosenCandidates": chosen, "topCandidates": top}
    events, _ = _read(chunk({"text": "é!"}, finish_reason="STOP", logprobs=logprobs))
    assert isinstance(events[0], Delta)
    assert events[0].logprobs is not None
    assert msgspec.json.decode(events[0].logprobs) == {
        "content": [
            {"token": "é", "logprob": -0.5, "bytes": [195, 169],
             "top_logprobs": [{"token": "a", "logprob": -1.5, "bytes": [97]}]},
            {"token": "!", "logprob": -0.1, "bytes": [33], "top_logprobs": []},
        ],
        "refusal": None,
    }  # fmt: skip


def test_a_reply_that_is_one_list_becomes_the_same_events() -> None:
    """That is what the API sends without `alt=sse`, and some proxies with it."""
    chunks = [json.loads(line[6:]) for line in text("Hel", "lo").splitlines() if line]
    for body in (chunks, chunks[-1]):
        events, reader = _read(json.dumps(body, indent=1).encode())
        assert reader.failure is None
        assert outcome_of(events).content in {"Hello", "lo"}
        assert outcome_of(events).finish == "stop"


def _content(*parts: dict[str, Any]) -> tuple[str, list[Any]]:
    events, reader = _read(_raw("STOP", *parts))
    assert reader.failure is None
    deltas = [each for each in events if isinstance(each, Delta)]
    images = [image for delta in deltas for image in (delta.extra or {}).get("images", ())]
    return "".join(delta.content or "" for delta in deltas), images


def test_code_that_was_run_and_what_it_printed_are_text_of_the_answer() -> None:
    """Each in a fenced block of its own: OpenAI's chat has no other form for them."""
    said, _ = _content(
        {"text": "Let me see."},
        {"executableCode": {"language": "PYTHON", "code": "print(6 * 7)\n"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
        {"text": "It is 42."},
    )
    assert said == "Let me see.\n\n```python\nprint(6 * 7)\n```\n\n\n\n```\n42\n```\n\nIt is 42."


def test_code_that_failed_says_so() -> None:
    """The outcome is named, with what was printed."""
    said, _ = _content({"codeExecutionResult": {"outcome": "OUTCOME_DEADLINE_EXCEEDED", "output": "1"}})
    assert said == "\n\n(code execution: deadline exceeded)\n\n\n```\n1\n```\n\n"


@given(
    code=st.none() | st.integers() | st.lists(st.sampled_from(["```", "````", "  `````", "a"])).map("\n".join),
    language=st.none() | st.text() | st.integers(),
    outcome=st.none() | st.text() | st.integers(),
)
def test_any_code_stays_inside_its_fence(code: Any, language: Any, outcome: Any) -> None:
    """Fences in it are shorter than its own, and fields of other types lose no answer."""
    said, _ = _content(
        {"executableCode": {"language": language, "code": code}}, {"codeExecutionResult": {"outcome": outcome}}, SAY
    )
    fences = re.findall(r"^ *(`{3,})", said, re.MULTILINE)
    assert sum(len(fence) >= len(fences[0]) for fence in fences) == 2
    assert said.endswith("Hi")


def test_an_image_may_be_named_by_its_address() -> None:
    """As a file at Google, in the same form as one that comes along."""
    _, images = _content({"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/1.png"}})
    assert images == [{"type": "image_url", "image_url": {"url": "https://example.org/1.png"}}]


def test_a_file_that_is_no_image_is_a_failure() -> None:
    """It is not dropped in silence."""
    _, reader = _read(_raw("STOP", {"fileData": {"mimeType": "audio/wav", "fileUri": "https://example.org/1.wav"}}))
    assert isinstance(reader.failure, errors.Unavailable)
