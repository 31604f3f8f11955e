"""A Responses request, read: as a chat, and what its reply has to know of it. Pure."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from shared.dialects.responses.body import JsonObject, JsonSchema, ResponsesBody, checked
from shared.dialects.responses.conversation import Conversation
from shared.dialects.responses.names import name_fields, name_places
from shared.dialects.responses.places import Places
from shared.dialects.responses.tools import ToolBox
from shared.dialects.truncation import Truncation
from shared.errors import InvalidRequest
from shared.models.parameters import NATIVE_ONLY
from shared.openai.decoding import json_of
from shared.openai.prompt_size import CHARS_PER_TOKEN

if TYPE_CHECKING:
    from shared.errors import GatewayError

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
_FASTEST: Final = "ultrafast"
"""A tier that no chat can ask for."""
_PASSED: Final = (
    "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
    "service_tier", "stream", "temperature", "top_p", "user",
)  # fmt: skip
"""Fields that a chat has under the same name."""


class ResponsesRequest:
    """A request in the Responses dialect; see `shared.openai.client_request.ClientRequest`.

    Args:
        raw: the client's own bytes.

    Attributes:
        fields: those of the request as the client sent them.
        body: the same, checked.
        tools: what its tools are called in the chat.

    Raises:
        InvalidRequest: it is wrong; `param` names the field.
    """

    def __init__(self, raw: bytes | msgspec.Raw) -> None:
        self.raw = raw
        self.fields: dict[str, Any] = json_of(raw)
        self.body, others = checked(self.fields)
        conversation, self.tools = Conversation(), ToolBox()
        _converse(conversation, self.body)
        self.tools.add((tool, f"tools[{number}]") for number, tool in enumerate(self.body.tools))
        self.tools.add(conversation.tools)
        self.tools.name_functions()
        for function, namespace in conversation.called:
            function["name"] = self.tools.function_name(namespace, function["name"])
        choice = self.tools.choose(self.body.tool_choice, are_all=self.body.prompt is None)
        self.needs: dict[str, str] = {**conversation.needs, **self.tools.needs, **_needs(self.body)}
        self._conversation = conversation
        self._chat = {**others, "model": self.body.model, "messages": None, **_chat_fields(self.body)}
        if self.tools.functions:
            self._chat |= {"tools": self.tools.functions}
            self._chat |= {} if choice is None else {"tool_choice": choice}
        elif choice == "required":
            raise InvalidRequest("tool_choice 'required' needs tools.", param="tool_choice")
        self._leave_out(0)

    def _leave_out(self, gone: int) -> None:
        """Make the chat without so many blocks of the oldest messages."""
        self._gone, messages, places = gone, self._conversation.messages, self._conversation.places
        if gone:
            kept = self._truncation.kept(gone)
            messages, places = [messages[at] for at in kept], [places[at] for at in kept]
        self._places = Places(places, self.tools.places)
        self.chat = msgspec.json.encode({**self._chat, "messages": messages})

    def check_results(self) -> None:
        """Check that each result has its call before it, where no items may have it that only OpenAI reads.

        Raises:
            InvalidRequest: one has not.
        """
        for call_id in self._conversation.orphans if not self._conversation.needs else ():
            raise InvalidRequest(
                f"No tool call found for function call output with call_id {call_id[:100]}.", param="input"
            )

    @property
    def may_be_cut(self) -> bool:
        """Return whether the oldest of its items may be left out where they are too many for a model."""
        return self.body.truncation == "auto"

    def fitted(self, room_tokens: int) -> Self:
        """Return it without as many of its oldest items as do not fit into so many tokens, about."""
        tools = len(msgspec.json.encode(self.tools.functions)) // CHARS_PER_TOKEN if self.tools.functions else 0
        return self._cut(self._truncation.needed(room_tokens, tools))

    def shorter(self) -> Self | None:
        """Return it without half of the oldest items that it still has; None where there is nothing to leave out."""
        left = len(self._truncation.blocks) - self._gone if self.may_be_cut else 0
        return self._cut(self._gone + (left + 1) // 2) if left else None

    @property
    def _truncation(self) -> Truncation:
        return Truncation(self._conversation.messages, self._conversation.places)

    def _cut(self, gone: int) -> Self:
        if gone == self._gone:
            return self
        cut = copy(self)
        cut._leave_out(gone)  # noqa: SLF001 -- of its own class
        return cut

    @property
    def same_in_chat(self) -> list[str]:
        """Return the fields that it has and a chat has under the same name."""
        return [name for name in _PASSED if getattr(self.body, name) is not None]

    def chat_tool(self, number: int) -> int | None:
        """Return which tool of the chat one of the request is; None where no chat has it."""
        place = f"tools[{number}]"
        return self._places.tools.index(place) if place in self._places.tools else None

    @property
    def wants_summary(self) -> bool:
        """Return whether thoughts come as a summary."""
        return self.body.reasoning.wants_summary

    def includes(self, what: str) -> bool:
        """Return whether `include` names this."""
        return what in self.body.include

    def named(self, param: str) -> str:
        """Return the client's name of a parameter of the chat."""
        return self._places.named(param)

    def name_params(self, error: GatewayError) -> None:
        """Let an error about the chat name the client's own parameters."""
        name_places(error, self.named)
        name_fields(error)


def _converse(conversation: Conversation, body: ResponsesBody) -> None:
    if body.instructions:
        conversation.add_text("system", body.instructions, "instructions")
    if isinstance(body.input, list):
        conversation.add_items(body.input)
    elif body.input is not None:
        conversation.add_text("user", body.input, "input")
    if not conversation.messages and not conversation.needs and body.prompt is None:
        text = "nothing but thoughts, which lead to nothing" if body.input else "no items"
        raise InvalidRequest(f"The input has {text}.", param="input", code="invalid_value")
    if not conversation.messages:
        # What only OpenAI's own API can take alone: routing needs a chat all the same.
        conversation.add_text("user", "", "input")


def _chat_fields(body: ResponsesBody) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(body, name) for name in _PASSED}
    fields["max_completion_tokens"] = body.max_output_tokens
    fields["reasoning_effort"] = body.reasoning.effort
    fields["verbosity"] = None if body.text.verbosity == "medium" else body.text.verbosity
    if LOGPROBS in body.include:
        fields |= {"logprobs": True, "top_logprobs": body.top_logprobs}
    if isinstance(body.text.format, JsonObject):
        fields["response_format"] = {"type": "json_object"}
    elif isinstance(body.text.format, JsonSchema):
        wanted = body.text.format
        schema = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not None}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in fields.items() if value is not None}


def _needs(body: ResponsesBody) -> dict[str, str]:
    """Return what a chat has no fields for, and changes an answer."""
    requested = {
        "prompt": body.prompt is not None,
        "moderation": body.moderation is not None,
        "context_management": body.context_management is not None,
        "reasoning.context": body.reasoning.context not in {None, "auto"},
        "reasoning.mode": body.reasoning.mode not in {None, "standard"},
        "service_tier": body.service_tier == _FASTEST,
    }
    first = next((name for name, is_requested in requested.items() if is_requested), None)
    return {} if first is None else {NATIVE_ONLY: first}
