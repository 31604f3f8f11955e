"""workers/providers/anthropic/request.py, anthropic_messages.py, anthropic_content.py and anthropic_tools.py."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.errors import InvalidRequest, Unsupported
from tests.upstreams.anthropic import strict as anthropic_strict
from tests.upstreams.anthropic.recordings import PIXEL, said
from tests.upstreams.outcome import HELLO, chat
from workers.providers.anthropic.messages import CLOSING, OPENING
from workers.providers.anthropic.models import facts_of
from workers.providers.anthropic.request import to_body

OLD, NEW, FORCEABLE = "claude-sonnet-4-5", "claude-opus-5-5", "claude-opus-5"
FUNCTION: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
NAMED = {"type": "function", "function": {"name": "f"}}
OPEN_FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


def _sent(asks: dict[str, Any], model: str = OLD) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(to_body(chat({**HELLO, **asks}), model, facts_of(model)).content)
    anthropic_strict.check(body)
    return body


def _reported(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def _call(*ids: str, arguments: str = "{}") -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": arguments}} for one in ids]
    return {"role": "assistant", "tool_calls": calls}


def _result(call_id: str, text: str = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    return _reported({"role": "user", "content": [{"type": "text", "text": "x"}, part]})


def _image(url: str) -> dict[str, Any]:
    return _part({"type": "image_url", "image_url": {"url": url}})


def _file(**file: str) -> dict[str, Any]:
    return _part({"type": "file", "file": file})


USER = {"role": "user", "content": "Hi"}
IMAGE_URL = "messages[0].content[1].image_url.url"
FILE = "messages[0].content[1].file"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"n": 2}, "n", OLD),
    ({"logprobs": True}, "logprobs", OLD),
    ({"logit_bias": {"1": 5}}, "logit_bias", OLD),
    ({"modalities": ["text", "audio"]}, "modalities", OLD),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", OLD),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction", OLD),
    ({"web_search_options": {}}, "web_search_options", OLD),
    ({"verbosity": "low"}, "verbosity", OLD),
    ({"service_tier": "flex"}, "service_tier", OLD),
    ({"stop": ["a", "\n"]}, "stop", OLD),
    ({"stop": ""}, "stop", OLD),
    ({"user": "x" * 257}, "user", OLD),
    ({"min_p": 0.1}, "min_p", OLD),
    ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice", NEW),
    ({"tools": TOOLS, "tool_choice": NAMED}, "tool_choice", NEW),
    ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice", OLD),
    ({"functions": [FUNCTION], "function_call": {"name": "f"}}, "function_call", NEW),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", OLD),
    ({"response_format": {"type": "json_object"}}, "response_format", NEW),
    ({"response_format": OPEN_FORMAT}, "response_format", NEW),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
     "response_format.json_schema.schema", "claude-opus-4-1"),
    (_reported(USER, {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}),
     "messages[1].tool_calls[0].type", OLD),
    (_reported(USER, {"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio", OLD),
    (_part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), "messages[0].content[1]", OLD),
    (_image("data:image/bmp;base64,AAAA"), IMAGE_URL, OLD),
    (_file(file_id="file-1"), FILE, OLD),
    (_file(file_data="data:application/zip;base64,AAAA"), f"{FILE}.file_data", OLD),
]  # fmt: skip
LEFT_OUT: list[tuple[dict[str, Any], str, str]] = [
    ({"seed": 0}, "seed", OLD),
    ({"frequency_penalty": 0.1}, "frequency_penalty", OLD),
    ({"presence_penalty": -0.1}, "presence_penalty", OLD),
    ({"temperature": 0.5, "top_p": 0.5}, "top_p", OLD),
    ({"temperature": 0.5}, "temperature", NEW),
    ({"temperature": 1.5}, "temperature", NEW),
    ({"top_p": 0.5}, "top_p", NEW),
    ({"temperature": 0.5, "reasoning_effort": "low"}, "temperature", OLD),
    ({"top_p": 0.5, "reasoning_effort": "low"}, "top_p", OLD),
]
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", OLD),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
     "tools[0].function.parameters", OLD),
    (_reported({"role": "user", "content": " \n"}), "messages", OLD),
    (_reported(USER, _call("a", "b"), _result("a")), "messages[1].tool_calls", OLD),
    (_reported(USER, _call("a"), USER, {"role": "assistant", "content": "x"}), "messages[1].tool_calls", OLD),
    (_reported(USER, _call("a")), "messages[1].tool_calls", OLD),
    (_reported(USER, _result("a")), "messages[1].tool_call_id", OLD),
    (_reported(USER, _call("a"), _result("a"), _result("a")), "messages[3].tool_call_id", OLD),
    (_reported(USER, _call("a"), _result("a"), _call("b"), _result("a")), "messages[4].tool_call_id", OLD),
    (_reported(USER, {"role": "function", "name": "f", "content": "x"}), "messages[1].name", OLD),
    (_image("ftp://x/y.png"), IMAGE_URL, OLD),
    (_image("data:image/png,abc"), IMAGE_URL, OLD),
    (_image("data:image/png;base64,%%%"), IMAGE_URL, OLD),
    (_file(file_data="https://example.org/a.pdf"), f"{FILE}.file_data", OLD),
    (_file(file_data="data:text/plain;base64,/w=="), f"{FILE}.file_data", OLD),
]  # fmt: skip


@pytest.mark.parametrize(("asks", "param", "model"), LEFT_OUT)
def test_hints_that_the_model_does_not_take_are_left_out(asks: dict[str, Any], param: str, model: str) -> None:
    """The request is served all the same; the response header names them."""
    assert param not in _sent(asks, model)


@pytest.mark.parametrize(("asks", "param", "model"), REFUSED)
def test_what_anthropic_cannot_do_is_refused_by_name(asks: dict[str, Any], param: str, model: str) -> None:
    """Nothing is dropped without a word; another tier may be able."""
    with pytest.raises(Unsupported) as caught:
        _sent(asks, model)
    assert caught.value.param == param


@pytest.mark.parametrize(("asks", "param", "model"), WRONG)
def test_what_is_wrong_anywhere_is_refused_for_good(asks: dict[str, Any], param: str, model: str) -> None:
    """No other tier could do better."""
    with pytest.raises(InvalidRequest) as caught:
        _sent(asks, model)
    assert (caught.value.param, caught.value.fails_over) == (param, False)


def test_what_changes_no_answer_is_accepted() -> None:
    """Defaults spelled out, and what only OpenAI's own storage knows."""
    asks = {"n": 1, "frequency_penalty": 0, "presence_penalty": 0, "temperature": 1, "top_p": 1, "logprobs": False,
            "store": True, "metadata": {"a": "b"}, "prompt_cache_key": "k", "parallel_tool_calls": True, "stop": [],
            "service_tier": "auto", "response_format": {"type": "text"}, "modalities": ["text"]}  # fmt: skip
    for model in (OLD, FORCEABLE):
        sent = _sent(asks, model)
        sent.pop("thinking", None)
        assert set(sent) == {"model", "max_tokens", "messages", "stream"}


