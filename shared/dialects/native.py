"""Answers of OpenAI's own to requests of its Responses API, as they came: only what is ours is put in. Pure.

That is the response's id and the model's name, and of what it repeats of the request those fields that went out
otherwise (`OURS`). All other events, and items with their ids, are OpenAI's own bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.responses.ids import response_id
from shared.dialects.responses.request import ENCRYPTED
from shared.dialects.responses.response import error_object
from shared.dialects.stored.begun import BegunItems
from shared.dialects.stored.thoughts import FIELD, hidden, shown
from shared.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.dialects.base import ReplyHead
    from shared.dialects.responses.request import ResponsesRequest
    from shared.errors import GatewayError

OURS: Final[dict[str, Any]] = {
    "instructions": None,
    "store": True,
    "previous_response_id": None,
    "background": False,
    "conversation": None,
}
"""Fields of the request that an answer repeats as they came, with OpenAI's defaults: they went out otherwise."""
WHOLE: Final = frozenset(
    f"response.{name}" for name in ("created", "queued", "in_progress", "completed", "incomplete", "failed")
)
"""The events that have the response in them; their data is a JSON object."""
_BEGINNINGS: Final = frozenset({"response.created", "response.queued"})
_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*-?\d+')
_WITH_ITEM: Final = frozenset({"response.output_item.added", "response.output_item.done"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})


class NativeReply:
    """An answer of OpenAI's as it grows.

    Args:
        head: what is the same in all of its parts.
        requested: the request.
    """

    def __init__(self, head: ReplyHead, requested: ResponsesRequest) -> None:
        self._head = head
        self._ours = {name: requested.fields.get(name, default) for name, default in OURS.items()}
        # Asked for by the gateway, which stores it.
        self._hides_thoughts = bool(requested.body.store) and not requested.includes(ENCRYPTED)
        self._is_numbered = bool(head.events_before)
        self._number = head.events_before
        self._last = b""
        self._response: dict[str, Any] | None = None
        self._begun: dict[str, Any] | None = None
        self._items: list[bytes] = []
        self._begun_items = BegunItems()

    @property
    def has_ended(self) -> bool:
        """Return whether it is whole."""
        return self._response is not None

    def take(self, events: Sequence[tuple[str, bytes]]) -> bytes:
        """Return events as they go on to the client, but for the last of all."""
        sent: list[bytes] = []
        for kind, given in events:
            if self._is_numbered and kind in _BEGINNINGS:
                self._begun = self._with_ours(msgspec.json.decode(given).get("response"))
                continue
            data = self._numbered(given) if self._is_numbered else given
            if kind == "response.output_item.done":
                self._items.append(data)
                self._begun_items.clear()
            elif self._ours["store"]:
                self._begun_items.take(kind, data)
            if kind not in WHOLE:
                sent.append(_event(kind, self._shown(data) if kind in _WITH_ITEM else data))
                continue
            event = msgspec.json.decode(data)
            self._begun = self._with_ours(event.get("response"))
            event["response"] = self._as_shown(self._begun)
            made = _event(kind, msgspec.json.encode(event))
            if kind in _ENDS:
                self._last, self._response = made, self._begun
            else:
                sent.append(made)
        return b"".join(sent)

    def last(self) -> bytes:
        return self._last

    def response(self) -> bytes:
        return msgspec.json.encode(None if self._response is None else self._as_shown(self._response))

    def result(self, error: GatewayError | None) -> bytes | None:
        """Return the response as it ended: whole, or with the items that were; None where nothing came."""
        if error is None or self._begun is None:
            return None if self._response is None else msgspec.json.encode(self._as_stored(self._response))
        output = [event["item"] for data in self._items if "item" in (event := msgspec.json.decode(data))]
        output += self._begun_items.items()
        ended = {**self._begun, "status": "cancelled", "output": output, "usage": None}
        if not isinstance(error, Cancelled):
            ended |= {"status": "failed", "error": error_object({"code": error.code, "message": error.message})}
        return msgspec.json.encode(self._as_stored(ended))

    def _numbered(self, data: bytes) -> bytes:
        """Return an event with the number that it has after those that its client has before."""
        number, self._number = self._number, self._number + 1
        return _NUMBER.sub(b'"sequence_number":%d' % number, data, count=1)

    def _shown(self, data: bytes) -> bytes:
        """Return an event with an item as the client gets it."""
        if not self._hides_thoughts or FIELD not in data:
            return data
        event = msgspec.json.decode(data)
        return msgspec.json.encode({**event, "item": shown(hidden(event["item"]))} if "item" in event else event)

    def _as_shown(self, response: dict[str, Any]) -> dict[str, Any]:
        return _with_items(response, lambda item: shown(hidden(item))) if self._hides_thoughts else response

    def _as_stored(self, response: dict[str, Any]) -> dict[str, Any]:
        return _with_items(response, hidden) if self._hides_thoughts else response

    def _with_ours(self, given: Any) -> dict[str, Any]:
        response: dict[str, Any] = given if isinstance(given, dict) else {}
        ours = {name: value for name, value in self._ours.items() if name in response}
        return {**response, **ours, "id": response_id(self._head.request_id), "model": self._head.model}


def _with_items(response: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    output = response.get("output")
    return {**response, "output": list(map(change, output))} if isinstance(output, list) and output else response


def _event(kind: str, data: bytes) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
