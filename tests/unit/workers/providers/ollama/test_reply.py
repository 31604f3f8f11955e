"""workers/providers/ollama/reply.py."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from shared import errors
from shared.types import Delta, Event, Finish, Usage
from tests.upstreams.ollama.replies import last, line, text
from tests.upstreams.outcome import Outcome, outcome_of
from workers.providers.http.error_body import Report, http_failure
from workers.providers.ollama.reply import ChatReader, from_status_error

CALL = {"tool_calls": [{"function": {"name": "f", "arguments": {"x": "é"}}}]}
TEXTS = [
    "the input length exceeds the context length",
    "the prompt is longer than the context length currently available to the model; shorten the prompt",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
]


def _read(stream: bytes, size: int | None = None) -> tuple[list[Event], ChatReader]:
    reader = ChatReader()
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
    if not reader.done and reader.failure is None:
        events += reader.end()
    return events, reader


@pytest.mark.parametrize("size", [None, 1, 5])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\n"])
def test_line_ends_and_splits_change_nothing(size: int | None, line_end: bytes) -> None:
    """Also a last line without any line end counts."""
    stream = text("Hé", "llo").replace(b"\n", line_end).rstrip()
    events, reader = _read(stream, size)
    assert reader.failure is None
    assert outcome_of(events) == Outcome(content="Héllo", finish="stop", usage=Usage(7, 2))


def test_a_stop_after_tool_calls_is_tool_calls() -> None:
    """Ollama says stop; calls without ids get unique ones of OpenAI's form."""
    events, _ = _read(line(CALL) + line(CALL) + last(eval_count=1, prompt_eval_count=1))
    assert outcome_of(events).calls == [("f", '{"x":"é"}')] * 2
    assert outcome_of(events).finish == "tool_calls"
    deltas = [event for event in events if isinstance(event, Delta)]
    ids = [call.id or "" for delta in deltas for call in delta.tool_calls or ()]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", call_id) for call_id in ids)


def test_arguments_may_be_a_text() -> None:
    """As servers send them that speak like Ollama."""
    for given, taken in (('{"x": 1}', '{"x": 1}'), ("", "{}"), (None, "{}")):
        call = json.dumps({"message": {"tool_calls": [{"function": {"name": "f", "arguments": given}}]}}).encode()
        assert outcome_of(_read(call + b"\n" + last())[0]).calls == [("f", taken)]


def test_a_reply_that_is_not_streamed_may_stand_in_many_lines() -> None:
    """Some servers ignore `stream`, and print for people."""
    reply = {"message": {"content": "Hi"}, "done": True, "done_reason": "stop"}
    for indent in (None, 1):
        events, reader = _read(json.dumps(reply, indent=indent).encode())
        assert (reader.failure, outcome_of(events)) == (None, Outcome(content="Hi", finish="stop"))


def test_a_length_after_tool_calls_stays_length() -> None:
    """Calls that were cut off are not complete."""
    events, _ = _read(line(CALL) + last("length"))
    assert outcome_of(events).finish == "length"


@pytest.mark.parametrize("reason", ["length", "limit"])
def test_a_full_context_ends_as_a_limit_does(reason: str) -> None:
    """The answer is not complete, whichever was full first."""
    assert outcome_of(_read(line({"content": "Hi"}) + last(reason, eval_count=1))[0]).finish == "length"


def test_older_servers_name_no_reason() -> None:
    """A last line without a reason is a stop."""
    events, _ = _read(line({"content": "Hi"}) + last(None))
    assert events == [Delta(content="Hi"), Finish("stop")]


@pytest.mark.parametrize("reason", ["load", "unload", "whatever"])
def test_loading_a_model_is_no_completion(reason: str) -> None:
    """Such an end is a failed attempt, or a broken stream once something was said."""
    assert type(_read(last(reason))[1].failure) is errors.Unavailable
    assert type(_read(line({"content": "Hi"}) + last(reason))[1].failure) is errors.StreamBroken


def test_a_zero_count_that_is_left_out_is_not_a_missing_report() -> None:
    """Without eval_count nothing was made; without prompt_eval_count the prompt's size is not known."""
    assert _read(last(prompt_eval_count=7))[0] == [Finish("stop"), Usage(7, 0)]
    assert _read(last(eval_count=3))[0] == [Finish("stop")]
    assert _read(last())[0] == [Finish("stop")]
    cached = _read(last(prompt_eval_count=7, eval_count=1, prompt_eval_cached_count=5))[0]
    assert cached[-1] == Usage(7, 1, cached_tokens=5)


