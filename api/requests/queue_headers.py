"""Headers of a request about its place in the queue and its name: priority, longest wait, id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.http.headers import MAX_WAIT_HEADER, PRIORITY_HEADER
from shared.errors import InvalidRequest, ModelNotAllowed
from shared.queue.placement import PRIORITIES

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

CLIENT_REQUEST_HEADER: Final = "x-client-request-id"
MOST_CLIENT_ID_CHARS: Final = 128
MOST_WAIT_S: Final = 86_400
"""The longest patience that a client can name: a day."""


def priority_of(headers: Headers, *, is_admin: bool) -> str:
    """Return the priority that the request asks for.

    Raises:
        InvalidRequest: there is no such priority.
        ModelNotAllowed: the key is no admin's.
    """
    priority = headers.get(PRIORITY_HEADER)
    if priority is None:
        return "normal"
    if priority.lower() not in PRIORITIES:
        raise InvalidRequest(
            f"{PRIORITY_HEADER} must be one of {', '.join(PRIORITIES)}.",
            param=PRIORITY_HEADER,
            code="invalid_value",
        )
    if not is_admin:
        raise ModelNotAllowed(
            f"Only a key with admin_allowed may set {PRIORITY_HEADER}.",
            param=PRIORITY_HEADER,
            code="priority_not_allowed",
        )
    return priority.lower()


def max_wait_s_of(headers: Headers) -> float | None:
    """Return for how many seconds the client is willing to wait for a turn; None where it does not say.

    Raises:
        InvalidRequest: that is no number of seconds.
    """
    text = headers.get(MAX_WAIT_HEADER)
    if text is None:
        return None
    try:
        max_wait_s = float(text)
    except ValueError:
        max_wait_s = -1.0
    # Put this way round for NaN, which `float` reads and no comparison is true of.
    if not 0 <= max_wait_s <= MOST_WAIT_S:
        raise InvalidRequest(
            f"{MAX_WAIT_HEADER} must be a number of seconds from 0 to {MOST_WAIT_S}.",
            param=MAX_WAIT_HEADER,
            code="invalid_value",
        )
    return max_wait_s


def patient_until_ms(admitted_ms: int, max_wait_s: float | None, longest_s: float) -> int:
    """Return until when a client is willing to wait for a turn, milliseconds since 1970; 0 where it does not say.

    Args:
        admitted_ms: when its request was admitted.
        max_wait_s: what `max_wait_s_of` returns.
        longest_s: how long any request may wait.
    """
    return 0 if max_wait_s is None else admitted_ms + int(min(max_wait_s, longest_s) * 1000)


def client_request_id_of(headers: Headers) -> str | None:
    """Return the id that the client has given the request; None where it has given none.

    Raises:
        InvalidRequest: it is too long, or not of visible ASCII.
    """
    name = headers.get(CLIENT_REQUEST_HEADER)
    if name is not None and not (0 < len(name) <= MOST_CLIENT_ID_CHARS and name.isascii() and name.isprintable()):
        raise InvalidRequest(
            f"{CLIENT_REQUEST_HEADER} must be 1 to {MOST_CLIENT_ID_CHARS} characters of ASCII.",
            param=CLIENT_REQUEST_HEADER,
            code="invalid_value",
        )
    return name
