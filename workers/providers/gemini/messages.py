"""OpenAI's messages as Gemini's contents. Pure: what must be fetched or looked up first comes in as `Known`.

Source of the shapes: google.ai.generativelanguage.v1beta (Content, Part, FunctionCall, FunctionResponse) and the types
of google-genai.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.errors import InvalidRequest
from shared.models.abilities import cannot_do
from shared.openai.messages import (
    AssistantMessage,
    CustomToolCall,
    FunctionMessage,
    FunctionToolCall,
    Message,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)
from workers.providers.gemini.parts import to_part
from workers.providers.http.arguments import to_object
from workers.providers.images.remote import Image

# Google's word for a call that another model made, or whose signature is lost (ai.google.dev, "Thought signatures").
NO_SIGNATURE: Final = "skip_thought_signature_validator"
# Stands where a conversation begins with the assistant's words or call: Gemini takes them after a user's turn only.
OPENING: Final = "(The assistant speaks first.)"
# Stands where it ends with its words: newer models take no turn of their own as the last (LibreChat-AI/agents#323).
CLOSING: Final = "(The user waits for more.)"
_MINTED = "call_"
_Part = dict[str, Any]


class Known(msgspec.Struct, frozen=True):
    """The images and tool-call state that messages refer to.

    Args:
        images: the remote images, by URL.
        signatures: thought signatures by tool-call id.
        needs_signatures: whether the model rejects a turn whose first function call has none.
        takes_instructions: whether it takes instructions beside the turns; else they begin the user's first one.
        goes_on: whether the last turn may be its own, to be continued; else the user's follows.
    """

    images: Mapping[str, Image] = msgspec.field(default_factory=dict)
    signatures: Mapping[str, str] = msgspec.field(default_factory=dict)
    needs_signatures: bool = False
    takes_instructions: bool = True
    goes_on: bool = True


def to_contents(messages: list[Message], known: Known) -> tuple[list[_Part], list[dict[str, Any]]]:
    """Return the parts of the system instruction, and the contents: alternating turns of `user` and `model`.

    A participant's `name`, an image's `detail` and the reasoning of earlier turns have no place there. Empty texts are
    left out, since Gemini rejects them. A conversation of instructions only becomes the user's.

    Raises:
        InvalidRequest: a message holds what Gemini cannot take; `param` names the place.
    """
    conversation = _Conversation(known)
    for number, message in enumerate(messages):
        conversation.add(message, f"messages[{number}]")
    conversation.close()
    system, contents = conversation.system, conversation.contents
    if not contents or (system and not known.takes_instructions):
        # Gemini rejects a request without contents.
        if not contents or contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": []})
        contents[0]["parts"][:0], system = system, []
    if not contents[0]["parts"]:
        raise InvalidRequest("The messages are empty.", param="messages")
    if contents[0]["role"] == "model":
        contents.insert(0, {"role": "user", "parts": [{"text": OPENING}]})
    if contents[-1]["role"] == "model" and not known.goes_on:
        contents.append({"role": "user", "parts": [{"text": CLOSING}]})
    return system, contents


class _Call:
    """A call that waits for its result."""

    def __init__(self, key: str, call: dict[str, Any], place: str) -> None:
        self.key = key
        self.call = call
        self.place = place
        self.result: dict[str, Any] | None = None


class _Conversation:
    """Gathers messages into turns."""

    def __init__(self, known: Known) -> None:
        self.system: list[_Part] = []
        self.contents: list[dict[str, Any]] = []
        self._known = known
        self._open: list[_Call] = []
        self._ids: set[str] = set()

    def add(self, message: Message, place: str) -> None:
        """Append one message."""
        if isinstance(message, ToolMessage):
            name = f"{place}.tool_call_id"
            self._answer(message.tool_call_id, _joined(message.content), name, f"has the id '{message.tool_call_id}'")
            return
        if isinstance(message, FunctionMessage):
            self._answer(message.name, message.content or "", f"{place}.name", f"is of '{message.name}'")
            return
        if isinstance(message, UserMessage):
            self.close()
            self._turn("user", self._user_parts(message, place))
        elif isinstance(message, AssistantMessage):
            self.close()
            self._turn("model", self._assistant_parts(message, place))
        else:
            self.system += _text_parts(message.content)

    def close(self) -> None:
        """End the results of the last calls: they make one user turn, in the order of the calls.

        Raises:
            InvalidRequest: a call has no result.
        """
        for each in self._open:
            if each.result is None:
                raise InvalidRequest(f"The tool call at {each.place} has no result after it.", param=each.place)
        parts = [{"functionResponse": {**each.call, "response": each.result}} for each in self._open]
        self._open = []
        self._turn("user", parts)

    def _turn(self, role: str, parts: list[_Part]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _answer(self, key: str, text: str, place: str, what: str) -> None:
        for each in self._open:
            if each.key == key and each.result is None:
                each.result = _to_response(text)
                return
        raise InvalidRequest(f"No tool call just before {place} that {what} waits for a result.", param=place)

    def _user_parts(self, message: UserMessage, place: str) -> list[_Part]:
        if isinstance(message.content, str):
            return _text_parts(message.content)
        parts: list[_Part] = []
        for number, part in enumerate(message.content):
            if isinstance(part, TextPart):
                parts += _text_parts(part.text)
            else:
                parts.append(to_part(part, f"{place}.content[{number}]", self._known.images))
        return parts

    def _assistant_parts(self, message: AssistantMessage, place: str) -> list[_Part]:
        if message.audio is not None:
            raise cannot_do(f"{place}.audio")
        parts = _reported(message)
        calls: list[_Part] = []
        for number, call in enumerate(message.tool_calls or ()):
            calls.append(self._call_part(call, f"{place}.tool_calls[{number}]"))
        if message.function_call is not None:
            where = f"{place}.function_call"
            made = {"name": message.function_call.name}
            self._open.append(_Call(message.function_call.name, made, where))
            arguments = to_object(message.function_call.arguments)
            calls.append({"functionCall": {**made, "args": arguments}})
        if calls and self._known.needs_signatures:
            # The first call of a turn alone: that is the one that the API checks.
            calls[0].setdefault("thoughtSignature", NO_SIGNATURE)
        return parts + calls

    def _call_part(self, call: FunctionToolCall | CustomToolCall, where: str) -> _Part:
        if isinstance(call, CustomToolCall):
            raise cannot_do(f"{where}.type")
        # Only an id that Gemini may have given goes back: it never saw those that a provider of ours minted.
        identity = {} if call.id.startswith(_MINTED) or call.id in self._ids else {"id": call.id}
        self._ids.add(call.id)
        made = {**identity, "name": call.function.name}
        self._open.append(_Call(call.id, made, where))
        arguments = to_object(call.function.arguments)
        part: _Part = {"functionCall": {**made, "args": arguments}}
        if signature := self._known.signatures.get(call.id):
            part["thoughtSignature"] = signature
        return part


def _text_parts(content: str | list[TextPart]) -> list[_Part]:
    texts = [content] if isinstance(content, str) else [part.text for part in content]
    return [{"text": text} for text in texts if text]


def _joined(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _reported(message: AssistantMessage) -> list[_Part]:
    content = message.content
    if content is None or isinstance(content, str):
        return _text_parts(content or message.refusal or "")
    texts = [part.refusal if isinstance(part, RefusalPart) else part.text for part in content]
    return [{"text": text} for text in texts if text]


def _to_response(text: str) -> dict[str, Any]:
    """Return a result as the object that Gemini wants: itself if it is one, else its text as the output.

    `output` and `error` mean something of their own there, so that an object which has them is wrapped too.
    """
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    if isinstance(decoded, dict) and not decoded.keys() & {"output", "error"}:
        return decoded
    return {"output": decoded if isinstance(decoded, dict) else text}
