"""Abilities of Anthropic's models, by family: the facts that requests are built from. Pure.

Sources, as of October 2026: "Thinking support, defaults, and rejected configurations by model" (Troubleshooting
thinking), the effort, structured outputs and model overview pages, and the migration guides of Opus 5.5, Sonnet 5.5
and Haiku 5.5 (sampling parameters, forced tool use, prefill). `GET /v1/models` overrides what it reports itself.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, Literal

import msgspec

from shared.types import LocalModel

_CAPABILITIES: Final = {"images": "image_input", "files": "pdf_input", "reasoning_effort": "thinking"}
"""Abilities by the names of Anthropic's capabilities."""
_ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of one family of models.

    Args:
        max_output: the most tokens of one answer, thinking included; also the `max_tokens` of a request without one.
        thinking: "manual" with a token budget, "adaptive" with an effort, or none at all.
        default: whether the model thinks when it is not told: "off", "on" (and can be told not to), "always".
        off: the `thinking.type` that turns thinking off where the default is "on".
        efforts: the values of `output_config.effort`.
        sampling: whether `temperature` and `top_p` may differ from their defaults.
        forced_tools: whether `tool_choice` may be `any` or `tool`.
        structured: whether `output_config.format` and strict tools exist.
        prefill: whether the last message may be the assistant's, to be continued.
    """

    max_output: int
    thinking: Literal["none", "manual", "adaptive"]
    default: Literal["off", "on", "always"] = "off"
    off: Literal["disabled", "between_tools"] = "disabled"
    efforts: tuple[str, ...] = ()
    sampling: bool = True
    forced_tools: bool = True
    structured: bool = True
    prefill: bool = True


_ADAPTIVE = ModelFacts(max_output=128_000, thinking="adaptive", efforts=_ALL_EFFORTS, sampling=False, prefill=False)
_MANUAL = ModelFacts(max_output=64_000, thinking="manual")
_replace = msgspec.structs.replace

# The first pattern that is found in a model's name counts.
_FAMILIES: Final = (
    (r"(fable|mythos)-5-\d|opus-5-5", _replace(_ADAPTIVE, default="always", forced_tools=False)),
    (r"fable-5|mythos", _replace(_ADAPTIVE, default="always")),
    (r"sonnet-5-5", _replace(_ADAPTIVE, default="on", off="between_tools", forced_tools=False)),
    (r"(opus|sonnet|haiku)-5", _replace(_ADAPTIVE, default="on")),
    (r"opus-4-[78]", _ADAPTIVE),
    (r"opus-4-6", _replace(_ADAPTIVE, efforts=("low", "medium", "high", "max"), sampling=True)),
    (r"sonnet-4-6", _replace(_ADAPTIVE, max_output=64_000, efforts=("low", "medium", "high", "max"), sampling=True)),
    (r"(opus|sonnet|haiku)-4-5", _MANUAL),
    (r"opus-4", _replace(_MANUAL, max_output=32_000, structured=False)),
    (r"sonnet-4|3-7-sonnet", _replace(_MANUAL, structured=False)),
    (r"claude-3-5", ModelFacts(max_output=8192, thinking="none", structured=False)),
    (r"claude-3", ModelFacts(max_output=4096, thinking="none", structured=False)),
)
# "@" stands before the date in Vertex AI's names of the same models.
_PATTERNS: Final = tuple((re.compile(rf"({pattern})(-|@|$)"), facts) for pattern, facts in _FAMILIES)
# A model that this table does not know yet gets what was asked for, and Anthropic judges.
_UNKNOWN: Final = ModelFacts(max_output=32_000, thinking="adaptive", efforts=_ALL_EFFORTS)


def facts_of(model: str) -> ModelFacts:
    """Return what a model takes, by its name at Anthropic (or at a cloud that sells it)."""
    name = model.lower()
    return next((facts for pattern, facts in _PATTERNS if pattern.search(name)), _UNKNOWN)


class ModelInfo(msgspec.Struct):
    """A model in the answer to `GET /v1/models`."""

    bare_text: ClassVar = "id"
    aliases: ClassVar = {"id": ("name", "model")}
    id: str
    created_at: str = ""
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: Any = None

    def to_facts(self) -> ModelFacts:
        """Return the table's facts, corrected by what the API says of the model."""
        facts, capabilities = facts_of(self.id), self.capabilities
        structured = _supports(capabilities, "structured_outputs")
        return _replace(
            facts,
            max_output=self.max_tokens or facts.max_output,
            structured=facts.structured if structured is None else structured,
            thinking=_thinking(capabilities) or facts.thinking,
            efforts=_efforts(capabilities) or facts.efforts,
        )

    def to_model(self, created: int) -> LocalModel:
        """Return the model as it is announced.

        Args:
            created: seconds since 1970.
        """
        known = {word: _supports(self.capabilities, name) for word, name in _CAPABILITIES.items()}
        return LocalModel(
            self.id,
            created,
            self.max_input_tokens,
            ("chat",),
            cannot=tuple(word for word, takes in known.items() if takes is False),
            can=tuple(word for word, takes in known.items() if takes),
            max_output_tokens=self.to_facts().max_output,
        )


def _supports(capabilities: Any, *path: str) -> bool | None:
    """Return whether something is supported, of whatever shape the answer is; None where that is not said."""
    found = capabilities
    for name in (*path, "supported"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, bool) else None


def _thinking(capabilities: Any) -> Literal["none", "manual", "adaptive"] | None:
    """Return how a model thinks, where the API says it: by an effort if it can, since budgets are the older way."""
    if _supports(capabilities, "thinking") is False:
        return "none"
    if _supports(capabilities, "thinking", "types", "adaptive"):
        return "adaptive"
    return "manual" if _supports(capabilities, "thinking", "types", "enabled") else None


def _efforts(capabilities: Any) -> tuple[str, ...]:
    """Return the efforts that the API says a model takes."""
    return tuple(level for level in _ALL_EFFORTS if _supports(capabilities, "effort", level))


class ModelPage(msgspec.Struct):
    """One page of the answer to `GET /v1/models`."""

    bare_array: ClassVar = "data"
    aliases: ClassVar = {"data": ("models",)}
    data: list[ModelInfo]
    has_more: bool = False
    last_id: str | None = None
