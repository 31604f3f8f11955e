"""The items of a Responses request's input, and their parts, as msgspec checks them. Pure.

Source of the shapes: OpenAI's OpenAPI document, schemas InputItem and Item. Fields that answers of ours have besides
(`extra_content`, `images`, `reasoning_details`) and what OpenAI's clients add to what they parse are taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from shared.openai.messages import Cacheable
from shared.types import CallId, Name

if TYPE_CHECKING:
    from collections.abc import Sequence


class TextInput(Cacheable, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    """A text that is said to the model."""

    text: str


class TextOutput(Struct, tag_field="type", tag="output_text", forbid_unknown_fields=True, kw_only=True):
    """A text that the model said."""

    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    parsed: Any = None


class RefusalOutput(Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    """A refusal of the model's."""

    refusal: str


class ImageInput(Cacheable, tag_field="type", tag="input_image", forbid_unknown_fields=True):
    """An image, by address, data URL or the id of a file at OpenAI."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class FileInput(Cacheable, tag_field="type", tag="input_file", forbid_unknown_fields=True):
    """A file, as data, by address or by the id of a file at OpenAI."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None


class AudioInput(Cacheable, tag_field="type", tag="input_audio", forbid_unknown_fields=True):
    """A sound."""

    input_audio: dict[str, Any]


Part = TextInput | TextOutput | RefusalOutput | ImageInput | FileInput | AudioInput
Status = Literal["in_progress", "completed", "incomplete"]


class _Item(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str | None = None
    id: str | None = None
    status: Status | None = None


class Message(_Item, kw_only=True, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    phase: Literal["commentary", "final_answer"] | None = None
    images: list[Any] | None = None
    reasoning_details: list[Any] | None = None
    extra_content: dict[str, Any] | None = None


class FunctionCall(_Item, kw_only=True, forbid_unknown_fields=True):
    """A call of a function that the model made."""

    call_id: CallId
    name: Name
    arguments: str
    is_async: bool | None = field(default=None, name="async")
    namespace: Name | None = None
    caller: dict[str, Any] | None = None
    extra_content: dict[str, Any] | None = None
    parsed_arguments: Any = None


class CustomToolCall(_Item, kw_only=True, forbid_unknown_fields=True):
    """A call of a custom tool that the model made."""

    call_id: CallId
    name: Name
    input: str
    is_async: bool | None = field(default=None, name="async")
    namespace: Name | None = None
    caller: dict[str, Any] | None = None
    extra_content: dict[str, Any] | None = None


class CallOutput(_Item, kw_only=True, forbid_unknown_fields=True):
    """The result of a call of a function or of a custom tool."""

    call_id: CallId
    output: str | list[TextInput | ImageInput | FileInput | AudioInput]
    name: Name | None = None
    namespace: Name | None = None
    caller: dict[str, Any] | None = None


class _Summary(Struct, kw_only=True):
    text: str
    type: str | None = None


class Reasoning(_Item, kw_only=True, forbid_unknown_fields=True):
    """The model's thoughts."""

    summary: list[_Summary] = []
    content: list[_Summary] | None = None
    encrypted_content: str | None = None


class AdditionalTools(_Item, kw_only=True, forbid_unknown_fields=True):
    """Tools that are given in the middle of a conversation."""

    tools: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    role: str | None = None


class ItemReference(_Item, kw_only=True, forbid_unknown_fields=True):
    """An item that is stored."""


KINDS: Final[dict[str, type[Struct]]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": CallOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": CallOutput,
    "reasoning": Reasoning,
    "additional_tools": AdditionalTools,
    "item_reference": ItemReference,
}
"""The items that can be said to any model."""
LEFT_OUT: Final = frozenset({"created_by", "end_turn", "internal_chat_message_metadata_passthrough"})
"""Fields of any item that say nothing to a model: who made it, and what Codex notes about its own turns."""
NATIVE: Final = frozenset({
    "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction", "compaction_trigger",
    "computer_call", "computer_call_output", "file_search_call", "image_generation_call", "local_shell_call",
    "local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools",
    "program", "program_output", "shell_call", "shell_call_output", "tool_search_call", "tool_search_output",
    "web_search_call",
})  # fmt: skip
"""Those of tools and functions that OpenAI alone has."""

_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def kind_of(item: dict[str, Any]) -> str:
    """Return the type of an item; clients leave out those of messages and of references."""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference"
    return kind if isinstance(kind, str) else ""


def in_chat_order(items: Sequence[Any]) -> list[int]:
    """Return the numbers of items as a chat can have them: no other message stands between calls and their results.

    OpenAI takes a result anywhere after its call, as where a user said something while a tool ran.
    """
    results: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        if (call_id := _call_id(item, _RESULTS)) is not None:
            results.setdefault(call_id, []).append(number)
    order: dict[int, None] = {}
    waiting: list[str] = []
    for number, item in enumerate(items):
        if number in order:
            continue
        called = _call_id(item, _CALLS)
        is_result = _call_id(item, _RESULTS) is not None
        follows_result = bool(order) and _call_id(items[next(reversed(order))], _RESULTS) is not None
        if waiting and not is_result and (follows_result or _is_read_by_model(item)):
            late = [at for call_id in waiting for at in results.pop(call_id, ()) if at > number]
            order.update(dict.fromkeys(sorted(late)))
            waiting.clear()
        order[number] = None
        waiting += [] if called is None else [called]
    return list(order)


def _call_id(item: Any, kinds: frozenset[str]) -> str | None:
    """Return the id of the call that an item of these kinds is about; None of any other item."""
    kind, call_id = (item.get("type"), item.get("call_id")) if isinstance(item, dict) else (None, None)
    return call_id if isinstance(kind, str) and kind in kinds and isinstance(call_id, str) else None


def _is_read_by_model(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") in ("user", "system", "developer")
