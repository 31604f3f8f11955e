"""OpenAI's messages as Anthropic's system text and turns. Pure.

Source of the shapes: Anthropic's Messages API (MessageParam, ToolUseBlockParam, ToolResultBlockParam). Its rules: the
first turn is the user's; roles alternate; the results of all calls of a turn come first in the next one; no blank text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import InvalidRequest
from shared.models.abilities import cannot_do
from shared.openai.messages import (
    AssistantMessage,
    CustomToolCall,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from workers.providers.anthropic.content import mark_last, mark_of, text_blocks, to_blocks, to_text
from workers.providers.anthropic.thinking import arrange, is_thought
from workers.providers.http.arguments import to_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.providers.anthropic.thinking import Piece

# Stands where a conversation begins with the assistant's words, which Anthropic does not allow.
OPENING = "(The assistant speaks first.)"
# Stands where it ends with them, which Claude's models since 4.6 do not allow (anomalyco/opencode#45359).
CLOSING = "(The user waits for more.)"
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


class Conversation(msgspec.Struct):
    """A conversation in Anthropic's form.

    Args:
        system: the instructions of all system and developer messages.
        turns: the `messages` to send.
        called: the names of all tools that were called.
        has_thoughts: whether thinking blocks were put back.
        is_open: whether the last turn awaits results of calls that no thinking block precedes.
    """

    system: str | list[dict[str, Any]]
    turns: list[dict[str, Any]]
    called: list[str]
    has_thoughts: bool
    is_open: bool


def to_conversation(messages: Sequence[Message], kept: Mapping[str, Sequence[Piece]]) -> Conversation:
    """Return the conversation in Anthropic's form.

    A participant's `name`, an image's `detail` and `reasoning_content` (unsigned, so of no use) have no place there.

    Args:
        messages: the client's messages.
        kept: the blocks of earlier turns, by the id of the turn's first call.

    Raises:
        InvalidRequest: a message holds what Anthropic cannot take; `param` names the place.
    """
    system: list[dict[str, Any]] = []
    turns = _Turns(kept)
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if isinstance(message, UserMessage):
            blocks = to_blocks(message.content, place)
            mark_last(blocks, message.cache_mark)
            turns.add("user", blocks)
        elif isinstance(message, AssistantMessage):
            turns.add_assistant(message, place)
        elif isinstance(message, ToolMessage):
            mark = mark_of(message, message.content)
            turns.add_result(message.tool_call_id, to_text(message.content), f"{place}.tool_call_id", mark)
        elif isinstance(message, FunctionMessage):
            turns.add_result(message.name, message.content or "", f"{place}.name")
        else:
            system += _instructions(message, place)
    return turns.finished(system)


def _instructions(message: SystemMessage | DeveloperMessage, place: str) -> list[dict[str, Any]]:
    """Return a message's instructions: its parts by themselves where one ends what shall be cached."""
    blocks: list[dict[str, Any]]
    if isinstance(message.content, str) or all(part.cache_mark is None for part in message.content):
        blocks = text_blocks(to_text(message.content))
    else:
        blocks = to_blocks([*message.content], place)
    mark_last(blocks, message.cache_mark)
    return blocks


