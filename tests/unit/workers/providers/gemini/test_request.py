"""workers/providers/gemini/request.py, gemini_tools.py and gemini_parts.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidRequest, Unsupported
from tests.upstreams.gemini.strict import check_gemini
from tests.upstreams.outcome import HELLO, chat
from workers.providers.gemini.messages import Known
from workers.providers.gemini.request import to_body
from workers.providers.images.remote import Image, remote_images

PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
OTHER = {"name": "g"}
TOOLS = [{"type": "function", "function": FUNCTION}, {"type": "function", "function": OTHER}]
NAMED = {"type": "function", "function": {"name": "f"}}


def _sent(asks: dict[str, Any], model: str = "gemini-2.5-flash", images: dict[str, Image] | None = None) -> Any:
    body: dict[str, Any] = json.loads(to_body(chat({**HELLO, **asks}), model, Known(images or {})))
    check_gemini(PATH, body)
    return body


def _part(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]}


def _image(url: str) -> dict[str, Any]:
    return _part({"type": "image_url", "image_url": {"url": url}})


def _audio(data: Any, audio_format: Any = "wav") -> dict[str, Any]:
    return _part({"type": "input_audio", "input_audio": {"data": data, "format": audio_format}})


def _allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


URL = "messages[0].content[1].image_url.url"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 9}, "n"),
    ({"seed": 2**31}, "seed"),
    ({"seed": -(2**31) - 1}, "seed"),
    ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"verbosity": "low"}, "verbosity"),
    ({"service_tier": "scale"}, "service_tier"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
    ({"top_q": 1}, "top_q"),
    (_image("https://example.org/a.png"), URL),
    (_audio("AAAA", "midi"), "messages[0].content[1].input_audio.format"),
    (_part({"type": "file", "file": {"file_id": "x"}}), "messages[0].content[1].file"),
    ({"reasoning_effort": "none"}, "reasoning_effort"),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": 7}}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": _allowed("auto")}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": _allowed("maybe", "f")}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": _allowed("auto", "f", "h")}, "tool_choice"),
    ({"functions": [FUNCTION], "function_call": {"name": "h"}}, "function_call"),
    ({"functions": [FUNCTION], "function_call": {}}, "function_call"),
    (_image("data:image/png,abc"), URL),
    (_image("data:image/png;base64,a b"), URL),
    (_image("data:image/png;base64"), URL),
    (_image("data:;base64,AAAA"), URL),
    (_image("data:text/html;base64,AAAA"), URL),
    (_audio("AAA"), "messages[0].content[1].input_audio.data"),
    (_audio(None), "messages[0].content[1].input_audio.data"),
    (_part({"type": "file", "file": {"file_data": "AAAA"}}), "messages[0].content[1].file.file_data"),
]


@pytest.mark.parametrize(
    ("asks", "param"), REFUSED, ids=[f"{number}-{param}" for number, (_, param) in enumerate(REFUSED)]
)
def test_what_gemini_cannot_do_is_refused_by_name(asks: dict[str, Any], param: str) -> None:
    """Never dropped without a word; another tier may be able."""
    with pytest.raises(Unsupported) as caught:
        _sent(asks, "gemini-2.5-pro")
    assert caught.value.param == param


@pytest.mark.parametrize(("asks", "param"), WRONG, ids=[f"{number}-{param}" for number, (_, param) in enumerate(WRONG)])
def test_what_is_wrong_anywhere_is_refused_for_good(asks: dict[str, Any], param: str) -> None:
    """No other tier could do better."""
    with pytest.raises(InvalidRequest) as caught:
        _sent(asks)
    assert (caught.value.param, caught.value.fails_over) == (param, False)


def test_fields_that_change_no_answer_are_accepted() -> None:
    """Clients that identify their users or label their requests are served all the same."""
    harmless = {
        "user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prompt_cache_key": "k",
        "safety_identifier": "s", "parallel_tool_calls": True, "n": 1, "logit_bias": {}, "modalities": ["text"],
        "tool_choice": "auto", "response_format": {"type": "text"}, "seed": None, "top_k": None, "logprobs": False,
    }  # fmt: skip
    assert _sent(harmless) == _sent({}) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("asks", "config"),
    [
        ({"n": 3}, {"candidateCount": 3}),
        ({"seed": 2**31 - 1}, {"seed": 2**31 - 1}),
        ({"seed": -(2**31)}, {"seed": -(2**31)}),
        ({"seed": 0, "temperature": 0}, {"seed": 0, "temperature": 0}),
        ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"max_tokens": 9}, {"maxOutputTokens": 9}),
        ({"max_tokens": 9, "max_completion_tokens": 5}, {"maxOutputTokens": 5}),
        ({"logprobs": True}, {"responseLogprobs": True}),
        ({"logprobs": True, "top_logprobs": 0}, {"responseLogprobs": True}),
        ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
        ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingBudget": 0}}),
        (
            {"thinking_config": {"thinkingBudget": -1}, "reasoning_effort": "high"},
            {"thinkingConfig": {"thinkingBudget": -1}},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            {"responseMimeType": "application/json"},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
    ],
)
def test_a_parameter_becomes_its_like_in_the_generation_config(asks: dict[str, Any], config: dict[str, Any]) -> None:
    """And nothing else goes there."""
    assert _sent(asks)["generationConfig"] == config


def test_a_model_that_cannot_think_is_sent_no_thinking_config() -> None:
    """It would refuse one."""
    assert "generationConfig" not in _sent({"reasoning_effort": "none"}, "gemini-2.0-flash")


def test_geminis_own_fields_are_passed_on() -> None:
    """They have no like in OpenAI's API."""
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    sent = _sent({"top_k": 5, "safety_settings": settings, "service_tier": "flex"})
    assert (sent["generationConfig"], sent["safetySettings"], sent["serviceTier"]) == ({"topK": 5}, settings, "flex")


