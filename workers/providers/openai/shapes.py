"""The shapes of what servers of OpenAI's API answer. Pure.

Source: OpenAI's OpenAPI document, schemas CreateChatCompletionStreamResponse and CreateChatCompletionResponse; where
servers put what it has no place for: DeepSeek, llama.cpp, vLLM and OpenRouter (`reasoning_content`, `reasoning`),
GitHub Copilot (`reasoning_text`), Moonshot and Groq (their places of usage). A choice without the list of choices is
Cohere's second chat API's (`message`, `finish_reason`) and Ollama's (`message`, `done`), a bare text llama.cpp's
`/completion` (`content`), Cloudflare's (`response`) and text generation inference's (`generated_text`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct

from shared.errors import Malformed
from workers.providers.http.error_body import from_error, is_failure
from workers.providers.http.values import COUNTED_BYTES
from workers.providers.openai.parts import detailed_text
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.finish import End
from workers.providers.replies.json_reader import Text, Word, json_reader, read_any
from workers.providers.replies.tool_calls import Piece
from workers.providers.replies.wrapped import unwrapped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

NULL = Raw(b"null")
MOST_CHOICES: Final = 128
"""As many as a request can ask for."""
_OF_MESSAGES: Final = frozenset({"role", "content", "tool_calls", "function_call", "reasoning_content", "reasoning"})
_MESSAGES: Final = ("message", "delta")
_TEXTS: Final = ("content", "response", "output_text", "generated_text", "text")
_ENDS: Final = ("finish_reason", "done_reason", "stop_reason")
_OF_FAILURES: Final = ("error", "errors", "detail", "message", "msg")
_NO_ARGUMENTS: Final[tuple[Any, ...]] = (None, {}, [])


class Function(Struct):
    """The function of a call, and its arguments."""

    name: Word | None = None
    arguments: Any = None  # an object at older llama.cpp servers


class ToolCall(Struct):
    """A call, or a piece of one."""

    index: int | None = None
    id: Word | None = None
    function: Function | None = None
    extra_content: dict[str, Any] | None = None
    name: Word | None = None  # where it has no function
    arguments: Any = None

    def to_piece(self) -> Piece:
        """Return it as a piece that `ToolCalls` takes."""
        function = self.function or Function(self.name, self.arguments)
        given = function.arguments
        arguments = given if isinstance(given, str) else "" if given in _NO_ARGUMENTS else to_text(given)
        return Piece(self.index, self.id, function.name, arguments, self.extra_content)


class Message(Struct):
    """An answer, or a piece of one."""

    content: Any = None  # parts at Mistral
    reasoning_content: Text | None = None
    reasoning: Text | None = None
    reasoning_text: Text | None = None
    thinking: Text | None = None
    refusal: Text | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    annotations: list[Any] | None = None
    reasoning_details: list[Any] | None = None
    extra_content: dict[str, Any] | None = None
    images: list[Any] | None = None
    finish_reason: End | None = None  # where the choice has none

    @property
    def thoughts(self) -> str | None:
        """Return its reasoning, under the first of the names that servers have for it, which may be all of them."""
        named = self.reasoning_content or self.reasoning or self.reasoning_text or self.thinking
        return named or (detailed_text(self.reasoning_details) if self.reasoning_details else None)

    @property
    def extra(self) -> dict[str, Any] | None:
        """Return the fields that OpenAI does not name."""
        given = {
            "reasoning_details": self.reasoning_details,
            "extra_content": self.extra_content,
            "images": self.images,
        }
        return {name: value for name, value in given.items() if value} or None


_NOTHING: Final = Message()
_NO_REASONS: Final = frozenset({"null", "none"})


class Choice(Struct):
    """The new part of one choice."""

    index: int = 0
    delta: Message | None = None
    message: Message | None = None
    text: Text | None = None  # at servers that answer as for /completions
    finish_reason: End | None = None
    stop_reason: str | None = None
    logprobs: Raw = NULL
    usage: Raw = NULL  # Moonshot's

    @property
    def end(self) -> str:
        """Return the word for its end, wherever it stands; empty where it has not ended."""
        word = self.finish_reason
        if not word and (piece := self.delta or self.message) is not None:
            word = piece.finish_reason
        return "" if not word or word.lower() in _NO_REASONS else word

    @property
    def content(self) -> tuple[Message | None, bool]:
        """Return the first of its places that says anything, and whether that is a piece of a message."""
        if self.delta is not None and ((self.message is None and not self.text) or self.delta != _NOTHING):
            return self.delta, True
        return self.message or (Message(content=self.text) if self.text else None), False


class Groq(Struct):
    """Groq's own fields."""

    usage: Raw = NULL


