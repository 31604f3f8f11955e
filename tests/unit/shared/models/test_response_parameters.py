"""The table of a Responses request's fields says what the code does, and is complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.dialects.responses.items import NATIVE
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.tools import HOSTED
from shared.errors import InvalidRequest
from shared.models.parameters import COLUMNS, HOSTED_TOOLS, NATIVE_ONLY, Action
from shared.models.providers import PROVIDERS
from shared.models.response_parameters import IGNORED_FIELDS, RESPONSE_FIELDS
from shared.openai.request import ChatRequest
from tests.unit.shared.models.test_parameters import sent_of

ROOT = Path(__file__).resolve().parents[4]
PIXEL = "data:image/png;base64,AAAA"
PDF = "data:application/pdf;base64,AAAA"
USER = {"role": "user", "content": "hello"}
TOOL: dict[str, Any] = {"type": "function", "name": "f"}
CUSTOM: dict[str, Any] = {"type": "custom", "name": "f"}
CALL: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
CUSTOM_CALL: dict[str, Any] = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}
RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "c", "output": "ok"}
SCHEMA: dict[str, Any] = {"type": "json_schema", "name": "s", "schema": {"type": "object", "properties": {}}}


def said(**fields: Any) -> dict[str, Any]:
    """Return one message of the user with these fields."""
    return {"input": [{**USER, **fields}]}


def part(**fields: Any) -> dict[str, Any]:
    """Return one message of the user with this part behind some text."""
    return said(content=[{"type": "input_text", "text": "hello"}, fields])


def answered(**fields: Any) -> dict[str, Any]:
    """Return a conversation in which the assistant said a part."""
    return {"input": [USER, {"role": "assistant", "content": [{"type": "output_text", "text": "a"} | fields]}, USER]}


def called(call: dict[str, Any] = CALL, result: dict[str, Any] = RESULT, **fields: Any) -> dict[str, Any]:
    """Return a conversation with a call."""
    return {"input": [USER, {**call, **fields}, result], "tools": [TOOL]}


def thought(**fields: Any) -> dict[str, Any]:
    """Return a conversation in which the assistant thought before it called."""
    reasoning = {"type": "reasoning", "id": "rs", "summary": [], **fields}
    return {"input": [USER, reasoning, CALL, RESULT], "tools": [TOOL]}


def tool(kind: dict[str, Any] = TOOL, **fields: Any) -> dict[str, Any]:
    """Return a request with one tool."""
    return {"tools": [{**kind, **fields}]}


def formed(**fields: Any) -> dict[str, Any]:
    """Return a request for JSON that follows a schema."""
    return {"text": {"format": {**SCHEMA, **fields}}}


LOGPROBS = {"include": ["message.output_text.logprobs"]}
TOLD = {"type": "summary_text", "text": "hm"}
SAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "input": ({}, {"input": "other"}),
    "background": ({}, {"background": True}),
    "context_management": ({}, {"context_management": [{"type": "compaction"}]}),
    "conversation": ({}, {"conversation": "conv_1"}),
    "include": ({}, {"include": ["reasoning.encrypted_content"]}),
    "instructions": ({}, {"instructions": "Be kind."}),
    "max_output_tokens": ({}, {"max_output_tokens": 16}),
    "max_tool_calls": ({}, {"max_tool_calls": 1}),
    "metadata": ({}, {"metadata": {"user_id": "u"}}),
    "moderation": ({}, {"moderation": {"model": "omni-moderation-latest"}}),
    "parallel_tool_calls": ({"tools": [TOOL]}, {"tools": [TOOL], "parallel_tool_calls": False}),
    "previous_response_id": ({}, {"previous_response_id": "resp_1"}),
    "prompt": ({}, {"prompt": {"id": "pmpt_1"}}),
    "prompt_cache_key": ({}, {"prompt_cache_key": "k"}),
    "prompt_cache_options": ({}, {"prompt_cache_options": {"mode": "explicit"}}),
    "prompt_cache_retention": ({}, {"prompt_cache_retention": "24h"}),
    "reasoning": ({}, {"reasoning": {"effort": "high"}}),
    "reasoning.context": ({}, {"reasoning": {"context": "all_turns"}}),
    "reasoning.effort": ({}, {"reasoning": {"effort": "high"}}),
    "reasoning.generate_summary": ({}, {"reasoning": {"generate_summary": "auto"}}),
    "reasoning.mode": ({}, {"reasoning": {"mode": "pro"}}),
    "reasoning.summary": ({}, {"reasoning": {"summary": "auto"}}),
    "safety_identifier": ({}, {"safety_identifier": "u"}),
    "service_tier": ({}, {"service_tier": "default"}),
    "store": ({}, {"store": True}),
    "stream_options.include_obfuscation": (
        {"stream": True}, {"stream": True, "stream_options": {"include_obfuscation": True}},
    ),
    "temperature": ({}, {"temperature": 0.5}),
    "text": ({}, {"text": {"format": {"type": "json_object"}}}),
    "text.format": ({}, formed()),
    "text.format.schema": (formed(), formed(schema={"type": "object", "properties": {"a": {"type": "string"}}})),
    "text.verbosity": ({}, {"text": {"verbosity": "low"}}),
    "tool_choice": ({"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "none"}),
    "tools": ({}, {"tools": [TOOL]}),
    "top_logprobs": (LOGPROBS, {**LOGPROBS, "top_logprobs": 2}),
    "top_p": ({}, {"top_p": 0.5}),
    "truncation": ({}, {"truncation": "auto"}),
    "user": ({}, {"user": "u"}),
    "input[].arguments": (called(), called(arguments='{"a":1}')),
    "input[].caller": (called(), called(caller={"type": "direct"})),
    "input[].content": ({}, said(content="other")),
    "input[].id": (called(), called(id="fc_1")),
    "input[].input": (called(CUSTOM_CALL), called(CUSTOM_CALL, input="y")),
    "input[].name": (called(), called(name="g")),
    "input[].namespace": (called(), called(namespace="n")),
    "input[].output": (called(), called(result={**RESULT, "output": "other"})),
    "input[].phase": (
        {"input": [USER, {"role": "assistant", "content": "a"}, USER]},
        {"input": [USER, {"role": "assistant", "content": "a", "phase": "commentary"}, USER]},
    ),
    "input[].role": ({}, {"input": [{"role": "system", "content": "s"}, USER]}),
    "input[].status": (called(), called(status="completed")),
    "input[].encrypted_content": (thought(), thought(encrypted_content="claw1.aG0=")),
    "input[].summary": (thought(), thought(summary=[TOLD])),
    "input[].tools": ({}, {"input": [USER, {"type": "additional_tools", "role": "developer", "tools": [TOOL]}]}),
    "input[].content[].annotations": (answered(), answered(annotations=[{"type": "url_citation"}])),
    "input[].content[].detail": (
        part(type="input_image", image_url=PIXEL), part(type="input_image", image_url=PIXEL, detail="low"),
    ),
    "input[].content[].file_data": ({}, part(type="input_file", file_data=PDF)),
    "input[].content[].file_id": ({}, part(type="input_file", file_id="file-1")),
    "input[].content[].file_url": ({}, part(type="input_file", file_url="https://example.com/a.pdf")),
    "input[].content[].filename": ({}, part(type="input_file", file_data=PDF, filename="a.pdf")),
    "input[].content[].image_url": ({}, part(type="input_image", image_url=PIXEL)),
    "input[].content[].logprobs": (answered(), answered(logprobs=[])),
    "input[].content[].prompt_cache_breakpoint": (
        part(type="input_text", text="x"),
        part(type="input_text", text="x", prompt_cache_breakpoint={"mode": "explicit"}),
    ),
    "input[].content[].refusal": (
        answered(),
        {"input": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER]},
    ),
    "input[].content[].text": (said(content=[{"type": "input_text", "text": "a"}]), said(content="b")),
    "input[].content[].type": ({}, part(type="input_image", image_url=PIXEL)),
    "tools[].allowed_callers": (tool(), tool(allowed_callers=["direct"])),
    "tools[].defer_loading": (tool(), tool(defer_loading=True)),
    "tools[].description": (tool(), tool(description="d")),
    "tools[].format": (
        tool(CUSTOM), tool(CUSTOM, format={"type": "grammar", "syntax": "regex", "definition": "a+"}),
    ),
    "tools[].name": (tool(), tool(name="g")),
    "tools[].output_schema": (tool(), tool(output_schema={"type": "object"})),
    "tools[].parameters": (tool(), tool(parameters={"type": "object", "properties": {"a": {}}})),
    "tools[].tools": ({}, {"tools": [{"type": "namespace", "name": "n", "description": "d", "tools": [TOOL]}]}),
    "tools[].type": (tool(), tool(CUSTOM)),
}  # fmt: skip
"""A request without and with each field."""
ELSEWHERE = {
    "model": "the provider's tests", "stream": "the provider's tests", "stream_options": "the provider's tests",
    "text.format.name": "test_response_request.py", "text.format.description": "test_response_request.py",
    "text.format.strict": "test_response_request.py", "tools[].strict": "test_response_request.py",
    "input[].call_id": "the provider's tests", "input[].type": "below",
}  # fmt: skip
"""Fields whose action shows in something else than the body of one request."""
BY_VALUE = {("service_tier", "gemini"), ("input[].content[].filename", "gemini"),
            ("input[].content[].filename", "anthropic")}  # fmt: skip
"""Fields that a provider translates by other values than the sample's, or beside another field."""
CASES = [(name, provider) for name in SAMPLES for provider in COLUMNS if (name, provider) not in BY_VALUE]


