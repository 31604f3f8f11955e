"""Ids, pages of items and "not found", as the endpoints of stored responses share them."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quart import request

from api.admission.lookup_limits import charge_bytes, count_lookup
from api.endpoints.manage.guard import integer_argument
from api.gateway import gateway
from api.http.errors import from_exception
from api.prompt.responses.stored import BrokenChain
from shared.dialects.responses.body import INCLUDABLE
from shared.dialects.responses.request import ENCRYPTED
from shared.dialects.stored.items import as_listed
from shared.dialects.stored.thoughts import given, shown
from shared.errors import InvalidRequest, NotFound
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.responses.store import LongChain
from shared.redis.client import UNREACHABLE
from shared.redis.names import owner_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from api.requests.context import RequestContext

RESPONSES: Final = "stored_responses"
CONVERSATIONS: Final = "conversations"
"""These endpoints, as the usage log names them."""
DEFAULT_ITEMS: Final = 20
MOST_ITEMS: Final = 100
_ID: Final = re.compile(r"(resp|conv)_([0-9a-f]{32})")


class Page(NamedTuple):
    """A page of a list of items, with or without their encrypted thoughts."""

    after: str | None
    limit: int
    is_descending: bool
    has_thoughts: bool = False


def requested_page() -> Page:
    """Read which page of a list is asked for; the newest items come first.

    Raises:
        InvalidRequest: an argument is wrong.
    """
    order = request.args.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order must be asc or desc.", param="order", code="invalid_value")
    limit = integer_argument("limit", DEFAULT_ITEMS, low=1, high=MOST_ITEMS)
    return Page(request.args.get("after") or None, limit, order == "desc", includes_thoughts())


def includes_thoughts() -> bool:
    """Read whether encrypted thoughts are asked for, also those that the response's own client has not asked for.

    Raises:
        InvalidRequest: `include` names what OpenAI does not know.
    """
    # OpenAI's clients write a list as `include[]`, its document as `include`.
    names = [*request.args.getlist("include"), *request.args.getlist("include[]")]
    for name in names:
        if name not in INCLUDABLE:
            known = ", ".join(sorted(INCLUDABLE))
            text = f"Invalid value: '{name[:100]}'. Supported values are: {known}."
            raise InvalidRequest(text, param="include", code="invalid_value")
    return ENCRYPTED in names


def page_of(items: Sequence[dict[str, Any]], page: Page) -> dict[str, Any]:
    """Return a page of items as OpenAI's list.

    Args:
        items: all, the oldest first.
        page: which of them are wanted.

    Raises:
        InvalidRequest: none of them is the one after which the page begins.
    """
    ordered = list(reversed(items)) if page.is_descending else list(items)
    if page.after is not None:
        places = [number for number, item in enumerate(ordered) if item.get("id") == page.after]
        if not places:
            raise no_such_item(page)
        ordered = ordered[places[0] + 1 :]
    data = [as_listed(given(item) if page.has_thoughts else shown(item)) for item in ordered[: page.limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(ordered) > len(data),
    }


def no_such_item(page: Page) -> InvalidRequest:
    """Return the error for a page that begins after what is not there."""
    return InvalidRequest(f"No item of the list has the id '{(page.after or '')[:100]}'.", param="after")


def digits_of(name: str, kind: str) -> str:
    """Return the hex digits of the id of a response (`resp`) or a conversation (`conv`).

    Raises:
        NotFound: it is no such id.
    """
    found = _ID.fullmatch(name)
    if found is None or found.group(1) != kind:
        raise not_found(name, kind)
    return found.group(2)


def not_found(name: str, kind: str) -> NotFound:
    """Return the error for what the key has not: the same as if nobody had it."""
    what = "Response" if kind == "resp" else "Conversation"
    return NotFound(f"{what} with id '{name[:100]}' not found.", param="id")


@asynccontextmanager
async def reading(context: RequestContext) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Wait for the key's turn to read what is stored; what is entered counts the bytes that were read."""
    owner = owner_of(context.key_id)
    async with gateway().responses.reads.of(owner):

        async def read(size_bytes: int) -> None:
            if context.key_id is not None:
                await charge_bytes(gateway().redis, owner, size_bytes)

        yield read


@asynccontextmanager
async def looked_up(context: RequestContext) -> AsyncIterator[None]:
    """Count and log a request that asks no model, however it ends.

    Raises:
        GatewayError: what went wrong, as its caller is told.
    """
    with context.refusals():
        if not gateway().settings.store_responses:
            raise NotFound("Responses are not stored here (CLAW_STORE_RESPONSES).", code="responses_not_stored")
        try:
            if context.key_id is not None:  # the operator's own token has no limits
                await count_lookup(gateway().redis, context.key_id)
            yield
        except BrokenChain as error:
            text = f"A response before this one was deleted: resp_{error.args[0].hex}."
            raise NotFound(text, code="previous_response_not_found") from None
        except LongChain:
            raise InvalidRequest("The responses before this one are too many, or too large.") from None
        except (DatabaseUnavailable, *UNREACHABLE) as error:
            raise from_exception(error) from None
    context.answered()
