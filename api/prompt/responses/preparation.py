"""Preparation of a request for a response: stored items before its own, and how it will be stored itself.

The body that goes on has all items in its input, so that whoever reads it later needs nothing else. All other fields
stay as its client sent them, but for `store`, which says what is really done.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from api.admission.admit import QueueUnavailable
from api.prompt.headers import SESSION_HEADER
from api.prompt.responses.state_fields import state_fields_of
from api.prompt.responses.stored import BrokenChain
from shared.dialects.stored.items import response_of_item
from shared.dialects.stored.pending import CONTINUED, StoredHead, status_of
from shared.dialects.stored.thoughts import given
from shared.errors import InvalidRequest, NotFound, Overloaded
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.responses.store import LongChain
from shared.process.tasks import LARGE_BYTES, work_beside
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.prompt.responses.locks import ConversationLocks
    from api.prompt.responses.state_fields import StateFields
    from api.prompt.responses.stored import StoredResponses
    from shared.errors import GatewayError
    from shared.settings import Settings

MOST_INPUT_BYTES: Final = 8 * 1024 * 1024
"""Of a request's own items, where it is stored. One with more is not stored, or refused where it must be."""
LOOKS: Final = 8
LOOK_S: Final = 0.25
"""Waits before an item is looked for again that may be on its way into PostgreSQL."""
EVENTS_BEFORE: Final = 2
"""Of a response of the background: see `begun_events`."""
_PLACE: Final = re.compile(r"\binput\[([0-9]{1,9})\]")
_ID: Final = re.compile(r"(?:resp|conv)_([0-9a-f]{32})")


class StateRequest(NamedTuple):
    """The request to prepare: its id, the api process's and the key's, and whether it belongs to a session.

    `before_reading` waits for the key's turn to read what is stored; it raises where the request would be refused.
    """

    request_id: str
    api_id: str
    key_id: str | None
    has_session: bool
    before_reading: Callable[[], Awaitable[None]]


class _Before(NamedTuple):
    """Stored state before a request's own items: items, the response that its chain begins with, a conversation."""

    items: list[dict[str, Any]]
    root_id: str
    conversation_id: str = ""


class PreparedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body with all items in it.

    Args:
        body: JSON.
        stored: how it will be stored; None where it is not.
        earlier_items: how many items of its input are not its own.
        source: the field that brought those.
        conversation_id: the conversation that the request has, in hex digits.
        is_left_out: whether it is not stored for its size, though its client has not asked for that.
    """

    body: bytes
    stored: StoredHead | None = None
    earlier_items: int = 0
    source: str = ""
    conversation_id: str = ""
    is_left_out: bool = False

    def name_places(self, error: GatewayError) -> None:
        """Let an error about this body name the items by their places in the client's own."""

        def own(found: re.Match[str]) -> str:
            number = int(found.group(1)) - self.earlier_items
            return f"input[{number}]" if number >= 0 else self.source

        if self.earlier_items:
            error.message = _PLACE.sub(own, error.message)
            error.param = error.param and _PLACE.sub(own, error.param)


