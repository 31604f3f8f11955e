"""OpenAI's deprecated `functions` as the tools that replaced them. Pure: no I/O.

Servers of this API drop what they no longer know without a word (llama.cpp drops `functions`), so tools are what is
sent; `shared/openai/reply.py` turns the calls back.

Source of the shapes: OpenAI's OpenAPI document, schemas CreateChatCompletionRequest, ChatCompletionFunctionCallOption
and ChatCompletionRequestFunctionMessage.
"""

from __future__ import annotations

from typing import Any

from shared.errors import InvalidRequest
from shared.openai.messages import AssistantMessage, FunctionMessage
from shared.openai.request import ChatBody


def to_tools(body: ChatBody, fields: dict[str, Any]) -> None:
    """Put tools in the place of functions, in the request and in its messages.

    Args:
        body: the client's request.
        fields: its fields as the client sent them; they are changed.

    Raises:
        InvalidRequest: a function's result has no call before it; `param` names it.
    """
    if functions := fields.pop("functions", None):
        made = [{"type": "function", "function": function} for function in functions]
        fields["tools"] = [*(fields.get("tools") or ()), *made]
    choice = fields.pop("function_call", None)
    if choice is not None and fields.get("tool_choice") is None and fields.get("tools"):
        fields["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    if any(_is_legacy(message) for message in body.messages):
        fields["messages"] = _to_messages(body, fields["messages"])


def _is_legacy(message: object) -> bool:
    return isinstance(message, FunctionMessage) or (
        isinstance(message, AssistantMessage) and message.function_call is not None
    )


def _to_messages(body: ChatBody, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages, where each function's result gets the id of the last call of that function."""
    messages: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for number, (message, fields) in enumerate(zip(body.messages, given, strict=True)):
        if isinstance(message, FunctionMessage):
            call_id = called.pop(message.name, None)
            if call_id is None:
                where = f"messages[{number}].name"
                raise InvalidRequest(f"No call before {where} is of '{message.name}'.", param=where)
            messages.append({"role": "tool", "tool_call_id": call_id, "content": message.content or ""})
        elif isinstance(message, AssistantMessage) and message.function_call is not None:
            call_id = called[message.function_call.name] = f"call_{number}"
            call = {"id": call_id, "type": "function", "function": fields["function_call"]}
            rest = {name: value for name, value in fields.items() if name != "function_call"}
            messages.append({**rest, "tool_calls": [*(rest.get("tool_calls") or ()), call]})
        else:
            messages.append(fields)
    return messages
