"""Chat requests as bodies of OpenAI's Responses API. Pure: no I/O.

What becomes of each field is the table in `shared/models/over_responses.py`; those that both APIs have, and those that
neither names, go as they came.

Source of the shapes: OpenAI's OpenAPI document, schema CreateResponse. Functions are strict there unless they say
otherwise, and here they are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.models.abilities import check_supported, omitted
from shared.models.over_responses import LACKS_OVER_RESPONSES, LEAST_OUTPUT_TOKENS
from workers.providers.openai.calls import with_sound_calls
from workers.providers.openai.legacy import to_tools
from workers.providers.openai.parts import drop_empty, with_data
from workers.providers.openai.responses.items import to_items

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from shared.openai.request import ChatRequest
    from workers.providers.images.remote import Image
    from workers.providers.openai.responses.turns import Piece

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
_GONE: Final = (
    "messages", "max_tokens", "max_completion_tokens", "modalities", "n", "stop", "logit_bias", "logprobs",
    "stream_options",
)  # fmt: skip
"""Fields that have another name there, or mean the default by now."""


class Prepared(msgspec.Struct, frozen=True):
    """A request that is ready to go out.

    Args:
        content: the body.
        places: where each of its items stands in the client's messages.
        has_thoughts: whether thoughts of earlier turns are in it.
    """

    content: bytes
    places: list[str]
    has_thoughts: bool


def to_body(
    request: ChatRequest,
    model: str,
    *,
    images: Mapping[str, Image] | None = None,
    cannot: Collection[str] = (),
    kept: Mapping[str, list[Piece]] | None = None,
    left_out: Collection[str] = (),
) -> Prepared:
    """Return a chat request as OpenAI's Responses API takes it: streamed, and never stored there.

    Args:
        request: the client's request.
        model: the model's name at the upstream.
        images: those that go out as data, by the URL that the client named them by.
        cannot: what the model does not take; hints among it are left out.
        kept: what is kept of earlier turns, by the id of the first call of each.
        left_out: what of `include` the model has rejected.

    Raises:
        Unsupported: the request asks for what the API does not have.
        InvalidRequest: a function's result has no call before it.
    """
    body = request.body
    check_supported(body, "openai", LACKS_OVER_RESPONSES)
    fields: dict[str, Any] = {**request.fields, "model": model, "stream": True, "store": False}
    for name in omitted(body, "openai", {*cannot, *LACKS_OVER_RESPONSES}):
        del fields[name]
    to_tools(body, fields)
    drop_empty(fields)
    messages: list[dict[str, Any]] = fields["messages"]
    thoughts = {
        number: kept[call_id]
        for number, message in enumerate(messages if kept else ())
        if kept and (call_id := first_call_id(message)) in kept
    }
    if images:
        messages = [with_data(message, images) for message in messages]
    made = to_items(with_sound_calls(messages, only_ids=True), thoughts)
    # Thoughts are kept by the id of a turn's first call: without tools there is none.
    include = [ENCRYPTED] if fields.get("tools") else []
    include += [LOGPROBS] if body.logprobs else []
    # All that `stream_options` has there: usage comes without being asked for.
    obfuscation = (fields.get("stream_options") or {}).get("include_obfuscation")
    for name in _GONE:
        fields.pop(name, None)
    fields["input"] = made.items
    _add(fields, "include", [*(fields.pop("include", None) or ()), *(one for one in include if one not in left_out)])
    _add(fields, "stream_options", {} if obfuscation is None else {"include_obfuscation": obfuscation})
    if body.output_limit is not None:
        fields["max_output_tokens"] = max(body.output_limit, LEAST_OUTPUT_TOKENS)
    _add_effort(fields)
    _add_text(fields)
    _to_flat_tools(fields)
    return Prepared(msgspec.json.encode(fields), made.places, made.has_thoughts)


def first_call_id(message: dict[str, Any]) -> str:
    """Return the id of a message's first call; empty if it has none."""
    return message["tool_calls"][0]["id"] if message.get("tool_calls") else ""


def _add(fields: dict[str, Any], name: str, value: Any) -> None:
    if value:
        fields[name] = value


def _add_effort(fields: dict[str, Any]) -> None:
    effort = fields.pop("reasoning_effort", None)
    if effort is not None:
        given = fields.get("reasoning")
        fields["reasoning"] = {**(given if isinstance(given, dict) else {}), "effort": effort}


def _add_text(fields: dict[str, Any]) -> None:
    """Put the form of the answer and its verbosity where they stand there."""
    wanted, verbosity = fields.pop("response_format", None), fields.pop("verbosity", None)
    text: dict[str, Any] = {}
    if wanted is not None:
        # A schema stands inside its format there.
        text["format"] = {"type": wanted["type"], **wanted.get("json_schema", {})}
        if wanted["type"] == "json_schema":
            # Required there; in a chat it may be left out.
            text["format"].setdefault("schema", {})
    if verbosity is not None:
        text["verbosity"] = verbosity
    if text:
        fields["text"] = text


def _to_flat_tools(fields: dict[str, Any]) -> None:
    """Put what a tool is beside its type, where it stands there."""
    if "tools" in fields:
        fields["tools"] = [_to_tool(tool) for tool in fields["tools"]]
    choice = fields.get("tool_choice")
    if isinstance(choice, dict):
        fields["tool_choice"] = _to_choice(choice)


def _to_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "function" not in tool:
        return {"type": tool["type"], **tool.get("custom", {})}
    function = {name: value for name, value in tool["function"].items() if name != "cache_control"}
    without_arguments = {"type": "object", "properties": {}}
    return {"type": "function", "parameters": without_arguments, "strict": False, **function}


def _to_choice(choice: dict[str, Any]) -> dict[str, Any]:
    kind = choice.get("type")
    inner = choice.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, dict):
        return choice
    flat = {"type": kind, **inner}
    if kind == "allowed_tools" and isinstance(inner.get("tools"), list):
        flat["tools"] = [_to_choice(tool) if isinstance(tool, dict) else tool for tool in inner["tools"]]
    return flat
