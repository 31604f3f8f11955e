"""The interface of every dialect: an API that clients speak, translated to and from the gateway's requests and events.

A dialect is one package (or module) here, one row of `shared/dialects/table.py`, and its URL in `api/app.py`. A request
in it travels as its client sent it, and is read as a chat where it must be understood. Pure: no I/O, no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

    from shared.errors import GatewayError
    from shared.openai.client_request import ClientRequest
    from shared.openai.request import ChatRequest
    from shared.types import Delta, Event, Finish, JobDraft, Usage


class ReplyHead(NamedTuple):
    """The facts that are the same in all parts of a reply.

    Attributes:
        request_id: hex digits.
        created_s: when the request was admitted, in seconds since 1970.
        model: that serves it.
        events_before: how many events of a stream its client has before.
    """

    request_id: str
    created_s: int
    model: str
    events_before: int = 0

    @classmethod
    def of(cls, job: JobDraft, model: str) -> ReplyHead:
        """Return the head of a job's reply."""
        before = 0 if job.stored is None else job.stored.events_before
        return cls(job.request_id, job.admitted_ms // 1000, model, before)


class Encoder(Protocol):
    """Turns the events of one answer into the bytes of a stream."""

    def encode(self, event: Delta | Finish) -> bytes:
        """Return what an event adds to the stream."""
        ...

    def end(self, usage: Usage) -> bytes:
        """Return what closes the stream."""
        ...


class Fold(Protocol):
    """Adds up the events of one answer into a body."""

    def add(self, event: Event) -> None:
        """Add one event; `Usage` is the caller's to keep."""
        ...

    def finished(self, usage: Usage) -> bytes:
        """Return the body."""
        ...


@runtime_checkable
class Storable(Protocol):
    """An encoder or a fold whose answer can be stored."""

    def result(self, error: GatewayError | None) -> bytes | None:
        """Return the whole answer, as it ended; None where its client has not seen its beginning.

        Args:
            error: how it failed; None where it did not.
        """
        ...


class StreamFailure(Protocol):
    """Says in a stream that has begun that its request failed."""

    def count(self, chunk: bytes) -> None:
        """Take note of bytes that the client gets."""
        ...

    def events(self, error: Mapping[str, Any], model: str | None) -> bytes:
        """Return the last events of the stream.

        Args:
            error: OpenAI's error object.
            model: that served the request, None where none did.
        """
        ...


class Dialect(Protocol):
    """One API that clients speak."""

    def read(self, raw: bytes | msgspec.Raw) -> ClientRequest | None:
        """Return a request, None where its own bytes are those of a chat.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        ...

    def encoder(self, head: ReplyHead, request: ChatRequest) -> Encoder:
        """Return what encodes a streamed answer."""
        ...

    def fold(self, head: ReplyHead, request: ChatRequest) -> Fold:
        """Return what folds an answer that is not streamed."""
        ...

    def failure(self, head: ReplyHead) -> StreamFailure | None:
        """Return what ends a stream that failed; None where that is an error object alone.

        Args:
            head: of the reply, with the model that was asked for.
        """
        ...

    def name_params(self, error: GatewayError) -> None:
        """Let an error name fields of the request as its client knows them."""
        ...