def asked(fields: dict[str, Any]) -> ChatRequest:
    """Return a request with these fields."""
    return ChatRequest(json.dumps({"model": "m", "input": [USER], **fields}).encode(), read=ResponsesRequest)


def sent(provider: str, fields: dict[str, Any]) -> Any:
    """Return the body that goes out to a provider for a request.

    Raises:
        InvalidRequest: the request is refused, by its dialect, by routing or by the provider.
    """
    request = asked(fields)
    assert request.client is not None
    if request.client.needs:
        assert set(request.client.needs) <= {NATIVE_ONLY, HOSTED_TOOLS}
        # Of OpenAI's API routing knows it by the server: others of it lack it.
        assert provider == "openai" or NATIVE_ONLY in PROVIDERS[provider].lacks
        raise InvalidRequest("routing refuses it", param=request.client.needs[NATIVE_ONLY])
    return sent_of(provider, request)


@pytest.mark.parametrize(("name", "provider"), CASES, ids=[f"{name}-{provider}" for name, provider in CASES])
def test_the_table_says_what_the_code_does(name: str, provider: str) -> None:
    """Refused by name, or the body that goes out is another one, or it is the same."""
    without, fields = SAMPLES[name]
    action = RESPONSE_FIELDS[name].actions[provider]
    if action is Action.REFUSED:
        with pytest.raises(InvalidRequest) as caught:
            sent(provider, fields)
        assert caught.value.param is not None
        return
    is_same = sent(provider, fields) == sent(provider, without)
    assert is_same == (action in {Action.IGNORED, Action.OMITTED, Action.HELD}), action


