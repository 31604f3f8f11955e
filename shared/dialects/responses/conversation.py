"""The items of a Responses request as the messages of a chat. Pure.

What the model thought, said and called in one turn becomes one message of the assistant, as far as a chat has one for
it: calls come with the text before them, and results right after the calls. Images and files of results follow in a
message of the user, since a chat's results are texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.responses.carried import carried_text
from shared.dialects.responses.items import (
    KINDS,
    LEFT_OUT,
    NATIVE,
    AdditionalTools,
    AudioInput,
    CallOutput,
    CustomToolCall,
    FileInput,
    FunctionCall,
    ImageInput,
    ItemReference,
    Message,
    Reasoning,
    RefusalOutput,
    TextInput,
    TextOutput,
    in_chat_order,
    kind_of,
)
from shared.dialects.responses.places import MessagePlace
from shared.dialects.responses.tools import CUSTOM_INPUT
from shared.dialects.responses.wire import converted, without_nulls
from shared.errors import InvalidRequest
from shared.models.parameters import NATIVE_ONLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.dialects.responses.items import Part

MEDIA_FOLLOW: Final = "(What it returned follows.)"
"""Stands for a result that has images or files alone."""
_OWN: Final = ("images", "reasoning_details", "extra_content")


class Conversation:
    """The messages as they grow.

    Attributes:
        messages: as a chat has them.
        places: where each of them stood.
        needs: what only OpenAI's own API can take, with the place that asks for it.
        tools: those that were given between the items, with their places.
        called: the functions of calls, by their tools' names, each with the namespace of its tool.
        orphans: the calls' ids of results that have no call before them.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.places: list[MessagePlace] = []
        self.needs: dict[str, str] = {}
        self.tools: list[tuple[Any, str]] = []
        self.called: list[tuple[dict[str, Any], str | None]] = []
        self.orphans: list[str] = []
        self._call_ids: set[str] = set()
        self._media: list[dict[str, Any]] = []
        self._media_place = MessagePlace("", "")

    def add_text(self, role: str, text: str, place: str) -> None:
        """Append a message that is a text of the request itself."""
        self._append({"role": role, "content": text}, MessagePlace(place, place))

    def add_items(self, items: Sequence[Any]) -> None:
        """Append the items of the input.

        Raises:
            InvalidRequest: an item is wrong; `param` names the place.
        """
        for number in in_chat_order(items):
            self._add_item(items[number], f"input[{number}]")
        self.close()
        for message in self.messages:
            if isinstance(message.get("reasoning_content"), list):
                message["reasoning_content"] = "\n".join(message["reasoning_content"])

    def close(self) -> None:
        """Append what is left of the last results."""
        if self._media:
            media, self._media = self._media, []
            self._append({"role": "user", "content": media}, self._media_place)

    def _add_item(self, given: Any, place: str) -> None:
        if not isinstance(given, dict):
            raise InvalidRequest(f"Invalid value for '{place}': Expected `object`.", param=place, code="invalid_type")
        kind = kind_of(given)
        if kind in NATIVE:
            self.needs.setdefault(NATIVE_ONLY, f"{place}.type")
            return
        if kind not in KINDS:
            raise InvalidRequest(
                f"Invalid value: '{kind[:100]}'. Supported values are: {', '.join(sorted({*KINDS, *NATIVE}))}.",
                param=f"{place}.type",
                code="invalid_value",
            )
        if not kind.endswith("_output"):
            self.close()
        self._add_known(converted(_clean(given), KINDS[kind], place), place)

    def _add_known(self, item: Any, place: str) -> None:
        if isinstance(item, Message):
            self._add_message(item, place)
        elif isinstance(item, FunctionCall | CustomToolCall):
            self._add_call(item, place)
        elif isinstance(item, CallOutput):
            self._add_result(item, place)
        elif isinstance(item, Reasoning):
            self._add_reasoning(item, place)
        elif isinstance(item, AdditionalTools):
            self.tools += [(tool, f"{place}.tools[{number}]") for number, tool in enumerate(item.tools)]
        elif isinstance(item, ItemReference):
            raise InvalidRequest(
                f"'{place}' refers to a stored item, which is not here: send the item itself.",
                param=f"{place}.id",
                code="item_not_found",
            )

    def _append(self, message: dict[str, Any], place: MessagePlace) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _add_message(self, item: Message, place: str) -> None:
        where = f"{place}.content"
        if item.role != "assistant":
            is_user = item.role == "user"
            content = (
                item.content if isinstance(item.content, str) else self._parts(item.content, where, text=not is_user)
            )
            self._append({"role": item.role, "content": content or ""}, MessagePlace(place, where))
            return
        message = self._open(place, thought_only=True)
        content = item.content if isinstance(item.content, str) else _assistant_content(item.content, where)
        message["content"] = _joined(message["content"], content)
        message |= {name: value for name in _OWN if (value := getattr(item, name)) is not None}
        self.places[-1] = msgspec.structs.replace(self.places[-1], item=place, content=where)

    def _open(self, place: str, *, thought_only: bool) -> dict[str, Any]:
        """Return the message of the assistant's turn, which is a new one where the last is none that goes on."""
        last = self.messages[-1] if self.messages else {}
        goes_on = last.get("role") == "assistant" and (
            "tool_calls" in last or not thought_only or (last["content"] is None and "reasoning_content" in last)
        )
        if not goes_on:
            self._append({"role": "assistant", "content": None}, MessagePlace(place, f"{place}.content", []))
        return self.messages[-1]

    def _add_call(self, item: FunctionCall | CustomToolCall, place: str) -> None:
        message = self._open(place, thought_only=False)
        if isinstance(item, FunctionCall):
            arguments = item.arguments
        else:
            arguments = msgspec.json.encode({CUSTOM_INPUT: item.input}).decode()
        function = {"name": item.name, "arguments": arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        self.called.append((function, item.namespace))
        if item.extra_content is not None:
            call["extra_content"] = item.extra_content
        message.setdefault("tool_calls", []).append(call)
        self._call_ids.add(item.call_id)
        self.places[-1].calls.append(place)

    def _add_result(self, item: CallOutput, place: str) -> None:
        where = f"{place}.output"
        if item.call_id not in self._call_ids:
            self.orphans.append(item.call_id)
        content: Any = item.output
        if isinstance(content, list):
            parts = self._parts(content, where)
            media = [part for part in parts if part["type"] != "text"]
            if media and not self._media:
                self._media_place = MessagePlace(place, where)
            self._media += media
            content = [part for part in parts if part["type"] == "text"] or (MEDIA_FOLLOW if media else "")
        message = {"role": "tool", "tool_call_id": item.call_id, "content": content}
        self._append(message, MessagePlace(place, where))

    def _add_reasoning(self, item: Reasoning, place: str) -> None:
        texts = [each.text for each in item.content or ()]
        text = "\n".join(texts) or carried_text(item.encrypted_content) or "\n".join(each.text for each in item.summary)
        if not text:
            return  # only who encrypted it can read it
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and ("tool_calls" in last or last["content"] is None):
            last.setdefault("reasoning_content", []).append(text)
            return
        # Joined at the end: there may be very many of them.
        message = {"role": "assistant", "content": None, "reasoning_content": [text]}
        self._append(message, MessagePlace(place, f"{place}.content", []))

    def _parts(self, parts: Sequence[Part], where: str, *, text: bool = False) -> list[dict[str, Any]]:
        found = []
        for number, part in enumerate(parts):
            place = f"{where}[{number}]"
            made = self._part(part, place)
            if text and made["type"] != "text":
                raise InvalidRequest(f"Invalid value for '{place}.type': instructions are text.", param=f"{place}.type")
            found.append(made)
        return found

    def _part(self, part: Part, place: str) -> dict[str, Any]:
        if isinstance(part, TextInput):
            return {"type": "text", "text": part.text, **_marks(part)}
        if isinstance(part, TextOutput):
            return {"type": "text", "text": part.text}
        if isinstance(part, RefusalOutput):
            return {"type": "text", "text": part.refusal}
        if isinstance(part, ImageInput):
            return self._image(part, place)
        if isinstance(part, FileInput):
            return self._file(part, place)
        return {"type": "input_audio", "input_audio": part.input_audio, **_marks(part)}

    def _image(self, part: ImageInput, place: str) -> dict[str, Any]:
        if part.image_url is None:
            if part.file_id is None:
                raise InvalidRequest(f"'{place}' needs an image_url.", param=f"{place}.image_url")
            self.needs.setdefault(NATIVE_ONLY, f"{place}.file_id")
        detail = "high" if part.detail == "original" else part.detail  # which no chat knows
        image = {"url": part.image_url or "", **({} if detail is None else {"detail": detail})}
        return {"type": "image_url", "image_url": image, **_marks(part)}

    def _file(self, part: FileInput, place: str) -> dict[str, Any]:
        names = ("file_data", "file_id", "filename")
        file = {name: value for name in names if (value := getattr(part, name)) is not None}
        if part.file_url is not None:
            self.needs.setdefault(NATIVE_ONLY, f"{place}.file_url")
        elif part.file_data is None and part.file_id is None:
            raise InvalidRequest(f"'{place}' needs file_data.", param=f"{place}.file_data")
        return {"type": "file", "file": file, **_marks(part)}


def _clean(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item without what changes nothing: nulls, also in its parts, and what clients note for themselves."""
    clean: dict[str, Any] = without_nulls(item)
    if not LEFT_OUT.isdisjoint(clean):
        clean = {name: value for name, value in clean.items() if name not in LEFT_OUT}
    for name in ("content", "output"):
        if isinstance(clean.get(name), list):
            clean = {**clean, name: [without_nulls(part) for part in clean[name]]}
    return clean


def _marks(part: TextInput | ImageInput | FileInput | AudioInput) -> dict[str, Any]:
    marks = {"cache_control": part.cache_control, "prompt_cache_breakpoint": part.prompt_cache_breakpoint}
    return {name: value for name, value in marks.items() if value is not None}


def _assistant_content(parts: Sequence[Part], where: str) -> Any:
    """Return the content of an assistant's message: a text where it is one."""
    found: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        if isinstance(part, RefusalOutput):
            found.append({"type": "refusal", "refusal": part.refusal})
        elif isinstance(part, TextInput | TextOutput):
            found.append({"type": "text", "text": part.text})
        else:
            place = f"{where}[{number}].type"
            raise InvalidRequest(f"Invalid value for '{place}': an assistant says text.", param=place)
    return found[0]["text"] if len(found) == 1 and found[0]["type"] == "text" else found or ""


def _joined(before: Any, content: Any) -> Any:
    """Return two contents of one message as one."""
    if not before:
        return content
    parts: list[list[Any]] = [
        part if isinstance(part, list) else [{"type": "text", "text": part}] for part in (before, content)
    ]
    parts[0].extend(parts[1])
    return parts[0]
