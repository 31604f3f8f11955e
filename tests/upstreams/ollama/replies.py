"""Replies of an Ollama server, built with the `ollama` package's own types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ollama import ChatResponse, ProcessResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "0.24.0"
ABLE = ("completion", "tools", "vision", "thinking")
_HEAD = {"model": "scripted", "created_at": "2026-01-01T00:00:00.123456789Z"}


def line(message: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """Return one line of a stream."""
    given = {**_HEAD, "message": {"role": "assistant", "content": "", **(message or {})}, "done": False, **fields}
    checked = ChatResponse.model_validate(given)
    # The SDK's types leave out what newer servers add (a call's id, prompt_eval_cached_count): those are sent too.
    return (
        json.dumps({**checked.model_dump(mode="json", exclude_unset=True), **given}, ensure_ascii=False).encode()
        + b"\n"
    )


def last(done_reason: str | None = "stop", **counts: int) -> bytes:
    """Return the last line of a stream; counts that are zero are left out, as the server does."""
    fields: dict[str, Any] = {name: count for name, count in counts.items() if count}
    if done_reason is not None:
        fields["done_reason"] = done_reason
    return line(done=True, total_duration=1, **fields)


def text(*pieces: str, done_reason: str = "stop", prompt_tokens: int = 7) -> bytes:
    """Return a whole stream that says `pieces`, one token each."""
    said = [line({"content": piece}) for piece in pieces]
    return b"".join([*said, last(done_reason, prompt_eval_count=prompt_tokens, eval_count=len(pieces))])


def tags(models: Sequence[str]) -> dict[str, Any]:
    """Return the body of /api/tags."""
    return {
        "models": [
            {"name": name, "model": name, "modified_at": "2026-01-01T00:00:00.123456789+02:00", "size": 1,
             "digest": f"sha256:{name}", "details": {"format": "gguf", "family": "scripted"}}
            for name in models
        ]
    }  # fmt: skip


def show(context_length: int, capabilities: Sequence[str] | None = ABLE) -> dict[str, Any]:
    """Return the body of /api/show; versions before 0.6.4 name no capabilities."""
    info = {"general.architecture": "scripted", "scripted.context_length": context_length}
    return {"model_info": info, **({} if capabilities is None else {"capabilities": list(capabilities)})}


def running(models: Sequence[str]) -> dict[str, Any]:
    """Return the body of /api/ps."""
    given = {
        "models": [
            {"name": name, "model": name, "size": 1, "size_vram": 1, "digest": f"sha256:{name}",
             "details": {"format": "gguf", "family": "scripted"}, "expires_at": "2026-01-01T00:05:00.123456789+02:00"}
            for name in models
        ]
    }  # fmt: skip
    ProcessResponse.model_validate(given)
    return given
