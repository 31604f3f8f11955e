"""Fields of a request, and what becomes of each at each provider. Code, tests and docs/api.md come from it.

`python -m shared.models.parameter_tables` writes the tables into docs/api.md.

Sources: OpenAI's OpenAPI document (CreateChatCompletionRequest, CreateEmbeddingRequest), and what each API takes as its
provider's modules name it. What only some values or shapes ask for, and single models do not take, is in
`shared/models/abilities.py`, `providers.py` and the catalogue; the notes name it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Action(Enum):
    """The treatment of a field, as the page says it."""

    PASSED = "passed"
    TRANSLATED = "translated"
    HELD = "held here"
    OMITTED = "left out, named"
    IGNORED = "ignored"
    REFUSED = "400"


_LETTERS: Final = {action.name[0]: action for action in Action}


class Field(NamedTuple):
    """A field's row: its actions in the order of `PROVIDERS`, and what else there is to say."""

    actions: dict[str, Action]
    note: str = ""


COLUMNS: Final = ("openai", "gemini", "anthropic", "ollama")


def row(letters: str, note: str = "") -> Field:
    """Return a row from the first letters of its actions, in the order of `COLUMNS`."""
    return Field({name: _LETTERS[letter] for name, letter in zip(COLUMNS, letters, strict=True)}, note)


FIELDS: Final[dict[str, Field]] = {
    "model": row("TTTT", "the upstream's name of the model"),
    "messages": row("PTTT"),
    "audio": row("RRRR", "answers hold no sound"),
    "frequency_penalty": row("PTOT", "left out by models that do not take it"),
    "function_call": row("TTTT"),
    "functions": row("TTTT", "sent as tools"),
    "logit_bias": row("PRRR"),
    "logprobs": row("PTRT", "`false` is left out where it is not taken"),
    "max_completion_tokens": row("PTTT"),
    "max_tokens": row("PTTT", "sent under its newer name to OpenAI's models that reason"),
    "metadata": row("PITI", "Claude: its `user_id`"),
    "modalities": row("PIII", "`audio` is refused by all, `image` by Gemini, Claude and Ollama"),
    "moderation": row("PRRR"),
    "n": row("PTHH", "see Choices and calls"),
    "parallel_tool_calls": row("PHTH", "see Choices and calls"),
    "prediction": row("PRRR"),
    "presence_penalty": row("PTOT", "left out by models that do not take it"),
    "prompt_cache_key": row("PIII", "changes no answer"),
    "prompt_cache_options": row("PIII", "changes no answer"),
    "prompt_cache_retention": row("PIII", "changes no answer"),
    "reasoning_effort": row("PTTT", "OpenAI's seven words"),
    "response_format": row("PTTT"),
    "safety_identifier": row("PITI", "Claude: the user's id"),
    "seed": row("PTOT"),
    "service_tier": row("PTTI", "Gemini: `flex`, `priority`; Claude: `auto`, `default`"),
    "stop": row("PTTT", "Claude: not white space alone"),
    "store": row("PIII", "nothing is stored there"),
    "stream": row("HHHH", "every upstream is asked for a stream"),
    "stream_options": row("HHHH", "usage is always asked for"),
    "temperature": row("PTTT", "left out by models whose sampling is fixed; over 1 it is 1 for Claude"),
    "tool_choice": row(
        "PTTT", "no `allowed_tools` for Claude and Ollama; a call that must be made comes of Ollama by a schema"
    ),
    "tools": row("PTTT", "functions; custom tools are refused by all"),
    "top_logprobs": row("PTRT", "0 is left out where it is not taken"),
    "top_p": row("PTTT", "left out beside `temperature` for Claude, and by models whose sampling is fixed"),
    "user": row("PITI", "Claude: the user's id"),
    "verbosity": row("PRRR"),
    "web_search_options": row("PRRR"),
    "messages[].name": row("PIII", "no place for it"),
    "messages[].content": row("PTTT"),
    "messages[].refusal": row("PTTT", "what the assistant said"),
    "messages[].audio": row("PRRR"),
    "messages[].tool_calls": row("PTTT", "of functions"),
    "messages[].tool_call_id": row("PTTT"),
    "messages[].function_call": row("TTTT"),
    "messages[].content[].text": row("PTTT"),
    "messages[].content[].refusal": row("PTTT"),
    "messages[].content[].image_url": row("PTTT", "see Images by address; Claude: JPEG, PNG, GIF, WebP"),
    "messages[].content[].image_url.url": row("PTTT"),
    "messages[].content[].image_url.detail": row("PIII", "no such choice"),
    "messages[].content[].input_audio": row("PTRR"),
    "messages[].content[].file": row("PTTR", "not by `file_id`; Claude: PDF and plain text"),
    "messages[].content[].prompt_cache_breakpoint": row("PITI", "changes no answer"),
    "tools[].function": row("PTTT"),
    "tools[].function.name": row("PTTT"),
    "tools[].function.description": row("PTTT"),
    "tools[].function.parameters": row("PTTT"),
    "tools[].function.strict": row("PITI", "Claude: the first 20, where their schema allows"),
    "tools[].custom": row("RRRR", "answers hold no such calls"),
}
"""Every field of a chat request that OpenAI names.

Those of other names are passed to OpenAI-compatible servers and refused by the others, but for `OWN_FIELDS`.
"""
EMBEDDING_FIELDS: Final[dict[str, Field]] = {
    "model": row("TRRT", "the upstream's name of the model"),
    "input": row("PRRP", "token ids: text again for all but OpenAI"),
    "dimensions": row("PRRH", "vectors are cut here, unless they are OpenAI's"),
    "encoding_format": row("HRRH", "every upstream is asked for numbers"),
    "user": row("PRRI"),
}
"""Every field of an embeddings request that OpenAI names; of others what is said at `FIELDS` holds."""
OWN_EMBEDDING_FIELDS: Final[dict[str, frozenset[str]]] = {"ollama": frozenset({"keep_alive", "options"})}
OWN_FIELDS: Final[dict[str, frozenset[str]]] = {
    "gemini": frozenset({"top_k", "safety_settings", "thinking_config"}),
    "anthropic": frozenset({"top_k", "thinking", "cache_control"}),
    "ollama": frozenset({"keep_alive", "think", "options"}),
}
"""The upstreams' own fields, passed on as they are. Ollama's sampling options besides."""
SHAPES: Final = frozenset({"messages[].role", "messages[].content[].type", "tools[].type"})
"""Discriminators of objects: no field by itself."""
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
    "verbosity": ("low", "medium", "high"),
    "prompt_cache_retention": ("in_memory", "24h"),
}
"""The values of the fields that have a few words only, as OpenAI's document names them."""
WITHOUT_EFFECT: Final = frozenset({
    "metadata", "modalities", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "store", "user",
})  # fmt: skip
"""Fields that an answer is the same without: left out where a model does not take them."""
HOSTED_TOOLS: Final = "hosted_tools"
"""The ability to be asked for tools that the upstream runs, and bills by prices of their own."""
NATIVE_ONLY: Final = "openai_responses"
"""The ability to take what only OpenAI's own Responses API has: tools that it runs, files that it keeps."""
_BY_VALUE: Final = frozenset({"audio", "top_logprobs"})
"""Fields that are refused by an ability of another name."""


def lacking(provider: str) -> frozenset[str]:
    """Return the parameters that a provider's API does not take at all, whatever the model."""
    return frozenset(
        name
        for name, field in FIELDS.items()
        if field.actions[provider] in {Action.REFUSED, Action.OMITTED} and name not in _BY_VALUE and "[" not in name
    )