class Chunk(Struct):
    """A chunk of a stream, or a whole completion."""

    choices: list[Choice] | None = None
    usage: Raw = NULL
    x_groq: Groq | None = None
    citations: list[Any] | None = None  # Perplexity's, again in each chunk
    search_results: list[Any] | None = None
    service_tier: Any = None
    error: Any = None

    @property
    def report(self) -> Raw:
        """Return what it reports of the tokens used, wherever that stands."""
        if self.usage != NULL or (self.x_groq is None and not self.choices):
            return self.usage
        if self.x_groq is not None and self.x_groq.usage != NULL:
            return self.x_groq.usage
        return next((choice.usage for choice in self.choices or () if choice.usage != NULL), NULL)


read_chunk = json_reader(Chunk, takes_anything=True)
_read_choice: Final = json_reader(Choice)


def checked_choices(choices: Sequence[Choice] | None, ended: Collection[int]) -> Sequence[Choice]:
    """Return the choices of a chunk.

    Args:
        choices: none, where the chunk is of something else.
        ended: those that have ended.

    Raises:
        Malformed: there are more than anybody asked for.
    """
    if choices and max(len(choices), len(ended)) > MOST_CHOICES:
        raise _too_many()
    return choices or ()


def _too_many() -> Malformed:
    return Malformed(f"The model server's answer has more than {MOST_CHOICES} choices.")


def to_chunk(data: bytes, *, is_whole: bool = False) -> Chunk:
    """Return a chunk, or a whole completion, wherever its choices stand.

    Args:
        data: JSON.
        is_whole: whether it is all of a reply, so that a text alone is its answer.

    Raises:
        Malformed: it is no JSON, or has more choices than anybody asked for.
    """
    # Counted before they are made, which takes too long for one step. In a text the name has a backslash in it.
    if len(data) > COUNTED_BYTES and data.count(b'"delta"') > MOST_CHOICES:
        raise _too_many()
    chunk = read_chunk(data)
    if chunk.choices is not None or chunk.error:
        return chunk
    report, inner = chunk.usage, unwrapped(data, _is_chunk)
    if inner is not None:
        data, chunk = inner, read_chunk(inner)
    if chunk.choices is None and not chunk.error and (choice := _to_choice(read_any(data), is_whole=is_whole)):
        chunk.choices = [choice]
    chunk.usage = report if chunk.usage == NULL else chunk.usage
    return chunk


def _is_chunk(value: dict[str, Any]) -> bool:
    return "choices" in value or bool(value.get("error")) or any(_is_message(value.get(name)) for name in _MESSAGES)


def _to_choice(value: Any, *, is_whole: bool) -> Choice | None:
    """Return the choice that an object is; None where it is none, as a report of an error."""
    if not isinstance(value, dict):
        return None
    content = {name: value[name] for name in _MESSAGES if _is_message(value.get(name))}
    if not content and is_whole and not any(map(value.get, _OF_FAILURES)) and _is_sound(value):
        text = next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), "")
        content = {"text": text} if text else {}
    if not content:
        return None
    ended = value.get("done") is True or value.get("stop") is True
    end = next((value[name] for name in _ENDS if value.get(name)), "stop" if ended else None)
    return _read_choice(msgspec.json.encode({**content, "finish_reason": end}))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and not _OF_MESSAGES.isdisjoint(value)


def _is_sound(value: dict[str, Any]) -> bool:
    """Return whether an object says of nothing that it failed."""
    return value.get("success") is not False and from_error(value).status is None and not is_failure(value.get("error"))
