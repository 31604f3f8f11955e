"""Tools and their choice in a Responses request, as a chat has them. Pure.

A custom tool becomes a function of one text, `input`, and the tools of a namespace become functions whose names begin
with its own; calls of them are turned back (`CalledTool`). Tools that run at OpenAI have no place in a chat.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct, field

from shared.dialects.responses.wire import converted, without_nulls
from shared.errors import InvalidRequest
from shared.models.parameters import HOSTED_TOOLS, NATIVE_ONLY
from shared.types import Name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

CUSTOM_INPUT: Final = "input"
"""The only argument of a custom tool's function."""
MOST_CHARS: Final = 64
"""Of a function's name, as models' makers have it."""
DIGEST_CHARS: Final = 8
HOSTED: Final = frozenset({
    "apply_patch", "code_interpreter", "computer", "computer_use", "computer_use_preview", "file_search",
    "image_generation", "local_shell", "mcp", "programmatic_tool_calling", "shell", "tool_search", "web_search",
    "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
})  # fmt: skip
"""Tools that OpenAI runs, or of forms that only its own API has."""


class _Tool(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    name: Name
    description: str | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    is_async: bool | None = field(default=None, name="async")


class FunctionTool(_Tool, kw_only=True, forbid_unknown_fields=True):
    """A function."""

    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    output_schema: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class _TextInput(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Any text."""


class _Grammar(Struct, tag_field="type", tag="grammar", forbid_unknown_fields=True):
    """A text that follows a grammar."""

    syntax: Literal["lark", "regex"]
    definition: str


class CustomTool(_Tool, kw_only=True, forbid_unknown_fields=True):
    """A tool whose input is any text."""

    format: _TextInput | _Grammar | None = None


class Namespace(Struct, kw_only=True, forbid_unknown_fields=True):
    """Tools under one name."""

    type: str
    name: Name
    description: str | None = None
    tools: list[dict[str, Any]]


class CalledTool(Struct, frozen=True):
    """The tool that a function of the chat stands for."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool: the only argument of its function, or all where the model did not obey."""
    try:
        found = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments
    text = found.get(CUSTOM_INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


class ToolBox:
    """The tools of a request.

    Attributes:
        functions: as a chat has them.
        places: where each of them stood.
        called: what each stands for that is no function of that name, by the function's name.
        needs: what only OpenAI's own API can take, with the place that asks for it.
    """

    def __init__(self) -> None:
        self.functions: list[dict[str, Any]] = []
        self.places: list[str] = []
        self.called: dict[str, CalledTool] = {}
        self.needs: dict[str, str] = {}
        self._tools: list[CalledTool] = []
        self._names: dict[tuple[str | None, str], str] = {}
        self._are_all = True

    def add(self, tools: Iterable[tuple[Any, str]], namespace: Namespace | None = None) -> None:
        """Add tools, each with its place.

        Raises:
            InvalidRequest: one is wrong; `param` names the place.
        """
        for given, place in tools:
            self._add(given, place, namespace)

    def _add(self, given: Any, place: str, namespace: Namespace | None) -> None:
        kind, tool = _word(given, "type"), without_nulls(given)
        if kind == "function":
            self._add_function(converted(tool, FunctionTool, place), place, namespace)
        elif kind == "custom":
            self._add_custom(converted(tool, CustomTool, place), place, namespace)
        elif kind == "namespace" and namespace is None:
            found = converted(tool, Namespace, place)
            self.add(((inner, f"{place}.tools[{number}]") for number, inner in enumerate(found.tools)), found)
        elif kind in HOSTED and namespace is None:
            self.needs.setdefault(NATIVE_ONLY, f"{place}.type")
            self.needs.setdefault(HOSTED_TOOLS, f"{place}.type")
        else:
            known = ", ".join(sorted({"function", "custom", "namespace", *HOSTED}))
            raise InvalidRequest(
                f"Invalid value: '{kind[:100]}'. Supported values are: {known}.",
                param=f"{place}.type",
                code="invalid_value",
            )

    def _add_function(self, tool: FunctionTool, place: str, namespace: Namespace | None) -> None:
        function: dict[str, Any] = {"parameters": tool.parameters, "strict": tool.strict}
        function["cache_control"] = tool.cache_control
        self._append(tool, function, place, namespace)

    def _add_custom(self, tool: CustomTool, place: str, namespace: Namespace | None) -> None:
        text: dict[str, Any] = {"type": "string"}
        if isinstance(tool.format, _Grammar):
            text["description"] = f"Follows this {tool.format.syntax} grammar:\n{tool.format.definition}"
        schema = {
            "type": "object",
            "properties": {CUSTOM_INPUT: text},
            "required": [CUSTOM_INPUT],
            "additionalProperties": False,
        }
        self._append(tool, {"parameters": schema}, place, namespace)

    def _append(self, tool: _Tool, fields: dict[str, Any], place: str, namespace: Namespace | None) -> None:
        if tool.is_async:
            self.needs.setdefault(NATIVE_ONLY, f"{place}.async")
        within = None if namespace is None else namespace.name
        texts = (None if namespace is None else namespace.description, tool.description)
        function = {"name": tool.name, "description": "\n\n".join(filter(None, texts)) or None, **fields}
        function = {field: value for field, value in function.items() if value is not None}
        self.functions.append({"type": "function", "function": function})
        self.places.append(place)
        self._tools.append(CalledTool(tool.name, within, isinstance(tool, CustomTool)))

    def name_functions(self) -> None:
        """Name each function, once all tools are added: what is in no namespace keeps its own name."""
        taken = {tool.name for tool in self._tools if tool.namespace is None}
        for tool, function in zip(self._tools, self.functions, strict=True):
            if tool.namespace is not None and (tool.namespace, tool.name) not in self._names:
                self._names[tool.namespace, tool.name] = name = _free_name(tool, taken)
                taken.add(name)
            function["function"]["name"] = name = self.function_name(tool.namespace, tool.name)
            if tool.namespace is not None or tool.is_custom:
                self.called[name] = tool
                # Whoever names it elsewhere may leave out its namespace.
                self._names.setdefault((None, tool.name), tool.name if tool.name in taken else name)
        # Given again in the middle of a conversation: Claude refuses a tool that is there twice.
        once = {msgspec.json.encode(function): number for number, function in reversed(list(enumerate(self.functions)))}
        self._keep(sorted(once.values()))

    def function_name(self, namespace: str | None, name: str) -> str:
        """Return the name of the function that stands for a tool, also of one that is not there any more."""
        known = self._names.get((namespace, name))
        return known or (name if namespace is None else _free_name(CalledTool(name, namespace), ()))

    def choose(self, choice: Any, *, are_all: bool = True) -> Any:
        """Return a tool choice as a chat has it; one among some tools leaves out the others.

        Args:
            choice: the client's.
            are_all: whether there are no other tools, which only OpenAI knows.

        Raises:
            InvalidRequest: it is none, or of a tool that is not there.
        """
        self._are_all = are_all
        if choice is None or choice in ("none", "auto", "required"):
            return choice
        kind = _word(choice, "type")
        if kind in {"function", "custom"} and isinstance(choice.get("name"), str):
            return {"type": "function", "function": {"name": self._chosen(choice)}}
        if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
            return self._allow(choice)
        if kind in HOSTED:
            self.needs.setdefault(NATIVE_ONLY, "tool_choice.type")
            return None
        raise InvalidRequest(
            "Invalid value for 'tool_choice': it is none, auto, required, or names a tool, or some of them.",
            param="tool_choice",
            code="invalid_value",
        )

    def _chosen(self, choice: dict[str, Any]) -> str:
        """Return the function's name of a tool that is chosen, also where its namespace is not said."""
        namespace = choice.get("namespace")
        name = self.function_name(namespace if isinstance(namespace, str) else None, choice["name"])
        if self._are_all and not self.needs and all(one["function"]["name"] != name for one in self.functions):
            text = f"Tool choice '{choice['name'][:64]}' not found in 'tools' parameter."
            raise InvalidRequest(text, param="tool_choice", code="invalid_value")
        return name

    def _allow(self, choice: dict[str, Any]) -> str:
        mode = _word(choice, "mode", "auto")
        if mode not in {"auto", "required"}:
            raise InvalidRequest(
                "Invalid value for 'tool_choice.mode'.", param="tool_choice.mode", code="invalid_value"
            )
        named = [tool for tool in choice["tools"] if isinstance(tool, dict)]
        if any(_word(tool, "type") in HOSTED for tool in named):
            self.needs.setdefault(NATIVE_ONLY, "tool_choice.tools")
        allowed = {self._chosen(tool) for tool in named if isinstance(tool.get("name"), str)}
        self._keep([number for number, one in enumerate(self.functions) if one["function"]["name"] in allowed])
        return mode if self.functions else "none"

    def _keep(self, numbers: list[int]) -> None:
        self.functions = [self.functions[number] for number in numbers]
        self.places = [self.places[number] for number in numbers]


def _word(given: Any, name: str, usual: str = "") -> str:
    """Return a field that is a word; nothing where it is anything else."""
    found = given.get(name, usual) if isinstance(given, dict) else ""
    return found if isinstance(found, str) else ""


def _free_name(tool: CalledTool, taken: Container[str]) -> str:
    """Return a name for a tool of a namespace that no other has: models know 64 characters."""
    plain = f"{tool.namespace}__{tool.name}"
    if len(plain) <= MOST_CHARS and plain not in taken:
        return plain
    digest = hashlib.sha256(f"{tool.namespace}\0{tool.name}".encode("utf-8", "replace")).hexdigest()
    return f"{plain[: MOST_CHARS - DIGEST_CHARS - 1]}_{digest[:DIGEST_CHARS]}"
