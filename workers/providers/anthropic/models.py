"""What Anthropic's models can do, by family: the facts that requests are built from. Pure.

Sources, as of October 2026: "Thinking support, defaults, and rejected configurations by model" (Troubleshooting
thinking), the effort, structured outputs and model overview pages, and the migration guides of Opus 5.5, Sonnet 5.5
and Haiku 5.5 (sampling parameters, forced tool use, prefill). `GET /v1/models` overrides what it tells itself.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

_ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one family of models takes.

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
_PATTERNS: Final = tuple((re.compile(rf"({pattern})(-|@|$)"), facts) for pattern, facts in _FAMILIES)
# A model that this table does not know yet gets what was asked for, and Anthropic judges.
_UNKNOWN: Final = ModelFacts(max_output=32_000, thinking="adaptive", efforts=_ALL_EFFORTS)


def facts_of(model: str) -> ModelFacts:
    """Return what a model takes, by its name at Anthropic (or at a cloud that sells it)."""
    name = model.lower()
    return next((facts for pattern, facts in _PATTERNS if pattern.search(name)), _UNKNOWN)


class _Support(msgspec.Struct):
    supported: bool = False


class _Capabilities(msgspec.Struct):
    structured_outputs: _Support | None = None


class ModelInfo(msgspec.Struct):
    """A model in the answer to `GET /v1/models`."""

    id: str
    created_at: str = ""
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: _Capabilities | None = None

    def to_facts(self) -> ModelFacts:
        """Return the table's facts, corrected by what the API says of the model."""
        facts = facts_of(self.id)
        structured = self.capabilities and self.capabilities.structured_outputs
        return _replace(
            facts,
            max_output=self.max_tokens or facts.max_output,
            structured=structured.supported if structured else facts.structured,
        )


class ModelPage(msgspec.Struct):
    """One page of the answer to `GET /v1/models`."""

    data: list[ModelInfo]
    has_more: bool = False
    last_id: str | None = None
