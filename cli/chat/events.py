"""The events of a streamed answer of /v1/chat/completions."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import msgspec

DONE: Final = b"[DONE]"
_LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024


class UnreadableAnswer(Exception):
    """The server sends something else than a stream of OpenAI's chunks; the text says what."""


class Piece(msgspec.Struct, frozen=True):
    """Text of the answer, or of the thoughts before it."""

    text: str
    is_thought: bool = False


class Served(msgspec.Struct, frozen=True):
    """The model and tier that answer."""

    tier: str
    model: str


class Ended(msgspec.Struct, frozen=True):
    """The reason why the model ended: `stop`, `length`, ..."""

    reason: str


class Counted(msgspec.Struct, frozen=True):
    """The tokens that it took."""

    prompt_tokens: int
    completion_tokens: int


class Failed(msgspec.Struct, frozen=True):
    """An error in the middle of the answer."""

    message: str


class Waiting(msgspec.Struct, frozen=True):
    """Nothing yet, but the gateway lives."""


Event = Piece | Served | Ended | Counted | Failed | Waiting


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: _Usage | None = None
    error: dict[str, Any] | None = None


_decoder: Final = msgspec.json.Decoder(_Chunk)


class EventReader:
    """Reads bytes as they come, cut anywhere. `is_done` once the stream said that it is whole."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.is_done = False

    def feed(self, received: bytes) -> list[Event]:
        """Return the events that are whole now.

        Raises:
            UnreadableAnswer: a line is none of such a stream.
        """
        # Only line feeds end lines: the texts in them may hold every other character that some call a line's end.
        *lines, rest = (self._rest + received).split(b"\n")
        self._rest = bytearray(rest)
        if len(rest) > _LONGEST_LINE_BYTES:
            raise UnreadableAnswer("a line without an end")
        return [event for line in lines for event in self._events(bytes(line).removesuffix(b"\r"))]

    def _events(self, line: bytes) -> list[Event]:
        if line.startswith(b":"):
            return [served_from(line[1:].decode(errors="replace")) or Waiting()]
        if not line.startswith(b"data:"):
            return []
        text = line[5:].strip()
        if text == DONE:
            self.is_done = True
            return []
        try:
            return _from_chunk(_decoder.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadableAnswer(f"an event that is no chunk ({error})") from None


def _from_chunk(chunk: _Chunk) -> list[Event]:
    found: list[Event] = []
    if chunk.error is not None:
        found.append(Failed(str(chunk.error.get("message") or "an error without a message")))
    for choice in chunk.choices:
        if choice.delta.reasoning_content:
            found.append(Piece(choice.delta.reasoning_content, is_thought=True))
        # What a model of OpenAI's refuses comes in a field of its own.
        if text := (choice.delta.content or "") + (choice.delta.refusal or ""):
            found.append(Piece(text))
        if choice.finish_reason:
            found.append(Ended(choice.finish_reason))
    if chunk.usage is not None:
        found.append(Counted(chunk.usage.prompt_tokens, chunk.usage.completion_tokens))
    return found


def served_from(comment: str) -> Served | None:
    """Return who answers, where a comment of the stream says it: `x-nself-tier=...; x-nself-model=...`."""
    fields = dict(part.strip().split("=", 1) for part in comment.split(";") if "=" in part)
    tier, model = fields.get("x-nself-tier"), fields.get("x-nself-model")
    return Served(tier, unquote(model)) if tier and model else None
