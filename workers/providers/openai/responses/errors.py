"""Failures of OpenAI's Responses API, in the terms of the chat request that was sent over it. Pure.

Source of the codes: OpenAI's OpenAPI document, schema ResponseErrorCode.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.providers.http.error_body import from_error, stream_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.errors import GatewayError

_OF_SERVER: Final = frozenset({"server_error", "vector_store_timeout"})
_LIMITS: Final = frozenset({"rate_limit_exceeded", "insufficient_quota"})
_OF_REQUEST: Final = frozenset({
    "invalid_prompt", "data_residency_mismatch", "bio_policy", "misalignment_policy_violation", "invalid_image",
    "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small",
    "image_parse_error", "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
    "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
})  # fmt: skip
_ITEM: Final = re.compile(r"input\[(\d{1,9})\]")
_NAMES: Final = {
    "reasoning.effort": "reasoning_effort",
    "text.verbosity": "verbosity",
    "text.format": "response_format",
    "input": "messages",
    "include": "logprobs",
}
_PARAM: Final = re.compile(rf"({'|'.join(map(re.escape, _NAMES))})(?=$|[.\[])")
_TOOL: Final = re.compile(r"(tools\[\d+\])\.(?=name|description|parameters|strict)")
_SCHEMA: Final = re.compile(r"response_format\.(?=name|schema|strict|description)")
_OF_ITEM: Final = {".output": ".content", ".call_id": ".tool_call_id"}
_OF_CALL: Final = {".arguments": ".function.arguments", ".name": ".function.name", ".call_id": ".id"}
_QUOTED: Final = re.compile(r"'([a-z_]+(?:\[\d+\]|\.[a-z_]+)*)'")


def failure_of(error: Any, *, after_content: bool) -> GatewayError:
    """Return the error for an event `error`, or the `error` of a response that failed.

    Args:
        error: what it says.
        after_content: whether some of the answer came before it.
    """
    report = from_error(error)
    if report.status is None and report.code:
        statuses = {500: _OF_SERVER, 429: _LIMITS, 400: _OF_REQUEST}
        status = next((status for status, codes in statuses.items() if report.code in codes), None)
        report = msgspec.structs.replace(report, status=status)
    return stream_failure(report, after_content=after_content)


def name_chat_places(error: GatewayError, places: Sequence[str], limit: str) -> None:
    """Let an error name the fields of the chat request, where it names those that were sent.

    Args:
        error: it is changed.
        places: where each item stands in the client's messages.
        limit: the name under which the client gave its limit.
    """
    if error.param:
        error.param = to_chat_param(error.param, places, limit)
    error.message = _QUOTED.sub(lambda found: f"'{to_chat_param(found[1], places, limit)}'", error.message)


def to_chat_param(param: str, places: Sequence[str], limit: str) -> str:
    """Return a field of the Responses API by its name in the chat request; one that both have as it is."""
    if param == "max_output_tokens":
        return limit
    if (found := _ITEM.match(param)) is not None:
        number, rest = int(found[1]), param[found.end() :]
        if number >= len(places):
            return "messages" + rest
        names = _OF_CALL if places[number].endswith("]") and ".tool_calls[" in places[number] else _OF_ITEM
        return places[number] + names.get(rest, rest)
    param = _PARAM.sub(lambda found: _NAMES[found[1]], param, count=1) if _PARAM.match(param) else param
    param = _SCHEMA.sub("response_format.json_schema.", param)
    return _TOOL.sub(r"\1.function.", param)
