"""Calls that must be made, which Ollama has no parameter for: the answer is held to the form of their arguments. Pure.

Source: Ollama's docs/api.md, "Structured outputs": `format` is a schema that every token of the answer obeys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shared.errors import GatewayError, InvalidRequest, Malformed, StreamBroken
from shared.models.abilities import cannot_do
from shared.openai.request import FunctionTool
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.json_reader import read_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.openai.request import ChatBody, FunctionDefinition
    from shared.types import ToolCallDelta
    from workers.providers.replies.tool_calls import ToolCalls

_DEFINITIONS = ("$defs", "definitions")


def forced_functions(body: ChatBody) -> Sequence[FunctionDefinition]:
    """Return the functions of which one must be called; none where the model may answer as it likes.

    Raises:
        InvalidRequest: the one that is named is not among them.
    """
    param = "function_call" if body.tool_choice is None else "tool_choice"
    choice: Any = body.function_call if body.tool_choice is None else body.tool_choice
    known = [tool.function for tool in body.tools or () if isinstance(tool, FunctionTool)]
    known += body.functions or ()
    if choice == "required":
        return known
    if not isinstance(choice, dict):
        return ()
    named = choice.get("function", choice)
    name = named.get("name") if isinstance(named, dict) else None
    found = [function for function in known if function.name == name]
    if not found:
        raise InvalidRequest(f"There is no function '{name}' that '{param}' could mean.", param=param)
    return found[:1]


def to_schema(functions: Sequence[FunctionDefinition]) -> dict[str, Any]:
    """Return the schema of an answer that is a call: of one function its arguments, of several with the name.

    Raises:
        Unsupported: their schemas define different things by one name.
    """
    if len(functions) == 1:
        return _parameters(functions[0])
    definitions: dict[str, dict[str, Any]] = {}
    choices = []
    for function in functions:
        parameters = _parameters(function)
        for name in _DEFINITIONS:  # places in a schema are told from its root
            for key, value in parameters.pop(name, {}).items():
                if definitions.setdefault(name, {}).setdefault(key, value) != value:
                    raise cannot_do("tool_choice")
        properties = {"name": {"type": "string", "enum": [function.name]}, "arguments": parameters}
        choices.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    return {"anyOf": choices, **definitions}


def _parameters(function: FunctionDefinition) -> dict[str, Any]:
    return {"type": "object", "properties": {}, **(function.parameters or {})}


class ForcedCall(Struct):
    """The call that an answer is.

    Args:
        names: of the functions of which it may be one.
        text: the answer so far, where it has to be read as a whole.
    """

    names: tuple[str, ...]
    text: str = ""
    number: int | None = None

    def take(self, content: str, calls: ToolCalls) -> list[ToolCallDelta]:
        """Return what can be handed out with a further piece of the answer."""
        if len(self.names) > 1:
            self.text += content
            return []
        if self.number is None:
            begun = calls.add(self.names[0], None, content)
            self.number = begun.index
            return [begun]
        return [calls.more(self.number, content)]

    def end(self, calls: ToolCalls, *, after_content: bool) -> list[ToolCallDelta]:
        """Return the call of an answer that had to be read as a whole.

        Raises:
            Malformed: it is none; StreamBroken where something was said before.
        """
        if not self.text:
            return []
        try:
            found = read_any(self.text.encode())
        except Malformed:
            found = None
        if not isinstance(found, dict) or found.get("name") not in self.names:
            raise _no_call(after_content=after_content)
        return [calls.add(found["name"], None, to_text(found.get("arguments")))]


def _no_call(*, after_content: bool) -> GatewayError:
    text = "The model server's answer is not the call that had to be made."
    return StreamBroken(text) if after_content else Malformed(text)
