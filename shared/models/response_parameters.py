"""Fields of a Responses request, and what becomes of each at each provider. Code, tests and docs/api.md come from it.

Most are what the field of a chat is that they are translated to (`shared/models/parameters.py`). Source of the names:
OpenAI's OpenAPI document (CreateResponse, InputItem, Tool).
"""

from __future__ import annotations

from typing import Final

from shared.models.parameters import FIELDS, Action, Field, row


def _as(name: str, note: str | None = None) -> Field:
    """Return the row of a field that becomes this one of a chat."""
    translated: dict[str, Action] = {}
    of_chat = FIELDS[name]
    for column, action in of_chat.actions.items():
        translated[column] = Action.TRANSLATED if action is Action.PASSED else action
    return Field(translated, of_chat.note if note is None else note)


_OPENAI_ALONE: Final = row("RRRR", "only OpenAI has it")
_LEFT_OUT: Final = row("IIII", "no model reads it")
RESPONSE_FIELDS: Final[dict[str, Field]] = {
    "model": _as("model"),
    "input": row("TTTT"),
    "background": row("HHHH", "see Stored responses"),
    "context_management": _OPENAI_ALONE,
    "conversation": row("HHHH", "see Stored responses"),
    "include": row("HHHH", "`reasoning.encrypted_content` and `message.output_text.logprobs`; others add nothing"),
    "instructions": row("TTTT", "a system message before the input"),
    "max_output_tokens": _as("max_completion_tokens"),
    "max_tool_calls": row("IIII", "bounds the tools that OpenAI runs"),
    "metadata": row("HHHH", "stands in the response"),
    "moderation": _OPENAI_ALONE,
    "parallel_tool_calls": _as("parallel_tool_calls"),
    "previous_response_id": row("HHHH", "see Stored responses"),
    "prompt": _OPENAI_ALONE,
    "prompt_cache_key": _as("prompt_cache_key"),
    "prompt_cache_options": _as("prompt_cache_options"),
    "prompt_cache_retention": _as("prompt_cache_retention"),
    "reasoning": _as("reasoning_effort", ""),
    "reasoning.context": row("RRRR", "other than `auto`"),
    "reasoning.effort": _as("reasoning_effort"),
    "reasoning.generate_summary": row("HHHH", "the older name of `summary`"),
    "reasoning.mode": row("RRRR", "other than `standard`"),
    "reasoning.summary": row("HHHH", "thoughts come as a summary, else as `reasoning_text`"),
    "safety_identifier": _as("safety_identifier"),
    "service_tier": _as("service_tier", FIELDS["service_tier"].note + "; `ultrafast`: 400"),
    "store": row("HHHH", "see Stored responses"),
    "stream": _as("stream"),
    "stream_options": _as("stream_options", ""),
    "stream_options.include_obfuscation": row("IIII", "nothing is padded"),
    "temperature": _as("temperature"),
    "text": _as("response_format"),
    "text.format": _as("response_format"),
    "text.format.description": _as("response_format", "as in a chat"),
    "text.format.name": _as("response_format", "as in a chat"),
    "text.format.schema": _as("response_format"),
    "text.format.strict": _as("response_format", "as in a chat"),
    "text.verbosity": _as("verbosity", "`medium` asks for nothing"),
    "tool_choice": _as("tool_choice", "of `allowed_tools` the others are not sent"),
    "tools": _as("tools", "functions, custom tools and namespaces"),
    "top_logprobs": _as("top_logprobs", "with `message.output_text.logprobs`"),
    "top_p": _as("top_p"),
    "truncation": row("HHHH", "`auto` leaves out the oldest items"),
    "user": _as("user"),
    "input[].arguments": row("TTTT"),
    "input[].call_id": row("TTTT"),
    "input[].caller": _LEFT_OUT,
    "input[].content": row("TTTT", "of a reasoning item: as `reasoning_content`"),
    "input[].encrypted_content": row("TIIT", "of this gateway as `reasoning_content`; of others unreadable"),
    "input[].id": row("IIII", "of an `item_reference`: 400"),
    "input[].input": row("TTTT", "of a custom tool: an argument of its function"),
    "input[].name": row("TTTT", "of a result: no model reads it"),
    "input[].namespace": row("TTTT", "begins the function's name; of a result: no model reads it"),
    "input[].output": row("TTTT", "images and files follow in a message of the user"),
    "input[].phase": _LEFT_OUT,
    "input[].role": row("TTTT"),
    "input[].status": _LEFT_OUT,
    "input[].summary": row("TIIT", "as `reasoning_content`, where the item has no other text"),
    "input[].tools": row("TTTT", "of `additional_tools`: as those of the request"),
    "input[].type": row("TTTT", "items of tools that OpenAI runs: 400"),
    "input[].content[].annotations": _LEFT_OUT,
    "input[].content[].detail": _as(
        "messages[].content[].image_url.detail", "`original`: `high`; of a file: no model reads it"
    ),
    "input[].content[].file_data": _as("messages[].content[].file", "Claude: PDF and plain text"),
    "input[].content[].file_id": row("TRRR", "of an image: 400"),
    "input[].content[].file_url": _OPENAI_ALONE,
    "input[].content[].filename": _as("messages[].content[].file", ""),
    "input[].content[].image_url": _as("messages[].content[].image_url"),
    "input[].content[].logprobs": _LEFT_OUT,
    "input[].content[].prompt_cache_breakpoint": _as("messages[].content[].prompt_cache_breakpoint"),
    "input[].content[].refusal": _as("messages[].content[].refusal"),
    "input[].content[].text": _as("messages[].content[].text"),
    "input[].content[].type": row("TTTT"),
    "tools[].allowed_callers": row("IIII", "the model alone calls"),
    "tools[].defer_loading": row("IIII", "all tools are sent at once"),
    "tools[].description": _as("tools[].function.description"),
    "tools[].format": row("TTTT", "a grammar is told to the model, and not held"),
    "tools[].name": _as("tools[].function.name"),
    "tools[].output_schema": _LEFT_OUT,
    "tools[].parameters": _as("tools[].function.parameters"),
    "tools[].strict": _as("tools[].function.strict"),
    "tools[].tools": row("TTTT", "of a namespace: functions whose names begin with its own"),
    "tools[].type": row("TTTT", "tools that OpenAI runs: 400"),
}
"""Every field of a Responses request that OpenAI names, but those of the items and tools that it alone has.

A field that OpenAI does not name is refused in items, parts and tools. Of the request itself it is passed on as that of
a chat, but for the names that only a chat has, which are refused, and `IGNORED_FIELDS`.
"""
IGNORED_FIELDS: Final = frozenset({"client_metadata"})
"""Further fields of a request, which change no answer and are left out: Codex CLI's notes on its session."""
