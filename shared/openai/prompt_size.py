"""The size of a prompt: its texts, about how many tokens they are, and how many they can be at the most. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from shared.openai.messages import (
    AssistantMessage,
    AudioPart,
    CustomToolCall,
    FilePart,
    ImagePart,
    RefusalPart,
    TextPart,
)
from shared.openai.request import CustomTool, JsonSchemaFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.openai.messages import Message
    from shared.openai.request import ChatBody
    from shared.types import AddedText

CHARS_PER_TOKEN: Final = 4
TOOL_PROMPT_TOKENS: Final = 1_000
"""Tokens that upstreams add to a prompt for tools or a form of the reply: Anthropic up to 804 tokens."""
ADDED_BYTES: Final = 16
"""More than what stands around a text that is put before a client's messages: a role, line ends."""
MOST_CONTEXT: Final = 2_000_000
"""No model's context is longer, in tokens."""
_MEDIA: Final = (ImagePart, AudioPart, FilePart)
_encode = msgspec.json.encode


class MostPrompt(NamedTuple):
    """The most that a request can send: tokens of text, and images, whose tokens depend on the model.

    `thoughts` is what Claude gets besides: its own earlier thinking, put back, in tokens.
    """

    tokens: int
    images: int = 0
    thoughts: int = 0


def prompt_texts(body: ChatBody) -> Iterator[str]:
    """Yield every text of a request that a model reads: messages, calls, tools, the form of the reply; no media."""
    for message in body.messages:
        content = message.content
        if isinstance(content, str):
            yield content
        else:
            for part in content or ():
                if isinstance(part, TextPart):
                    yield part.text
                elif isinstance(part, RefusalPart):
                    yield part.refusal
        if isinstance(message, AssistantMessage):
            yield from _assistant_texts(message)
    for tool in body.tools or ():
        yield _encode(tool.custom if isinstance(tool, CustomTool) else tool.function).decode()
    for function in body.functions or ():
        yield _encode(function).decode()
    if isinstance(body.response_format, JsonSchemaFormat):
        yield _encode(body.response_format.json_schema).decode()


def _assistant_texts(message: AssistantMessage) -> Iterator[str]:
    yield from (text for text in (message.thoughts, message.refusal) if text)
    for call in message.tool_calls or ():
        if isinstance(call, CustomToolCall):
            yield _encode(call.custom).decode()
        else:
            yield call.function.name
            yield call.function.arguments
    if message.function_call is not None:
        yield message.function_call.name
        yield message.function_call.arguments


def estimate_prompt_tokens(body: ChatBody) -> int:
    """Return about how many tokens a request's texts are.

    A quarter of their characters, half of those outside ASCII, of which tokens hold fewer.
    """
    return max(1, sum(map(_size, prompt_texts(body))) // CHARS_PER_TOKEN)


def estimate_text_tokens(text: str) -> int:
    """Return about how many tokens a text is, in the same way."""
    return _size(text) // CHARS_PER_TOKEN


def count_media(body: ChatBody) -> int:
    """Return how many images, sounds and files a request has."""
    return sum(isinstance(part, _MEDIA) for message in body.messages for part in _parts(message))


def most_prompt(size: int, body: ChatBody | None, added: Sequence[AddedText] = ()) -> MostPrompt:
    """Return how much a request can send at the most, for budgets.

    No token is less than a byte, whatever the tokenizer, and JSON writes no character in fewer bytes than UTF-8. Of a
    file only its upstream knows how many pages it has: one can fill any context.

    Args:
        size: of the client's own body, in bytes.
        body: what it says, for chat; the data of images in it is no text.
        added: what the gateway puts before its messages.
    """
    size += most_added(added)
    if body is None:
        return MostPrompt(size)
    images = 0
    for message in body.messages:
        for part in _parts(message):
            if isinstance(part, ImagePart):
                images += 1
                # Counted by images instead: base64 is no text.
                size -= len(part.image_url.url)
            elif isinstance(part, FilePart):
                return MostPrompt(MOST_CONTEXT)
    if body.tools or body.functions or body.response_format:
        size += TOOL_PROMPT_TOKENS
    return MostPrompt(max(1, size), images)


def most_added(added: Sequence[AddedText]) -> int:
    """Return how many tokens the gateway's own texts can have at the most: no token is less than a byte."""
    return sum(len(each.text.encode()) + ADDED_BYTES for each in added)


def _parts(message: Message) -> Sequence[msgspec.Struct]:
    return message.content if isinstance(message.content, list) else ()


def _size(text: str) -> int:
    # CPython knows it of a string without looking: nearly all prompts take this way.
    if text.isascii():
        return len(text)
    ascii_only = len(text.encode("ascii", "ignore"))
    return ascii_only + 2 * (len(text) - ascii_only)