def test_log_probabilities_take_openais_form() -> None:
    """`bytes` and `top_logprobs` are always there, as OpenAI's schema wants it."""
    token = {"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -1.5}]}
    events, _ = _read(line({"content": "é"}, logprobs=[token]))
    assert isinstance(events[0], Delta)
    assert events[0].logprobs is not None
    assert msgspec.json.decode(events[0].logprobs) == {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "a", "logprob": -1.5, "bytes": [97]}],
            }
        ],
        "refusal": None,
    }


@pytest.mark.parametrize("words", TEXTS)
def test_a_prompt_that_is_too_long_is_known_by_ollamas_texts(words: str) -> None:
    """As a status, and as a line of a stream before content; a broken stream stays one."""
    for status in (400, 500):
        report = Report(words)
        assert type(from_status_error(http_failure(status, report, None), report)) is errors.ContextTooLong
    error = b'{"error":"%s"}\n' % words.encode()
    assert type(_read(error)[1].failure) is errors.ContextTooLong
    assert type(_read(line({"content": "Hi"}) + error)[1].failure) is errors.StreamBroken


def test_other_refusals_stay_what_they_are() -> None:
    """Only requests that failed may be about the prompt's length."""
    for status, kind in ((400, errors.InvalidRequest), (429, errors.Throttled), (404, errors.ModelMissing)):
        report = Report("no")
        assert type(from_status_error(http_failure(status, report, None), report)) is kind
    report = Report(TEXTS[0])
    assert type(from_status_error(http_failure(429, report, None), report)) is errors.Throttled


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('"gemma3:1b" does not support tools', "tools"),
        ('"llama3.1:8b" does not support thinking', "reasoning_effort"),
        ('think value "high" is not supported for this model', "reasoning_effort"),
        ('"nomic-embed-text" does not support chat', None),
    ],
)
def test_what_a_model_cannot_do_is_known_by_ollamas_texts(text: str, param: str | None) -> None:
    """Servers before 0.6.4 do not tell beforehand; then another tier may serve."""
    report = Report(text)
    error = from_status_error(http_failure(400, report, None), report)
    assert (type(error), error.param, error.fails_over) == (errors.Unsupported, param, True)
    assert type(from_status_error(http_failure(429, report, None), report)) is errors.Throttled


def test_a_prompt_that_was_cut_is_no_success() -> None:
    """Where it seems far too long and its count fills the context, its answer is to something else."""

    def failure(*lines: bytes) -> errors.GatewayError | None:
        reader = ChatReader(cut_at=4096)
        reader.feed(b"".join(lines))
        return reader.failure

    said = line({"content": "Hi"})
    assert type(failure(said, last(prompt_eval_count=4096, eval_count=1))) is errors.StreamBroken
    assert type(failure(last(prompt_eval_count=4000))) is errors.ContextTooLong
    assert failure(said, last(prompt_eval_count=3000, eval_count=1)) is None
    assert failure(said, last(eval_count=1)) is None


def test_a_status_in_an_error_line_decides() -> None:
    """Newer servers put the status into the line."""
    assert type(_read(b'{"error":"busy","status":429}\n')[1].failure) is errors.Throttled


def test_what_follows_the_last_line_is_not_read() -> None:
    """A second answer in one body is nobody's."""
    events, reader = _read(text("Hi") + text("more"))
    assert outcome_of(events).content == "Hi"
    assert reader.done


def test_a_call_is_handed_out_as_the_model_made_it() -> None:
    """Also one without a name, or with arguments that are no object: the client can tell the model."""
    calls = [{"function": {"arguments": {"a": 1}}}, {"function": {"name": "f", "arguments": [1]}}]
    reader = ChatReader()
    events = reader.feed(json.dumps({"message": {"content": "", "tool_calls": calls}}).encode() + b"\n" + last())
    assert outcome_of(events).calls == [("", '{"a":1}'), ("f", "[1]")]


def test_a_template_that_refuses_a_conversation_is_no_failure_of_the_server() -> None:
    """Ollama tells llama.cpp's error in its own; another model may take the conversation."""
    inner = json.dumps(
        {
            "error": {
                "code": 500,
                "message": "...\nError: Jinja Exception: Roles must alternate.",
                "type": "server_error",
            }
        }
    )
    report = Report(f"chat template prompt error: {inner}")
    failure = from_status_error(http_failure(500, report, None), report)
    assert (type(failure), failure.param) == (errors.Unsupported, "messages")
    assert failure.message.endswith(": Roles must alternate.")
