"""GET and DELETE /v1/responses/{id}, its input items, and its cancellation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Response, request

from api.endpoints.answer import authenticated_context
from api.endpoints.manage.guard import flag_argument, integer_argument
from api.endpoints.stored.arguments import (
    RESPONSES,
    digits_of,
    includes_thoughts,
    looked_up,
    not_found,
    page_of,
    reading,
    requested_page,
)
from api.endpoints.stored.streams import events_response
from api.gateway import gateway
from api.http.body import json_response
from api.requests.background.following import EventsGone
from shared.dialects.stored.items import items_of, listed
from shared.dialects.stored.thoughts import as_shown
from shared.dialects.stored.unanswered import unanswered
from shared.errors import InvalidRequest, RateLimited
from shared.process.tasks import work_beside
from shared.relay import CancelReason

if TYPE_CHECKING:
    from api.requests.context import RequestContext

MOST_EVENTS: Final = 10**9
ITEM_BYTES: Final = 1024
"""Size that an item counts for where it is not known."""


class _Request(msgspec.Struct):
    background: bool | None = None
    input: str | list[dict[str, Any]] = []


async def retrieve_response(response_id: str) -> Response:
    """Serve OpenAI's getResponse; one of the background is followed with `stream`, from `starting_after` on."""
    context = await authenticated_context(RESPONSES)
    async with looked_up(context):
        digits = digits_of(response_id, "resp")
        is_streamed = flag_argument("stream")
        after = integer_argument("starting_after", -1, low=0, high=MOST_EVENTS)
        if after >= 0 and not is_streamed:
            raise InvalidRequest("starting_after needs stream=true.", param="starting_after")
        body = await _body_of(digits, context)
        if body is None:
            raise not_found(response_id, "resp")
        if is_streamed:
            await _check_events(digits, after)
    if is_streamed:
        return events_response(digits, after, has_comments=context.principal.stream_comments)
    return Response(body, content_type="application/json")


async def delete_response(response_id: str) -> Response:
    """Serve OpenAI's deleteResponse. One that has not ended is cancelled."""
    context = await authenticated_context(RESPONSES)
    async with looked_up(context):
        parts, digits = gateway(), digits_of(response_id, "resp")
        # Asked first: once it is deleted it does not count as open.
        is_open = await parts.responses.stored.is_open(digits, context.key_id)
        if not await parts.responses.stored.delete(digits, context.key_id):
            raise not_found(response_id, "resp")
        if is_open:
            await parts.background.cancel(digits, CancelReason.BY_OWNER)
    return json_response({"id": response_id, "object": "response", "deleted": True})


async def cancel_response(response_id: str) -> Response:
    """Serve OpenAI's cancelResponse; one that has ended stays as it is."""
    context = await authenticated_context(RESPONSES)
    async with looked_up(context):
        parts, digits = gateway(), digits_of(response_id, "resp")
        if await parts.responses.stored.is_open(digits, context.key_id):
            await parts.background.cancel(digits, CancelReason.BY_OWNER)
        body = await _body_of(digits, context)
        if body is None:
            raise not_found(response_id, "resp")
        requested = await work_beside(len(body), partial(msgspec.json.decode, body, type=_Request))
        if not requested.background:
            raise InvalidRequest("Only a response of the background can be cancelled.", param="id")
    return Response(body, content_type="application/json")


async def list_input_items(response_id: str) -> Response:
    """Serve OpenAI's listInputItems: all that the model was given, what came before the request's own items first."""
    context = await authenticated_context(RESPONSES)
    async with looked_up(context):
        page = requested_page()
        async with reading(context) as read:
            items, size = await _input_of(digits_of(response_id, "resp"), context.key_id)
            await read(size)
        if items is None:
            raise not_found(response_id, "resp")
        found = page_of(items, page)
    return json_response(found)


async def _input_of(digits: str, key_id: str | None) -> tuple[list[dict[str, Any]] | None, int]:
    """Return all items that a response's model was given, None where the key has none of this id, and what was read."""
    parts = gateway()
    stored = parts.responses.stored
    open_one = await parts.background.records.request(digits) if await stored.is_open(digits, key_id) else None
    if open_one is not None:
        body = open_one.draft.body
        requested = await work_beside(len(body), lambda: msgspec.json.decode(body, type=_Request))
        return listed(requested.input, digits), len(body)
    chain = await stored.chain(digits, key_id)
    if not chain:
        return None, 0
    before = await (stored.context(chain[:-1]) if len(chain) > 1 else stored.before(chain[0]))
    own = await work_beside(len(chain[-1].input), lambda: items_of(chain[-1].input))
    return [*before, *own], sum(len(each.input) for each in chain) + ITEM_BYTES * len(before)


async def _body_of(digits: str, context: RequestContext) -> bytes | None:
    """Return a response object as it is now; None where the key has none of this id."""
    parts = gateway()
    records, stored = parts.background.records, parts.responses.stored
    async with reading(context) as read:
        known = await records.shown(digits) if await stored.is_open(digits, context.key_id) else None
        progress = None if known is None else await records.progress(digits)
        if known is not None and progress is not None:
            draft, shown = known
            model = (progress.served or progress.target).model if progress.worker else draft.requested_model
            body = unanswered(draft, model, progress.status, shown=shown)
        else:
            found = await stored.find(digits, context.key_id)
            if found is None:
                return None
            has_thoughts = includes_thoughts()
            raw = found.body.encode()
            body = await work_beside(len(raw), lambda: as_shown(raw, has_thoughts=has_thoughts))
        await read(len(body))
    return body


async def _check_events(digits: str, after: int) -> None:
    parts = gateway()
    if not parts.background.followers.has_room(digits):
        raise RateLimited("Too many connections follow this response.", code="too_many_followers", retry_after_s=5)
    try:
        await parts.background.followers.check(
            digits, after, is_open=bool(await parts.background.records.progress(digits))
        )
    except EventsGone:
        raise InvalidRequest(
            "Events are kept of responses of the background alone, up to 16 MiB and for an hour after the end; "
            "these are not there.",
            param="starting_after" if request.args.get("starting_after") else "stream",
            code="events_gone",
        ) from None
