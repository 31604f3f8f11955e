"""How long a prompt is taken to be, and how long it can be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.openai.prompt_size import (
    MOST_CONTEXT,
    TOOL_PROMPT_TOKENS,
    MostPrompt,
    estimate_prompt_tokens,
    most_prompt,
    prompt_texts,
)
from shared.openai.request import ChatBody, decode_chat

HELLO = [{"role": "user", "content": "hello"}]
FUNCTION = {"name": "f", "description": "x" * 4000, "parameters": {"type": "object"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


def raw_body(**fields: Any) -> bytes:
    """Return a request with these fields."""
    return json.dumps({"model": "auto", "messages": HELLO, **fields}).encode()


def body(**fields: Any) -> ChatBody:
    """Return a request with these fields, decoded."""
    return decode_chat(raw_body(**fields))


def most(**fields: Any) -> MostPrompt:
    """Return what a request can send at the most."""
    raw = raw_body(**fields)
    return most_prompt(len(raw), decode_chat(raw))


def test_the_estimate_leaves_images_out() -> None:
    """A quarter of the characters of the texts."""
    parts = [{"type": "text", "text": "x" * 40}, IMAGE]
    messages = [{"role": "system", "content": "y" * 40}, {"role": "user", "content": parts}]
    assert estimate_prompt_tokens(body(messages=messages)) == 20


@pytest.mark.parametrize(("text", "tokens"), [("word" * 100, 100), ("語" * 100, 50), ("ab語語" * 50, 75)])
def test_characters_outside_ascii_are_more_tokens(text: str, tokens: int) -> None:
    """An estimate for texts of any language: a quarter of ASCII's characters, half of the others'."""
    assert estimate_prompt_tokens(body(messages=[{"role": "user", "content": text}])) == tokens


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "custom", "custom": {"name": "f", "description": "x" * 4000}}]},
        {"functions": [FUNCTION]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "x" * 4000}}},
        {"messages": [*HELLO, {"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 4000}}]}]},
        {"messages": [*HELLO, {"role": "assistant", "tool_calls": [
            {"id": "c", "type": "custom", "custom": {"input": "x" * 4000}}]}]},
        {"messages": [*HELLO, {"role": "assistant", "content": None, "function_call":
            {"name": "f", "arguments": "x" * 4000}}]},
        {"messages": [*HELLO, {"role": "assistant", "content": "", "reasoning_content": "x" * 4000}]},
        {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "x" * 4000}]}]},
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "x" * 4000}]},
    ],
    ids=["tools", "custom tools", "functions", "schema", "calls", "custom calls", "function call", "reasoning",
         "refusal", "result"],
)  # fmt: skip
def test_all_that_a_model_reads_counts(fields: dict[str, Any]) -> None:
    """Not the words of the conversation alone."""
    asked = body(**fields)
    assert 4000 <= sum(map(len, prompt_texts(asked))) < 4200
    assert 1000 <= estimate_prompt_tokens(asked) < 1050
    assert most(**fields).tokens > 4000


def test_a_bound_is_by_the_clients_own_bytes() -> None:
    """Which no token is less than; an image's data is no text, but it is not free either."""
    assert most() == MostPrompt(len(raw_body()))
    assert most(functions=[FUNCTION]) == MostPrompt(len(raw_body(functions=[FUNCTION])) + TOOL_PROMPT_TOKENS)
    tokens, images, _ = most(messages=[{"role": "user", "content": [IMAGE, IMAGE]}])
    assert (tokens < 500, images) == (True, 2)


def test_a_file_can_fill_any_context() -> None:
    """How many pages it has, only its upstream knows."""
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
    assert most(messages=[{"role": "user", "content": [file]}]).tokens == MOST_CONTEXT
