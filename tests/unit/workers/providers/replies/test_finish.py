"""The end of an answer, by whatever word, number or object an upstream says it."""

from __future__ import annotations

from typing import Any

import pytest

from shared import errors
from tests.unit.workers.providers.test_oddities import read
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.mutations import Oddity
from tests.upstreams.openai import replies as openai
from tests.upstreams.outcome import outcome_of
from workers.providers.replies.finish import finish_reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("stop STOP stop_sequence eos eos_token </s> COMPLETE end-turn endTurn FINISH_REASON_STOP REASON_STOP", "stop"),
        ("length MaxTokens max_output_tokens model_length FINISH_REASON_MAX_TOKENS", "length"),
        ("content_filter contentFiltered SAFETY refusal", "content_filter"),
        ("1", "stop"),
        ("2", "length"),
    ],
)
def test_words_are_known_by_their_letters(words: str, reason: str) -> None:
    """Whatever stands between them, before them, and in whatever case."""
    assert {finish_reason(word, has_calls=False) for word in words.split()} == {reason}


@pytest.mark.parametrize("has_calls", [True, False])
@pytest.mark.parametrize("word", ["tool_calls", "toolCalls", "tool_use", "FUNCTION_CALL", "TOOL_CALL"])
def test_calls_are_awaited_where_there_are_any(word: str, has_calls: bool) -> None:  # noqa: FBT001 -- a case
    """By no word does an agent wait for a call that never came."""
    assert (finish_reason(word, has_calls=has_calls) == "stop") is not has_calls


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("moon", "stop"), ("eosFound", "stop"), ("success", "stop"), ("stop_string", "stop"),
        ("contextLengthReached", "length"), ("time_limit", "length"), ("max_new_tokens", "length"),
        ("moderated", "content_filter"),
        *[(word, None) for word in ("error", "ERROR_TOXIC", "abort", "network_error", "cancelled", "timeout", "failed",
                                    "insufficient_system_resource", "OTHER", "malformed_function_call", "")],
    ],
)  # fmt: skip
def test_a_word_that_nobody_knows_ends_an_answer_but_means_no_failure(word: str, reason: str | None) -> None:
    """Of the many servers of one API; where the list of words is known, and nothing came, it is a failure."""
    assert finish_reason(word, has_calls=False, unknown="stop") == reason
    assert finish_reason("moon", has_calls=False) is None


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"type": "stop"}, "stop"), ({"reason": "length"}, "length"), (["stop"], "stop"), (True, "stop"), (1, "stop"),
        (2, "length"), (2.0, "length"), (3, "content_filter"), ({"type": None, "reason": "max_tokens"}, "length"),
    ],
)  # fmt: skip
def test_an_end_may_be_json_of_any_type(end: Any, reason: str) -> None:
    """An object, a list, or Google's number, as its SDKs for Python write it; of all providers, at any place."""
    say = openai.chunk({"content": "Hi"})
    for choice in ({"finish_reason": end}, {"delta": {"finish_reason": end}}):
        stream = say + openai.event({"choices": [{"index": 0, **choice}]}) + openai.DONE
        assert outcome_of(read("openai", Oddity("end", stream))).finish == reason
    candidate = {"content": {"parts": [{"text": "Hi"}]}, "finishReason": end}
    assert outcome_of(read("gemini", Oddity("end", openai.event({"candidates": [candidate]})))).finish == reason
    stream = anthropic.start() + anthropic.text_block(0, "Hi")
    stream += anthropic.raw_event("message_delta", {"type": "message_delta", "delta": {"stop_reason": end}})
    assert outcome_of(read("anthropic", Oddity("end", stream))).finish == reason


@pytest.mark.parametrize("end", [{"type": "error"}, ["abort"], 5, 10, 99, -1, {"x": "stop"}, [], False])
def test_what_means_a_failure_is_one_whatever_its_type(end: Any) -> None:
    """Google's numbers of faults, and what is no word at all."""
    stream = openai.chunk({"content": "Hi"}) + openai.event({"choices": [{"index": 0, "finish_reason": end}]})
    with pytest.raises(errors.StreamBroken):
        read("openai", Oddity("end", stream + openai.DONE))
