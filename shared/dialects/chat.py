"""Chat completions: the dialect that all others are translated to. Its wire format is in `shared/openai/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.ids import completion_id
from shared.openai.reply import ChunkEncoder, CompletionFold

if TYPE_CHECKING:
    import msgspec

    from shared.dialects.base import ReplyHead
    from shared.errors import GatewayError
    from shared.openai.request import ChatRequest
    from shared.types import Usage


class ChatFold(CompletionFold):
    """A fold that knows what is the same in all parts of its reply."""

    def __init__(self, head: ReplyHead, *, legacy_calls: bool) -> None:
        super().__init__(legacy_calls=legacy_calls)
        self._head = head

    def finished(self, usage: Usage) -> bytes:
        """Return the finished body."""
        return self.body(completion_id(self._head.request_id), self._head.created_s, self._head.model, usage)


class ChatDialect:
    """OpenAI's chat completions; see `shared.dialects.base.Dialect`."""

    def read(self, _: bytes | msgspec.Raw) -> None:
        """Return None: a body is the chat itself."""

    def encoder(self, head: ReplyHead, request: ChatRequest) -> ChunkEncoder:
        """Return what makes chunks of events."""
        requested = request.body
        return ChunkEncoder(
            completion_id(head.request_id),
            head.created_s,
            head.model,
            include_usage=requested.wants_usage,
            legacy_calls=requested.has_legacy_calls,
        )

    def fold(self, head: ReplyHead, request: ChatRequest) -> ChatFold:
        """Return what makes one body of events."""
        return ChatFold(head, legacy_calls=request.body.has_legacy_calls)

    def failure(self, _: ReplyHead) -> None:
        """Return None: the last event is an error object."""

    def name_params(self, _: GatewayError) -> None:
        """Leave an error as it is: it names the chat's fields."""
