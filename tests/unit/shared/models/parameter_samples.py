"""A request without and with each field of a chat request that OpenAI names."""

from __future__ import annotations

from typing import Any

PIXEL = "data:image/png;base64,AAAA"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
USER: dict[str, Any] = {"role": "user", "content": "hello"}
CALLED = [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c", "content": "ok"}]
LEGACY = [
    USER,
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "ok"},
]


def said(**fields: Any) -> dict[str, Any]:
    """Return one message of the user with these fields."""
    return {"messages": [{**USER, **fields}]}


def part(**fields: Any) -> dict[str, Any]:
    """Return one message of the user with this part behind some text."""
    return said(content=[{"type": "text", "text": "hello"}, fields])


def answered(**fields: Any) -> dict[str, Any]:
    """Return a conversation in which the assistant said something."""
    return {"messages": [USER, {"role": "assistant", "content": "a", **fields}, USER]}


def tool(**fields: Any) -> dict[str, Any]:
    """Return a request with one tool that has these fields besides."""
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


IMAGE = {"url": PIXEL}
SAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "audio": ({}, {"audio": {"voice": "alloy", "format": "wav"}}),
    "frequency_penalty": ({}, {"frequency_penalty": 0.5}),
    "function_call": (
        {"functions": [{"name": "f"}]}, {"functions": [{"name": "f"}], "function_call": "none"},
    ),
    "functions": ({}, {"functions": [{"name": "f"}]}),
    "logit_bias": ({}, {"logit_bias": {"1": 5}}),
    "logprobs": ({}, {"logprobs": True}),
    "max_completion_tokens": ({}, {"max_completion_tokens": 7}),
    "max_tokens": ({}, {"max_tokens": 7}),
    "messages": ({}, said(content="other")),
    "metadata": ({}, {"metadata": {"user_id": "u"}}),
    "modalities": ({}, {"modalities": ["text"]}),
    "moderation": ({}, {"moderation": {"model": "omni-moderation-latest"}}),
    "parallel_tool_calls": ({"tools": [TOOL]}, {"tools": [TOOL], "parallel_tool_calls": False}),
    "prediction": ({}, {"prediction": {"type": "content", "content": "x"}}),
    "presence_penalty": ({}, {"presence_penalty": 0.5}),
    "prompt_cache_key": ({}, {"prompt_cache_key": "k"}),
    "prompt_cache_options": ({}, {"prompt_cache_options": {"mode": "explicit"}}),
    "prompt_cache_retention": ({}, {"prompt_cache_retention": "24h"}),
    "reasoning_effort": ({}, {"reasoning_effort": "high"}),
    "response_format": ({}, {"response_format": {"type": "json_object"}}),
    "safety_identifier": ({}, {"safety_identifier": "u"}),
    "seed": ({}, {"seed": 7}),
    "service_tier": ({}, {"service_tier": "default"}),
    "stop": ({}, {"stop": "END"}),
    "store": ({}, {"store": True}),
    "temperature": ({}, {"temperature": 0.5}),
    "tool_choice": ({"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "none"}),
    "tools": ({}, {"tools": [TOOL]}),
    "top_logprobs": ({"logprobs": True}, {"logprobs": True, "top_logprobs": 2}),
    "top_p": ({}, {"top_p": 0.5}),
    "user": ({}, {"user": "u"}),
    "verbosity": ({}, {"verbosity": "low"}),
    "web_search_options": ({}, {"web_search_options": {}}),
    "messages[].name": ({}, said(name="n")),
    "messages[].content": ({}, said(content="other")),
    "messages[].refusal": (answered(content=None, refusal="a"), answered(content=None, refusal="b")),
    "messages[].audio": (answered(), answered(audio={"id": "x"})),
    "messages[].tool_calls": ({"tools": [TOOL]}, {"tools": [TOOL], "messages": CALLED}),
    "messages[].function_call": (
        {"functions": [{"name": "f"}]}, {"functions": [{"name": "f"}], "messages": LEGACY},
    ),
    "messages[].content[].text": ({}, said(content=[{"type": "text", "text": "other"}])),
    "messages[].content[].refusal": (
        {}, answered(content=[{"type": "refusal", "refusal": "no"}]),
    ),
    "messages[].content[].image_url": ({}, part(type="image_url", image_url=IMAGE)),
    "messages[].content[].image_url.url": ({}, part(type="image_url", image_url=IMAGE)),
    "messages[].content[].image_url.detail": (
        part(type="image_url", image_url=IMAGE), part(type="image_url", image_url={**IMAGE, "detail": "low"}),
    ),
    "messages[].content[].input_audio": ({}, part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"})),
    "messages[].content[].file": ({}, part(type="file", file={"file_data": "data:application/pdf;base64,AAAA"})),
    "messages[].content[].prompt_cache_breakpoint": (
        part(type="text", text="x"), part(type="text", text="x", prompt_cache_breakpoint={"mode": "explicit"}),
    ),
    "tools[].function": ({}, {"tools": [TOOL]}),
    "tools[].function.name": ({"tools": [TOOL]}, tool(name="g")),
    "tools[].function.description": ({"tools": [TOOL]}, tool(description="d")),
    "tools[].function.parameters": ({"tools": [TOOL]}, tool(parameters={"type": "object", "properties": {"a": {}}})),
    "tools[].custom": ({}, {"tools": [{"type": "custom", "custom": {"name": "c"}}]}),
}  # fmt: skip
"""A request without and with each field."""
