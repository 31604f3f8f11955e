"""Usage reports of any JSON, through each provider's reader: none raises, none costs more than what it counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.catalogue import default_catalogue, nano_usd
from shared.types import Event, Usage
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.outcome import outcome_of
from workers.providers.anthropic.reply import ChatReader as AnthropicReader
from workers.providers.gemini.reply import ChatReader as GeminiReader
from workers.providers.http.usage_report import MOST_TOKENS, to_count
from workers.providers.ollama.reply import ChatReader as OllamaReader
from workers.providers.openai.wire import ChatReader as OpenAIReader

if TYPE_CHECKING:
    from workers.providers.http.lines import LineReader

COUNTS: dict[str, dict[str, Any]] = {
    "openai": {
        "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "prompt_cache_hit_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "anthropic": {
        "input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
        "cache_creation": {"ephemeral_1h_input_tokens": 0}, "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": {"web_search_requests": 0}, "service_tier": "standard",
    },
    "gemini": {
        "promptTokenCount": 0, "toolUsePromptTokenCount": 0, "candidatesTokenCount": 0, "thoughtsTokenCount": 0,
        "cachedContentTokenCount": 0,
    },
    "ollama": {"prompt_eval_count": 0, "prompt_eval_cached_count": 0, "eval_count": 0},
}  # fmt: skip
"""The fields of each report."""
MODELS = ("claude-opus-5", "claude-haiku-5-5", "gpt-5.5", "gpt-6.1-terra", "gpt-4o-mini")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
counts = st.integers(0, 2_000_000) | json_values


def reports(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Reports with these fields, each a count, missing, or any JSON."""
    fields = {name: reports(of) if isinstance(of, dict) else counts for name, of in shape.items()}
    return json_values | st.fixed_dictionaries({}, optional=fields)


def stream(wire: str, report: Any) -> tuple[LineReader, bytes]:
    """Return a reader, and an answer `ok` with this report."""
    if wire == "openai":
        text = openai_replies.chunk({"content": "ok"}) + openai_replies.chunk(finish_reason="stop")
        return OpenAIReader(), text + openai_replies.event({"choices": [], "usage": report}) + openai_replies.DONE
    if wire == "anthropic":
        message = {"type": "message_start", "message": {"usage": report}}
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": report}
        raw = anthropic_replies.raw_event
        text = anthropic_replies.text_block(0, "ok")
        return AnthropicReader(), raw("message_start", message) + text + raw("message_delta", end)
    if wire == "gemini":
        candidate = {"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}
        return GeminiReader(), openai_replies.event({"candidates": [candidate], "usageMetadata": report})
    fields = report if isinstance(report, dict) else {"eval_count": report}
    fields = {name: value for name, value in fields.items() if name in COUNTS["ollama"]}
    return OllamaReader(), json.dumps({"message": {"content": "ok"}, "done": True, **fields}).encode() + b"\n"


def read(wire: str, report: Any) -> list[Event]:
    """Return the events of an answer with this report; fails if it is lost."""
    reader, answer = stream(wire, report)
    events = reader.feed(answer) + ([] if reader.done else reader.end())
    assert reader.failure is None
    assert outcome_of(events).content == "ok"
    return events


@pytest.mark.parametrize("wire", COUNTS)
@given(data=st.data())
def test_no_report_loses_an_answer_or_costs_more_than_what_it_counts(wire: str, data: st.DataObject) -> None:
    """Of any JSON in any place: what comes of it is whole numbers, within bounds, without contradiction."""
    events = read(wire, data.draw(reports(COUNTS[wire])))
    for event in events:
        if isinstance(event, Usage):
            usage = event.consistent()
            numbers = [value for value in msgspec.structs.astuple(usage) if not isinstance(value, str | bool | None)]
            assert all(type(number) is int and 0 <= number <= 4 * MOST_TOKENS for number in numbers)
            assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
            assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
            assert usage.reasoning_tokens <= usage.completion_tokens
            for model in MODELS:
                entry = default_catalogue().entry(model)
                cost = entry.cost_usd(event)
                most = entry.most_cost_usd(usage.prompt_tokens, usage.completion_tokens, "auto", usage.web_searches)
                assert 0 <= nano_usd(cost) <= nano_usd(most) + 1


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (7, 7), (7.0, 7), ("7", 7), (0, 0), (True, None), (-1, None), (None, None), ("seven", None), ("\u0667", None),
        (float("inf"), None), (float("nan"), None), (MOST_TOKENS + 1, None), (2**200, None), ([7], None), ({}, None),
    ],
)  # fmt: skip
def test_what_is_no_count_counts_as_none(value: object, count: int | None) -> None:
    """Numbers in other notations are counts."""
    assert to_count(value) == count