@pytest.mark.parametrize(
    ("model", "limit"),
    [(NEW, 128_000), (OLD, 64_000), ("claude-opus-4-1-20250805", 32_000), ("claude-3-haiku-20240307", 4096)],
)
def test_max_tokens_is_always_sent(model: str, limit: int) -> None:
    """The model's greatest without a limit of the client's; the newer field counts before the older."""
    assert _sent({}, model)["max_tokens"] == limit
    assert _sent({"max_tokens": 9}, model)["max_tokens"] == 9
    assert _sent({"max_tokens": 9, "max_completion_tokens": 5}, model)["max_tokens"] == 5


@pytest.mark.parametrize(("asked", "sent"), [(0, 0.0), (0.3, 0.3), (1, None), (1.01, 1.0), (2, 1.0)])
def test_temperature_is_clamped(asked: float, sent: float | None) -> None:
    """OpenAI's goes to 2, Anthropic's to 1; 1 is the default."""
    assert _sent({"temperature": asked}).get("temperature") == sent


def test_users_are_named_by_the_first_of_their_names() -> None:
    """`safety_identifier` has replaced `user`; `metadata.user_id` is Anthropic's own."""
    metadata = {"user_id": "c"}
    assert _sent({"safety_identifier": "a", "user": "b", "metadata": metadata})["metadata"] == {"user_id": "a"}
    assert _sent({"user": "b", "metadata": metadata})["metadata"] == {"user_id": "b"}
    assert _sent({"metadata": metadata})["metadata"] == {"user_id": "c"}


