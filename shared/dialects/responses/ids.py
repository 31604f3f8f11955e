"""The ids of a response and of its items: made of the request's, so that all of them are ours. Pure."""

from __future__ import annotations

from typing import Final

_PREFIXES: Final = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}


def response_id(request_id: str) -> str:
    """Return the `id` of a response."""
    return "resp_" + request_id


def item_id(request_id: str, kind: str, output_index: int) -> str:
    """Return the `id` of an item of a response's output."""
    return f"{_PREFIXES[kind]}{request_id}{output_index:04x}"
