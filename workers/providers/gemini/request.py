"""Gemini's generateContent: OpenAI's chat requests turned into its bodies. Pure: no I/O.

Source of the shapes: google.ai.generativelanguage.v1beta (GenerateContentRequest, GenerationConfig, Tool, ToolConfig),
the types of google-genai, and ai.google.dev, "Function calling" and "Structured outputs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shared.models.abilities import check_supported, omitted, unknown_parameter
from shared.models.parameters import OWN_FIELDS
from shared.openai.request import ChatBody, ChatRequest, JsonObjectFormat, JsonSchemaFormat
from workers.providers.gemini.messages import Known, to_contents
from workers.providers.gemini.models import PLAIN_LACKS, is_plain
from workers.providers.gemini.thinking import to_thinking_config
from workers.providers.gemini.tools import to_tool_config, to_tools

if TYPE_CHECKING:
    from collections.abc import Collection

_KNOWN = frozenset(ChatBody.__struct_fields__)
_OWN_TIERS = frozenset({"flex", "priority"})


def to_body(request: ChatRequest, model: str, known: Known, cannot: Collection[str] = ()) -> bytes:
    """Return the body to send. What Gemini cannot do is refused, never dropped.

    Accepted and without effect, since they change no answer: `user`, `metadata`, `store`, `prompt_cache_key`,
    `safety_identifier`, `parallel_tool_calls`, a tool's `strict`. Of the fields that OpenAI does not name, these
    are Gemini's own: `top_k`, `safety_settings`, and `thinking_config`, which goes before `reasoning_effort`.

    Args:
        request: the client's request.
        model: the model's name at Gemini.
        known: what its messages refer to.
        cannot: what the model does not take; hints among it are left out.

    Raises:
        Unsupported: Gemini cannot meet a parameter; `param` names it.
        InvalidRequest: the request is wrong for any server.
    """
    body = request.body
    check_supported(body, "gemini", (*cannot, *(PLAIN_LACKS if is_plain(model) else ())))
    # Hints that the model does not take: as if they had not been given.
    body = msgspec.structs.replace(body, **dict.fromkeys(omitted(body, "gemini", cannot)))
    own = _own_fields(request.fields)
    system, contents = to_contents(body.messages, known)
    fields: dict[str, Any] = {"contents": contents}
    if system:
        fields["systemInstruction"] = {"parts": system}
    if tools := to_tools(body):
        fields["tools"] = [{"functionDeclarations": tools}]
        if (choice := to_tool_config(body, [tool["name"] for tool in tools])) is not None:
            fields["toolConfig"] = {"functionCallingConfig": choice}
    if config := _to_generation_config(body, model, own):
        fields["generationConfig"] = config
    if "safety_settings" in own:
        fields["safetySettings"] = own["safety_settings"]
    if body.service_tier in _OWN_TIERS:
        fields["serviceTier"] = body.service_tier
    return msgspec.json.encode(fields)


def _to_generation_config(body: ChatBody, model: str, own: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "temperature": body.temperature,
        "topP": body.top_p,
        "topK": own.get("top_k"),
        "candidateCount": body.n if (body.n or 1) > 1 else None,
        "maxOutputTokens": body.output_limit,
        "stopSequences": [body.stop] if isinstance(body.stop, str) else body.stop,
        "presencePenalty": body.presence_penalty,
        "frequencyPenalty": body.frequency_penalty,
        "seed": body.seed,
        "responseLogprobs": body.logprobs or None,
        "logprobs": body.top_logprobs or None,
        "thinkingConfig": own.get("thinking_config"),
    }
    if config["thinkingConfig"] is None and body.reasoning_effort is not None:
        config["thinkingConfig"] = to_thinking_config(model, body.reasoning_effort)
    wanted = body.response_format
    if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat):
        config["responseMimeType"] = "application/json"
    if isinstance(wanted, JsonSchemaFormat):
        config["responseJsonSchema"] = wanted.json_schema.schema
    return {name: value for name, value in config.items() if value is not None}


def _own_fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that OpenAI does not name: Gemini's own, and no others."""
    own: dict[str, Any] = {}
    for name, value in given.items():
        if name in _KNOWN or value is None:
            continue
        if name not in OWN_FIELDS["gemini"]:
            raise unknown_parameter(name)
        own[name] = value
    return own
