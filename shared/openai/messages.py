"""OpenAI's chat messages and what they are made of, as msgspec checks them.

Source of the shapes: OpenAI's OpenAPI document, schema ChatCompletionRequestMessage.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from shared.types import CallId, Name


class Cacheable(Struct, kw_only=True):
    """An object that may end a part of the prompt that shall be cached.

    OpenAI's mark is `prompt_cache_breakpoint`; clients that speak to Claude in OpenAI's format set `cache_control`.
    """

    cache_control: dict[str, Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None

    @property
    def cache_mark(self) -> dict[str, Any] | None:
        """Return the mark as Anthropic has it, whichever was set."""
        return self.cache_control or (None if self.prompt_cache_breakpoint is None else {"type": "ephemeral"})


class TextPart(Cacheable, tag_field="type", tag="text"):
    """A content part of text."""

    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    """A refusal that the assistant gave before."""

    refusal: str


class ImageUrl(Struct):
    """An image, by data URL or http(s) URL."""

    url: str
    detail: str | None = None


class ImagePart(Cacheable, tag_field="type", tag="image_url"):
    """A content part that is an image."""

    image_url: ImageUrl


class AudioPart(Cacheable, tag_field="type", tag="input_audio"):
    """A content part that is audio."""

    input_audio: dict[str, Any]


class FilePart(Cacheable, tag_field="type", tag="file"):
    """A content part that is a file."""

    file: dict[str, Any]


TextParts = Annotated[list[TextPart], Meta(min_length=1)]
UserParts = Annotated[list[TextPart | ImagePart | AudioPart | FilePart], Meta(min_length=1)]


class FunctionCall(Struct):
    """A function's name and its arguments as a JSON text."""

    name: Name
    arguments: str


class FunctionToolCall(Struct, tag_field="type", tag="function"):
    """A call of a function tool that the assistant made."""

    id: CallId
    function: FunctionCall


class CustomToolCall(Struct, tag_field="type", tag="custom"):
    """A call of a custom tool that the assistant made."""

    id: CallId
    custom: dict[str, Any]


class SystemMessage(Cacheable, tag_field="role", tag="system"):
    """Instructions."""

    content: str | TextParts
    name: Name | None = None


class DeveloperMessage(Cacheable, tag_field="role", tag="developer"):
    """Instructions, under their newer name."""

    content: str | TextParts
    name: Name | None = None


class UserMessage(Cacheable, tag_field="role", tag="user"):
    content: str | UserParts
    name: Name | None = None


class AssistantMessage(Cacheable, tag_field="role", tag="assistant"):
    """An earlier message of the model; `images` are those that it made, as OpenRouter has them."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None  # the same, as vLLM and OpenRouter name it
    name: Name | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    function_call: FunctionCall | None = None

    @property
    def thoughts(self) -> str | None:
        """Return what it thought before it spoke, under either name."""
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else None)


class ToolMessage(Cacheable, tag_field="role", tag="tool"):
    """The result of a tool call."""

    content: str | TextParts
    tool_call_id: CallId


class FunctionMessage(Struct, tag_field="role", tag="function"):
    """The result of a legacy function call."""

    content: str | None
    name: Name


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


def first_call_ids(messages: list[Message]) -> list[str]:
    """Return the id of each assistant message's first call: what the thinking before it is kept under."""
    return [
        message.tool_calls[0].id for message in messages if isinstance(message, AssistantMessage) and message.tool_calls
    ]