def test_cached_tokens_beyond_the_prompt_cost_no_less_than_nothing() -> None:
    """They are at most the prompt; written ones have no more than the rest."""
    (usage,) = [event for event in read("openai", {
        "prompt_tokens": 10, "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 5000, "cache_write_tokens": 9},
    }) if isinstance(event, Usage)]  # fmt: skip
    assert usage.consistent() == Usage(10, 1, cached_tokens=10)
    assert default_catalogue().cost_usd("gpt-4o", usage) == pytest.approx(10 * 1.25e-6 + 1e-5)


@pytest.mark.parametrize(
    ("report", "billed_usd"),
    [
        ({"cost": 0.95}, 0.95),
        ({"cost": 0}, 0.0),
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, 1.05),
        ({"cost": 0.05, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.04}}, 0.05),
        ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, 0.006),
        ({"cost": "0.95"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": float("nan")}, None),
        ({"cost": 1e9}, None),
        ({"cost": {"total": 1}}, None),
        ({}, None),
    ],
)
def test_an_upstreams_own_bill_is_what_is_billed(report: dict[str, Any], billed_usd: float | None) -> None:
    """OpenRouter's, with what the maker bills a key of one's own, and Perplexity's; what is no amount is none."""
    found = read("openai", {"prompt_tokens": 10, "completion_tokens": 1, **report})
    assert [event.billed_usd for event in found if isinstance(event, Usage)] == [billed_usd]


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 29,
          "completion_tokens_details": {"reasoning_tokens": 20}}, Usage(7, 22, reasoning_tokens=20)),
        ({"prompt_tokens": 7, "completion_tokens": 22, "total_tokens": 29,
          "completion_tokens_details": {"reasoning_tokens": 20}}, Usage(7, 22, reasoning_tokens=20)),
        ({"prompt_tokens": 7, "total_tokens": 9}, Usage(7, 2)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_cache_hit_tokens": 5}, Usage(7, 2, cached_tokens=5)),
    ],
)  # fmt: skip
def test_compatible_servers_count_in_their_own_ways(report: dict[str, Any], usage: Usage) -> None:
    """Reasoning beside the completion (xAI), no completion but a total, cached tokens under another name (DeepSeek)."""
    assert read("openai", report)[-1] == usage


def test_the_tier_that_served_is_reported() -> None:
    """OpenAI says it in every chunk, Anthropic in its counts."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}], "service_tier": "priority"}
    reader = OpenAIReader()
    events = reader.feed(openai_replies.event({**chunk, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}))
    assert (events + reader.end())[-1] == Usage(1, 1, service_tier="priority")
    report = {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard",
              "server_tool_use": {"web_search_requests": 2}}  # fmt: skip
    assert read("anthropic", report)[-1] == Usage(1, 1, service_tier="standard", web_searches=2)


def test_what_claude_counts_at_its_start_is_said_at_once() -> None:
    """A client may leave before the end: the prompt, and what of it was read from a cache or written there."""
    reader = AnthropicReader()
    start = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5}
    message = {"type": "message_start", "message": {"usage": start}}
    events = reader.feed(anthropic_replies.raw_event("message_start", message))
    assert events == [Usage(12, 1, cached_tokens=4, cache_write_tokens=5)]
