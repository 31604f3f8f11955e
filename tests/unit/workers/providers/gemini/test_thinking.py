"""workers/providers/gemini/thinking.py."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import Unsupported
from workers.providers.gemini.thinking import generation_of, to_thinking_config


def _level(level: str) -> dict[str, Any]:
    return {"thinkingLevel": level, "includeThoughts": True}


def _budget(tokens: int) -> dict[str, Any]:
    return {"thinkingBudget": tokens, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-3.1-pro-preview", "low", _level("LOW")),
        ("gemini-3.1-pro-preview", "minimal", _level("LOW")),
        ("gemini-3.1-pro-preview", "medium", _level("MEDIUM")),
        ("gemini-3-pro-preview", "medium", _level("HIGH")),
        ("gemini-3-flash-preview", "minimal", _level("MINIMAL")),
        ("gemini-3.6-flash", "minimal", _level("MINIMAL")),
        ("gemini-3.8-flash", "minimal", _level("LOW")),
        ("gemini-3.8-flash", "high", _level("HIGH")),
        ("gemini-4-argon", "xhigh", _level("HIGH")),
        ("gemini-4-argon", "max", _level("HIGH")),
        ("gemini-2.5-pro", "max", _budget(24576)),
        ("gemini-flash-latest", "minimal", _level("LOW")),
        ("gemini-2.5-pro", "low", _budget(1024)),
        ("gemini-2.5-flash", "medium", _budget(8192)),
        ("gemini-2.5-flash-lite", "high", _budget(24576)),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.0-flash", "none", None),
        ("gemma-3-27b-it", "none", None),
        ("gemma-4-31b-it", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemma-4-31b-it", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemma-4-31b-it", "low", _level("HIGH")),
    ],
)
def test_an_effort_becomes_what_the_model_takes(model: str, effort: str, config: dict[str, Any] | None) -> None:
    """Gemini 3 has levels, 2.5 has budgets, models before it have neither."""
    assert to_thinking_config(model, effort) == config


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gemini-3.8-flash", "none"),
        ("gemini-2.5-pro", "none"),
        ("gemini-2.0-flash", "low"),
        ("gemini-1.5-pro", "high"),
        ("gemma-3-27b-it", "low"),
        ("gemini-2.5-flash-image", "low"),
        ("gemini-2.5-flash-preview-tts", "low"),
        ("gemini-3.8-flash", "extreme"),
    ],
)
def test_what_a_model_cannot_think_is_refused(model: str, effort: str) -> None:
    """Some cannot think, some cannot stop thinking."""
    with pytest.raises(Unsupported) as caught:
        to_thinking_config(model, effort)
    assert caught.value.param == "reasoning_effort"


def test_a_name_without_a_version_is_of_the_newest_generation() -> None:
    """Aliases follow the newest model."""
    assert generation_of("gemini-pro-latest") > generation_of("gemini-4-argon") == (4, 0)
    assert generation_of("gemini-2.5-flash") == (2, 5)
    assert generation_of("gemini-3") == (3, 0)
