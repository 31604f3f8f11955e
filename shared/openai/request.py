"""OpenAI's chat requests: their fields, checked. Pure: no I/O, no clock.

Source of the shapes: OpenAI's OpenAPI document, schema CreateChatCompletionRequest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shared.errors import GatewayError, InvalidRequest
from shared.openai.added import joined, name_clients_places, put_first, put_first_in_json
from shared.openai.decoding import decoded
from shared.openai.history import MENDABLE, completed
from shared.openai.messages import AssistantMessage, Message
from shared.openai.sessions.history import History
from shared.types import AddedText, ModelName, Name

if TYPE_CHECKING:
    from shared.openai.client_request import ClientRequest


class FunctionDefinition(Struct):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class FunctionTool(Struct, tag_field="type", tag="function"):
    """A function tool; `cache_control` is Anthropic's."""

    function: FunctionDefinition
    cache_control: dict[str, Any] | None = None


class CustomTool(Struct, tag_field="type", tag="custom"):
    """A custom tool, with free-form input."""

    custom: dict[str, Any]


class TextFormat(Struct, tag_field="type", tag="text"):
    """Plain text."""


class JsonObjectFormat(Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(Struct):
    """A named JSON schema."""

    name: Name
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema"):
    """JSON that follows a schema."""

    json_schema: JsonSchema


class StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


PositiveInt = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class ChatBody(Struct, kw_only=True):
    """The body of POST /v1/chat/completions, as far as OpenAI names its fields."""

    model: ModelName
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | dict[str, Any] | None = None
    functions: Annotated[list[FunctionDefinition], Meta(min_length=1, max_length=128)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: PositiveInt | None = None
    max_tokens: PositiveInt | None = None
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text", "audio", "image"]] | None = None  # images at OpenRouter and its like
    moderation: dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    tools: list[FunctionTool | CustomTool] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None

    @property
    def output_limit(self) -> int | None:
        """Return the most tokens to make: `max_completion_tokens`, else the older `max_tokens`."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def has_legacy_calls(self) -> bool:
        """Return whether calls are answered as the deprecated `function_call`: there are functions, and no tools."""
        return bool(self.functions) and not self.tools

    @property
    def has_tools(self) -> bool:
        """Return whether there are tools, or functions as they were before tools."""
        return bool(self.tools or self.functions)

    @property
    def tool_names(self) -> frozenset[str]:
        """Return the names of the functions that may be called."""
        tools = [tool.function.name for tool in self.tools or () if isinstance(tool, FunctionTool)]
        return frozenset((*tools, *(function.name for function in self.functions or ())))

    @property
    def wants_usage(self) -> bool:
        """Return whether a stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest:
    """A chat request: what the client said, with what the gateway puts before its messages.

    Args:
        raw: the client's own bytes, without what is added.
        added: what is put first (`shared/openai/added.py`); in `body` and in `fields` it stands in its place.
        history: what a session puts before the client's messages; so does that.
        read: reads the client's own bytes where they are of another dialect, and returns None where they are a chat.
    """

    def __init__(
        self,
        raw: bytes | msgspec.Raw,
        added: Sequence[AddedText] = (),
        history: History | None = None,
        read: Callable[[bytes | msgspec.Raw], ClientRequest | None] = lambda _: None,
    ) -> None:
        self.raw = raw
        self._read = read
        self._added = joined(added)
        self._history = history
        self._more_messages = self._earlier_messages = 0
        self._is_chat = False

    @cached_property
    def client(self) -> ClientRequest | None:
        """Return the request in its client's own dialect, where that is no chat.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        return self._read(self.raw)

    @property
    def added(self) -> str:
        """Return what the gateway puts before the client's messages."""
        return self._added

    @property
    def earlier_messages(self) -> list[dict[str, Any]]:
        """Return what a session puts before them."""
        earlier = [] if self._history is None else self._history.put_before([])
        return list(completed({"messages": earlier})["messages"])

    @property
    def _chat(self) -> bytes | msgspec.Raw:
        return self.raw if self._is_chat or self.client is None else self.client.chat

    @cached_property
    def size_bytes(self) -> int:
        """Return how long it is, without what is put first."""
        return len(self.raw) + (0 if self._history is None else self._history.size_bytes)

    def mentions(self, word: bytes) -> bool:
        """Return whether these bytes stand in what the client said or in what a session puts before it."""
        return word in bytes(self._chat) or (self._history is not None and self._history.mentions(word))

    @cached_property
    def body(self) -> ChatBody:
        """Return the fields that OpenAI names.

        Raises:
            InvalidRequest: the body is not a chat request; `param` names the field.
        """
        body = decode_chat(self._chat if self._history is None else msgspec.json.encode(self._with_history()))
        if self._added:
            of_client = len(body.messages)
            body.messages = put_first(self._added, body.messages)
            self._more_messages = len(body.messages) - of_client
        return body

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Return every field as the client sent it, also those that OpenAI does not name."""
        fields = completed(msgspec.json.decode(self._chat) if self._history is None else self._with_history())
        if self._added:
            of_client = fields["messages"]
            fields["messages"] = put_first_in_json(self._added, of_client)
            self._more_messages = len(fields["messages"]) - len(of_client)
        return fields

    def _with_history(self) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.json.decode(self._chat)
        if self._history is not None:
            of_client = fields["messages"]
            fields["messages"] = self._history.put_before(of_client)
            self._earlier_messages = len(fields["messages"]) - len(of_client)
        return fields

    def name_clients_places(self, error: GatewayError) -> None:
        """Let an error about `body` or `fields` name the client's messages by the client's own numbers."""
        if self._more_messages or self._earlier_messages:
            name_clients_places(error, self._more_messages + self._earlier_messages)

    def without(self, *names: str) -> ChatRequest:
        """Return the same request without these fields."""
        return self.with_fields({name: value for name, value in self.fields.items() if name not in names})

    def with_fields(self, fields: dict[str, Any]) -> ChatRequest:
        """Return the same request with other fields: those of `fields`, so with what is added in its place already."""
        changed = ChatRequest(msgspec.json.encode(fields))
        changed.client, changed._is_chat = self.client, True
        changed._more_messages, changed._earlier_messages = self._more_messages, self._earlier_messages
        return changed


def decode_chat(raw: bytes | msgspec.Raw) -> ChatBody:
    """Return the body of a chat completion request, checked.

    Raises:
        InvalidRequest: it is not JSON, or a field is wrong; `param` names the field.
    """
    try:
        body = decoded(ChatBody, raw)
    except InvalidRequest as error:
        if not MENDABLE.fullmatch(error.param or ""):
            raise
        body = decoded(ChatBody, msgspec.json.encode(completed(msgspec.json.decode(raw))))
    _check_combinations(body)
    return body


def _check_combinations(body: ChatBody) -> None:
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options is only allowed when stream is true.", param="stream_options")
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs is only allowed when logprobs is true.", param="top_logprobs")
    for number, message in enumerate(body.messages):
        if (
            isinstance(message, AssistantMessage)
            and message.content is None
            and not (message.tool_calls or message.function_call or message.refusal or message.audio or message.images)
            and not message.thoughts
        ):
            raise InvalidRequest(
                f"messages[{number}].content is missing: an assistant message needs content or tool_calls.",
                param=f"messages[{number}].content",
            )
    if isinstance(body.tool_choice, str) and body.tool_choice == "required" and not body.tools:
        raise InvalidRequest("tool_choice 'required' needs tools.", param="tool_choice")