def test_the_default_tier_and_anthropics_own_fields_are_passed_on() -> None:
    """OpenAI's default tier is Anthropic's standard one."""
    cache = {"type": "ephemeral"}
    sent = _sent({"service_tier": "default", "cache_control": cache, "thinking": {"type": "disabled"}, "top_k": 5})
    assert (sent["service_tier"], sent["cache_control"], sent["top_k"]) == ("standard_only", cache, 5)
    assert sent["thinking"] == {"type": "disabled"}


def test_turns_alternate_and_blank_text_is_left_out() -> None:
    """Turns of one role are one turn; a message without any text is none."""
    sent = _sent(
        _reported({"role": "system", "content": " "}, USER, {"role": "assistant", "content": "\n"},
              {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " "}]},
              {"role": "assistant", "content": "b"}, {"role": "assistant", "content": None, "refusal": "No."},
              {"role": "system", "content": [{"type": "text", "text": "S"}]}, USER)
    )  # fmt: skip
    assert sent["messages"] == [said("user", "Hi", "a"), said("assistant", "b", "No."), said("user", "Hi")]
    assert sent["system"] == "S"


def test_a_conversation_begins_with_the_user() -> None:
    """A greeting of the assistant's has something before it; instructions alone are what the user says."""
    greeting = _sent(_reported({"role": "assistant", "content": "Hello"}, USER))
    assert greeting["messages"] == [said("user", OPENING), said("assistant", "Hello"), said("user", "Hi")]
    alone = _sent(_reported({"role": "system", "content": "Say hi."}))
    assert (alone["messages"], "system" in alone) == ([said("user", "Say hi.")], False)


def test_a_last_assistant_message_is_continued_where_the_model_can() -> None:
    """It must not end in white space."""
    assert _sent(_reported(USER, {"role": "assistant", "content": "Well, \n"}))["messages"][-1] == said(
        "assistant", "Well,"
    )


def test_results_come_first_in_the_turn_after_their_calls() -> None:
    """What the user says between a call and its result follows the result."""
    sent = _sent({**_reported(USER, _call("a", "b"), USER, _result("b", "2"), _result("a", "1"), USER), "tools": TOOLS})
    assert [block["type"] for block in sent["messages"][2]["content"]] == ["tool_result"] * 2 + ["text"] * 2
    assert [block["content"] for block in sent["messages"][2]["content"][:2]] == ["2", "1"]


def test_call_ids_are_unique_and_of_allowed_characters() -> None:
    """Other upstreams repeat their ids from turn to turn, and use any characters."""
    turns = [_call("f:0"), _result("f:0"), _call("f:0"), _result("f:0"), _call(""), _result("")]
    messages = _sent({**_reported(USER, *turns), "tools": TOOLS})["messages"]
    assert [turn["content"][0]["id"] for turn in messages[1::2]] == ["f_0", "f_0_2", "call"]
    assert [turn["content"][0]["tool_use_id"] for turn in messages[2::2]] == ["f_0", "f_0_2", "call"]


