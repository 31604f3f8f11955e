"""workers/providers/anthropic/thinking.py and anthropic_models.py."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidRequest
from workers.providers.anthropic.models import ModelInfo, facts_of
from workers.providers.anthropic.thinking import Piece, arrange, from_kept, to_kept, to_thinking

ADAPTIVE = {"type": "adaptive", "display": "summarized"}
MANUAL, LATER, OPUS_46, OPUS_48 = "claude-haiku-4-5", "claude-opus-4-1", "claude-opus-4-6", "claude-opus-4-8"
OPUS_5, OPUS_55, SONNET_55, HAIKU_55 = "claude-opus-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"


def _asked(effort: str | None, model: str, **given: Any) -> tuple[dict[str, Any] | None, str | None]:
    asked = {"max_tokens": 100_000, "forced": False, "is_open": False, **given}
    return to_thinking(effort, facts_of(model), **asked)


@pytest.mark.parametrize(
    ("effort", "model", "expected"),
    [
        (None, MANUAL, (None, None)),
        ("none", MANUAL, (None, None)),
        ("minimal", MANUAL, ({"type": "enabled", "budget_tokens": 1024}, None)),
        ("high", LATER, ({"type": "enabled", "budget_tokens": 16_384}, None)),
        (None, OPUS_48, (None, None)),
        ("none", OPUS_48, (None, None)),
        ("minimal", OPUS_48, (ADAPTIVE, "low")),
        ("xhigh", OPUS_48, (ADAPTIVE, "xhigh")),
        ("xhigh", OPUS_46, (ADAPTIVE, "high")),
        ("max", OPUS_46, (ADAPTIVE, "max")),
        (None, OPUS_5, (ADAPTIVE, None)),
        ("none", OPUS_5, ({"type": "disabled"}, None)),
        ("none", SONNET_55, ({"type": "between_tools"}, None)),
        ("none", HAIKU_55, ({"type": "disabled"}, None)),
        (None, OPUS_55, (ADAPTIVE, None)),
        ("medium", OPUS_55, (ADAPTIVE, "medium")),
        ("low", "claude-of-tomorrow", (ADAPTIVE, "low")),
    ],
)
def test_each_model_thinks_in_its_own_way(effort: str | None, model: str, expected: tuple[Any, Any]) -> None:
    """By a budget, by an effort, unasked or always."""
    assert _asked(effort, model) == expected


@pytest.mark.parametrize(
    ("effort", "model", "expected"),
    [
        ("high", MANUAL, (None, None)),
        (None, OPUS_48, (None, None)),
        ("high", OPUS_48, (None, "high")),
        (None, OPUS_5, ({"type": "disabled"}, None)),
        ("max", OPUS_5, ({"type": "disabled"}, "high")),
        ("low", HAIKU_55, ({"type": "disabled"}, "low")),
        ("low", "claude-fable-5", (None, "low")),
    ],
)
def test_a_forced_call_is_not_thought_about(effort: str | None, model: str, expected: tuple[Any, Any]) -> None:
    """Anthropic refuses both at once; the call is what was demanded."""
    assert _asked(effort, model, forced=True) == expected


@pytest.mark.parametrize(
    ("effort", "model", "given"),
    [
        ("extreme", OPUS_55, {}),
        ("low", "claude-3-5-haiku-20241022", {}),
        ("none", OPUS_55, {}),
        ("none", "claude-fable-5-1", {}),
        ("low", MANUAL, {"max_tokens": 1024}),
    ],
)
def test_what_a_model_cannot_think_is_refused(effort: str, model: str, given: dict[str, Any]) -> None:
    """An unknown effort, a model that does not think or cannot stop, an answer without room for thought."""
    with pytest.raises(InvalidRequest) as caught:
        _asked(effort, model, **given)
    assert caught.value.param == "reasoning_effort"


@pytest.mark.parametrize(("max_tokens", "budget"), [(1025, 1024), (4096, 2048), (100_000, 16_384)])
def test_a_budget_leaves_room_for_the_answer(max_tokens: int, budget: int) -> None:
    """At least 1024, less than the whole, no more than half where it can be."""
    assert _asked("high", MANUAL, max_tokens=max_tokens)[0] == {"type": "enabled", "budget_tokens": budget}


def test_thinking_with_a_budget_does_not_begin_in_a_tool_loop() -> None:
    """Adaptive thinking may."""
    assert _asked("high", MANUAL, is_open=True) == (None, None)
    assert _asked("high", OPUS_48, is_open=True) == (ADAPTIVE, "high")


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("claude-opus-4-20250514", LATER),
        ("claude-opus-4-5-20251101", MANUAL),
        ("claude-sonnet-4-5@20250929", MANUAL),
        ("anthropic.claude-opus-4-8", OPUS_48),
        ("claude-opus-5-20260801", OPUS_5),
        ("claude-fable-5-2", OPUS_55),
        ("claude-mythos-preview", "claude-mythos-5"),
        ("CLAUDE-HAIKU-5-5", HAIKU_55),
    ],
)
def test_dated_and_cloud_names_are_their_family(name: str, alike: str) -> None:
    """A name is found wherever it stands."""
    assert facts_of(name) == facts_of(alike)


def test_a_name_that_only_looks_alike_is_unknown() -> None:
    """Opus 46 would be no Opus 4."""
    assert facts_of("claude-opus-46") == facts_of("anything")


def test_what_the_api_leaves_out_the_table_says() -> None:
    """Older servers list names only."""
    assert ModelInfo("claude-opus-5").to_facts() == facts_of("claude-opus-5")


def test_kept_pieces_are_read_again() -> None:
    """Whatever else stands in the store is none."""
    pieces = [Piece("thinking", thinking="a", signature="s"), Piece("text", chars=3), Piece("tool_use")]
    assert from_kept(to_kept(pieces)) == pieces
    for text in ("", "c2ln", "[]", "{}", '{"anthropic":[{"type":7}]}'):
        assert from_kept(text) == []


def test_blank_text_between_thoughts_is_left_out() -> None:
    """Claude may say it, but may not be told it."""
    pieces = [Piece("thinking", signature="s"), Piece("text", chars=2), Piece("tool_use")]
    assert [block["type"] for block in arrange(pieces, "\n\n", [{"type": "tool_use"}])] == ["thinking", "tool_use"]
