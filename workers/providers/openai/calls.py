"""Earlier tool calls as servers of OpenAI's API take them back. Pure.

Models repeat ids (`functions.read_file:0`), other APIs and clients make long ones, and answers are cut off in the
middle of a call's arguments. OpenAI rejects an id that is given twice or has more than 40 characters; vLLM and
llama.cpp decode the arguments for the chat template, and fail; Mistral takes ids of nine letters and digits only.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from workers.providers.http.arguments import to_object

MOST_ID_CHARS: Final = 40
SHORT_ID_CHARS: Final = 9
SHORT_IDS: Final = "tool_calls[].id"
"""Beginning of the rejection of a server that takes short ids only."""


def with_sound_calls(messages: list[Any], *, only_ids: bool = False, short_ids: bool = False) -> list[Any]:
    """Return messages whose calls have one id each and arguments that are an object; those that are sound as they are.

    Args:
        messages: of a request whose form has been checked.
        only_ids: leave arguments as they are, as OpenAI does.
        short_ids: give every call an id of nine letters and digits.
    """
    return _Calls(only_ids=only_ids, short_ids=short_ids).mended(messages)


def wants_short_ids(text: str) -> bool:
    """Return whether a rejection's text is Mistral's about an id: it has no code of its own for that."""
    return "Tool call id was" in text or "tool call id must be" in text.lower()


class _Calls:
    def __init__(self, *, only_ids: bool, short_ids: bool) -> None:
        self._only_ids = only_ids
        self._short_ids = short_ids
        self._used: set[str] = set()
        self._tried: dict[str, int] = {}
        self._open: dict[str, list[str]] = {}

    def mended(self, messages: list[Any]) -> list[Any]:
        return [self._message(message) if isinstance(message, dict) else message for message in messages]

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("tool_calls"):
            mine: dict[str, list[str]] = {}
            calls = [self._call(call, mine) for call in message["tool_calls"]]
            self._open |= mine
            return message if calls == message["tool_calls"] else {**message, "tool_calls": calls}
        if message.get("role") != "tool":
            return message
        # Results of calls that had one id come in the order of the calls.
        ids = self._open.get(message["tool_call_id"]) or [message["tool_call_id"]]
        sent_id = ids.pop(0) if len(ids) > 1 else ids[0]
        return message if sent_id == message["tool_call_id"] else {**message, "tool_call_id": sent_id}

    def _call(self, call: dict[str, Any], mine: dict[str, list[str]]) -> dict[str, Any]:
        sent_id = self._unique(call["id"])
        mine.setdefault(call["id"], []).append(sent_id)
        mended = call if sent_id == call["id"] else {**call, "id": sent_id}
        function = call.get("function")
        if self._only_ids or function is None:
            return mended
        arguments = _object_text(function["arguments"])
        return (
            mended
            if arguments == function["arguments"]
            else {**mended, "function": {**function, "arguments": arguments}}
        )

    def _unique(self, call_id: str) -> str:
        """Return the id if it can be sent and was not, else another one, the same for the same conversation."""
        # From where the last one of this id was found: those before it are used, and thousands may be called alike.
        sent_id, number = call_id, self._tried.get(call_id, 1)
        while self._cannot_be_sent(sent_id) or (self._short_ids and sent_id == call_id):
            digest = hashlib.sha256(f"{number}:{call_id}".encode()).hexdigest()
            sent_id = digest[:SHORT_ID_CHARS] if self._short_ids else f"call_{digest[:24]}"
            number += 1
        self._used.add(sent_id)
        self._tried[call_id] = number
        return sent_id

    def _cannot_be_sent(self, call_id: str) -> bool:
        return not call_id or len(call_id) > MOST_ID_CHARS or call_id in self._used


def _object_text(arguments: str) -> str:
    """Return arguments that are an object as they are, others inside one; none are an empty one."""
    try:
        if isinstance(msgspec.json.decode(arguments), dict):
            return arguments
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    return msgspec.json.encode(to_object(arguments)).decode()
