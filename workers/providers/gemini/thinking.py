"""Thinking settings of Gemini's models. Pure.

Source: ai.google.dev, "Gemini thinking" (levels and budgets by model) and "OpenAI compatibility" (what
`reasoning_effort` means for each); docs.cloud.google.com, "Thinking" (the levels of each Gemini 3 model).
"""

from __future__ import annotations

import re
from typing import Any

from shared.errors import Unsupported
from shared.models.abilities import EFFORTS, cannot_do

_NAME = re.compile(r"gemini-(\d+)(?:\.(\d+))?(?:-|$)")
_WITHOUT = re.compile(r"gemma-[1-3]|learnlm|.*-(tts|embedding)|gemini-2\.5-flash-(image|native|live)")
_SWITCHED = re.compile(r"gemma-")
"""Models that think or do not: level HIGH or MINIMAL ("Run Gemma with the Gemini API")."""
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}


def generation_of(model: str) -> tuple[int, int]:
    """Return the version in a model's name; a name without one (`gemini-flash-latest`) is taken for the newest."""
    found = _NAME.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


def needs_signatures(model: str) -> bool:
    """Return whether a model rejects a turn whose first function call has no thought signature."""
    return generation_of(model) >= (3, 0) and not _SWITCHED.match(model)


def goes_on(model: str) -> bool:
    """Return whether a model continues a last turn of its own; those since 3.5 answer that with 400."""
    return generation_of(model) < (3, 5)


def to_thinking_config(model: str, effort: str) -> dict[str, Any] | None:
    """Return the `thinkingConfig` for a `reasoning_effort`; None if the model shall not get one.

    A level that a model lacks becomes its nearest: `minimal` is LOW where there is no MINIMAL, `xhigh` and `max` are
    HIGH. Thoughts are asked for with every effort but `none`.

    Raises:
        Unsupported: the model cannot think so, or cannot not think; `param` is `reasoning_effort`.
    """
    if effort not in EFFORTS:
        raise cannot_do("reasoning_effort")
    generation = generation_of(model)
    if _WITHOUT.match(model) or generation < (2, 5):
        if effort != "none":
            raise Unsupported("This model cannot think.", param="reasoning_effort")
        return None
    if _SWITCHED.match(model):
        is_off = effort in {"none", "minimal"}
        return {"thinkingLevel": "MINIMAL"} if is_off else {"thinkingLevel": "HIGH", "includeThoughts": True}
    if effort == "none" and (generation >= (3, 0) or "pro" in model):
        raise Unsupported("This model's thinking cannot be switched off.", param="reasoning_effort")
    # Budgets before Gemini 3, levels from there on.
    if generation < (3, 0):
        budget = _BUDGETS[effort]
        return {"thinkingBudget": budget, "includeThoughts": True} if budget else {"thinkingBudget": 0}
    return {"thinkingLevel": _level(model, generation, effort), "includeThoughts": True}


def _level(model: str, generation: tuple[int, int], effort: str) -> str:
    if effort == "minimal" and not ("flash" in model and generation <= (3, 6)):
        return "LOW"
    # Gemini 3 Pro has LOW and HIGH alone.
    if effort == "medium" and generation == (3, 0) and "pro" in model:
        return "HIGH"
    return _LEVELS[effort]
