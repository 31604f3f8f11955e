"""workers/providers/openai/responses/errors.py."""

from __future__ import annotations

import pytest

from shared.errors import InvalidRequest
from workers.providers.openai.responses.errors import name_chat_places

PLACES = ["messages[0]", "messages[1]", "messages[1].tool_calls[0]", "messages[2]"]


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("input", "messages"),
        ("input[0].content[1].image_url", "messages[0].content[1].image_url"),
        ("input[2].arguments", "messages[1].tool_calls[0].function.arguments"),
        ("input[2].call_id", "messages[1].tool_calls[0].id"),
        ("input[3].output", "messages[2].content"),
        ("input[3].call_id", "messages[2].tool_call_id"),
        ("input[9].x", "messages.x"),
        ("reasoning.effort", "reasoning_effort"),
        ("text.verbosity", "verbosity"),
        ("text.format.schema", "response_format.json_schema.schema"),
        ("text.format", "response_format"),
        ("max_output_tokens", "max_tokens"),
        ("include[0]", "logprobs[0]"),
        ("tools[0].name", "tools[0].function.name"),
        ("tools[0].type", "tools[0].type"),
        ("temperature", "temperature"),
        ("inputs", "inputs"),
        ("text", "text"),
    ],
)
def test_an_error_names_what_the_client_sent(sent: str, asked: str) -> None:
    """In its parameter and, where it quotes it, in its text."""
    error = InvalidRequest(f"Unsupported value: '{sent}' does not do with 'this'.", param=sent)
    name_chat_places(error, PLACES, "max_tokens")
    assert error.param == asked
    assert error.message == f"Unsupported value: '{asked}' does not do with 'this'."