def test_tools_and_legacy_functions_are_the_same() -> None:
    """Schemas go as they are: the field takes real JSON Schema."""
    declarations = [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}, {"name": "g"}]
    assert _sent({"tools": TOOLS})["tools"] == [{"functionDeclarations": declarations}]
    assert _sent({"functions": [FUNCTION, OTHER]})["tools"] == [{"functionDeclarations": declarations}]
    bare = {"name": "f", "strict": True, "parameters": {}}
    assert _sent({"functions": [bare]})["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


@pytest.mark.parametrize(
    ("asks", "config"),
    [
        ({"tools": TOOLS}, None),
        ({"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True}, None),
        ({"tools": TOOLS, "tool_choice": "none"}, {"mode": "NONE"}),
        ({"tools": TOOLS, "tool_choice": "required"}, {"mode": "ANY"}),
        ({"tools": TOOLS, "tool_choice": NAMED}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ({"tools": TOOLS, "tool_choice": _allowed("required", "g")}, {"mode": "ANY", "allowedFunctionNames": ["g"]}),
        ({"tools": TOOLS, "tool_choice": _allowed("auto", "g")}, {"mode": "VALIDATED", "allowedFunctionNames": ["g"]}),
        ({"functions": [FUNCTION], "function_call": "none"}, {"mode": "NONE"}),
        ({"functions": [FUNCTION], "function_call": "auto"}, None),
        ({"functions": [FUNCTION], "function_call": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_a_choice_of_tools_becomes_a_calling_mode(asks: dict[str, Any], config: dict[str, Any] | None) -> None:
    """The tools stay, also when none may be called: the conversation may hold their calls."""
    sent = _sent(asks)
    assert sent.get("toolConfig") == (config and {"functionCallingConfig": config})
    assert sent["tools"]


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (_image("data:image/PNG;charset=x;base64,AAAA"), {"mimeType": "image/png", "data": "AAAA"}),
        (_image("https://example.org/a.png"), {"mimeType": "image/webp", "data": "/wA="}),
        (_audio("AAAA", "mp3"), {"mimeType": "audio/mp3", "data": "AAAA"}),
        (
            _part({"type": "file", "file": {"filename": "a", "file_data": "data:application/pdf;base64,AAAA"}}),
            {"mimeType": "application/pdf", "data": "AAAA"},
        ),
    ],
)
def test_media_become_inline_data(part: dict[str, Any], data: dict[str, Any]) -> None:
    """From data URLs, from bare base64, or from what was fetched."""
    images = {"https://example.org/a.png": Image("image/webp", b"\xff\x00")}
    assert _sent(part, images=images)["contents"][0]["parts"] == [{"text": "x"}, {"inlineData": data}]


def test_remote_images_are_reported_with_their_places() -> None:
    """Data URLs need no fetching."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in ("data:x", "https://a", "http://b")]
    body = chat(
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": parts}]}
    ).body
    assert list(remote_images(body.messages)) == [
        ("https://a", "messages[1].content[1].image_url.url"),
        ("http://b", "messages[1].content[2].image_url.url"),
    ]


@pytest.mark.parametrize(
    ("asks", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
def test_gemma_3_is_asked_for_nothing_that_it_lacks(asks: dict[str, Any], param: str) -> None:
    """By name; another candidate may do it, as Gemma 4 does."""
    with pytest.raises(Unsupported) as caught:
        to_body(chat({**HELLO, **asks}), "gemma-3-27b-it", Known())
    assert caught.value.param == param
    assert to_body(chat({**HELLO, **asks}), "gemma-4-31b-it", Known())


def test_a_schema_of_parameters_names_its_type() -> None:
    """Many clients leave it out; parameters are an object."""
    function = {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}
    sent = _sent({"tools": [{"type": "function", "function": function}]})
    (declaration,) = sent["tools"][0]["functionDeclarations"]
    assert declaration["parametersJsonSchema"] == {"type": "object", "properties": {"a": {"type": "string"}}}
