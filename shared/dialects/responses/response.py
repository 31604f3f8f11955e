"""The Response object: what was asked for, and what came of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.dialects.responses.ids import response_id
from shared.openai.reply import tier_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.dialects.base import ReplyHead
    from shared.types import Usage

_REQUESTED: Final[dict[str, Any]] = {
    "background": False,
    "conversation": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}
"""The fields of a request that its response has too, with OpenAI's defaults."""
_ALSO: Final = ("prompt", "prompt_cache_retention", "user")
"""Those that it has where they were given."""
_CODES: Final = frozenset({"rate_limit_exceeded", "context_length_exceeded", "insufficient_quota"})
"""Of the errors of failed responses. OpenAI's document has the first alone, its API sends them all: Codex gives up on
the others (codex-rs/codex-api/src/sse/responses.rs), and tries again on what it does not know."""
NOTHING_REQUESTED: Final[Mapping[str, Any]] = {
    **_REQUESTED,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
}


def requested_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a response says of its request's own fields."""
    requested = {
        name: default if (value := fields.get(name)) is None else value for name, default in _REQUESTED.items()
    }
    requested |= {name: value for name in _ALSO if (value := fields.get(name)) is not None}
    requested["reasoning"] = {"effort": None, "summary": None, **requested["reasoning"]}
    requested["text"] = {"format": {"type": "text"}, "verbosity": "medium", **_given(requested["text"])}
    requested["tools"] = [_tool(tool) for tool in requested["tools"]]
    return requested


def response_object(
    head: ReplyHead,
    requested: Mapping[str, Any],
    *,
    status: str,
    output: Sequence[Mapping[str, Any]] = (),
    usage: Usage | None = None,
    **ended: Any,
) -> dict[str, Any]:
    """Return a response.

    Args:
        head: what is the same in all of its forms.
        requested: as `requested_fields` returns it.
        status: how far it is.
        output: its items.
        usage: its token counts, where they are known.
        ended: `error`, `incomplete_details` and `completed_at`, where it has them.
    """
    counted = {} if usage is None else {"usage": usage_object(usage), **tier_object(usage.service_tier)}
    return {
        "id": response_id(head.request_id),
        "object": "response",
        "created_at": head.created_s,
        "status": status,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        **requested,
        "model": head.model,
        "output": output,
        **counted,
        **ended,
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's ResponseUsage."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def error_object(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error of a failed response, whose codes are few."""
    return {"code": error["code"] if error["code"] in _CODES else "server_error", "message": error["message"]}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _tool(tool: Any) -> Any:
    """Return a tool with the fields that every function has."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"strict": None, "parameters": None, **tool}
