"""OpenAI's tools and tool choices as Gemini's function declarations and calling modes. Pure.

Source of the shapes: google.ai.generativelanguage.v1beta (FunctionDeclaration, FunctionCallingConfig).
"""

from __future__ import annotations

from typing import Any

from shared.errors import InvalidRequest
from shared.models.abilities import cannot_do
from shared.openai.request import ChatBody, CustomTool, FunctionDefinition

_CHOICES: dict[Any, dict[str, Any] | None] = {
    None: None,
    "auto": None,
    "none": {"mode": "NONE"},
    "required": {"mode": "ANY"},
}


def to_tools(body: ChatBody) -> list[dict[str, Any]]:
    """Return the function declarations of a request's tools and legacy functions.

    Raises:
        Unsupported: a tool is no function; `param` names it.
    """
    functions: list[FunctionDefinition] = []
    for number, tool in enumerate(body.tools or ()):
        if isinstance(tool, CustomTool):
            raise cannot_do(f"tools[{number}].type")
        functions.append(tool.function)
    return [_to_declaration(function) for function in (*functions, *(body.functions or ()))]


def _to_declaration(function: FunctionDefinition) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": function.name}
    if function.description:
        declaration["description"] = function.description
    if function.parameters:
        # Not `parameters`: that takes a subset of OpenAPI's schemas and rejects `additionalProperties` or `$ref`.
        declaration["parametersJsonSchema"] = {"type": "object", **function.parameters}
    return declaration


def to_tool_config(body: ChatBody, names: list[str]) -> dict[str, Any] | None:
    """Return the calling mode that a request chooses; None leaves it to the model.

    Args:
        body: the request.
        names: of the functions on offer.

    Raises:
        InvalidRequest: the choice is none of the functions on offer; `param` names the field.
    """
    param = "function_call" if body.tool_choice is None else "tool_choice"
    choice = body.function_call if body.tool_choice is None else body.tool_choice
    if not isinstance(choice, dict):
        return _CHOICES[choice]
    mode, chosen = _chosen(choice, param)
    if not chosen or not all(isinstance(name, str) and name in names for name in chosen):
        raise InvalidRequest(f"'{param}' names no function of this request.", param=param)
    return {"mode": mode, "allowedFunctionNames": chosen}


def _chosen(choice: dict[str, Any], param: str) -> tuple[str, list[Any]]:
    """Return the mode and the names of a choice that is an object: OpenAI's named function, or its `allowed_tools`."""
    try:
        if param == "function_call":
            return "ANY", [choice["name"]]
        if choice.get("type") == "allowed_tools":
            allowed = choice["allowed_tools"]
            # AUTO does not take names; VALIDATED is its like that does.
            mode = {"required": "ANY", "auto": "VALIDATED"}[allowed["mode"]]
            return mode, [tool["function"]["name"] for tool in allowed["tools"]]
        return "ANY", [choice["function"]["name"]]
    except (KeyError, TypeError):
        raise InvalidRequest(f"'{param}' cannot be read.", param=param) from None
