"""What the Gemini API would say of a generateContent request: google-genai's types, and the rules beyond types."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from google.genai import types

PATH = re.compile(r"/v1beta/models/[A-Za-z0-9._-]+:streamGenerateContent\?alt=sse")
_FIELDS = {
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent",
    "serviceTier", "store", "labels",
}  # fmt: skip
_DATA = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}


def check_gemini(path: str, body: dict[str, Any]) -> None:
    """Fail for what the API would refuse."""
    assert PATH.fullmatch(path), f"no such path: {path}"
    assert not set(body) - _FIELDS, f"unknown fields: {set(body) - _FIELDS}"
    for name, kind in (("systemInstruction", types.Content), ("toolConfig", types.ToolConfig)):
        if name in body:
            _check_type(kind, body[name])
    _check_type(types.GenerationConfig, body.get("generationConfig", {}))
    _check_generation(body.get("generationConfig", {}))
    for setting in body.get("safetySettings", []):
        _check_type(types.SafetySetting, setting)
    names = _check_tools(body.get("tools", []))
    _check_calling(body.get("toolConfig", {}).get("functionCallingConfig", {}), names)
    assert "role" not in body.get("systemInstruction", {}) or body["systemInstruction"]["role"] == "user"
    _check_parts(body.get("systemInstruction", {"parts": [{"text": "x"}]})["parts"], {"text"})
    _check_contents(body["contents"])


def _check_type(kind: Any, value: Any) -> None:
    kind.model_validate_json(msgspec.json.encode(value))


def _check_generation(config: dict[str, Any]) -> None:
    assert len(config.get("stopSequences", [])) <= 5, "at most five stop sequences"
    assert -(2**31) <= config.get("seed", 0) < 2**31, "seed is an int32"
    assert config.get("maxOutputTokens", 1) < 2**31, "maxOutputTokens is an int32"
    assert 1 <= config.get("candidateCount", 1) <= 8, "one to eight candidates"
    if "logprobs" in config:
        assert config.get("responseLogprobs"), "logprobs needs responseLogprobs"
    if "responseJsonSchema" in config:
        assert config["responseMimeType"] == "application/json", "a schema needs the JSON type"
    assert "responseSchema" not in config, "responseSchema refuses real JSON Schema"
    thinking = config.get("thinkingConfig", {})
    assert not {"thinkingLevel", "thinkingBudget"} <= set(thinking), "a level or a budget, not both"


def _check_tools(tools: list[dict[str, Any]]) -> list[str]:
    names: list[str] = []
    for tool in tools:
        _check_type(types.Tool, tool)
        for declaration in tool["functionDeclarations"]:
            assert re.fullmatch(r"[A-Za-z_][\w.:-]{0,127}", declaration["name"]), declaration["name"]
            assert "parameters" not in declaration, "parameters refuses real JSON Schema"
            schema = declaration.get("parametersJsonSchema")
            assert schema is None or schema["type"] == "object", "parameters describe an object"
            names.append(declaration["name"])
    assert len(names) == len(set(names)), "function names are unique"
    return names


def _check_calling(config: dict[str, Any], names: list[str]) -> None:
    allowed = config.get("allowedFunctionNames", [])
    assert set(allowed) <= set(names), "only declared functions can be allowed"
    assert not allowed or config["mode"] in {"ANY", "VALIDATED"}, "names need a mode that takes them"
    assert not config or names, "a calling mode needs functions"


def _check_parts(parts: list[dict[str, Any]], kinds: set[str]) -> None:
    assert parts, "a content has parts"
    for part in parts:
        _check_type(types.Part, part)
        data = set(part) & _DATA
        assert len(data) == 1, f"a part holds one thing: {part}"
        assert data <= kinds, f"not here: {data}"
        assert part.get("text") != "", "no text is empty"


def _check_contents(contents: list[dict[str, Any]]) -> None:
    assert contents, "contents are required"
    assert contents[0]["role"] == "user", "the user begins"
    assert contents[-1]["role"] == "user", "the user speaks last"
    called: list[dict[str, Any]] = []
    for number, content in enumerate(contents):
        assert content["role"] == ("user", "model")[number % 2], "roles alternate"
        user = content["role"] == "user"
        kinds = {"text", "inlineData", "fileData", "functionResponse"} if user else {"text", "functionCall"}
        _check_parts(content["parts"], kinds)
        if not user:
            called = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
            assert all(isinstance(call.get("args", {}), dict) for call in called), "args are an object"
            continue
        responses = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        assert len(responses) == len(called), "as many function responses as calls"
        for call, response in zip(called, responses, strict=True):
            assert response["name"] == call["name"], "a response names its function"
            assert response.get("id") == call.get("id"), "an id that was given comes back"
            assert isinstance(response["response"], dict), "a response is an object"
