"""Replies of Anthropic's API, built with the `anthropic` package's own types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from anthropic.types import ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Sequence

_event: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def event(kind: str, **fields: Any) -> bytes:
    """Return a server-sent event that the SDK can read."""
    given = {"type": kind, **fields}
    _event.validate_python(given)
    return raw_event(kind, given)


def raw_event(kind: str, data: Any) -> bytes:
    """Return a server-sent event with any data."""
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def error(kind: str, message: str = "no") -> bytes:
    """Return an error event."""
    return raw_event("error", {"type": "error", "error": {"type": kind, "message": message}})


def error_body(kind: str, message: str = "no") -> dict[str, Any]:
    """Return the body of a failed request."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"}


def usage(prompt: int = 7, output: int = 1, **more: int) -> dict[str, int]:
    """Return a usage object."""
    return {"input_tokens": prompt, "output_tokens": output, **more}


def start(**counts: int) -> bytes:
    """Return the first event; it counts the prompt."""
    message: dict[str, Any] = {
        "id": "msg_scripted", "type": "message", "role": "assistant", "model": "scripted", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {**usage(), **counts},
    }  # fmt: skip
    return event("message_start", message=message)


def end(stop_reason: str = "end_turn", *, details: dict[str, Any] | None = None, **counts: Any) -> bytes:
    """Return the last two events, with the counts so far."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": details}
    told = {"output_tokens": 1, **counts}
    return event("message_delta", delta=delta, usage=told) + event("message_stop")


def block(index: int, content_block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """Return a content block from its start to its stop."""
    return b"".join(
        [
            event("content_block_start", index=index, content_block=content_block),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        ]
    )


def text_block(index: int, *pieces: str) -> bytes:
    """Return a block of text."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def call_block(index: int, *pieces: str, name: str = "weather", call_id: str | None = None) -> bytes:
    """Return a tool call whose input comes in pieces."""
    content = {"type": "tool_use", "id": call_id or f"toolu_{index}", "name": name, "input": {}}
    return block(index, content, *({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)))


def thinking_block(index: int, *pieces: str, signature: str = "sig") -> bytes:
    """Return a thinking block; the signature comes last."""
    thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    signed = {"type": "signature_delta", "signature": signature}
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *thoughts, signed)


def redacted_block(index: int, data: str) -> bytes:
    """Return a thinking block that may not be read."""
    return block(index, {"type": "redacted_thinking", "data": data})


def text(*pieces: str, stop_reason: str = "end_turn", prompt_tokens: int = 7) -> bytes:
    """Return a whole stream that says `pieces`, one token each."""
    said = text_block(0, *pieces)
    return start(input_tokens=prompt_tokens) + PING + said + end(stop_reason, output_tokens=len(pieces))


def model_page(models: Sequence[str], *, has_more: bool = False, **fields: Any) -> dict[str, Any]:
    """Return the body of /v1/models."""
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z",
         "max_input_tokens": 200_000, "max_tokens": 32_000, **fields}
        for name in models
    ]  # fmt: skip
    for model in data:
        ModelInfo.model_validate(model)
    return {"data": data, "has_more": has_more, "first_id": models[0], "last_id": models[-1]}
