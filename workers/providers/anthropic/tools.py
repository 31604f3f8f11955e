"""OpenAI's tools, tool choice and reply format as Anthropic's. Pure.

Source of the shapes: Anthropic's Messages API (ToolParam, ToolChoiceParam, JSONOutputFormatParam).
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.errors import InvalidRequest, Unsupported
from shared.models.abilities import cannot_do
from shared.openai.request import ChatBody, CustomTool, FunctionDefinition, JsonObjectFormat, JsonSchemaFormat
from workers.providers.anthropic.models import ModelFacts
from workers.providers.anthropic.schema import Inexpressible, to_strict_schema

MAX_STRICT_TOOLS = 20
_OPEN_OBJECT = {"type": "object"}


class Tooling(msgspec.Struct):
    """The fields of a request about tools and the reply's form.

    Args:
        tools: `tools`.
        choice: `tool_choice`.
        reply_format: `output_config.format`.
        json_tool: the tool whose input is the reply's content, where the model has no format for it.
    """

    tools: list[dict[str, Any]]
    choice: dict[str, Any] | None = None
    reply_format: dict[str, Any] | None = None
    json_tool: str | None = None

    @property
    def is_forced(self) -> bool:
        """Return whether the model must call a tool."""
        return self.choice is not None and self.choice["type"] in {"any", "tool"}


def to_tooling(body: ChatBody, called: list[str], facts: ModelFacts) -> Tooling:
    """Return the request's tools and format.

    Args:
        body: the client's request.
        called: the tools that the conversation has calls of. They must be declared, also when there are no tools now.
        facts: what the model takes.

    Raises:
        InvalidRequest: the model cannot do what is asked; `param` names it.
    """
    tools = _to_tools(body, facts)
    names = {tool["name"] for tool in tools}
    tooling = Tooling(tools, _to_choice(body, names))
    if not tools and called:
        # The API rejects calls of tools that are not declared; none of them may be called now.
        tooling.tools = [{"name": name, "input_schema": _OPEN_OBJECT} for name in dict.fromkeys(called)]
        tooling.choice = {"type": "none"}
    if tooling.is_forced and not facts.forced_tools:
        param = "tool_choice" if body.tool_choice is not None else "function_call"
        raise Unsupported("This model cannot be forced to call a tool.", param=param)
    _add_format(body, tooling, facts)
    # A legacy answer has room for one call.
    one_at_a_time = body.parallel_tool_calls is False or (body.functions and not body.tools)
    if one_at_a_time and tooling.tools and not tooling.json_tool:
        tooling.choice = tooling.choice or {"type": "auto"}
        if tooling.choice["type"] != "none":
            tooling.choice["disable_parallel_tool_use"] = True
    return tooling


def _to_tools(body: ChatBody, facts: ModelFacts) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    strict = 0
    for number, tool in enumerate(body.tools or ()):
        if isinstance(tool, CustomTool):
            raise cannot_do(f"tools[{number}].type")
        tools.append(_to_tool(tool.function, f"tools[{number}].function.parameters"))
        if mark := tool.cache_control or tool.function.cache_control:
            tools[-1]["cache_control"] = mark
        if tool.function.strict and facts.structured and strict < MAX_STRICT_TOOLS:
            strict += _make_strict(tools[-1])
    for number, function in enumerate(body.functions or ()):
        tools.append(_to_tool(function, f"functions[{number}].parameters"))
    if facts.structured:
        # Else a parameter is held back until it is whole: minutes of silence for a long one.
        for given in tools:
            given["eager_input_streaming"] = True
    return tools


def _to_tool(function: FunctionDefinition, where: str) -> dict[str, Any]:
    # Anthropic wants the type, which clients leave out.
    schema = {"type": "object", **(function.parameters or {"properties": {}})}
    if schema["type"] != "object":
        raise InvalidRequest("A tool's parameters must be of type object.", param=where)
    described = {"description": function.description} if function.description else {}
    return {"name": function.name, **described, "input_schema": schema}


def _make_strict(tool: dict[str, Any]) -> bool:
    """Make a tool strict; one whose schema cannot be is left as it is, which the model follows well but not surely."""
    try:
        tool["input_schema"] = to_strict_schema(tool["input_schema"])
    except Inexpressible:
        return False
    tool["strict"] = True
    return True


def _to_choice(body: ChatBody, names: set[str]) -> dict[str, Any] | None:
    param, choice = ("tool_choice", body.tool_choice) if body.tools else ("function_call", body.function_call)
    if not names or choice is None:
        return None
    if isinstance(choice, str):
        return {"type": {"none": "none", "auto": "auto", "required": "any"}[choice]}
    function = choice.get("function") if param == "tool_choice" else choice
    name = function.get("name") if isinstance(function, dict) else None
    if name not in names:
        raise InvalidRequest("The choice must be none, auto, required or the name of a given tool.", param=param)
    return {"type": "tool", "name": name}


def _add_format(body: ChatBody, tooling: Tooling, facts: ModelFacts) -> None:
    """Ask for JSON: by the format that the model has, else by a tool that must be called and is no call."""
    wanted = body.response_format
    if not isinstance(wanted, JsonObjectFormat | JsonSchemaFormat):
        return
    schema: dict[str, Any] | None = None
    description = None
    if isinstance(wanted, JsonSchemaFormat):
        schema, description = wanted.json_schema.schema, wanted.json_schema.description
    if schema is not None and facts.structured:
        try:
            tooling.reply_format = {"type": "json_schema", "schema": to_strict_schema(schema)}
        except Inexpressible:
            pass
        else:
            return
    if tooling.is_forced:
        return  # the reply is a call, and has no content to be formed
    if not facts.forced_tools:
        raise Unsupported(
            "This model can only be held to a JSON schema without open objects or recursion.", param="response_format"
        )
    _add_json_tool(tooling, schema, description)


def _add_json_tool(tooling: Tooling, schema: dict[str, Any] | None, description: str | None) -> None:
    schema = {**_OPEN_OBJECT, **(schema or {})}
    if schema["type"] != "object":
        raise Unsupported("This model needs a schema of type object.", param="response_format.json_schema.schema")
    name = "json_reply"
    # The client may have a tool of this name.
    while any(tool["name"] == name for tool in tooling.tools):
        name += "_"
    text = "Gives the reply: the input is the JSON object that was asked for."
    tooling.tools = [*tooling.tools, {"name": name, "description": description or text, "input_schema": schema}]
    tooling.json_tool = name
    if tooling.choice is None and len(tooling.tools) > 1:
        tooling.choice = {"type": "auto"}
    # Beside tools of the client's the model may call one of those in place of its reply.
    if tooling.choice is not None and tooling.choice["type"] == "auto":
        tooling.choice = {"type": "any", "disable_parallel_tool_use": True}
    else:
        tooling.choice = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