def _joined(system: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return instructions as one text, where no part of them is to be cached by itself."""
    if any("cache_control" in block for block in system):
        return system
    return "\n".join(block["text"] for block in system)


class _Turns:
    """The turns as they grow, with the calls that still await their results."""

    def __init__(self, kept: Mapping[str, Sequence[Piece]]) -> None:
        self._kept = kept
        self._turns: list[dict[str, Any]] = []
        self._called: list[str] = []
        self._used: set[str] = set()
        self._awaited: dict[str, list[str]] = {}  # the client's id, or a legacy function's name -> ids sent
        self._place = ""
        self._has_thoughts = False
        self._thought = True

    def add(self, role: str, blocks: list[dict[str, Any]]) -> None:
        """Append blocks, to the last turn if it has the same role."""
        if not blocks:
            return
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    def add_assistant(self, message: AssistantMessage, place: str) -> None:
        """Append what the assistant said and called."""
        if message.audio is not None:
            raise cannot_do(f"{place}.audio")
        # What the assistant says in a row is one turn, whose calls are answered together.
        if self._turns and self._turns[-1]["role"] == "user":
            self._check_answered()
        text = to_text(message.content) or message.refusal or ""
        calls = []
        for number, call in enumerate(message.tool_calls or ()):
            where = f"{place}.tool_calls[{number}]"
            if isinstance(call, CustomToolCall):
                raise cannot_do(f"{where}.type")
            calls.append(self._to_call(call.id, call.id, call.function))
        if message.function_call is not None:
            name = message.function_call.name
            # A legacy call has a name and no id.
            calls.append(self._to_call(name, f"call_{len(self._used)}", message.function_call))
        if not calls:
            blocks = text_blocks(text)
            mark_last(blocks, mark_of(message, message.content))
            self.add("assistant", blocks)
            return
        self._place = place
        pieces = self._kept.get(message.tool_calls[0].id, ()) if message.tool_calls else ()
        self._thought = any(is_thought(piece) for piece in pieces)
        self._has_thoughts |= self._thought
        blocks = arrange(pieces, text, calls)
        mark_last(blocks, mark_of(message, message.content))
        self.add("assistant", blocks)

    def _to_call(self, key: str, call_id: str, function: FunctionCall) -> dict[str, Any]:
        sent_id = self._unique(call_id)
        self._awaited.setdefault(key, []).append(sent_id)
        self._called.append(function.name)
        return {"type": "tool_use", "id": sent_id, "name": function.name, "input": to_object(function.arguments)}

    def _unique(self, call_id: str) -> str:
        """Return the id as Anthropic takes it: of few characters, and once in a conversation."""
        base = _NOT_IN_IDS.sub("_", call_id) or "call"
        sent_id, number = base, 1
        while sent_id in self._used:
            number += 1
            sent_id = f"{base}_{number}"
        self._used.add(sent_id)
        return sent_id

    def add_result(self, key: str, text: str, where: str, mark: dict[str, Any] | None = None) -> None:
        """Append a call's result to the turn after the call."""
        sent_ids = self._awaited.get(key)
        if not sent_ids:
            raise InvalidRequest(f"No call right before awaits the result of '{key}'.", param=where)
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": sent_ids.pop(0)}
        if text.strip():
            result["content"] = text
        mark_last([result], mark)
        self.add("user", [result])

    def _check_answered(self) -> None:
        if any(self._awaited.values()):
            raise InvalidRequest(
                f"Each call of {self._place} must be followed by a message with its result.",
                param=f"{self._place}.tool_calls",
            )

    def finished(self, system: list[dict[str, Any]]) -> Conversation:
        """Return the whole conversation. Instructions alone are what the user says."""
        self._check_answered()
        turns = self._turns
        if not turns:
            text = _joined(system)
            self.add("user", text_blocks(text) if isinstance(text, str) else text)
            system = []
        if not turns:
            raise InvalidRequest("All messages are empty.", param="messages")
        if turns[0]["role"] == "assistant":
            turns.insert(0, {"role": "user", "content": text_blocks(OPENING)})
        for turn in turns:
            # Results first, as the API wants them, whatever the client put between.
            turn["content"].sort(key=_is_no_result)  # stable
        last = turns[-1]["content"]
        if turns[-1]["role"] == "assistant":
            # A last assistant turn that ends in white space is rejected.
            # It is a text: a call without a result was refused above.
            last[-1] = {**last[-1], "text": last[-1]["text"].rstrip()}
        is_open = not self._thought and last[0]["type"] == "tool_result"
        return Conversation(_joined(system), turns, self._called, self._has_thoughts, is_open)


def _is_no_result(block: dict[str, Any]) -> bool:
    return bool(block["type"] != "tool_result")
