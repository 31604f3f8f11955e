"""What the real servers would say of a chat request: the SDKs' published types, and the rules beyond types."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import ollama
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam, completion_create_params
from pydantic import TypeAdapter, ValidationError

from tests.upstreams.anthropic import strict as anthropic_strict
from tests.upstreams.gemini.strict import check_gemini
from tests.upstreams.openai import strict_responses

_openai_messages = TypeAdapter(list[ChatCompletionMessageParam])
_openai_tools = TypeAdapter(list[ChatCompletionToolUnionParam])
_openai_request = TypeAdapter(completion_create_params.CompletionCreateParamsStreaming)

# Fields of Ollama's ChatRequest (api/types.go) that its Python SDK does not offer.
_OLLAMA_FIELDS = set(ollama._types.ChatRequest.model_fields) | {"truncate", "shift"}
_OLLAMA_OPTIONS = set(ollama.Options.model_fields) | {"min_p"}


_AT_AZURE = re.compile(r"/openai/(v1|deployments/[^/]+)/chat/completions(\?api-version=[^?]+)?")


def violation(path: str, raw: bytes) -> str | None:
    """Return what is wrong with a request to a chat path; None if it is fine."""
    try:
        if path == "/v1/chat/completions" or _AT_AZURE.fullmatch(path):
            _check_openai(json.loads(raw))
        elif path == "/v1/responses":
            strict_responses.check(json.loads(raw))
        elif path == "/api/chat":
            _check_ollama(json.loads(raw))
        elif path == "/v1/messages":
            anthropic_strict.check(json.loads(raw))
        elif path.startswith("/v1beta/models/"):
            check_gemini(path, json.loads(raw))
        else:
            return f"no such path: {path}"
    except (ValidationError, ValueError, KeyError, AssertionError) as error:
        return f"{path}: {error!r}"
    return None


def _check_openai(body: dict[str, Any]) -> None:
    _openai_request.validate_python({**body, "messages": []})
    messages = body["messages"]
    # pydantic validates an Iterable lazily, so lists are checked by themselves.
    _openai_messages.validate_python(messages)
    _openai_tools.validate_python(body.get("tools") or [])
    assert messages, "messages must not be empty"
    assert body["stream"] is True, "the gateway always streams"
    open_calls: set[str] = set()
    used: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls, "a tool message must follow its tool call"
        elif message["role"] == "assistant":
            calls = message.get("tool_calls") or ()
            ids = [call["id"] for call in calls]
            assert len({*ids} - used) == len(ids), "Duplicate value for 'tool_call_id'"
            assert all(0 < len(call_id) <= 40 for call_id in ids), "string too long"
            # vLLM's and llama.cpp's rule; OpenAI has none.
            assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls), "not an object"
            open_calls, used = {*ids}, used | {*ids}


def _check_ollama(body: dict[str, Any]) -> None:
    ollama._types.ChatRequest.model_validate(body)
    assert body.get("stream", True) is True, "the gateway always streams"
    assert body["truncate"] is False, "a long prompt must not be cut"
    assert body["shift"] is False, "a long prompt must not be shifted"
    assert isinstance(body["options"]["num_ctx"], int), "num_ctx is always set"
    assert not set(body) - _OLLAMA_FIELDS, f"unknown fields: {set(body) - _OLLAMA_FIELDS}"
    assert not set(body["options"]) - _OLLAMA_OPTIONS, "Ollama drops unknown options silently"
    assert body["messages"], "the gateway never sends a load request"
    called: set[str] = set()
    for message in body["messages"]:
        assert message["role"] in {"system", "user", "assistant", "tool"}, message["role"]
        assert isinstance(message["content"], str), "content is a text"
        for image in message.get("images", ()):
            base64.b64decode(image, validate=True)
        called |= {call["function"]["name"] for call in message.get("tool_calls", ())}
        if message["role"] == "tool":
            assert message["tool_name"] in called, "a result must name a tool that was called"