class Preparation:
    """Prepares the requests of this process.

    Args:
        settings: whether responses are stored.
        responses: those that are.
        locks: who has which conversation.
    """

    def __init__(self, settings: Settings, responses: StoredResponses, locks: ConversationLocks) -> None:
        self._is_storing = settings.store_responses
        self._responses = responses
        self._locks = locks

    async def prepare(self, raw: bytes, request: StateRequest) -> PreparedBody:
        """Return the body of a request as it goes on. One that is wrong otherwise is returned as it is.

        Args:
            raw: the client's own JSON.
            request: who asks.

        Raises:
            InvalidRequest: what it continues is not there, or cannot be continued; `param` names the field.
            NotFound: the key has no such conversation.
            Conflict: another request has the conversation.
            Overloaded: PostgreSQL or Redis does not answer.
        """
        fields = await work_beside(len(raw), lambda: state_fields_of(raw))
        if fields is None:
            return PreparedBody(body=raw)
        self._check(fields, request)
        is_stored = self._is_storing and fields.store is not False and not request.has_session
        if is_stored and fields.input_bytes > MOST_INPUT_BYTES:
            is_stored = _may_be_left_out(fields)
        try:
            if fields.about_stored or fields.references:
                await request.before_reading()
            return await self._prepared(fields, request, is_stored=is_stored)
        except DatabaseUnavailable as error:
            text = f"Stored responses cannot be read: the gateway's database {error.public}. Try again."
            raise Overloaded(text, code="database_unavailable", retry_after_s=2) from None
        except UNREACHABLE:
            raise QueueUnavailable from None

    def give_back(self, prepared: PreparedBody, request_id: str) -> None:
        """Give back what a request has that was not admitted."""
        if prepared.conversation_id:
            self._locks.give_back(prepared.conversation_id, request_id)

    def _check(self, fields: StateFields, request: StateRequest) -> None:
        """Refuse what cannot be.

        Raises:
            InvalidRequest: `param` names the field.
        """
        for name in fields.about_stored:
            if not self._is_storing:
                text = f"'{name}' is not supported: responses are not stored here (CLAW_STORE_RESPONSES)."
                raise InvalidRequest(text, param=name, code="unsupported_parameter")
            if request.has_session:
                text = f"'{name}' and {SESSION_HEADER} exclude each other: a session keeps what is said in it itself."
                raise InvalidRequest(text, param=name, code="unsupported_parameter")
        if fields.previous is not None and fields.conversation is not None:
            text = "'previous_response_id' and 'conversation' exclude each other."
            raise InvalidRequest(text, param="conversation", code="mutually_exclusive_parameters")
        for name in ("background", "conversation"):
            if name in fields.about_stored and fields.store is False:
                raise InvalidRequest(f"'{name}' needs a response that is stored.", param="store", code="invalid_value")

    async def _prepared(self, fields: StateFields, request: StateRequest, *, is_stored: bool) -> PreparedBody:
        before = await self._before(fields, request)
        try:
            earlier = list(map(given, before.items))
            referred = {item["id"]: item for item in earlier if isinstance(item.get("id"), str)}
            # PostgreSQL has no text with a NUL character.
            wanted = [name for name in fields.references.values() if name not in referred and "\x00" not in name]
            if wanted and self._is_storing:
                found = await self._found(wanted, request.key_id)
                referred |= {name: given(item) for name, item in found.items()}
            # What is stored may be large, however few its items are.
            size = LARGE_BYTES + 1 if earlier or referred else fields.input_bytes
            body = await work_beside(size, lambda: fields.body(store=is_stored, earlier=earlier, referred=referred))
        # Also where the client leaves meanwhile: its lock would stand for seconds.
        except BaseException:
            if before.conversation_id:
                self._locks.give_back(before.conversation_id, request.request_id)
            raise
        head = StoredHead(
            previous_id=_digits(fields.previous),
            root_id=before.root_id,
            conversation_id=before.conversation_id,
            earlier_items=len(before.items),
            is_background=fields.is_background,
            events_before=EVENTS_BEFORE if fields.is_background else 0,
        )
        return PreparedBody(
            body=body,
            stored=head if is_stored else None,
            earlier_items=len(before.items),
            source="conversation" if before.conversation_id else "previous_response_id",
            conversation_id=before.conversation_id,
            is_left_out=not is_stored and self._is_storing and fields.store is None and not request.has_session,
        )

    async def _found(self, wanted: list[str], key_id: str | None) -> dict[str, dict[str, Any]]:
        """Return stored items; those with ids that an upstream made are found once they are in PostgreSQL."""
        found = await self._responses.items(wanted, key_id)
        for _ in range(LOOKS):
            # An id of ours names its response, which is looked for in Redis too: what is missing then is not there.
            if len(found) == len(set(wanted)) or all(map(response_of_item, set(wanted) - set(found))):
                break
            await asyncio.sleep(LOOK_S)
            found = await self._responses.items(wanted, key_id)
        return found

    async def _before(self, fields: StateFields, request: StateRequest) -> _Before:
        if fields.previous is not None:
            return await self._continued(fields.previous, request.key_id)
        if fields.conversation is not None:
            return await self._conversed(fields.conversation, request)
        return _Before([], request.request_id)

    async def _continued(self, previous: str, key_id: str | None) -> _Before:
        """Return the items of a response and of all before it."""
        gone = InvalidRequest(
            f"Previous response with id '{previous[:100]}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
        if not (digits := _digits(previous)):
            raise gone
        try:
            chain = await self._responses.chain(digits, key_id)
        except BrokenChain as error:
            gone.message = f"A response before '{previous}' was deleted: resp_{error.args[0].hex}."
            raise gone from None
        except LongChain:
            text = "The responses before this one are too many, or too large: begin anew with what matters of them."
            raise InvalidRequest(text, param="previous_response_id", code="context_length_exceeded") from None
        if not chain and not await self._responses.is_open(digits, key_id):
            raise gone
        if (status := status_of(chain[-1].body) if chain else "in progress") not in CONTINUED:
            raise InvalidRequest(
                f"Previous response with id '{previous}' is {status}, and cannot be continued.",
                param="previous_response_id",
                code="previous_response_not_completed",
            )
        return _Before(await self._responses.context(chain), chain[0].root_id.hex)

    async def _conversed(self, conversation: str, request: StateRequest) -> _Before:
        """Take a conversation, and return its items."""
        digits = _digits(conversation)
        if not digits or await self._responses.conversation(digits, request.key_id) is None:
            raise NotFound(
                f"Conversation with id '{conversation[:100]}' not found.",
                param="conversation",
                code="conversation_not_found",
            )
        await self._locks.take(digits, request.api_id, request.request_id)
        try:
            items = [item for _, item in await self._responses.conversation_items(digits)]
        except BaseException:
            self._locks.give_back(digits, request.request_id)
            raise
        return _Before(items, request.request_id, digits)


def _may_be_left_out(fields: StateFields) -> bool:
    """Return False: a request that is too large is not stored.

    Raises:
        InvalidRequest: its client wants it to be.
    """
    if fields.store or fields.about_stored:
        most = MOST_INPUT_BYTES // 2**20
        text = f"A response is stored whose own items have at most {most} MiB. Send it with store false."
        raise InvalidRequest(text, param="store", code="input_too_large_to_store")
    return False


def _digits(name: str | None) -> str:
    """Return the hex digits of an id; nothing where it is none of ours."""
    found = _ID.fullmatch(name or "")
    return found.group(1) if found else ""