def test_the_table_names_every_field_that_openai_does() -> None:
    """And no others; each has a sample, or is shown elsewhere."""
    named = set(json.loads((ROOT / "tests/e2e/schemas/response_fields.json").read_text()))
    assert set(RESPONSE_FIELDS) == named
    assert set(SAMPLES) | set(ELSEWHERE) == set(RESPONSE_FIELDS)


@pytest.mark.parametrize("kind", sorted(NATIVE))
def test_items_that_openai_alone_has_are_refused_by_their_place(kind: str) -> None:
    """Wherever they stand."""
    request = asked({"input": [USER, {"type": kind}]})
    assert request.client is not None
    assert request.client.needs == {NATIVE_ONLY: "input[1].type"}


@pytest.mark.parametrize("kind", sorted(HOSTED))
def test_tools_that_openai_runs_are_refused_by_their_place(kind: str) -> None:
    """Also one that is chosen."""
    for fields, place in (
        ({"tools": [TOOL, {"type": kind}]}, "tools[1].type"),
        ({"tools": [TOOL], "tool_choice": {"type": kind}}, "tool_choice.type"),
    ):
        request = asked(fields)
        assert request.client is not None
        assert request.client.needs[NATIVE_ONLY] == place


def test_words_that_no_chat_knows_go_to_openai_alone_or_become_the_nearest_one() -> None:
    """The document has more of them for this API than for chats."""
    tier = asked({"service_tier": "ultrafast"})
    assert tier.client is not None
    assert tier.client.needs == {NATIVE_ONLY: "service_tier"}
    image = sent("openai", part(type="input_image", image_url=PIXEL, detail="original"))
    assert image["messages"][0]["content"][1]["image_url"] == {"url": PIXEL, "detail": "high"}


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
def test_further_fields_that_change_nothing_are_left_out(name: str) -> None:
    """Whoever serves."""
    assert all(sent(provider, {name: {"a": "b"}}) == sent(provider, {}) for provider in COLUMNS)
