"""The fields of a Responses request but its items and tools, checked. Pure.

Source of the shapes: OpenAI's OpenAPI document, schema CreateResponse.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from shared.dialects.responses.wire import converted, unknown_field, without_nulls
from shared.errors import InvalidRequest
from shared.models.response_parameters import IGNORED_FIELDS
from shared.openai.request import ChatBody, PositiveInt
from shared.types import ModelName, Name

MOST_METADATA: Final = 16
MOST_KEY_CHARS: Final = 64
MOST_VALUE_CHARS: Final = 512
"""OpenAI's bounds of `metadata`, which stands in each reply."""


class PlainText(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Plain text."""


class JsonObject(Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class JsonSchema(Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """JSON that follows a schema."""

    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextParam(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the answer's text."""

    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: str | None = None


class ReasoningParam(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the model's thinking, and of what is shown of it."""

    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None

    @property
    def wants_summary(self) -> bool:
        """Return whether thoughts come as a summary."""
        return (self.summary or self.generate_summary) is not None


class ConversationParam(Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation, by its id."""

    id: str


class StreamOptions(Struct, forbid_unknown_fields=True):
    include_obfuscation: bool | None = None


class ResponsesBody(Struct, kw_only=True):
    """The fields of POST /v1/responses, as far as OpenAI names them."""

    model: ModelName
    input: str | list[Any] | None = None
    background: bool | None = None
    context_management: list[dict[str, Any]] | None = None
    conversation: str | ConversationParam | None = None
    include: list[str] = []
    instructions: str | None = None
    max_output_tokens: PositiveInt | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    moderation: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning: ReasoningParam = ReasoningParam()
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: TextParam = TextParam()
    tool_choice: str | dict[str, Any] | None = None
    tools: list[Any] = []
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None


_KNOWN: Final = frozenset(ResponsesBody.__struct_fields__)
_OF_CHAT: Final = frozenset(ChatBody.__struct_fields__) - _KNOWN
INCLUDABLE: Final = frozenset({
    "code_interpreter_call.outputs", "computer_call_output.output.image_url", "file_search_call.results",
    "message.input_image.image_url", "message.output_text.logprobs", "reasoning.encrypted_content",
    "web_search_call.action.sources", "web_search_call.results",
})  # fmt: skip
"""Values of `include`; what is of no tool that runs here adds nothing."""


def checked(fields: Any) -> tuple[ResponsesBody, dict[str, Any]]:
    """Return the fields that OpenAI names, and those that it does not, which are passed on.

    Raises:
        InvalidRequest: one is wrong; `param` names it.
    """
    given = without_nulls(fields)
    body = converted(given, ResponsesBody, "")
    # Seen by who takes the one API for the other, and by no server: it would not be done.
    for name in given:
        if name in _OF_CHAT:
            raise unknown_field(name)
    _check(body)
    return body, {name: value for name, value in given.items() if name not in _KNOWN | IGNORED_FIELDS}


def _check(body: ResponsesBody) -> None:
    if body.input is None and body.prompt is None:
        raise InvalidRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    for number, name in enumerate(body.include):
        if name not in INCLUDABLE:
            raise InvalidRequest(
                f"Invalid value: '{name[:100]}'. Supported values are: {', '.join(sorted(INCLUDABLE))}.",
                param=f"include[{number}]",
                code="invalid_value",
            )
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options is only allowed when stream is true.", param="stream_options")
    if len(body.metadata) > MOST_METADATA or any(
        len(name) > MOST_KEY_CHARS or len(value) > MOST_VALUE_CHARS for name, value in body.metadata.items()
    ):
        raise InvalidRequest(
            f"metadata has at most {MOST_METADATA} pairs, of {MOST_KEY_CHARS} and {MOST_VALUE_CHARS} characters.",
            param="metadata",
            code="invalid_value",
        )
