"""A response of which no answer is known: one that waits, or that ended before its model said anything. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.base import ReplyHead
from shared.dialects.responses.response import NOTHING_REQUESTED, error_object, requested_fields, response_object
from shared.dialects.responses.stream import event_bytes
from shared.dialects.stored.items import listed, output_of
from shared.dialects.stored.pending import PendingResponse, ResponseEnd
from shared.errors import Cancelled

if TYPE_CHECKING:
    from shared.dialects.stored.pending import StoredHead
    from shared.errors import GatewayError
    from shared.types import JobDraft

MOST_SHOWN_BYTES: Final = 65_536
"""Of what a request says of itself in the events of its admission: one that is refused has not brought more."""
_encode: Final = msgspec.json.encode


class _Body(msgspec.Struct):
    input: str | list[dict[str, Any]] = []


def shown_of(job: JobDraft) -> bytes:
    """Return what a response says of its request's own fields, as a JSON object: all but its items."""
    return _encode(requested_fields(msgspec.json.decode(job.body)))


def unanswered(
    job: JobDraft, model: str, status: str, error: GatewayError | None = None, shown: bytes | None = None
) -> bytes:
    """Return the response object, as JSON.

    Args:
        job: its request.
        model: that serves it, or was asked for.
        status: how far it is.
        error: how it failed, where it did.
        shown: what `shown_of` returns, where that is known.
    """
    failure = None if error is None else error_object({"code": error.code, "message": error.message})
    fields = msgspec.json.decode(shown_of(job) if shown is None else shown, type=dict[str, msgspec.Raw])
    return _encode(response_object(ReplyHead.of(job, model), fields, status=status, error=failure))


def failed(job: JobDraft, model: str, error: GatewayError, kept: bytes | None = None) -> bytes:
    """Return the response object of one that ended with an error.

    Args:
        job: its request.
        model: that served it.
        error: how it failed.
        kept: the response object as far as its worker had come, where that has kept it.
    """
    if isinstance(error, Cancelled):
        body = unanswered(job, model, "cancelled")
    else:
        body = unanswered(job, model, "failed", error)
    return body if kept is None else _encode({**msgspec.json.decode(body), "output": output_of(kept)})


def begun_events(job: JobDraft, shown: bytes) -> bytes:
    """Return the events that say that a response of the background is there, `StoredHead.events_before` of them.

    Args:
        job: its request, which need not have its body.
        shown: what is shown of that; what is long is left out there.
    """
    shown = shown if len(shown) <= MOST_SHOWN_BYTES else _encode({**NOTHING_REQUESTED, "background": True})
    response = msgspec.Raw(unanswered(job, job.requested_model, "queued", shown=shown))
    names = ("response.created", "response.queued")
    return b"".join(event_bytes(name, number, {"response": response}) for number, name in enumerate(names))


def own_items(job: JobDraft, head: StoredHead) -> list[dict[str, Any]]:
    """Return what a request brought itself, as it is stored."""
    given = msgspec.json.decode(job.body, type=_Body).input
    own = given if isinstance(given, str) else given[head.earlier_items :]
    return listed(own, job.request_id)


def kept_head(job: JobDraft, head: StoredHead) -> bytes:
    """Return a response that has not ended, as JSON that its body and a brace make whole."""
    return _encode(_pending(job, head, b"0")).removesuffix(b"0}")


def response_end(job: JobDraft, head: StoredHead, body: bytes, *, has_end_event: bool) -> ResponseEnd:
    """Return what a closing leaves of a response.

    Args:
        job: its request.
        head: how it is stored.
        body: the response object, as JSON.
        has_end_event: whether its stream has its end.
    """
    # No event is named after a cancellation: whoever follows is told by the response that it has.
    last_event = b"" if has_end_event else event_bytes("response.failed", -1, {"response": msgspec.Raw(body)})
    return ResponseEnd(_encode(_pending(job, head, body)), head.conversation_id, last_event)


def _pending(job: JobDraft, head: StoredHead, body: bytes) -> PendingResponse:
    return PendingResponse(
        id=job.request_id,
        key_id=job.key_id,
        head=head,
        created_ms=job.admitted_ms,
        input=msgspec.Raw(_encode(own_items(job, head))),
        body=msgspec.Raw(body),
    )
