"""Responses as a dialect: a row of `shared/dialects/table.py`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.dialects.responses.names import name_fields
from shared.dialects.responses.reply import ResponseEncoder, ResponseFold
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.stream import ResponseFailure

if TYPE_CHECKING:
    import msgspec

    from shared.dialects.base import ReplyHead
    from shared.errors import GatewayError
    from shared.openai.request import ChatRequest


class ResponsesDialect:
    """OpenAI's Responses; see `shared.dialects.base.Dialect`."""

    def read(self, raw: bytes | msgspec.Raw) -> ResponsesRequest:
        """Return a request, checked.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        return ResponsesRequest(raw)

    def encoder(self, head: ReplyHead, request: ChatRequest) -> ResponseEncoder:
        """Return what makes a stream's events of the model's."""
        return ResponseEncoder(head, _requested(request))

    def fold(self, head: ReplyHead, request: ChatRequest) -> ResponseFold:
        """Return what makes one body of events."""
        return ResponseFold(head, _requested(request))

    def failure(self, head: ReplyHead) -> ResponseFailure:
        """Return what ends a stream that failed."""
        return ResponseFailure(head)

    def name_params(self, error: GatewayError) -> None:
        """Let an error name fields as Responses has them."""
        name_fields(error)


def _requested(request: ChatRequest) -> ResponsesRequest:
    if not isinstance(request.client, ResponsesRequest):
        raise TypeError("the request is of another dialect")
    return request.client
