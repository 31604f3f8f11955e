"""Replies of an OpenAI-compatible server, built with the `openai` package's own types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE = b"data: [DONE]\n\n"
_HEAD = {"id": "chatcmpl-scripted", "created": 1_700_000_000, "model": "scripted"}


def event(value: Any) -> bytes:
    """Return a server-sent event with JSON data."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def chunk(
    delta: dict[str, Any] | None = None,
    finish_reason: str | None = None,
    *,
    index: int = 0,
    logprobs: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
) -> bytes:
    """Return one chunk of a stream; without a delta and a finish reason it has no choices."""
    choices = []
    if delta is not None or finish_reason is not None:
        choices.append(
            {"index": index, "delta": delta or {}, "logprobs": logprobs, "finish_reason": finish_reason},
        )
    fields = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return event(ChatCompletionChunk.model_validate(fields).model_dump(mode="json", exclude_unset=True))


def usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """Return a usage object."""
    fields = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return CompletionUsage.model_validate(fields).model_dump(mode="json", exclude_unset=True)


def text(*pieces: str, finish_reason: str = "stop", prompt_tokens: int = 7) -> bytes:
    """Return a whole stream that says `pieces`, one token each."""
    return b"".join(
        [
            chunk({"role": "assistant", "content": ""}),
            *(chunk({"content": piece}) for piece in pieces),
            chunk(finish_reason=finish_reason),
            chunk(usage=usage(prompt_tokens, len(pieces))),
            DONE,
        ]
    )


def completion(message: dict[str, Any], finish_reason: str, usage: dict[str, Any]) -> dict[str, Any]:
    """Return a reply that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason, "logprobs": None}
    fields = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    return ChatCompletion.model_validate(fields).model_dump(mode="json", exclude_unset=True)


def model_list(
    models: Sequence[str], context_length: int, modalities: Sequence[str] = ("text", "image", "audio")
) -> dict[str, Any]:
    """Return the body of /v1/models, as llama.cpp's server sends it."""
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": 1_700_000_000,
                "owned_by": "llamacpp",
                "architecture": {"input_modalities": list(modalities), "output_modalities": ["text"]},
                "meta": {"n_ctx": context_length, "n_ctx_train": 2 * context_length},
            }
            for name in models
        ],
    }


def props(**abilities: bool) -> dict[str, Any]:
    """Return the body of llama.cpp's /props, as far as it is about the chat template."""
    return {"total_slots": 1024, "chat_template_caps": {"supports_tools": True, **abilities}}
