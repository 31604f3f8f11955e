"""What OpenAI's Responses API would say of a request: the SDK's published types, no unknown field, and its rules.

The rules are those of requests of which nothing is stored, as all of the gateway's are.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from openai.types import responses as types
from openai.types.responses import response_create_params, response_input_param, tool_param
from openai.types.shared_params import Reasoning
from pydantic import TypeAdapter

LEAST_OUTPUT_TOKENS = 16
MOST_ID_CHARS = 64
_CODEXS_OWN = {"client_metadata"}
"""What Codex sends to OpenAI, and neither the document nor the SDK names."""
_CALLS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "computer_call": "computer_call_output",
}
_REQUEST = response_create_params.ResponseCreateParamsStreaming
_INPUT_PARTS: dict[str, Any] = {
    "input_text": types.ResponseInputTextParam,
    "input_image": types.ResponseInputImageParam,
    "input_file": types.ResponseInputFileParam,
}
_OUTPUT_PARTS: dict[str, Any] = {
    "output_text": types.ResponseOutputTextParam,
    "refusal": types.ResponseOutputRefusalParam,
}
_ITEMS: dict[str, Any] = {
    "function_call": types.ResponseFunctionToolCallParam,
    "function_call_output": response_input_param.FunctionCallOutput,
    "custom_tool_call": types.ResponseCustomToolCallParam,
    "custom_tool_call_output": types.ResponseCustomToolCallOutputParam,
    "reasoning": types.ResponseReasoningItemParam,
    "web_search_call": types.ResponseFunctionWebSearchParam,
    "local_shell_call": response_input_param.LocalShellCall,
    "local_shell_call_output": response_input_param.LocalShellCallOutput,
}
_TOOLS: dict[str, Any] = {
    "function": types.FunctionToolParam,
    "custom": types.CustomToolParam,
    "namespace": types.NamespaceToolParam,
    "web_search": types.WebSearchToolParam,
    "web_search_preview": types.WebSearchPreviewToolParam,
    "file_search": types.FileSearchToolParam,
    "code_interpreter": tool_param.CodeInterpreter,
    "image_generation": tool_param.ImageGeneration,
    "mcp": tool_param.Mcp,
    "local_shell": tool_param.LocalShell,
}
_NOT_OF_THE_SDK: dict[str, set[str]] = {"input_image": {"detail"}, "output_text": {"annotations"}, "message": {"id"}}
"""Fields that the SDK's types ask for and the API does not."""


def check(body: dict[str, Any]) -> None:
    """Fail where OpenAI would answer 400.

    Raises:
        ValueError: a field, or its value, is not one of the API's.
        AssertionError: a rule is broken.
    """
    assert body["store"] is False, "nothing is stored at OpenAI"
    assert body["stream"] is True, "the gateway always streams"
    assert not body.get("previous_response_id"), "Previous response with id not found"
    assert not body.get("conversation"), "nothing is stored at OpenAI"
    _known({name: value for name, value in body.items() if name not in _CODEXS_OWN}, _REQUEST, "")
    _typed(_REQUEST, {**body, "input": "x", "tools": []})
    limit = body.get("max_output_tokens")
    assert limit is None or limit >= LEAST_OUTPUT_TOKENS, "integer_below_min_value"
    asks_for_logprobs = "message.output_text.logprobs" in (body.get("include") or ())
    assert not body.get("top_logprobs") or asks_for_logprobs, "top_logprobs without logprobs"
    _check_tools(body)
    _known(body.get("text") or {}, types.ResponseTextConfigParam, "text.")
    _known(body.get("reasoning") or {}, Reasoning, "reasoning.")
    if (form := (body.get("text") or {}).get("format")) and form["type"] == "json_schema":
        _known(form, types.ResponseFormatTextJSONSchemaConfigParam, "text.format.")
    if not isinstance(body["input"], str):
        _check_items(body["input"])
    elif not body["input"]:
        raise ValueError("input is empty")


def _check_tools(body: dict[str, Any]) -> None:
    names: list[str] = []
    for number, tool in enumerate(body.get("tools") or ()):
        kind = _TOOLS[tool["type"]]
        _known(tool, kind, f"tools[{number}].")
        _typed(kind, {"parameters": {}, "strict": True, **tool} if tool["type"] == "function" else tool)
        names += [tool["name"]] if "name" in tool else []
    choice = body.get("tool_choice")
    assert choice != "required" or body.get("tools"), "Tool choice 'required' must be specified with 'tools' parameter."
    if isinstance(choice, dict) and choice["type"] in {"function", "custom"}:
        assert choice["name"] in names, "Tool choice not found in 'tools' parameter."


def _check_items(items: list[dict[str, Any]]) -> None:
    assert items, "input is empty"
    open_calls: dict[str, str] = {}
    used: set[str] = set()
    for number, item in enumerate(items):
        kind, place = item.get("type") or "message", f"input[{number}]"
        if kind == "message":
            _check_message(item, place)
            continue
        _known(item, _ITEMS[kind], f"{place}.")
        _typed(_ITEMS[kind], {"id": "x_1", **item} if kind == "reasoning" else item)
        if kind in _CALLS:
            call_id = item["call_id"]
            assert call_id not in used, "Duplicate item found with call_id"
            assert 0 < len(call_id) <= MOST_ID_CHARS, "string_above_max_length"
            used.add(call_id)
            open_calls[call_id] = _CALLS[kind]
        elif kind in _CALLS.values():
            assert open_calls.pop(item["call_id"], None) == kind, (
                f"{place}: No tool call found for function call output"
            )
            if kind == "function_call_output":
                _check_parts(item["output"], _INPUT_PARTS, f"{place}.output")
        elif kind == "reasoning":
            assert item.get("encrypted_content"), f"Item with id '{item.get('id')}' not found: nothing is stored"
            after = items[number + 1] if number + 1 < len(items) else {}
            says = after.get("type") or "message"
            follows = says in {"reasoning", *_CALLS, "web_search_call"} or after.get("role") == "assistant"
            assert follows, (
                f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            )
    assert not open_calls, f"No tool output found for function call {next(iter(open_calls), None)}."


def _check_message(item: dict[str, Any], place: str) -> None:
    assert item["role"] in {"user", "assistant", "system", "developer"}, f"{place}.role"
    allowed = {*get_type_hints(types.EasyInputMessageParam), "id", "status"}
    assert set(item) <= allowed, f"Unknown parameter: '{place}.{set(item) - allowed}'."
    parts = _OUTPUT_PARTS if item["role"] == "assistant" else _INPUT_PARTS
    _check_parts(item["content"], parts, f"{place}.content")


def _check_parts(parts: Any, kinds: dict[str, Any], place: str) -> None:
    if isinstance(parts, str):
        return
    assert parts, f"{place}: empty array"
    for number, part in enumerate(parts):
        assert part["type"] in kinds, f"Invalid value: '{part['type']}'. Supported values are: {', '.join(kinds)}."
        _known(part, kinds[part["type"]], f"{place}[{number}].")
        filled = {name: {"detail": "auto", "annotations": []}[name] for name in _NOT_OF_THE_SDK.get(part["type"], ())}
        _typed(kinds[part["type"]], {**filled, **part})
        if part["type"] == "input_image":
            assert part.get("image_url") or part.get("file_id"), f"{place}[{number}]: no image"


def _known(value: dict[str, Any], kind: Any, place: str) -> None:
    unknown = set(value) - set(get_type_hints(kind))
    assert not unknown, f"Unknown parameter: '{place}{min(unknown)}'."


def _typed(kind: Any, value: dict[str, Any]) -> None:
    TypeAdapter(kind).validate_python(value)
