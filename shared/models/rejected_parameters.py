"""Parameters that an upstream's model rejects, and requests without them. Pure.

Source of the codes: OpenAI's API (`{"error": {"param": "temperature", "code": "unsupported_value"}}`), which Azure and
others share; pydantic's `extra_forbidden` (Mistral, vLLM). Anthropic, Gemini, Ollama and llama.cpp have texts alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shared.models.abilities import HINTS, of_value, omitted
from shared.models.parameters import EMBEDDING_FIELDS, FIELDS, SHAPES, VALUES, WITHOUT_EFFECT
from shared.openai.request import ChatRequest

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.errors import ParameterUnsupported

_NUMBER: Final = re.compile(r"\.?(?:\[\d+\]|\.\d+)")
# Their abilities have other names, or they are the gateway's own.
_WORDS: Final = {"functions": "tools", "function_call": "tool_choice"}
_OTHER_NAME: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Parameters that go out under their other name where a model has refused the one that was given."""
_NOT_OF_A_MODEL: Final = frozenset({"model", "messages", "stream", "stream_options", "top_logprobs"})


def is_valid(refusal: ParameterUnsupported, fields: dict[str, Any]) -> bool:
    """Return whether OpenAI's document names what was refused, and its value: other models may take it then.

    Args:
        refusal: the upstream's.
        fields: the client's request; its form has been checked.
    """
    name = _NUMBER.sub("[]", refusal.param or "")
    known = EMBEDDING_FIELDS if _embeds(fields) else FIELDS
    if name not in known and name not in SHAPES:
        return False
    value = fields.get(name)
    return value is None or name not in VALUES or value in VALUES[name]


def rejected_ability(refusal: ParameterUnsupported, fields: dict[str, Any]) -> str | None:
    """Return the ability that a valid refusal says that the model lacks, in the words of `abilities`; None for none.

    A refused value is one among others, and says nothing of them, but where an answer may go without the parameter.

    Args:
        refusal: the upstream's.
        fields: the client's request.
    """
    name = refusal.param or ""
    if name not in FIELDS or name in _NOT_OF_A_MODEL or "[" in name or fields.get(name) is None or _embeds(fields):
        return None
    if refusal.code != "unsupported_value" or name in HINTS or name in WITHOUT_EFFECT:
        return _WORDS.get(name, name)
    return of_value(name, fields[name]) if name in VALUES else None


def _embeds(fields: dict[str, Any]) -> bool:
    """Return whether a request is one for embeddings: those are sent as they are, whatever was refused."""
    return "input" in fields and "messages" not in fields


def lacking(refused: Collection[str]) -> tuple[str, ...]:
    """Return what a model cannot be asked for that has refused this: not a limit that has another name."""
    return tuple(name for name in refused if _OTHER_NAME.get(name, name) in refused)


def adapted(request: ChatRequest, provider: str, cannot: Collection[str]) -> ChatRequest:
    """Return a request without the hints that a model has refused, and with its limit under the name that it takes.

    Args:
        request: the client's.
        provider: whose model it is.
        cannot: what the model has lately refused.
    """
    if not cannot:
        return request
    left_out = {*omitted(request.body, provider, cannot)}
    if "parallel_tool_calls" in cannot:  # held here as well
        left_out.add("parallel_tool_calls")
    fields = {name: value for name, value in request.fields.items() if name not in left_out}
    for name, other in _OTHER_NAME.items():
        if name in cannot and other not in cannot and fields.get(name) is not None:
            fields.setdefault(other, fields[name])
            del fields[name]
    return request.with_fields(fields)
