"""OpenAI's chat requests as servers of its API take them. Pure: no I/O.

Source of the shapes: OpenAI's OpenAPI document, schema CreateChatCompletionRequest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.models.abilities import check_supported, omitted
from shared.models.parameters import WITHOUT_EFFECT
from shared.openai.extra_fields import REPLY_FIELDS, without_reply_fields
from workers.providers.openai.calls import SHORT_IDS, with_sound_calls
from workers.providers.openai.legacy import to_tools
from workers.providers.openai.parts import PLAIN_TEXT, as_system, drop_empty, with_data, with_plain_text
from workers.providers.openai.turns import ALTERNATING, with_alternating_roles

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from shared.openai.request import ChatBody, ChatRequest
    from workers.providers.images.remote import Image

MAX_COMPLETION: Final = "max_completion_tokens"
# OpenAI's models that reason reject `max_tokens` under its old name; not every other server knows the newer one.
_REASONS = re.compile(r"o[0-9]|gpt-[5-9]")


def to_body(
    request: ChatRequest,
    model: str,
    *,
    left_out: frozenset[str] = frozenset(),
    is_openai: bool = False,
    images: Mapping[str, Image] | None = None,
    cannot: Collection[str] = (),
) -> bytes:
    """Return the body to send: the client's fields, streamed, with the upstream's model name and tools for functions.

    Args:
        request: the client's request.
        model: the model's name at the upstream.
        left_out: what the server rejects of what it can be asked without: `stream_options`, `REPLY_FIELDS`, longer
            ids than `SHORT_IDS`, turns that are not `ALTERNATING`, contents that are no `PLAIN_TEXT`, the newer name of
            the limit of tokens, and fields that change no answer.
        is_openai: whether it is OpenAI, which takes calls with any arguments back, and knows the role `developer`.
        images: those that go out as data, by the URL that the client named them by.
        cannot: what the model does not take; hints among it are left out.

    Raises:
        Unsupported: the answer would hold what events cannot carry: audio, or calls of custom tools.
        InvalidRequest: a function's result has no call before it.
    """
    body = request.body
    check_supported(body, "openai")
    fields: dict[str, Any] = {**request.fields, "model": model, "stream": True}
    for name in omitted(body, "openai", cannot):
        del fields[name]
    to_tools(body, fields)
    drop_empty(fields)
    if images:
        fields["messages"] = [with_data(message, images) for message in fields["messages"]]
    _limit_output(body, fields, model, left_out)
    for name in WITHOUT_EFFECT & left_out:
        fields.pop(name, None)
    if "stream_options" in left_out:
        fields.pop("stream_options", None)
    else:
        fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    fields["messages"] = _to_messages(fields["messages"], left_out, is_openai=is_openai)
    return msgspec.json.encode(fields)


def _limit_output(body: ChatBody, fields: dict[str, Any], model: str, left_out: frozenset[str]) -> None:
    """Put how long the answer may be under the name that the server knows."""
    if MAX_COMPLETION in left_out:
        fields.pop(MAX_COMPLETION, None)
        fields["max_tokens"] = body.output_limit
    elif _REASONS.match(model) and body.max_tokens is not None:
        fields[MAX_COMPLETION] = body.output_limit
        del fields["max_tokens"]
    elif body.max_tokens is not None:  # whichever of the two a server knows, it is the limit that was reserved
        fields["max_tokens"] = body.output_limit


def _to_messages(messages: list[Any], left_out: frozenset[str], *, is_openai: bool) -> list[Any]:
    if not left_out.isdisjoint(REPLY_FIELDS):
        messages = without_reply_fields(messages)
    if PLAIN_TEXT in left_out:
        messages = [with_plain_text(message) for message in messages]
    if ALTERNATING in left_out:
        messages = with_alternating_roles(messages)
    if not is_openai and any(message["role"] == "developer" for message in messages):
        messages = [as_system(message) for message in messages]
    if any("tool_calls" in message for message in messages):
        messages = with_sound_calls(messages, only_ids=is_openai, short_ids=SHORT_IDS in left_out)
    return messages