def test_tools_have_an_object_schema() -> None:
    """Also those without parameters, or whose schema does not say its type."""
    bare = _sent({"tools": [{"type": "function", "function": {"name": "f"}}]})["tools"]
    assert bare == [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "eager_input_streaming": True}]
    untyped = {"name": "f", "parameters": {"properties": {"a": {}}}}
    tools = _sent({"tools": [{"type": "function", "function": untyped}]})["tools"]
    assert tools[0]["input_schema"] == {"type": "object", "properties": {"a": {}}}


def test_a_strict_tool_is_strict_where_the_model_can_hold_to_its_schema() -> None:
    """At most twenty, none with an open object, none on models from before structured outputs."""
    closed = {**FUNCTION, "parameters": {**FUNCTION["parameters"], "additionalProperties": False}, "strict": True}
    strict = [{"type": "function", "function": {**closed, "name": f"f{number}"}} for number in range(22)]
    assert sum(tool.get("strict", False) for tool in _sent({"tools": strict})["tools"]) == 20
    assert not any("strict" in tool for tool in _sent({"tools": strict}, "claude-opus-4-1")["tools"])
    opened = {**FUNCTION, "parameters": {"type": "object"}, "strict": True}
    assert "strict" not in _sent({"tools": [{"type": "function", "function": opened}]})["tools"][0]


def test_a_schema_is_a_format_or_a_forced_tool() -> None:
    """The tool's name is nobody else's; models that have neither refuse (above)."""
    asks: dict[str, Any] = {"response_format": OPEN_FORMAT}
    assert _sent(asks)["tool_choice"] == {"type": "tool", "name": "json_reply", "disable_parallel_tool_use": True}
    taken = [{"type": "function", "function": {**FUNCTION, "name": "json_reply"}}]
    sent = _sent({**asks, "tools": taken})
    assert [tool["name"] for tool in sent["tools"]] == ["json_reply", "json_reply_"]
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    hidden = _sent({**asks, "tools": TOOLS, "tool_choice": "none"})
    assert hidden["tool_choice"]["name"] == "json_reply"
    forced = _sent({**asks, "tools": TOOLS, "tool_choice": "required"})
    assert (len(forced["tools"]), forced["tool_choice"]) == (1, {"type": "any"})


def test_a_forced_reply_form_stops_thinking() -> None:
    """A model that thinks unasked must be told not to."""
    sent = _sent({"response_format": {"type": "json_object"}}, FORCEABLE)
    assert (sent["thinking"], sent["tool_choice"]["type"]) == ({"type": "disabled"}, "tool")


def test_files_are_documents() -> None:
    """PDF as it is, text as text; the file's name is its title."""
    pdf = _sent(_file(file_data=f"data:application/pdf;base64,{PIXEL}", filename="a.pdf"))["messages"][0]["content"][1]
    source = {"type": "base64", "media_type": "application/pdf", "data": PIXEL}
    assert pdf == {"type": "document", "source": source, "title": "a.pdf"}
    encoded = base64.b64encode("Grüße".encode()).decode()
    text = _sent(_file(file_data=f"data:text/plain;charset=utf-8;base64,{encoded}"))["messages"][0]["content"][1]
    assert text["source"] == {"type": "text", "media_type": "text/plain", "data": "Grüße"}


def test_the_user_speaks_last_to_a_model_that_goes_on_with_no_turn_of_its_own() -> None:
    """Agents end with the assistant's words, and so do those who want more; an older model goes on with them."""
    asks = _reported(USER, {"role": "assistant", "content": "Well,"})
    assert [turn["role"] for turn in _sent(asks, NEW)["messages"]] == ["user", "assistant", "user"]
    assert _sent(asks, NEW)["messages"][-1]["content"] == [{"type": "text", "text": CLOSING}]
    assert [turn["role"] for turn in _sent(asks, OLD)["messages"]] == ["user", "assistant"]
